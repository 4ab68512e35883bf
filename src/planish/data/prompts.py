"""Prompts to be answered: conversations up to where the assistant is to speak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from planish.data.fields import fault, has, text
from planish.data.formats import recognise
from planish.data.formats.registry import importer_of
from planish.data.formats.turns import chat_turns
from planish.data.readers import Record, read
from planish.data.rows import Demonstration, Message, Prompt


def import_prompts(path: str | Path) -> list[Prompt]:
    """Rows that hold a `prompt` or `messages` alone, or demonstrations of any known format without their last answer."""
    return [prompt for record in read(path) for prompt in _prompts(record)]


def _prompts(record: Record) -> Iterator[Prompt]:
    if has(("prompt",), record.value) and isinstance(record.value["prompt"], str):
        yield Prompt((Message("user", text(record, "prompt")),), record.origin)
    elif has(("messages",), record.value):
        yield Prompt(_unanswered(record, chat_turns(record)), record.origin)
    else:
        for row in importer_of(recognise(record), (Demonstration,), record)(record):
            if not isinstance(row, Demonstration):
                raise fault(record, "holds no prompt: expected `prompt`, `messages`, or a demonstration.")
            yield Prompt(_unanswered(record, row.messages), record.origin)


def _unanswered(record: Record, messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages without the assistant's at the end."""
    end = len(messages)
    while end and messages[end - 1].role == "assistant":
        end -= 1
    if not end:
        raise fault(record, "nobody but the assistant speaks, so there is nothing to answer.")
    return tuple(messages[:end])

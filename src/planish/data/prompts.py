"""Prompts: conversations up to the assistant's turn, from files of any format that has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from planish.base.errors import DataError
from planish.data.fields import child, fields, is_object
from planish.data.files.readers import Record
from planish.data.formats.mapping import Columns
from planish.data.formats.notes import CHAT, notes_of
from planish.data.formats.registry import Handling, imported, importer_of, open_files
from planish.data.formats.tools import tools_of
from planish.data.formats.turns import system_turn, turns_of
from planish.data.rows import Comparison, Demonstration, Dropped, Judged, Message, Origin, Prompt, Question, Row, Text

CONVERSATIONS = ("messages", "sharegpt")
WithPrompt = Demonstration | Comparison | Judged | Question
WITH_PROMPT: tuple[type[WithPrompt], ...] = (Demonstration, Comparison, Judged, Question)


def import_prompts(path: str | Path, format: str = "auto", columns: Columns | None = None) -> list[Prompt]:
    """All prompts of a file. A record without one is an error."""
    prompts: list[Prompt] = []
    for row in stream_prompts(path, format, columns):
        if isinstance(row, Dropped):
            raise DataError(f"{row.origin}: has no prompt: {row.reason}. Mend the record or take it out.")
        prompts.append(row)
    return prompts


def stream_prompts(
    path: str | Path, format: str = "auto", columns: Columns | None = None, handling: Handling | None = None
) -> Iterator[Prompt | Dropped]:
    """The prompts one by one: those of the format, else of its demonstrations (up to the last answer), comparisons,
    judgements or questions. A record that was judged several times gives one prompt."""
    before: Prompt | Dropped | None = None
    for chosen, first, records in open_files(path, format, columns, handling=handling):
        function = (
            _from_conversation if chosen.name in CONVERSATIONS else importer_of(chosen, (Prompt, *WITH_PROMPT), first)
        )
        rows = ((record, row) for record in records for row in imported(chosen, function, record, judged=False))
        for record, row in rows:
            prompt = row if isinstance(row, Dropped) else replace(_prompt_of(row), record=_fields_of(record))
            if prompt != before:
                yield prompt
            before = prompt


def _fields_of(record: Record) -> dict[str, Any]:
    return record.value if is_object(record.value) else {}


def _from_conversation(record: Record) -> Iterator[Prompt]:
    """A conversation as a prompt, which needs no answer, unlike a demonstration."""
    name = "messages" if "messages" in fields(record) else "conversations"
    turns = system_turn(record) + turns_of(child(record, name), "user")
    notes = notes_of(record, name, *CHAT)
    yield Prompt(_unanswered(turns, record.origin), record.origin, tools=tools_of(record), about=notes)


def _prompt_of(row: Row) -> Prompt:
    match row:
        case Demonstration():
            return Prompt(_unanswered(row.messages, row.origin), row.origin, tools=row.tools, about=row.about)
        case Question():
            messages = row.messages
        case Comparison():
            return Prompt(row.prompt, row.origin, tools=row.tools, about=row.about)
        case Judged():
            messages = row.prompt
        case Prompt():
            return row
        case Text():
            raise DataError(f"{row.origin}: a document has no prompt.")
    return Prompt(messages, row.origin, about=row.about)


def _unanswered(messages: Sequence[Message], origin: Origin) -> tuple[Message, ...]:
    end = len(messages)
    while end and messages[end - 1].role == "assistant":
        end -= 1
    if not end:
        raise DataError(f"{origin}: only the assistant speaks, so there is nothing to answer.")
    return tuple(messages[:end])

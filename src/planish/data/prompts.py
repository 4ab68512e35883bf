"""Prompts to be answered: conversations up to where the assistant is to speak, from files of any kind that hold some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from planish.base.errors import DataError
from planish.data.fields import child, fields
from planish.data.files.readers import Record
from planish.data.formats.answers import turns_of
from planish.data.formats.registry import imported, importer_of, open_files
from planish.data.formats.tools import tools_of
from planish.data.formats.turns import about, system_turn
from planish.data.rows import Comparison, Demonstration, Dropped, Judged, Message, Origin, Prompt, Question, Row, Text

CONVERSATIONS = ("messages", "sharegpt")
Asking = Demonstration | Comparison | Judged | Question
ASKING: tuple[type[Asking], ...] = (Demonstration, Comparison, Judged, Question)


def import_prompts(path: str | Path, format: str = "auto") -> list[Prompt]:
    """All prompts of a file, none left out: a record that gives none is an error."""
    prompts: list[Prompt] = []
    for row in stream_prompts(path, format):
        if isinstance(row, Dropped):
            raise DataError(f"{row.origin}: gives no prompt: {row.reason}. Mend the record or take it out.")
        prompts.append(row)
    return prompts


def stream_prompts(path: str | Path, format: str = "auto") -> Iterator[Prompt | Dropped]:
    """The prompts one by one, as the format gives them; else what stands before the last answer of a demonstration, what
    was compared or judged, or what a question asks. A record judged several times asks once."""
    before: Prompt | Dropped | None = None
    for chosen, first, records in open_files(path, format):
        function = _waiting if chosen.name in CONVERSATIONS else importer_of(chosen, (Prompt, *ASKING), first)
        for row in (row for record in records for row in imported(chosen, function, record)):
            asks = row if isinstance(row, Dropped) else _asked(row)
            if asks != before:
                yield asks
            before = asks


def _waiting(record: Record) -> Iterator[Prompt]:
    """A conversation as a prompt need not hold an answer, as a demonstration must."""
    name = "messages" if "messages" in fields(record) else "conversations"
    turns = system_turn(record) + turns_of(child(record, name), "user")
    told = about(record, name, "system", "tools")
    yield Prompt(_unanswered(turns, record.origin), record.origin, tools=tools_of(record), about=told)


def _asked(row: Row) -> Prompt:
    match row:
        case Demonstration():
            return Prompt(_unanswered(row.messages, row.origin), row.origin, tools=row.tools, about=row.about)
        case Question():
            messages = row.messages
        case Comparison() | Judged():
            messages = row.prompt
        case Prompt():
            return row
        case Text():
            raise DataError(f"{row.origin}: a document holds no prompt.")
    return Prompt(messages, row.origin, about=row.about)


def _unanswered(messages: Sequence[Message], origin: Origin) -> tuple[Message, ...]:
    end = len(messages)
    while end and messages[end - 1].role == "assistant":
        end -= 1
    if not end:
        raise DataError(f"{origin}: nobody but the assistant speaks, so there is nothing to answer.")
    return tuple(messages[:end])

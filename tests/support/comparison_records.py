"""Records of judged answers, imported one at a time."""

from __future__ import annotations

from typing import Any

from planish.data.files.readers import Record
from planish.data.formats import FORMATS, recognize
from planish.data.formats.registry import importer_of
from planish.data.rows import Comparison, Dropped, Judged, Message, Origin, Row

HERE = Origin("here.jsonl", 7)


def rows_of(format: str, value: Any, kind: type[Row]) -> list[Row | Dropped]:
    record = Record(value, HERE)
    return list(importer_of(FORMATS[format], (kind,), record)(record))


def compared(value: Any) -> Comparison:
    """The one comparison of a record, in the format that it is recognised as."""
    (row,) = rows_of(recognize(Record(value, HERE)).name, value, Comparison)
    assert isinstance(row, Comparison)
    assert row.origin == HERE
    return row


def judged(value: Any) -> Judged:
    (row,) = rows_of(recognize(Record(value, HERE)).name, value, Judged)
    assert isinstance(row, Judged)
    return row


def dropped(value: Any) -> str:
    (row,) = rows_of(recognize(Record(value, HERE)).name, value, Comparison)
    assert isinstance(row, Dropped)
    assert row.origin == HERE
    return row.reason


def said(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def answers(row: Comparison) -> list[str]:
    assert {message.role for message in row.completions} == {"assistant"}
    return [message.content for message in row.completions]


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}

"""Records of demonstrations and documents, imported one at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planish.data.files.readers import Record
from planish.data.formats import FORMATS
from planish.data.formats.registry import importer_of
from planish.data.rows import LEARNT, About, Demonstration, Dropped, Origin, Row, Text

HERE = Origin("here.jsonl", 7)

Said = list[tuple[str, str]]


def rows_of(format: str, value: Any, *, alone: bool = False) -> list[Row | Dropped]:
    """The rows of a record; `alone` makes it the only one of its file."""
    record = Record(value, HERE, alone=alone)
    return list(importer_of(FORMATS[format], LEARNT, record)(record))


def said(format: str, value: Any) -> Said:
    (row,) = rows_of(format, value)
    assert isinstance(row, Demonstration)
    assert row.origin.file == HERE.file
    return [(message.role, message.content) for message in row.messages]


def said_about(format: str, value: Any) -> About:
    (row,) = rows_of(format, value)
    assert isinstance(row, Demonstration | Text)
    return row.about


def write(folder: Path, name: str, *records: Any) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


MARKERS = ("<|endoftext|>", "</s>", "###eos_token###")
HI = {"role": "user", "content": "Hi."}


def spelt(format: str, turns: Said) -> dict[str, Any]:
    if format == "messages":
        return {"messages": [{"role": role, "content": text} for role, text in turns]}
    return {"conversations": [{"from": role, "value": text} for role, text in turns]}


def chat(*turns: Any) -> dict[str, Any]:
    return {"messages": [HI, *turns]}


def answer(content: Any = "Hi.", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}

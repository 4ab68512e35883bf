"""Texts that are a printed list of turns, such as pandas writes into a cell of a CSV file: read as the list, or refused.

`[{'role': 'user', 'content': 'Hi.'}]` is a list in Python's print or in JSON, not words to learn. numpy prints one item a
line, without commas.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import Any

from planish.data.fields import fault, is_list, is_object
from planish.data.files.json_stream import Decoder, RefusedError
from planish.data.files.readers import Record
from planish.data.formats.mapping import LISTS, folded
from planish.data.formats.names import CONVERSATIONS

START = re.compile(
    r"\[?\s*\{\s*([\"'])"
)  # of a list of objects, or an object: Python prints names in single quotes, JSON in double
SPEAKER = re.compile(r"""["'](?:role|from)["']\s*:""")
BETWEEN = re.compile(r"\}\s*\n\s*\{")  # in a print, a line break inside a text is written \n
LISTED = (*CONVERSATIONS, *LISTS)  # fields that are lists, whatever is in them
# Fields in which JSON may well be a text of its own: a document, or what a question is about.
MAY_BE_JSON = ("input", "context", "instruction", "document")
UNTOUCHED = "text"


def unprinted(record: Record) -> Record:
    """The record with its printed lists as lists. Raises for a list of turns that cannot be read back."""
    if not is_object(record.value):
        return record
    changed = {name: new for name, value in record.value.items() if (new := _field(record, name, value)) is not value}
    return replace(record, value={**record.value, **changed}) if changed else record


def _field(record: Record, name: str, value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("[", "{"):
        return _unprinted(replace(record, value=value, field=name), folded(name))
    if (
        is_list(value) and value and isinstance(value[0], str) and value[0][:1] in ("[", "{")
    ):  # completions, each printed
        parts = [replace(record, value=part, field=f"{name}[{at}]") for at, part in enumerate(value)]
        return [_unprinted(part, "") if isinstance(part.value, str) else part.value for part in parts]
    return value


def _unprinted(record: Record, name: str) -> Any:
    """The list or object that a text is a print of, if it holds turns or the field is a list; else the text."""
    said, start = record.value, START.match(record.value)
    of_turns = start is not None and SPEAKER.search(said) is not None and name != UNTOUCHED
    if of_turns and start is not None:
        if start[1] == '"' and name in MAY_BE_JSON:
            return said
        value = _json(record) if start[1] == '"' else _python(said)
        if value is None and said.rstrip()[-1:] in "]}":
            how = "Write the file as .jsonl or .parquet, which keep lists."
            raise fault(record, f"looks like a printed list of turns, but cannot be read back. {how}")
        return value if _are_turns(value) else said
    value = _json(record) or _python(said) if name in LISTED and said[0] == "[" else None
    return value if is_list(value) else said


def _python(said: str) -> Any:
    try:
        return ast.literal_eval(BETWEEN.sub("}, {", said))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _json(record: Record) -> Any:
    try:
        value, end = Decoder().decode(record.value, 0)
    except RefusedError as error:
        raise fault(record, f"JSON text{error}") from error
    except ValueError:
        return None
    return None if record.value[end:].strip() else value


def _are_turns(value: object) -> bool:
    turns = value if is_list(value) else [value]
    return bool(turns) and all(
        is_object(turn) and ("role" in turn or {"from", "value"} <= turn.keys()) for turn in turns
    )

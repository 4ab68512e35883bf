"""Files of a run as plain values, checked, with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from planish.base.errors import RunError

T = TypeVar("T")


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: not UTF-8 text: {error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is absent."""
    if not path.exists():
        return {}
    try:
        return as_object(json.loads(read_text(path)))
    except json.JSONDecodeError as error:
        raise RunError(f"{path}: not valid JSON: {error}") from None


def as_object(value: Any) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def read_typed(path: Path, shape: TypeAdapter[T], written_by: str) -> T:
    """A JSON file of this shape, taken strictly; NaN and infinity are refused."""
    text = read_text(path)
    try:
        json.loads(text, parse_constant=_refuse)
        return shape.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path}: not what {written_by} writes: {where}: {first['msg']}") from None
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON: {error}") from None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not a number")

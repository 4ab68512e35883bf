"""Fields of a record. Each remembers its file, row and path, so that a fault can be found."""

from __future__ import annotations

from typing import Any, TypeGuard

from planish.base.errors import DataError
from planish.data.files.readers import Record


def fault(record: Record, problem: str) -> DataError:
    field = f", field {record.field}" if record.field else ""
    return DataError(f"{record.origin}{field}: {problem}")


def fields(record: Record) -> dict[str, Any]:
    if not is_object(record.value):
        raise fault(record, f"found {called(record.value)}, expected an object with fields.")
    return record.value


def child(record: Record, name: str) -> Record:
    """A field that must exist. None counts as missing: columnar files write it where a record lacks the field."""
    value = fields(record).get(name)
    inside = Record(value, record.origin, f"{record.field}.{name}" if record.field else name)
    if value is None:
        raise fault(inside, f"missing; found the fields {', '.join(fields(record)) or '(none)'}.")
    return inside


def either(record: Record, name: str, other: str) -> Record:
    return child(record, name if fields(record).get(other) is None else other)


def items(record: Record) -> list[Record]:
    if not is_list(record.value):
        raise fault(record, f"found {called(record.value)}, expected a list.")
    return [Record(value, record.origin, f"{record.field}[{at}]") for at, value in enumerate(record.value)]


def children(record: Record, name: str) -> list[Record]:
    return items(child(record, name))


def cells(record: Record, count: int) -> list[str]:
    """A list of exactly `count` texts."""
    texts = items(record)
    if len(texts) != count:
        raise fault(record, f"found {len(texts)} cells, expected {count}.")
    return list(map(as_text, texts))


def as_text(record: Record, *, blank: bool = False) -> str:
    """The text, unchanged. It may be empty or white space only if `blank` is set."""
    value = record.value
    if not isinstance(value, str):
        raise fault(record, f"found {called(value)}, expected a text.")
    if not blank and not value.strip():
        raise fault(record, "empty, expected some text. Fill it or take the row out.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:  # JSON can spell half of a character as "\ud83d"; no tokenizer takes it
            raise fault(record, f"holds half a character at position {error.start}. Mend the text.") from error
    return value


def text(record: Record, name: str) -> str:
    return as_text(child(record, name))


def optional_text(record: Record, name: str) -> str:
    """A text that may be absent, null or blank; all of these give an empty text."""
    value = "" if fields(record).get(name) is None else as_text(child(record, name), blank=True)
    return value if value.strip() else ""


def optional_number(record: Record, name: str) -> float | None:
    value = fields(record).get(name)
    if value is not None and not isinstance(value, int | float):
        raise fault(child(record, name), f"found {called(value)}, expected a number.")
    return value


def called(value: object) -> str:
    names = {"str": "a text", "list": "a list", "dict": "an object", "bool": "true or false", "NoneType": "nothing"}
    return names.get(type(value).__name__, "a number" if isinstance(value, int | float) else type(value).__name__)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def has(names: tuple[str, ...], value: object) -> bool:
    return is_object(value) and all(name in value for name in names)


def first_of(value: object, name: str) -> object:
    """The first item of a list in field `name`; None if there is no such list."""
    listed = value.get(name) if is_object(value) else None
    return next(iter(listed), None) if is_list(listed) else None

"""Fields of a record. Each remembers its file, row and path, so that a fault can be found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from planish.base.errors import DataError
from planish.data.files.json_stream import half_character, is_odd, path_to
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
    inside = record.inside(value, name)
    if value is None:
        raise fault(inside, f"missing; found the fields {', '.join(fields(record)) or '(none)'}.")
    return inside


def either(record: Record, name: str, other: str) -> Record:
    return child(record, name if fields(record).get(other) is None else other)


def first_filled(record: Record, names: Sequence[str]) -> str | None:
    """The first of these fields that holds something: files in columns have all of them, some empty."""
    return next((name for name in names if not is_blank(fields(record).get(name))), None)


def items(record: Record) -> list[Record]:
    if not is_list(record.value):
        raise fault(record, f"found {called(record.value)}, expected a list.")
    return [record.inside(value, f"[{at}]") for at, value in enumerate(record.value)]


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
    if (at := half_character(value)) is not None:
        raise fault(record, f"holds half a character at position {at}. Mend the text.")
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


def is_blank(value: object) -> bool:
    """True for no value, a blank text, an empty list or object, and the NaN that tables have in place of no value."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or value != value or (isinstance(value, list | dict) and not value)


def refuse_half_characters(record: Record) -> None:
    """Raises for half a character in any text of a record, be it a name or a note: no file can be written with it."""
    places: list[int] = []

    def is_half(leaf: object) -> bool:
        at = half_character(leaf) if isinstance(leaf, str) else None
        places.extend([] if at is None else [at])
        return at is not None

    if (path := path_to(record.value, is_half)) is not None:
        inside = record.inside(None, path.removeprefix("."))
        raise fault(inside, f"holds half a character at position {places[0]}. Mend the text.")


def refuse_odd_numbers(record: Record) -> None:
    """Raises for a number that JSON does not have, NaN or an infinite one, in a value that is learnt as JSON."""
    if (path := path_to(record.value, is_odd)) is not None:
        raise fault(record.inside(None, path.removeprefix(".")), "holds a number that is not finite. Write null.")


def has(names: tuple[str, ...], value: object) -> bool:
    return is_object(value) and all(name in value for name in names)


def first_of(value: object, name: str) -> object:
    """The first item of a list in field `name`; None if there is no such list."""
    listed = value.get(name) if is_object(value) else None
    return next(iter(listed), None) if is_list(listed) else None

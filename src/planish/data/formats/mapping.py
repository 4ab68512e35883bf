"""Columns of a file under the names of planish's fields.

`{"prompt": "Question", "completion": "Answer"}` reads the column Question as `prompt`. Letter case does not matter. A column
inside another is written with a dot (`meta.question`), a cell of a table without a header by its number, from 1. Several
columns are joined into one text or, where the field is a list (`completions`), become its items. `role` and `content` are
those of each turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator

from planish.data.fields import as_text, called, fault, is_list, is_object
from planish.data.files.readers import Record

Columns = Mapping[str, str | tuple[str, ...]]
Place = tuple[str | int, ...]  # the keys that lead to a value of a record
Places = Mapping[str, tuple[Place, ...]]

LISTS = ("completions", "scores", "ranks", "answers", "wrong_answers")  # fields that several columns make a list of
OF_A_TURN = ("role", "content")
EXAMPLE = "prompt=Question,completion=Answer"


def _parsed(given: Any) -> Any:
    """The mapping in a text such as "prompt=Question,completion=Answer"; a field named twice has several columns."""
    if is_object(given):
        return {
            name: tuple(map(str, found)) if is_list(found) else _name(found) for name, found in given.items() if found
        }
    if not isinstance(given, str):
        return given
    named: dict[str, tuple[str, ...]] = {}
    for part in given.split(","):
        name, _, column = (side.strip() for side in part.partition("="))
        if not name or not column:
            raise ValueError(f"{part.strip()!r} names no column: write {EXAMPLE}, or a mapping if a name has a comma")
        named[name] = (*named.get(name, ()), column)
    return {name: columns[0] if len(columns) == 1 else columns for name, columns in named.items()}


def _name(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


ColumnsSetting = Annotated[dict[str, str | tuple[str, ...]], BeforeValidator(_parsed)]


def folded(name: str) -> str:
    """A column's name without letter case, and with underscores for spaces and dashes."""
    return "_".join(name.casefold().replace("-", " ").replace("_", " ").split())


def places_of(columns: Columns, first: Record) -> Places:
    """The place of each column in the first record of a file. Raises if one is not there."""
    if not is_object(first.value) and not is_list(first.value):
        raise fault(first, f"found {called(first.value)}, which has no columns to map.")
    return {
        name: tuple(_found(first, name, column) for column in _several(found))
        for name, found in columns.items()
        if name not in OF_A_TURN
    } | {name: tuple((column,) for column in _several(columns[name])) for name in OF_A_TURN if name in columns}


def column_names(columns: Columns) -> set[str]:
    """The columns that are named, not numbered."""
    return {column for found in columns.values() for column in _several(found) if not column.isdecimal()}


def _several(columns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else columns


def _found(first: Record, name: str, column: str) -> Place:
    place = next(_places(first.value, column), None)
    if place is None:
        there = ", ".join(first.value) if is_object(first.value) else f"1 to {len(first.value)}"
        problem = f"found no column {column!r} for {name}. The columns are {there}; a record may leave one null."
        raise fault(first, problem)
    return place


def _places(value: Any, column: str) -> Iterator[Place]:
    """The places of a column by its name as it is, without letter case, and with dots as steps inward."""
    if is_list(value):
        number, dot, inside = column.partition(".")
        if number.isdecimal() and 1 <= int(number) <= len(value):
            at = int(number) - 1
            yield from ((at, *place) for place in _places(value[at], inside)) if dot else ((at,),)
    if not is_object(value):
        return
    if column in value:
        yield (column,)
    yield from ((name,) for name in value if folded(name) == folded(column))
    for name in value:
        inside = column[len(name) + 1 :]
        if inside and folded(column[: len(name) + 1]) == folded(f"{name}."):
            yield from ((name, *place) for place in _places(value[name], inside))


def renamed(places: Places, record: Record) -> Record:
    """The record with its columns under the names of fields. Other columns keep their names."""
    if not places:
        return record
    rest = dict(enumerate(record.value)) if is_list(record.value) else record.value
    if not is_object(record.value) and not is_list(record.value):
        raise fault(record, f"found {called(record.value)}, expected an object with fields.")
    named = {name: _value(record, name, found) for name, found in places.items() if name not in OF_A_TURN}
    found = [place for name in named for place in places[name]]
    whole = {place[0] for place in found if len(place) == 1}
    taken = {place[0] for place in found} | named.keys()  # no longer fields of their own name
    kept = {f"{name} (column)" if name in taken else str(name): v for name, v in rest.items() if name not in whole}
    turn = {str(found[0][0]): name for name, found in places.items() if name in OF_A_TURN}
    values = {**{name: value for name, value in named.items() if value is not None}, **kept}
    return replace(record, value={name: _turns(value, turn) for name, value in values.items()} if turn else values)


def joined(places: Places, further: Places) -> Places:
    """The places of fields in a record, where `further` are those in the record that `places` have renamed."""
    taken = {str(place[0]) for found in further.values() for place in found}
    kept = {name: found for name, found in places.items() if name not in taken}
    return kept | {name: places.get(str(found[0][0]), found) for name, found in further.items()}


def _value(record: Record, name: str, places: tuple[Place, ...]) -> Any:
    """The value of a field; of several columns those that are not empty, as a list or as one text."""
    values = [_at(record.value, place) for place in places]
    if len(values) == 1:
        return values[0]
    filled = [
        replace(record, value=value, field=_column(place))
        for place, value in zip(places, values, strict=True)
        if value not in (None, "")
    ]
    return [one.value for one in filled] if name in LISTS else "\n\n".join(map(as_text, filled)) or None


def _at(value: Any, place: Place) -> Any:
    for key in place:
        if is_object(value) and isinstance(key, str):
            value = value.get(key)
        elif is_list(value) and isinstance(key, int):
            value = value[key] if key < len(value) else None
        else:
            return None
    return value


def _turns(value: Any, turn: Mapping[str, str]) -> Any:
    """The turns of a conversation with their role and content under these names."""
    if not is_list(value):
        return value
    return [{turn.get(k, k): v for k, v in item.items()} if is_object(item) else item for item in value]


def told(places: Places) -> str:
    """The mapping as the command line takes it."""
    pairs = [(name, place) for name, found in places.items() for place in found]
    return ",".join(f"{name}={_column(place)}" for name, place in pairs)


def _column(place: Sequence[str | int]) -> str:
    return ".".join(str(key + 1) if isinstance(key, int) else key for key in place)

"""The list of known formats, and how the format of a file is recognized.

A format turns a record into rows, maybe of several kinds: an OpenAssistant tree is one demonstration and many
comparisons, and the caller says which it wants. A record without a row yields a `Dropped` with the reason; one that does
not fit its format is an error that names file, row and field. Nothing is lost silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from planish.base.errors import DataError
from planish.base.plugins import find_plugin
from planish.data.fields import called, has, is_object, refuse_half_characters
from planish.data.files.json_stream import Broken, stop
from planish.data.files.readers import Reading, Record, read
from planish.data.formats.mapping import Columns, Places, column_names, joined, places_of, renamed, told
from planish.data.formats.names import comparison_hint, further_columns, known_columns, mapping_hint, other_spelling
from planish.data.formats.printed import unprinted
from planish.data.formats.verdicts import left_out
from planish.data.ignored import IgnoredFields
from planish.data.rows import Comparison, Demonstration, Dropped, Judged, Origin, Prompt, Question, R, Row, Rows, Text

Importer = Callable[[Record], Iterator[Row | Dropped]]
Test = Callable[[Any], bool]
Gather = Callable[[Iterator[Record]], Iterator[Record]]
F = TypeVar("F", bound=Importer)
Unfit = Literal["error", "drop"]

USES: dict[type[Row], str] = {
    Demonstration: "demonstrations are for supervised fine-tuning",
    Text: "documents are for pretraining",
    Comparison: "comparisons are for a reward model or DPO",
    Judged: "judged completions are for measuring judges",
    Prompt: "prompts are for sampling and PPO",
    Question: "questions are for evaluation",
}
JUDGED: tuple[type[Row], ...] = (Demonstration, Text, Comparison, Judged)  # kinds on which a record may hold a verdict
KINDS = {kind: use.partition(" are ")[0] for kind, use in USES.items()}


@dataclass(frozen=True, slots=True)
class Format:
    """A known format. It wins over the more general formats in `over`, which its records fit, too. `gather` joins records
    that belong together, such as the messages of a tree, before they are imported. `columns` are the places of the fields in
    a file that has them under other names."""

    name: str
    recognizes: Test
    over: tuple[str, ...] = ()
    reading: Reading = "records"
    gather: Gather | None = None
    importers: dict[type[Row], Importer] = field(default_factory=dict[type[Row], Importer])
    columns: Places = field(default_factory=dict[str, Any])

    def laid_out(self, record: Record) -> Record:
        """The record with its columns under the names of fields, and with printed lists as lists."""
        record = unprinted(record)
        return unprinted(renamed(self.columns, record)) if self.columns else record

    def __str__(self) -> str:
        return f"{self.name} ({told(self.columns)})" if self.columns else self.name


@dataclass(frozen=True, slots=True)
class Handling:
    """The treatment of records that do not fit, of fields to leave unread, and the fields found that no row holds."""

    unfit: Unfit = "error"
    ignore: tuple[str, ...] = ()
    ignored: IgnoredFields = field(default_factory=IgnoredFields)

    def prepared(self, record: Record) -> Record:
        """The record without the fields to leave unread; what else is ignored of it will be noted."""
        value = record.value
        if is_object(value) and (unread := [name for name in self.ignore if name in value]):
            for name in unread:
                self.ignored.note(record.origin, name)
            value = {name: part for name, part in value.items() if name not in unread}
        return replace(record, value=value, ignored=self.ignored)


FORMATS: dict[str, Format] = {}


def importer(
    name: str,
    *gives: type[Row],
    recognized_by: tuple[str, ...] | Test | None = None,
    over: tuple[str, ...] = (),
    reading: Reading = "records",
    gather: Gather | None = None,
) -> Callable[[F], F]:
    """Adds a function that gives rows of these kinds to the format `name`.

    The first function of a format says how to recognize it: by fields that a record must have, or by a test of its value.
    """

    def register(function: F) -> F:
        if recognized_by is not None:
            test = partial(has, recognized_by) if isinstance(recognized_by, tuple) else recognized_by
            FORMATS[name] = Format(name, test, over, reading, gather)
        FORMATS[name].importers.update(dict.fromkeys(gives, function))
        return function

    return register


def import_rows(
    path: str | Path,
    kinds: tuple[type[R], ...],
    format: str = "auto",
    columns: Columns | None = None,
    handling: Handling | None = None,
) -> Rows[R]:
    """All rows of these kinds in a file, folder, package or hub dataset, and the records left out, with reasons."""
    rows: Rows[R] = Rows()
    for row in stream_rows(path, kinds, format, columns, handling):
        if isinstance(row, Dropped):
            rows.dropped.append(row)
        else:
            rows.rows.append(row)
    return rows


def stream_rows(
    path: str | Path,
    kinds: tuple[type[R], ...],
    format: str = "auto",
    columns: Columns | None = None,
    handling: Handling | None = None,
) -> Iterator[R | Dropped]:
    """The rows one by one, of the first of these kinds that the format gives.

    With "auto" the first record of a file decides the format of all.
    """
    handling = handling or Handling()
    for chosen, first, records in open_files(path, format, columns, handling=handling):
        function = importer_of(chosen, kinds, first)
        for record in records:
            yield from cast("Iterator[R | Dropped]", imported(chosen, function, record, handling.unfit))


def open_files(
    path: str | Path,
    format: str = "auto",
    columns: Columns | None = None,
    broken: Broken = stop,
    handling: Handling | None = None,
) -> Iterator[tuple[Format, Record, Iterator[Record]]]:
    """The format, the first record and all records (joined where they belong together) of each file of a source.

    With "auto" the format of each file of a folder is recognized separately. `columns` says which column each field is."""
    named = format_of(format, path) if format != "auto" else None
    every = read(path, named.reading if named else "records", broken, column_names(columns or {}))
    if handling is not None:
        every = map(handling.prepared, every)
    for _, records in groupby(every, key=lambda record: record.origin.file):
        first = next(records)
        chosen = recognize(unprinted(first), columns, named)
        records = chain([first], records)
        yield chosen, first, chosen.gather(chosen.laid_out(record) for record in records) if chosen.gather else records


def format_of(name: str, path: str | Path) -> Format:
    """The format of this name, or of a function of yours, module:function, that @importer registers."""
    if name in FORMATS:
        return FORMATS[name]
    if (function := find_plugin(name, "format")) is not None:
        for format in FORMATS.values():
            if function in format.importers.values():
                return format
        raise DataError(
            f"{path}: format {name!r} is a function without @importer(…) above it; see docs/howto/plug-ins.md."
        )
    raise DataError(
        f"{path}: unknown format {name!r}. Set `format` to auto, module:function or one of {', '.join(FORMATS)}."
    )


def imported(
    format: Format, function: Importer, record: Record, unfit: Unfit = "error", *, judged: bool = True
) -> Iterator[Row | Dropped]:
    """The rows that a function of a format makes of a record. One that says that it must not be learnt gives a `Dropped`, and
    so does one that does not fit if `unfit` is "drop". `judged` is False where nothing is learnt of the rows."""
    learnt = judged and any(format.importers.get(kind) is function for kind in JUDGED)
    try:
        record = record if format.gather else format.laid_out(record)
        if learnt and (reason := left_out(record)):
            yield Dropped(record.origin, reason)
            return
        refuse_half_characters(record)
        yield from function(record) if unfit == "error" else list(function(record))
    except DataError as error:
        if unfit == "drop":
            yield Dropped(record.origin, str(error).removeprefix(str(record.origin)).lstrip(":, "))
            return
        raise DataError(f"{error} It was read as {format}; set `format` if that is wrong.") from error


def mark_alone(records: Iterator[Record]) -> Iterator[Record]:
    """Marks the only record of a file, whose parts are then counted as its rows."""
    first = list(islice(records, 2))
    yield from (replace(record, alone=len(first) == 1) for record in first)
    yield from records


def origin_inside(record: Record, number: int) -> Origin:
    """The origin of a part of a record: its number in a file of one record, else the record's own."""
    return Origin(record.origin.file, number) if record.alone else record.origin


def importer_of(format: Format, kinds: tuple[type[R], ...], record: Record) -> Importer:
    """The function of a format for the first of these kinds that it gives."""
    for kind in kinds:
        if kind in format.importers:
            return format.importers[kind]
    present, wanted = ([KINDS[kind] for kind in some] for some in (format.importers, kinds))
    uses = "; ".join(USES[kind] for kind in format.importers)
    raise DataError(
        f"{record.origin.file}: read as {format.name}, it holds {' and '.join(present)}; expected {' or '.join(wanted)}. "
        f"{uses[0].upper()}{uses[1:]}. Take the file out of this run, or set `format` if it was misread."
    )


def recognize(first: Record, columns: Columns | None = None, named: Format | None = None) -> Format:
    """The one format that the first record of a file fits, with its columns; None or several are an error, never a guess.

    Where it fits none as it is, letter case is ignored, and names that are commonly given to a question and its answer are
    those of a demonstration. `columns` come before all that; a format that is `named` is taken as it is.
    """
    mapped = places_of(columns, first) if columns else {}
    record = renamed(mapped, first)
    if named is not None:
        respelt = other_spelling(record.value)
        fits = named.recognizes(record.value) or not named.recognizes(renamed(respelt, record).value)
        return replace(named, columns=mapped if fits else joined(mapped, respelt))
    fitting = _fitting(record.value)
    if len(fitting) > 1 and mapped:  # columns that were not mapped make it ambiguous
        fitting = _fitting({name: value for name, value in record.value.items() if name in mapped}) or fitting
    chosen = _by_known_names(record, fitting) if len(fitting) < 2 else None
    if chosen is None or (not mapped and _hides_a_comparison(chosen, record)):
        raise _unrecognized(record, fitting)
    return replace(chosen, columns=joined(mapped, chosen.columns))


def _fitting(value: Any) -> list[Format]:
    """The formats that a value fits, without those that another of them wins over."""
    fitting = [format for format in FORMATS.values() if format.recognizes(value)]
    beaten = {name for format in fitting for name in format.over}
    if len(fitting) > 1:  # several data sets have a rendered copy of the conversation in `text`
        beaten.add("text")
    return [format for format in fitting if format.name not in beaten]


def _by_known_names(record: Record, fitting: list[Format]) -> Format | None:
    """The format that a record fits, if need be with its columns under the names of fields.

    A record that fits one as it is can have further columns, which may make it one that wins over that.
    """
    is_prompt = any(format.name == "prompt" for format in fitting)
    compares = any(Comparison in format.importers for format in fitting)
    suggested = further_columns(record.value, is_prompt, compares) if fitting else known_columns(record.value)
    for places in suggested:
        found = _fitting(renamed(places, record).value)
        if len(found) == 1 and (is_prompt or _wins(found[0], fitting)):
            return replace(found[0], columns=places)
    return fitting[0] if fitting else None


def _wins(found: Format, fitting: list[Format]) -> bool:
    return all(format is found or format.name in found.over for format in fitting)


def _hides_a_comparison(format: Format, record: Record) -> bool:
    """True if the record has the columns of a comparison, which this format would pass over."""
    return not {Comparison, Judged} & format.importers.keys() and comparison_hint(record.value) is not None


def _described(record: Record) -> str:
    return f"the fields {', '.join(record.value)}" if is_object(record.value) else called(record.value)


def _unrecognized(record: Record, fitting: list[Format]) -> DataError:
    found, hint = f"{record.origin}: found {_described(record)}", comparison_hint(record.value)
    if len(fitting) < 2 and hint:
        return DataError(f"{found}, which looks like a comparison. {hint}. docs/data.md says more.")
    names = " and ".join(format.name for format in fitting) or "no known format"
    return DataError(
        f"{found}, which fits {names}. {mapping_hint(record.value)} `format` to one of {', '.join(FORMATS)}; docs/data.md "
        "lists their fields."
    )

"""The list of known formats, and how the format of a file is recognized.

A format turns a record into rows, maybe of several kinds: an OpenAssistant tree is one demonstration and many
comparisons, and the caller says which it wants. A record without a row yields a `Dropped` with the reason; one that does
not fit its format is an error that names file, row and field. Nothing is lost silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any, TypeVar, cast

from planish.base.errors import DataError
from planish.base.plugins import find_plugin
from planish.data.fields import called, has, is_object
from planish.data.files.json_stream import Broken, stop
from planish.data.files.readers import Reading, Record, read
from planish.data.rows import Comparison, Demonstration, Dropped, Judged, Prompt, Question, R, Row, Rows, Text

Importer = Callable[[Record], Iterator[Row | Dropped]]
Test = Callable[[Any], bool]
Gather = Callable[[Iterator[Record]], Iterator[Record]]
F = TypeVar("F", bound=Importer)

USES: dict[type[Row], str] = {
    Demonstration: "demonstrations are for supervised fine-tuning",
    Text: "documents are for pretraining",
    Comparison: "comparisons are for a reward model or DPO",
    Judged: "judged completions are for measuring judges",
    Prompt: "prompts are for sampling and PPO",
    Question: "questions are for evaluation",
}
KINDS = {kind: use.partition(" are ")[0] for kind, use in USES.items()}


@dataclass(frozen=True, slots=True)
class Format:
    """A known format. It wins over the more general formats in `over`, which its records fit, too. `gather` joins records
    that belong together, such as the messages of a tree, before they are imported."""

    name: str
    recognizes: Test
    over: tuple[str, ...] = ()
    reading: Reading = "records"
    gather: Gather | None = None
    importers: dict[type[Row], Importer] = field(default_factory=dict[type[Row], Importer])


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


def import_rows(path: str | Path, kinds: tuple[type[R], ...], format: str = "auto") -> Rows[R]:
    """All rows of these kinds in a file, folder, package or hub dataset, and the records left out, with reasons."""
    rows: Rows[R] = Rows()
    for row in stream_rows(path, kinds, format):
        if isinstance(row, Dropped):
            rows.dropped.append(row)
        else:
            rows.rows.append(row)
    return rows


def stream_rows(path: str | Path, kinds: tuple[type[R], ...], format: str = "auto") -> Iterator[R | Dropped]:
    """The rows one by one, of the first of these kinds that the format gives.

    With "auto" the first record of a file decides the format of all.
    """
    for chosen, first, records in open_files(path, format):
        function = importer_of(chosen, kinds, first)
        for record in records:
            yield from cast("Iterator[R | Dropped]", imported(chosen, function, record))


def open_files(
    path: str | Path, format: str = "auto", broken: Broken = stop
) -> Iterator[tuple[Format, Record, Iterator[Record]]]:
    """The format, the first record and all records (joined where they belong together) of each file of a source.

    With "auto" the format of each file of a folder is recognized separately."""
    named = format_of(format, path) if format != "auto" else None
    every = read(path, named.reading if named else "records", broken)
    for _, records in groupby(every, key=lambda record: record.origin.file):
        first = next(records)
        chosen = named or recognize(first)
        records = chain([first], records)
        yield chosen, first, chosen.gather(records) if chosen.gather else records


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


def imported(format: Format, function: Importer, record: Record) -> Iterator[Row | Dropped]:
    """The rows that a function of a format makes of a record."""
    try:
        yield from function(record)
    except DataError as error:
        raise DataError(f"{error} It was read as {format.name}; set `format` if that is wrong.") from error


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


def recognize(record: Record) -> Format:
    """The one format that a record fits. None or several are an error, never a guess."""
    value = record.value
    fitting = [format for format in FORMATS.values() if format.recognizes(value)]
    beaten = {name for format in fitting for name in format.over}
    if len(fitting) > 1:  # several data sets have a rendered copy of the conversation in `text`
        beaten.add("text")
    fitting = [format for format in fitting if format.name not in beaten]
    if len(fitting) != 1:
        fields = f"the fields {', '.join(value)}" if is_object(value) else called(value)
        names = " and ".join(format.name for format in fitting) or "no known format"
        raise DataError(
            f"{record.origin}: found {fields}, which fits {names}. Set `format` to one of {', '.join(FORMATS)}, "
            "or give the records the fields of a format; docs/data.md lists them."
        )
    return fitting[0]

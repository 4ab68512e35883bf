"""Inspection of data before a run: every source is read once, row by row, into counts of constant size.

Errors of a run are findings here. A record that does not fit is counted and named, and with `keep_going` reading
continues after it; a file that breaks off is shown up to that point.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import combinations

from planish.base.errors import DataError
from planish.base.progress import Progress
from planish.base.random import numpy_generator
from planish.data.files.readers import Record
from planish.data.formats.mapping import Columns
from planish.data.formats.registry import KINDS, Format, Handling, Importer, imported, importer_of, open_files
from planish.data.ignored import IgnoredFields
from planish.data.inspect.lengths import CharacterLengths, LengthMeasure, Measured, conversations
from planish.data.inspect.result import (
    Judgements,
    KindView,
    Listed,
    Listing,
    SafetyKind,
    Sample,
    SourceView,
    distribution,
    tally,
)
from planish.data.rows import Comparison, Dropped, Judged, Origin, Row, Text

BATCH = 200  # rows measured at once
FEW_LISTED = 200  # rows kept of each listing by default
PLACEHOLDER = re.compile(r"\{\{ ?[A-Za-z_]\w* ?\}\}")


@dataclass(frozen=True, slots=True)
class InspectOptions:
    """Options of an inspection. `kinds` are those of a run; empty is all that a source gives. `listed` is the number of rows
    kept of each listing; None is all."""

    measure: LengthMeasure = field(default_factory=CharacterLengths)
    kinds: tuple[type[Row], ...] = ()
    num_samples: int = 5
    listed: int | None = FEW_LISTED
    keep_going: bool = False
    seed: int = 0
    handling: Handling = field(default_factory=Handling)
    safety: Callable[[Row], SafetyKind | None] | None = None  # finds rows that refuse, and their look-alikes


def inspect_source(
    name: str, paths: Sequence[str], format: str, options: InspectOptions, columns: Columns | None = None
) -> SourceView:
    """Reads a source and lists its faults."""
    return _Source(name, paths, options).read(format, columns)


class _StopError(Exception):
    """Raised at the first record that does not fit, without `keep_going`."""


class _Source:
    """A source while it is read."""

    def __init__(self, name: str, paths: Sequence[str], options: InspectOptions) -> None:
        self.options = options
        self.view = SourceView(name, tuple(paths))
        self.kinds: dict[type[Row], _Kind] = {}
        self.handling = replace(options.handling, ignored=IgnoredFields())

    def read(self, format: str, columns: Columns | None) -> SourceView:
        progress = Progress(f"reading {self.view.name}", None)
        with closing(progress), suppress(_StopError):
            for path in self.view.paths:
                self._read_path(path, format, columns, progress)
        for kind in self.kinds.values():
            with suppress(_StopError):
                self._measure(kind)
        self.view.ignored = self.handling.ignored.as_records
        self.view.kinds = [kind.finish() for kind in self.kinds.values()]
        _show_once(self.view.kinds)
        return self.view

    def _read_path(self, path: str, format: str, columns: Columns | None, progress: Progress) -> None:
        def broken(error: DataError) -> None:
            self._unfit(Origin(path, 0), error)

        try:
            for chosen, first, records in open_files(path, format, columns, broken, self.handling):
                functions = self._functions(chosen, first)
                for record in records:
                    self.view.records += 1
                    self._import(chosen, functions, record)
                    progress.advance(self.view.records)
        except DataError as error:  # nothing after it can be read
            self._unfit(Origin(path, 0), error)

    def _functions(self, chosen: Format, first: Record) -> dict[Importer, list[type[Row]]]:
        """The functions of a format that are used, with the kinds of row that each gives."""
        if str(chosen) not in self.view.formats:
            self.view.formats = (*self.view.formats, str(chosen))
        wanted = importer_of(chosen, self.options.kinds, first) if self.options.kinds else None
        functions: dict[Importer, list[type[Row]]] = {}
        for kind, function in chosen.importers.items():
            if wanted in (None, function):
                functions.setdefault(function, []).append(kind)
                self.kinds.setdefault(kind, _Kind(kind, self.view.name, self.options))
        return functions

    def _import(self, chosen: Format, functions: Mapping[Importer, list[type[Row]]], record: Record) -> None:
        """Imports a record. It is unfit if it fits no kind; otherwise errors are findings about their kind."""
        errors: dict[type[Row], DataError] = {}
        for function, kinds in functions.items():
            try:
                for row in imported(chosen, function, record, self.handling.unfit):
                    if isinstance(row, Dropped):
                        note(self.kinds[kinds[0]].view.dropped, row.origin, row.reason, self.options.listed)
                    else:
                        self._add(row)
            except DataError as error:
                errors[kinds[0]] = error
        if len(errors) == len(functions):
            self._unfit(record.origin, next(iter(errors.values())))
        else:
            for kind, error in errors.items():
                note(self.kinds[kind].view.unfit, record.origin, str(error), self.options.listed)

    def _add(self, row: Row) -> None:
        kind = self.kinds.setdefault(type(row), _Kind(type(row), self.view.name, self.options))
        tally(self.view.placeholders, *{name for text in texts(row) for name in PLACEHOLDER.findall(text)})
        if self.options.safety is not None and (found := self.options.safety(row)) is not None:
            tally(self.view.safety, found)
        kind.waiting.append(row)
        if len(kind.waiting) == BATCH:
            self._measure(kind)

    def _measure(self, kind: _Kind) -> None:
        rows, kind.waiting = kind.waiting, []
        try:
            measured = self.options.measure.measure(rows) if rows else []
            for row, lengths in zip(rows, measured, strict=True):
                kind.add(row, lengths)
        except DataError:  # one of them cannot be tokenized; one by one, it is named
            for row in rows:
                self._measure_alone(kind, row)

    def _measure_alone(self, kind: _Kind, row: Row) -> None:
        try:
            (measured,) = self.options.measure.measure([row])
        except DataError as error:
            self._unfit(row.origin, error)
        else:
            kind.add(row, measured)

    def _unfit(self, origin: Origin, error: DataError) -> None:
        note(self.view.unfit, origin, str(error), self.options.listed)
        if not self.options.keep_going:
            raise _StopError


class _Kind:
    """The rows of one kind while a source is read."""

    def __init__(self, kind: type[Row], source: str, options: InspectOptions) -> None:
        self.options = options
        self.view = KindView(KINDS[kind], judgements=Judgements() if kind is Comparison else None)
        self.waiting: list[Row] = []
        self.lengths: dict[str, Counter[int]] = {name: Counter() for name in ("row", "prompt", "completion", "learnt")}
        self.chosen = _Chosen(options.num_samples, options.seed, source, self.view.kind)

    def add(self, row: Row, measured: Measured) -> None:
        view = self.view
        view.rows += 1
        self.lengths["row"][measured.length] += 1
        for name, length in (("prompt", measured.prompt), ("learnt", measured.learnt)):
            if length is not None:
                self.lengths[name][length] += 1
        self.lengths["completion"].update(measured.completions)
        for talk in conversations(row)[:1]:
            tally(view.turns, len(talk.messages))
            tally(view.roles, *(message.role for message in talk.messages))
        if isinstance(row, Judged):
            tally(view.verdicts, str(row.verdict).lower())
        if isinstance(row, Comparison) and view.judgements is not None:
            _judge(view.judgements, row, measured)
        if measured.fate is not None:
            fate, reason = measured.fate
            note(view.fates.setdefault(fate, Listing()), row.origin, reason, self.options.listed)
        for kind, found in {told.kind: told.found for told in reversed(measured.notes)}.items():
            note(view.notes.setdefault(kind, Listing()), row.origin, found, self.options.listed, counts_reasons=False)
        self.chosen.offer(row, measured.length)

    def finish(self) -> KindView:
        self.view.lengths = {name: distribution(counts) for name, counts in self.lengths.items() if counts}
        self.view.samples = tuple(
            Sample(row.origin.file, row.origin.row, why, length, self.options.measure.parts(row), row.about)
            for row, length, why in self.chosen.rows()
        )
        return self.view


class _Chosen:
    """A few rows to look at: the first, some by chance (Vitter's algorithm R, 1985), and the longest."""

    def __init__(self, count: int, seed: int, *key: str) -> None:
        self.num_first, self.num_chance = count // 2, max(count - count // 2 - 1, 0)
        self.first: list[tuple[Row, int]] = []
        self.chance: list[tuple[Row, int]] = []
        self.longest: tuple[Row, int] | None = None
        self.wanted, self.seen = count, 0
        self.numbers = numpy_generator(seed, "inspect", *key)

    def offer(self, row: Row, length: int) -> None:
        if len(self.first) < self.num_first:
            self.first.append((row, length))
        else:
            self.seen += 1
            if len(self.chance) < self.num_chance:
                self.chance.append((row, length))
            elif self.num_chance and (slot := int(self.numbers.integers(self.seen))) < self.num_chance:
                self.chance[slot] = (row, length)
        if self.longest is None or length > self.longest[1]:
            self.longest = (row, length)

    def rows(self) -> Iterator[tuple[Row, int, str]]:
        yield from ((row, length, "first") for row, length in self.first)
        yield from ((row, length, "by chance") for row, length in self.chance)
        taken = {id(row) for row, _ in (*self.first, *self.chance)}
        if self.wanted and self.longest is not None and id(self.longest[0]) not in taken:
            yield (*self.longest, "longest")


def _show_once(kinds: Sequence[KindView]) -> None:
    """A row that is read as several kinds is shown as the first."""
    shown: set[tuple[str, int]] = set()
    for kind in kinds:
        kind.samples = tuple(sample for sample in kind.samples if (sample.file, sample.row) not in shown)
        shown |= {(sample.file, sample.row) for sample in kind.samples}


def note(listing: Listing, origin: Origin, reason: str, most: int | None, counts_reasons: bool = True) -> None:
    """Counts a row, and lists it while there is room. Reasons that differ only in numbers are counted as one."""
    listing.count += 1
    if counts_reasons:
        tally(listing.reasons, re.sub(r"\d[\d,]*", "…", reason))
    if most is None or len(listing.rows) < most:
        listing.rows.append(Listed(origin.file, origin.row, reason))


def texts(row: Row) -> Iterator[str]:
    """All texts of a row that a model reads or learns."""
    if isinstance(row, Text):
        yield row.text
    for number, talk in enumerate(conversations(row)):
        yield from (message.content for message in (talk.messages if number == 0 else talk.messages[-1:]))


def _judge(judgements: Judgements, row: Comparison, measured: Measured) -> None:
    tally(judgements.completions, len(row.completions))
    tally(judgements.annotators, *filter(None, [row.annotator]))
    tally(judgements.groups, *filter(None, [row.group]))
    judgements.ties += sum(one == other for one, other in combinations(row.ranks, 2))
    for better, worse in row.pairs:
        difference = measured.completions[better] - measured.completions[worse]
        judgements.pairs += 1
        judgements.longer_preferred += difference > 0
        judgements.shorter_preferred += difference < 0

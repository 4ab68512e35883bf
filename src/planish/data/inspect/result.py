"""The result of an inspection: plain numbers and texts of constant size, read without torch.

`data/inspect.py` fills it, the report shows it, and `dataclasses.asdict` makes JSON of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

Unit = Literal["tokens", "characters"]
SafetyKind = Literal["refusals", "look_alikes"]  # rows that refuse; rows that sound harmful and are answered
# The fate of a row in a run: it stops the run, is dropped, is truncated or, for a document, is split without loss.
Fate = Literal["stops the run", "dropped", "truncated", "split"]
MOST_BINS = 30


@dataclass(frozen=True, slots=True)
class HistogramBin:
    """Lengths from `start` up to but not including `stop`."""

    start: int
    stop: int
    count: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution. `p95` is the shortest length that at least 95% do not exceed; the median likewise with 50%."""

    count: int
    total: int
    least: int
    median: int
    mean: float
    p95: int
    p99: int
    most: int
    bins: tuple[HistogramBin, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A row by file and number, with a reason."""

    file: str
    row: int
    reason: str


@dataclass(slots=True)
class Listing:
    """Rows with the same fate: their number, their reasons, and the first of them."""

    count: int = 0
    reasons: dict[str, int] = field(default_factory=dict[str, int])
    rows: list[Listed] = field(default_factory=list[Listed])


@dataclass(frozen=True, slots=True)
class Piece:
    """A span of a row. `learnt` marks text in the loss, or in a comparison the judged completion; `special` marks tokens of
    the template or, without a model, the speaker's role."""

    text: str
    learnt: bool = False
    special: bool = False


@dataclass(frozen=True, slots=True)
class ShownPart:
    """The whole text of a row, or its prompt or one of its completions under a heading."""

    heading: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A row to look at, chosen as "first", "by chance" or "longest"."""

    file: str
    row: int
    why: str
    length: int
    parts: tuple[ShownPart, ...]
    about: Mapping[str, str | int | float | bool]


@dataclass(slots=True)
class Judgements:
    """Counts of comparisons: completions, annotators, and preferences for the longer completion."""

    completions: dict[int, int] = field(default_factory=dict[int, int])  # comparisons by their number of completions
    annotators: dict[str, int] = field(default_factory=dict[str, int])
    groups: dict[str, int] = field(default_factory=dict[str, int])
    pairs: int = 0  # of completions, one of them preferred
    ties: int = 0  # pairs of completions with equal ranks
    longer_preferred: int = 0
    shorter_preferred: int = 0  # the rest of the pairs are of equal length


@dataclass(slots=True)
class KindView:
    """The rows of one kind in a source. `lengths` has "row", "prompt", "completion" and "learnt" as far as they apply."""

    kind: str
    rows: int = 0
    lengths: dict[str, Lengths] = field(default_factory=dict[str, Lengths])
    turns: dict[int, int] = field(default_factory=dict[int, int])
    roles: dict[str, int] = field(default_factory=dict[str, int])
    dropped: Listing = field(default_factory=Listing)  # by the importer
    unfit: Listing = field(default_factory=Listing)  # records that fit another kind, not this one
    fates: dict[Fate, Listing] = field(default_factory=dict[Fate, Listing])  # after tokenization
    notes: dict[str, Listing] = field(default_factory=dict[str, Listing])  # what the chat template does to rows
    verdicts: dict[str, int] = field(default_factory=dict[str, int])
    judgements: Judgements | None = None
    samples: tuple[Sample, ...] = ()


@dataclass(slots=True)
class SourceView:
    """A source: its formats, contents and faults."""

    name: str
    paths: tuple[str, ...]
    formats: tuple[str, ...] = ()
    records: int = 0
    kinds: list[KindView] = field(default_factory=list[KindView])
    unfit: Listing = field(default_factory=Listing)  # records that fit no kind, and the error that ended the reading
    ignored: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])  # fields that no row holds, by file
    placeholders: dict[str, int] = field(default_factory=dict[str, int])  # rows with {{name}}, by name
    safety: dict[SafetyKind, int] = field(default_factory=dict[SafetyKind, int])  # rows of each kind


@dataclass(slots=True)
class Inspection:
    """All sources. Without a model `unit` is characters, and there are no fates."""

    sources: list[SourceView]
    unit: Unit
    model: str | None = None
    max_tokens: int | None = None
    too_long: str = "error"

    @property
    def unfit(self) -> int:
        return sum(source.unfit.count for source in self.sources)


K = TypeVar("K")


def tally(counts: dict[K, int], *keys: K) -> None:
    """Adds one for each key. A plain dict, because `asdict` of Python 3.11 spoils a Counter."""
    for key in keys:
        counts[key] = counts.get(key, 0) + 1


def distribution(counts: Mapping[int, int]) -> Lengths:
    """The distribution of lengths, from the count of each."""
    lengths = sorted(counts)
    number, total = sum(counts.values()), sum(length * count for length, count in counts.items())
    return Lengths(
        number,
        total,
        lengths[0],
        _quantile(lengths, counts, number, 50),
        total / number,
        _quantile(lengths, counts, number, 95),
        _quantile(lengths, counts, number, 99),
        lengths[-1],
        _bins(lengths, counts),
    )


def _quantile(lengths: list[int], counts: Mapping[int, int], number: int, percent: int) -> int:
    seen = 0
    for length in lengths:
        seen += counts[length]
        if seen * 100 >= number * percent:
            return length
    return lengths[-1]


def _bins(lengths: list[int], counts: Mapping[int, int]) -> tuple[HistogramBin, ...]:
    """At most MOST_BINS bins of equal width, 1, 2 or 5 times a power of ten, with outliers in a last, wider one."""
    far = _quantile(lengths, counts, sum(counts.values()), 99)
    start, width = lengths[0], 1
    steps = (2, 5, 10)
    at = 0
    while (far - start // width * width) // width >= MOST_BINS:
        width = steps[at % 3] * 10 ** (at // 3)
        at += 1
    start = start // width * width
    heights = Counter[int]()
    for length in lengths:
        heights[(min(length, far) - start) // width] += counts[length]
    last = max(heights)
    stops = [start + (i + 1) * width for i in range(last)] + [max(lengths[-1] + 1, start + (last + 1) * width)]
    return tuple(HistogramBin(start + i * width, stops[i], heights[i]) for i in range(last + 1))

"""What the report is made of: ratings, each by one annotator of one pair of answers, for one aspect.

The two answers of a pair are in the order of a hash of their texts, which says nothing about them: so "the first is better" has
no meaning of its own that agreement by chance would depend on.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from planish.statistics.estimate import Bootstrap

Use = Literal["task", "gold", "repeat", "adjudication", "practice"]
OVERALL = "overall"


@dataclass(frozen=True, slots=True)
class RatedPair:
    """Two answers of a prompt. `prompt` is its digest: the cluster that the bootstrap draws. `systems` wrote the first and the
    second, "" where it is not known; `notes` are the item's. `expected` is the value that is right, where it is known."""

    key: str
    prompt: str
    texts: tuple[str, str]
    systems: tuple[str, str]
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Rater:
    """A person or a model."""

    name: str
    kind: Literal["person", "model"]
    group: str = ""


@dataclass(frozen=True, slots=True)
class PairRating:
    """`value` is 1 if the first answer of the pair is better, −1 if the second, 0 for a tie. `side` is 1 if the first was shown
    before the second, −1 after it, 0 if the order is not known. `clear` is a judgement "clearly", None without a strength.
    `said` is the number of the judgement: a ranking of several answers is one."""

    pair: str
    rater: str
    aspect: str
    value: int
    said: int
    side: int = 0
    clear: bool | None = None
    use: Use = "task"
    chosen_by: str = ""


@dataclass(slots=True)
class Ratings:
    """All that was read. `unable` counts by rater the judgements without ranks, `seconds` are the times of the others;
    `both_orders` say of models that were asked twice, for each pair and order, if the first place was chosen, None for a tie."""

    pairs: dict[str, RatedPair] = field(default_factory=dict[str, RatedPair])
    raters: dict[str, Rater] = field(default_factory=dict[str, Rater])
    rows: list[PairRating] = field(default_factory=list[PairRating])
    unable: dict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict[str, list[float]](list))
    dropped: list[str] = field(default_factory=list[str])
    sources: list[str] = field(default_factory=list[str])
    pass_share: float | None = None  # of known answers, if a study asks for it
    both_orders: dict[str, list[list[bool | None]]] = field(
        default_factory=lambda: defaultdict[str, list[list[bool | None]]](list)
    )
    identical: int = 0  # pairs of one answer twice, which cannot be compared
    said: int = 0  # judgements so far
    seen: set[tuple[str, str, str]] = field(
        default_factory=set[tuple[str, str, str]]
    )  # who rated which pair, for which aspect

    def tasks(self, kind: str | None = None, aspect: str = OVERALL) -> list[PairRating]:
        """First judgements of items of unknown answer, by people or models."""
        return [
            row
            for row in self.rows
            if row.use == "task" and row.aspect == aspect and kind in (None, self.raters[row.rater].kind)
        ]

    def named(self, kind: str | None = None) -> list[Rater]:
        return [rater for _, rater in sorted(self.raters.items()) if kind in (None, rater.kind)]

    @property
    def aspects(self) -> list[str]:
        found = dict.fromkeys(row.aspect for row in self.rows)
        return sorted(found, key=lambda aspect: (aspect != OVERALL, aspect))


@dataclass(frozen=True, slots=True)
class Measuring:
    """What every measure needs: the ratings and the bootstrap."""

    ratings: Ratings
    bootstrap: Bootstrap

    def prompts_of(self, rows: Sequence[PairRating]) -> np.ndarray:
        return np.array([self.ratings.pairs[row.pair].prompt for row in rows])


def table_of(rows: Iterable[PairRating]) -> tuple[np.ndarray, list[str], list[str]]:
    """Values [raters, pairs], NaN where there is none, with the names of both."""
    rows = list(rows)
    raters, pairs = sorted({row.rater for row in rows}), list(dict.fromkeys(row.pair for row in rows))
    at_A, at_U = ({name: place for place, name in enumerate(names)} for names in (raters, pairs))
    values_AU = np.full((len(raters), len(pairs)), np.nan)
    for row in rows:
        values_AU[at_A[row.rater], at_U[row.pair]] = row.value
    return values_AU, raters, pairs


def grouped(rows: Iterable[PairRating], key: Callable[[PairRating], str]) -> dict[str, list[PairRating]]:
    groups: dict[str, list[PairRating]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(sorted(groups.items()))


def digest_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True, sort_keys=True).encode()).hexdigest()[:16]

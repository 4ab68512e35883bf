"""The pairs of compared answers behind every ranking statistic, one after the other as arrays [P].

A comparison weighs 1 in all and each of its C pairs 1/C, as in the reward model's loss (Ouyang et al. 2022, eq. 1). Ties
between ranks give no pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from planish.base.errors import DataError
from planish.statistics.estimate import Bootstrap, Estimate
from planish.statistics.ranking_result import Scored


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """All [P] but `names`, which numbers whatever has a name."""

    names: dict[str, list[str]]
    comparison: np.ndarray
    prompt: np.ndarray
    source: np.ndarray
    group: np.ndarray
    annotator: np.ndarray
    judged: np.ndarray  # the two answers, as one name; "" where they are not given or are equal
    first: np.ndarray  # bool: which of the two was preferred
    weight: np.ndarray  # 1/C
    margin: np.ndarray  # score of the preferred less that of the other
    longer: np.ndarray  # its length less that of the other, in tokens
    given: np.ndarray  # its score by the annotator less that of the other; nan where there is none
    p: np.ndarray  # nan where not known

    def take(self, keep: np.ndarray) -> ScoredPairs:
        arrays = {field.name: getattr(self, field.name)[keep] for field in fields(self) if field.name != "names"}
        return ScoredPairs(self.names, **arrays)

    def named(self, field: str) -> np.ndarray:
        """Pairs whose annotator, say, has a name."""
        empty = self.names[field].index("") if "" in self.names[field] else -1
        return getattr(self, field) != empty

    @property
    def right(self) -> np.ndarray:
        return credit(self.margin)

    @property
    def loss(self) -> np.ndarray:
        return np.logaddexp(0.0, -self.margin)

    @property
    def ceiling(self) -> np.ndarray:
        return np.maximum(self.p, 1 - self.p)

    def mean(self, values: np.ndarray, bootstrap: Bootstrap) -> Estimate:
        return bootstrap.mean(values, self.weight, self.prompt)

    def share(self, right: np.ndarray, bootstrap: Bootstrap) -> Estimate:
        return bootstrap.share(right, self.weight, self.prompt)


def pairs_of(scored: Sequence[Scored]) -> ScoredPairs:
    texts: dict[str, list[str]] = {field: [] for field in ("prompt", "source", "group", "annotator", "judged")}
    numbers: list[tuple[float, ...]] = []
    for number, row in enumerate(scored):
        pairs = row.pairs
        for (w, r), p in zip(pairs, row.p or [math.nan] * len(pairs), strict=True):
            two = sorted((row.completions[w], row.completions[r])) if row.completions else [""]
            first = bool(row.completions) and row.completions[w] == two[0]
            judged = repr((row.prompt, *two)) if len(set(two)) == 2 else ""
            for field, text in zip(texts, (row.prompt, row.source, row.group, row.annotator, judged), strict=True):
                texts[field].append(text)
            given = row.given[w] - row.given[r] if row.given else math.nan
            differences = (row.scores[w] - row.scores[r], row.num_tokens[w] - row.num_tokens[r], given)
            numbers.append((number, first, 1 / len(pairs), *differences, p))
    if not numbers:
        raise DataError(f"{len(scored)} comparisons, and in none is one answer preferred to another: nothing to rank")
    names = {field: sorted(set(values)) for field, values in texts.items()}
    numbered = {field: {name: i for i, name in enumerate(values)} for field, values in names.items()}
    named = {field: np.array([numbered[field][text] for text in values]) for field, values in texts.items()}
    comparison, first, weight, margin, longer, given, p = np.array(numbers).T
    return ScoredPairs(
        names, comparison, **named, first=first > 0, weight=weight, margin=margin, longer=longer, given=given, p=p
    )


def count(values: np.ndarray) -> int:
    """How many different ones there are."""
    return len(np.unique(values))


def credit(difference: np.ndarray) -> np.ndarray:
    """1 where the preferred has more, 1/2 where both have as much."""
    return (np.sign(difference) + 1) / 2


def equal_mass(values: np.ndarray, weight: np.ndarray, num: int) -> list[np.ndarray]:
    """Up to `num` parts of about equal weight, from small values to large, each as bool [P]. Equal values stay together."""
    place = np.unique(values, return_inverse=True)[1]
    mass = np.bincount(place, weight)
    middle = (mass.cumsum() - mass / 2) / mass.sum()
    part = np.floor(np.round(middle * num, 9))[place]  # rounded: the order of summation must not move a value
    return [part == number for number in np.unique(part)]

"""Which example stands where: a mixture of sources in stages, planned before step 0 from the seed alone.

The order is a function of place. Places are taken in blocks of about a thousand; a block holds of each source what its
weight says, to within one example of the exact share so far, shuffled by `generator(seed, "mix", stage, block)`. Within
a source the rows follow a shuffle of their own, `(seed, "order", source, epoch)`, so every row is seen once before any
is seen twice. With weights in proportion to the number of rows, one epoch is every row exactly once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from planish.base.errors import ConfigError
from planish.base.rng import numpy_generator

BLOCK = 1024


class Place(NamedTuple):
    source: int
    row: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of the order with one set of weights (by source number, summing to 1). `length` in examples."""

    weights: tuple[float, ...]
    length: int


class Mixture:
    """The order of all stages: `mixture[j]` is the j-th example of the run.

    >>> mixture = Mixture([3, 6], [Stage((1 / 3, 2 / 3), 9)], seed=0)
    >>> sorted((place.source, place.row) for place in mixture)
    [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]
    """

    def __init__(self, sizes: Sequence[int], stages: Sequence[Stage], seed: int) -> None:
        self.sizes, self.stages, self.seed = tuple(sizes), tuple(stages), seed
        # How many examples of each source came before each stage, and before each block within it.
        self._before: list[np.ndarray] = []
        drawn = np.zeros(len(sizes), np.int64)
        for stage in self.stages:
            counts = drawn + _cumulative_counts(np.array(stage.weights), stage.length)
            self._before.append(counts)
            drawn = counts[-1]
        self._starts = np.cumsum([0, *(stage.length for stage in self.stages)])
        self._labels = lru_cache(maxsize=4)(self._shuffle_block)
        self._rows = lru_cache(maxsize=2 * len(sizes))(self._shuffle_rows)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, j: int) -> Place:
        if not 0 <= j < len(self):
            raise IndexError(j)
        stage = int(np.searchsorted(self._starts, j, side="right")) - 1
        block, at = divmod(j - int(self._starts[stage]), BLOCK)
        labels, ranks = self._labels(stage, block)
        source = int(labels[at])
        epoch, place = divmod(int(self._before[stage][block, source] + ranks[at]), self.sizes[source])
        return Place(source, int(self._rows(source, epoch)[place]), epoch)

    def counts(self, stage: int) -> np.ndarray:
        """Examples of each source in a stage."""
        return self._before[stage][-1] - self._before[stage][0]

    def _shuffle_block(self, stage: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The sources of a block in order, and how many of the same source precede each within it."""
        counts = self._before[stage][block + 1] - self._before[stage][block]
        labels = np.repeat(np.arange(len(counts)), counts)
        numpy_generator(self.seed, "mix", stage, block).shuffle(labels)
        ranks = np.empty(len(labels), np.int64)
        for source, count in enumerate(counts):
            ranks[labels == source] = np.arange(count)
        return labels, ranks

    def _shuffle_rows(self, source: int, epoch: int) -> np.ndarray:
        return numpy_generator(self.seed, "order", source, epoch).permutation(self.sizes[source])


def _cumulative_counts(weights: np.ndarray, length: int) -> np.ndarray:
    """Examples of each source before each block, [blocks + 1, sources]: within one of the exact share, never falling."""
    ends = [*range(0, length, BLOCK), length]
    drawn = np.zeros(len(weights), np.int64)
    counts = [drawn]
    for start, end in pairwise(ends):
        owed = weights * end - drawn
        share = np.maximum(np.floor(owed + 1e-9), 0).astype(np.int64)
        missing = end - start - int(share.sum())
        by_remainder = np.argsort(-(owed - share), kind="stable")
        if missing > 0:
            share[by_remainder[:missing]] += 1
        for source in by_remainder[::-1]:  # rounding can also give one too many: it is taken where least is owed
            if missing >= 0:
                break
            if share[source] > 0:
                share[source] -= 1
                missing += 1
        drawn = drawn + share
        counts.append(drawn)
    return np.array(counts)


def normalised_weights(
    names: Sequence[str], sizes: Sequence[int], weights: Mapping[str, float | None], where: str
) -> tuple[float, ...]:
    """Weights by source number, summing to 1. All absent means in proportion to the rows; some absent is an error."""
    unknown = sorted(set(weights) - set(names))
    if unknown:
        raise ConfigError(f"{where}: there is no source '{unknown[0]}'; there are: {', '.join(names)}")
    given = [weights.get(name) for name in names]
    absent = [name for name in weights if weights[name] is None]
    if absent and len(absent) < len(weights):
        raise ConfigError(f"{where}: source '{absent[0]}' has no weight while others have: give all a weight, or none")
    below = [name for name in names if (weights.get(name) or 0.0) < 0]
    if below:
        raise ConfigError(f"{where}: source '{below[0]}' has a weight below 0")
    values = np.array(sizes if absent else [value or 0.0 for value in given], np.float64)
    if values.sum() <= 0:
        raise ConfigError(f"{where}: the weights add up to 0")
    empty = [name for name, size, value in zip(names, sizes, values, strict=True) if value > 0 and size == 0]
    if empty:
        raise ConfigError(f"{where}: source '{empty[0]}' has a weight, and no row to train on")
    return tuple((values / values.sum()).tolist())

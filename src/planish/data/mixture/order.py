"""The order of examples: a mixture of sources in stages, fixed before step 0 by the seed alone.

The example at a position is a function of that position. Positions are grouped into blocks of about a thousand; a block
contains each source's share, to within one example of the exact share so far, shuffled by
`numpy_generator(seed, "mix", stage, block)`. The rows of a source follow their own shuffle, keyed by
`(seed, "order", source, epoch)`, so every row is seen once before any is seen twice; with keys, each pass goes from the
lowest to the highest (a curriculum), and the shuffle decides between equal ones. The order is never stored: any part of it is
computed on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from planish.base.errors import ConfigError
from planish.base.random import Permutation, numpy_generator

BLOCK = 1024
CHUNK = 64 * BLOCK  # positions computed at once on a walk through a stage


class RowRef(NamedTuple):
    """The row at a position of the order."""

    source: int
    row: int
    epoch: int


class RowRefs(NamedTuple):
    """The rows at consecutive positions, as three arrays of equal length."""

    sources: np.ndarray
    rows: np.ndarray
    epochs: np.ndarray


@dataclass(frozen=True, slots=True)
class MixtureStage:
    """A stage of the order: the number of examples of each source, evenly spread."""

    counts: tuple[int, ...]

    @property
    def length(self) -> int:
        return sum(self.counts)


class Mixture:
    """The order of all stages: `mixture[j]` is the j-th example of the run.

    >>> mixture = Mixture([3, 6], [MixtureStage((3, 6))], seed=0)
    >>> sorted((ref.source, ref.row) for ref in mixture)
    [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]
    """

    def __init__(
        self,
        sizes: Sequence[int],
        stages: Sequence[MixtureStage],
        seed: int,
        keys: Sequence[np.ndarray] | None = None,  # of each source's rows
    ) -> None:
        self.sizes, self.stages, self.seed, self.keys = tuple(sizes), tuple(stages), seed, keys
        # Examples of each source before each stage, and before each block within it.
        self._before: list[np.ndarray] = []
        drawn = np.zeros(len(sizes), np.int64)
        for stage in self.stages:
            counts = drawn + _before_blocks(np.array(stage.counts, np.int64))
            self._before.append(counts)
            drawn = counts[-1]
        self.starts = np.cumsum([0, *(stage.length for stage in self.stages)])
        self._order = Order(self.sizes, seed, keys)
        self._labels = lru_cache(maxsize=4)(self._shuffle_block)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, j: int) -> RowRef:
        if not 0 <= j < len(self):
            raise IndexError(j)
        sources, rows, epochs = self.refs(j, j + 1)
        return RowRef(int(sources[0]), int(rows[0]), int(epochs[0]))

    def __iter__(self) -> Iterator[RowRef]:
        for refs in self.walk(0, len(self)):
            yield from (RowRef(*ref) for ref in zip(*(column.tolist() for column in refs), strict=True))

    def refs(self, start: int, stop: int) -> RowRefs:
        """The rows from position `start` up to `stop`."""
        parts = [self._in_block(*block) for block in self._blocks(start, stop)]
        columns = zip(*parts, strict=True) if parts else [[np.zeros(0, np.int64)]] * 2
        sources, draws = (np.concatenate(list(column)) for column in columns)
        rows, epochs = self._order(sources, draws)
        return RowRefs(sources, rows, epochs)

    def walk(self, start: int, stop: int) -> Iterator[RowRefs]:
        """The rows from position `start` up to `stop`, a chunk at a time."""
        for begin in range(start, stop, CHUNK):
            yield self.refs(begin, min(begin + CHUNK, stop))

    def drawn(self, stage: int) -> np.ndarray:
        """The number of examples of each source before a stage; `stage` may be one past the last."""
        return self._before[stage][0] if stage < len(self.stages) else self._before[-1][-1]

    def _blocks(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        """The blocks that contain these positions: stage, block, and start and end inside it."""
        for stage, (first, end) in enumerate(pairwise(self.starts.tolist())):
            low, high = max(start, first) - first, min(stop, end) - first
            for block in range(low // BLOCK, -(-high // BLOCK) if high > low else 0):
                yield stage, block, max(low - block * BLOCK, 0), min(high - block * BLOCK, BLOCK)

    def _in_block(self, stage: int, block: int, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        labels, draws = self._labels(stage, block)
        return labels[begin:end], draws[begin:end]

    def _shuffle_block(self, stage: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The sources of a block in order, and for each the number of the draw from that source."""
        before = self._before[stage][block]
        counts = self._before[stage][block + 1] - before
        labels = np.repeat(np.arange(len(counts)), counts)
        numpy_generator(self.seed, "mix", stage, block).shuffle(labels)
        draws = np.empty(len(labels), np.int64)
        for source in np.flatnonzero(counts):
            draws[labels == source] = np.arange(before[source], before[source] + counts[source])
        return labels, draws


class Order:
    """The order of rows within each source: the row and the pass of the n-th draw from a source."""

    def __init__(self, sizes: Sequence[int], seed: int, keys: Sequence[np.ndarray] | None = None) -> None:
        self.sizes, self.seed, self.keys = np.array(sizes, np.int64), seed, keys
        self._shuffle = lru_cache(maxsize=2 * len(sizes))(self._shuffle_pass)

    def __call__(self, sources: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and epochs of these draws."""
        epochs, within = np.divmod(draws, self.sizes[sources])
        rows = np.empty(len(draws), np.int64)
        for source, epoch in np.unique(np.stack([sources, epochs]), axis=1).T.tolist():
            here = (sources == source) & (epochs == epoch)
            rows[here] = self._shuffle(source, epoch)(within[here])
        return rows, epochs

    def of(self, source: int, start: int, stop: int) -> Iterator[np.ndarray]:
        """The rows of a source's draws from `start` up to `stop`, a chunk at a time."""
        for begin in range(start, stop, CHUNK):
            draws = np.arange(begin, min(begin + CHUNK, stop))
            yield self(np.full(len(draws), source), draws)[0]

    def _shuffle_pass(self, source: int, epoch: int) -> Callable[[np.ndarray], np.ndarray]:
        shuffled = Permutation(int(self.sizes[source]), self.seed, "order", source, epoch)
        if self.keys is None:
            return shuffled
        rows = shuffled(np.arange(int(self.sizes[source])))
        return rows[np.argsort(self.keys[source][rows], kind="stable")].__getitem__


def share_out(weights: Sequence[float], length: int) -> tuple[int, ...]:
    """Counts, `length` in all, each within one of its exact share."""
    exact = np.array(weights, np.float64) * length
    counts = np.floor(exact + 1e-9).astype(np.int64)
    missing = length - int(counts.sum())
    # Rounding of large numbers can also give a few too many: they are taken from the smallest remainders.
    by_remainder = [int(i) for i in np.argsort(-(exact - counts), kind="stable") if weights[i] > 0]
    for i in by_remainder[:missing] if missing > 0 else [i for i in by_remainder if counts[i]][missing:]:
        counts[i] += np.sign(missing)
    return tuple(counts.tolist())


def _before_blocks(counts: np.ndarray) -> np.ndarray:
    """Examples of each source before each block, [blocks + 1, sources]: within one of the exact share, never falling."""
    length = int(counts.sum())
    drawn = np.zeros(len(counts), np.int64)
    before = [drawn]
    for start in range(0, length, BLOCK):
        end = min(start + BLOCK, length)
        whole, rest = np.divmod(counts * end, length)
        share = np.maximum(whole - drawn, 0)
        missing = end - start - int(share.sum())
        by_remainder = np.lexsort((-rest, drawn + share - whole))  # sources owed a whole example come first
        if missing > 0:
            share[by_remainder[:missing]] += 1
        # Some sources had one more than their share before: the surplus is taken from the smallest remainders.
        for source in by_remainder[::-1]:
            if missing < 0 and share[source] > 0:
                share[source] -= 1
                missing += 1
        drawn = drawn + share
        before.append(drawn)
    return np.array(before)


def normalized_weights(
    names: Sequence[str],
    sizes: Sequence[int],
    weights: Mapping[str, float | None],
    where: str,
    cap: int | None = None,
    temperature: float = 1.0,
) -> tuple[float, ...]:
    """Weights by source number, summing to 1; 0 for sources not named. If all are absent, they are
    min(rows, cap)^(1/temperature).

    FLAN's examples-proportional mixing (Raffel et al. 2020, section 3.5.2; Wei et al. 2022) has a cap of 3,000.
    """
    unknown = sorted(set(weights) - set(names))
    if unknown:
        raise ConfigError(f"{where}: there is no source '{unknown[0]}'; there are: {', '.join(names)}")
    absent = [name for name in weights if weights[name] is None]
    if absent and len(absent) < len(weights):
        raise ConfigError(f"{where}: source '{absent[0]}' has no weight while others have: give all a weight, or none")
    below = [name for name in names if (weights.get(name) or 0.0) < 0]
    if below:
        raise ConfigError(f"{where}: source '{below[0]}' has a weight below 0")
    rates = {name: min(size, cap or size) ** (1 / temperature) for name, size in zip(names, sizes, strict=True)}
    given = {name: rates[name] if absent else weights[name] for name in weights}
    values = np.array([given.get(name) or 0.0 for name in names], np.float64)
    if values.sum() <= 0:
        raise ConfigError(f"{where}: the weights add up to 0")
    empty = [name for name, size, value in zip(names, sizes, values, strict=True) if value > 0 and size == 0]
    if empty:
        raise ConfigError(f"{where}: source '{empty[0]}' has a weight, but no row to train on")
    return tuple((values / values.sum()).tolist())

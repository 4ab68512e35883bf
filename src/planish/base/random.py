"""Chance as a function of a key.

Every random number comes from the seed and a key: `numpy_generator(seed, "sample", iteration, prompt, k)`. Nothing random is
carried from step to step, so a resumed run needs no saved generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def fold_in(seed: int, *key: str | int) -> int:
    """A 63-bit seed for a key, the same on every machine. Strings and numbers do not collide ("1" is not 1)."""
    digest = hashlib.blake2b(repr((seed, *key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_generator(seed: int, *key: str | int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(fold_in(seed, *key)))


class Permutation:
    """The numbers below `size` in an order of their own, any of which is found without laying out the rest.

    Up to SMALL numbers it is an ordinary shuffle. Above, it is a Feistel network over the next even power of two, walked
    until it falls below `size` (Black and Rogaway 2002), so a hundred million rows take no memory.

    >>> order = Permutation(5, 0, "order", 3)
    >>> sorted(order(np.arange(5)).tolist())
    [0, 1, 2, 3, 4]
    """

    SMALL = 1 << 16
    ROUNDS = 6

    def __init__(self, size: int, seed: int, *key: str | int) -> None:
        self.size = size
        numbers = numpy_generator(seed, *key)
        self._table = numbers.permutation(size) if size <= self.SMALL else None
        self._half = np.uint64((max(size - 1, 1).bit_length() + 1) // 2)
        self._mask = np.uint64((1 << int(self._half)) - 1)
        self._keys = numbers.integers(0, 2**64, self.ROUNDS, np.uint64)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """The numbers at these positions; int64."""
        if self._table is not None:
            return self._table[positions]
        found = self._encipher(positions.astype(np.uint64))
        while (outside := np.flatnonzero(found >= self.size)).size:
            found[outside] = self._encipher(found[outside])
        return found.astype(np.int64)

    def _encipher(self, values: np.ndarray) -> np.ndarray:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right + key) & self._mask)
        return (left << self._half) | right


def subsample(rows: Sequence[T], limit: int | None, seed: int) -> list[T]:
    """At most `limit` of the rows, drawn by the seed, in their order."""
    if limit is None or limit >= len(rows):
        return list(rows)
    return [rows[i] for i in sorted(Permutation(len(rows), seed, "limit")(np.arange(limit)))]


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014): every bit of the result depends on every bit given."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))

"""Near duplicates: rows with almost the same runs of words (MinHash, Broder 1997) or prompts (ROUGE-L, Lin 2004).

Both searches first rule out most pairs by bitmaps. In the bitmap of a set every element flips one of 512 bits; an element
in only one of two sets flips one bit of their exclusive or, so at most as many bits differ as elements (Sandes, Teodoro
and Melo, 2017, "Bitmap filter"). The similarity of the remaining pairs is computed exactly.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planish.data.cleaning.fingerprints import FACTOR, hash64

RECALL = 0.99  # probability that a pair exactly at the threshold is proposed, at least
MOST_HASHES = 128
BLOCK = 1024  # elements hashed at once, so that a book takes little memory


@dataclass(frozen=True, slots=True)
class NearMatch:
    """An earlier row, by the number of its origin, and its similarity."""

    origin_id: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Mark:
    """The bitmap of a set, also folded to 64 bits."""

    size: int
    bits: np.ndarray
    folded: np.uint64


def mark(elements: np.ndarray) -> Mark:
    """The bitmap of distinct 64-bit hashes; the highest nine bits of each choose the bit that it flips."""
    odd = np.bincount((elements >> np.uint64(55)).astype(np.intp), minlength=512) % 2 == 1
    bits = np.packbits(odd).view(np.uint64)
    return Mark(len(elements), bits, np.bitwise_xor.reduce(bits))


class Bitmaps:
    """The bitmaps of the kept sets, 76 bytes each."""

    def __init__(self) -> None:
        self.count = 0
        self._size, self._folded = np.zeros(16, np.int32), np.zeros(16, np.uint64)
        self._bits = np.zeros((16, 8), np.uint64)

    def add(self, mark: Mark) -> int:
        if self.count == len(self._size):
            self._size, self._folded, self._bits = (
                np.concatenate([column, np.zeros_like(column)]) for column in (self._size, self._folded, self._bits)
            )
        at = self.count
        self._size[at], self._folded[at], self._bits[at] = mark.size, mark.folded, mark.bits
        self.count += 1
        return at

    def near(self, mark: Mark, share: float, among: np.ndarray | None = None) -> np.ndarray:
        """Numbers of sets, including all that differ from this one in at most `share` of the elements of both."""
        which = slice(self.count) if among is None else among
        most = (self._size[which] + mark.size) * share + 1e-6
        left = np.flatnonzero(np.bitwise_count(self._folded[which] ^ mark.folded) <= most)
        numbers = left if among is None else among[left]
        differ = np.bitwise_count(self._bits[numbers] ^ mark.bits).sum(axis=1, dtype=np.int64)
        least = np.maximum(differ, np.abs(self._size[numbers] - mark.size))
        return numbers[least <= most[left]]


def banding(threshold: float) -> tuple[int, int]:
    """The number of bands and of hashes in each: few false proposals, and 99% of the pairs at the threshold."""
    best = (1, MOST_HASHES)
    for rows in range(1, MOST_HASHES + 1):
        missed = 1 - threshold**rows  # probability that one band does not agree
        bands = math.ceil(math.log(1 - RECALL) / math.log(missed)) if missed > 0 else 1
        if bands * rows > MOST_HASHES and rows > 1:
            break
        best = (bands, rows)
    return best


def shared_groups(keys: np.ndarray) -> np.ndarray:
    """The group of each key among the keys that occur more than once, or -1."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.where(counts > 1, np.cumsum(counts > 1) - 1, -1)[inverse].astype(np.int32)


class NearCopies:
    """Finds sets whose Jaccard index with an earlier kept set is at least `threshold`.

    Call `look_ahead` with every set, then `ready`, then for each set in the same order `find` and, to keep it, `keep`.

    A set comes in parts that share no element. Two sets are as similar as their least similar parts: another question
    about the same long passage is no copy. The index of the whole is at least as high, so the whole proposes pairs.

    Two sets of Jaccard index s agree on one minimum with probability s, and are proposed with 1 - (1 - s**rows)**bands:
    for threshold 0.8 (16 bands of 6) that is 0.992 at 0.8, 0.87 at 0.7, 0.22 at 0.5 and 0.01 at 0.3. The index of a
    proposed pair is computed, so none below the threshold is found. A set takes 4 bytes a band; the elements, 8 bytes
    each, are kept only for sets that share a band with another.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.bands, self.rows = banding(threshold)
        hashes = self.bands * self.rows
        self._factors = np.array([hash64(f"minhash factor {i}") | 1 for i in range(hashes)], np.uint64)[:, None]
        self._terms = np.array([hash64(f"minhash term {i}") for i in range(hashes)], np.uint64)[:, None]
        self._keys = array("i")
        self._groups = np.zeros((0, self.bands), np.int32)
        self._buckets: dict[int, array[int]] = {}
        self._bitmaps = Bitmaps()
        self._kept: list[tuple[int, Sequence[np.ndarray]]] = []  # origin number and parts

    def look_ahead(self, parts: Sequence[np.ndarray]) -> None:
        self._keys.frombytes(self._band_keys(np.concatenate(parts)).tobytes())

    def _band_keys(self, elements: np.ndarray) -> np.ndarray:
        least = np.full(len(self._factors), np.iinfo(np.uint64).max)
        for start in range(0, len(elements), BLOCK):
            block = elements[start : start + BLOCK]
            np.minimum(least, (self._factors * block + self._terms).min(axis=1), out=least)
        keys = np.zeros(self.bands, np.uint64)
        for column in least.reshape(self.bands, self.rows).T:
            keys = keys * FACTOR + column
        return (keys >> np.uint64(32)).astype(np.uint32)  # keys that are equal by chance only cost a comparison

    def ready(self) -> None:
        """Numbers the band keys that sets share, over all bands; only these propose pairs."""
        self._groups = np.frombuffer(self._keys, np.int32).reshape(-1, self.bands)
        first = 0
        for band in range(self.bands):
            groups = shared_groups(self._groups[:, band])
            self._groups[:, band] = np.where(groups < 0, -1, groups + first)
            first += int(groups.max(initial=-1)) + 1

    def groups(self, number: int) -> list[int]:
        """The groups of the set with this number in `look_ahead`. Without any it is similar to no other."""
        return [group for group in self._groups[number].tolist() if group >= 0]

    def find(self, number: int, parts: Sequence[np.ndarray]) -> NearMatch | None:
        share = (1 - self.threshold) / (1 + self.threshold)
        marked = mark(np.concatenate(parts))
        near: set[int] = set()
        for group in self.groups(number):
            if bucket := self._buckets.get(group):
                near.update(self._bitmaps.near(marked, share, np.frombuffer(bucket, np.int32)).tolist())
        for at in sorted(near):
            origin_id, others = self._kept[at]
            if (index := least_jaccard(parts, others)) >= self.threshold:
                return NearMatch(origin_id, index)
        return None

    def keep(self, number: int, origin_id: int, parts: Sequence[np.ndarray]) -> None:
        groups = self.groups(number)
        if not groups or not any(map(len, parts)):
            return
        at = self._bitmaps.add(mark(np.concatenate(parts)))
        self._kept.append((origin_id, parts))
        for group in groups:
            self._buckets.setdefault(group, array("i")).append(at)


def least_jaccard(parts: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    """The Jaccard index of the least similar parts; 0 if their numbers differ."""
    if len(parts) != len(others):
        return 0.0
    return min(jaccard(part, other) for part, other in zip(parts, others, strict=True))


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Common elements over all elements of two sorted sets; 1 if both are empty."""
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common) if len(a) or len(b) else 1.0


class SimilarPrompts:
    """Finds prompts whose ROUGE-L with an earlier kept prompt is above `threshold`, as in Self-Instruct (Wang et al. 2023,
    0.7). All such pairs are found: a common subsequence of L words has L words in common, so two prompts of m and n words
    differ in less than (1 - threshold)(m + n) words, with repeated words counted separately.

    A kept prompt takes 8 bytes a word and 92 more. Each prompt is compared with the bitmaps of all before it.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._bitmaps = Bitmaps()
        self._words, self._ends, self._origin_ids = array("Q"), array("q", [0]), array("q")

    def find(self, words: np.ndarray) -> NearMatch | None:
        """The first similar prompt; `words` are the hashes of a prompt's words, in order."""
        order = words.tolist()
        for at in self._bitmaps.near(mark(counted(words)), 1 - self.threshold).tolist():
            other = self._words[self._ends[at] : self._ends[at + 1]]
            if (score := rouge_l(order, other.tolist())) > self.threshold:
                return NearMatch(self._origin_ids[at], score)
        return None

    def keep(self, origin_id: int, words: np.ndarray) -> None:
        self._bitmaps.add(mark(counted(words)))
        self._words.frombytes(words.tobytes())
        self._ends.append(len(self._words))
        self._origin_ids.append(origin_id)


def counted(words: np.ndarray) -> np.ndarray:
    """A distinct element for each word: the second "the" of any prompt is another element than the first."""
    ordered = np.sort(words)
    occurrence = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    return (ordered + occurrence.astype(np.uint64)) * FACTOR


def rouge_l(a: list[int], b: list[int]) -> float:
    """The F-measure of the longest common subsequence: 2 LCS / (m + n)."""
    return 2 * common_subsequence(a, b) / (len(a) + len(b)) if a or b else 0.0


def common_subsequence(a: list[int], b: list[int]) -> int:
    """Its length, with a whole row of the table at once: bit i of `row` is 0 where the entry grows at a[i] (Hyyrö 2004)."""
    bits_of: dict[int, int] = {}
    for i, word in enumerate(a):
        bits_of[word] = bits_of.get(word, 0) | 1 << i
    every = (1 << len(a)) - 1
    row = every
    for word in b:
        matched = row & bits_of.get(word, 0)
        row = ((row + matched) | (row - matched)) & every
    return len(a) - row.bit_count()

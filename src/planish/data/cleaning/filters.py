"""Cleaning filters: each gives the reason why it removes a row, or None."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import numpy as np

from planish.base.errors import ConfigError
from planish.base.plugins import find_function
from planish.data.cleaning.fingerprints import (
    Cleanable,
    copy_digest,
    learnt_lengths,
    prompt,
    shingles,
    word_hashes,
)
from planish.data.cleaning.near_duplicates import NearCopies, SimilarPrompts, shared_groups
from planish.data.provenance import Origins
from planish.data.rows import Origin


class Filter:
    """The interface of a filter; most need only `reason`.

    A filter that `looks_ahead` first sees every row, in order, then `ready` is called. Then `reason` is called for each
    row, with its number over all sources, and if no filter removes the row, `keep`, with the number of its origin.
    """

    name: str
    looks_ahead = False

    def look_ahead(self, row: Cleanable) -> None: ...

    def ready(self) -> None: ...

    def reason(self, number: int, row: Cleanable) -> str | None: ...

    def keep(self, number: int, origin_id: int) -> None: ...


class LeakFilter(Filter):
    def __init__(self, name: str, why: Callable[[Cleanable], str | None]) -> None:
        self.name = name
        self._why = why

    def reason(self, number: int, row: Cleanable) -> str | None:
        return self._why(row)


class LengthFilter(Filter):
    """Removes rows with too few or too many learnt characters, in a comparison in any completion."""

    name = "length"

    def __init__(self, least: int | None, most: int | None) -> None:
        self._least, self._most = least, most

    def reason(self, number: int, row: Cleanable) -> str | None:
        lengths = learnt_lengths(row)
        if self._least is not None and min(lengths) < self._least:
            return f"{min(lengths)} characters to learn, fewer than min_characters={self._least}"
        if self._most is not None and max(lengths) > self._most:
            return f"{max(lengths)} characters to learn, more than max_characters={self._most}"
        return None


class FunctionFilter(Filter):
    """A function of yours: it returns the reason to remove a row, or None."""

    def __init__(self, name: str) -> None:
        self.name, self._function = name, find_function(name, "cleaning.filters")

    def reason(self, number: int, row: Cleanable) -> str | None:
        reason = self._function(row)
        if reason is not None and not isinstance(reason, str):
            raise ConfigError(
                f"cleaning.filters: {self.name} must return a reason (text) or None; it returned {reason!r}"
            )
        return reason


class ExactCopyFilter(Filter):
    """Removes later copies. It keeps 8 bytes a row, and a table entry for each row with copies."""

    name = "exact copy"
    looks_ahead = True

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._digests = array("Q")
        self._groups = np.zeros(0, np.int32)
        self._first: dict[int, int] = {}

    def look_ahead(self, row: Cleanable) -> None:
        self._digests.append(copy_digest(row))

    def ready(self) -> None:
        self._groups = shared_groups(np.array(self._digests, np.uint64))
        del self._digests

    def reason(self, number: int, row: Cleanable) -> str | None:
        origin_id = self._first.get(int(self._groups[number]))
        return None if origin_id is None else f"copy of {self._origins[origin_id]}"

    def keep(self, number: int, origin_id: int) -> None:
        if (group := int(self._groups[number])) >= 0:
            self._first[group] = origin_id


class NearCopyFilter(Filter):
    name = "near copy"
    looks_ahead = True

    def __init__(self, origins: Origins, threshold: float) -> None:
        self._origins = origins
        self._copies = NearCopies(threshold)
        self._shingles: list[np.ndarray] = []

    def look_ahead(self, row: Cleanable) -> None:
        self._copies.look_ahead(shingles(row))

    def ready(self) -> None:
        self._copies.ready()

    def reason(self, number: int, row: Cleanable) -> str | None:
        if not self._copies.groups(number):
            return None
        self._shingles = shingles(row)
        match = self._copies.find(number, self._shingles)
        return f"near copy ({match.similarity:.2f}) of {self._origins[match.origin_id]}" if match else None

    def keep(self, number: int, origin_id: int) -> None:
        self._copies.keep(number, origin_id, self._shingles)


class SimilarPromptFilter(Filter):
    """Removes rows with a prompt like an earlier one, including evaluation prompts. Documents have no prompt."""

    name = "similar prompt"

    def __init__(self, origins: Origins, threshold: float, evaluation: Sequence[tuple[Origin, str]]) -> None:
        self._origins = origins
        self._prompts = SimilarPrompts(threshold)
        self._words = np.zeros(0, np.uint64)
        for origin, text in evaluation:
            self._words = word_hashes(text)
            self.keep(-1, origins.add(origin))

    def reason(self, number: int, row: Cleanable) -> str | None:
        self._words = word_hashes(prompt(row))
        match = self._prompts.find(self._words) if len(self._words) else None
        return (
            f"prompt like that of {self._origins[match.origin_id]} (ROUGE-L {match.similarity:.2f})" if match else None
        )

    def keep(self, number: int, origin_id: int) -> None:
        if len(self._words):
            self._prompts.keep(origin_id, self._words)

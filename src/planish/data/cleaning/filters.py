"""The rules a row is put to, each with the words in which it says why the row goes."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import numpy as np

from planish.data.cleaning.fingerprints import (
    Cleanable,
    copy_digest,
    learnt_lengths,
    prompt,
    shingles,
    texts,
    word_hashes,
)
from planish.data.cleaning.languages import Languages
from planish.data.cleaning.near_duplicates import NearCopies, SimilarPrompts, shared_groups
from planish.data.provenance import Origins
from planish.data.rows import Origin


class Filter:
    """What all rules can be asked; most need only `reason`.

    A rule that `looks_ahead` is first shown every row, in order, then told it is `ready`. Then each row is put to
    `reason` with its number over all sources. If no rule objects, `keep` follows for the same row, with the number of its
    place.
    """

    name: str
    looks_ahead = False

    def look_ahead(self, row: Cleanable) -> None: ...

    def ready(self) -> None: ...

    def reason(self, number: int, row: Cleanable) -> str | None: ...

    def keep(self, number: int, place: int) -> None: ...


class LeakFilter(Filter):
    def __init__(self, name: str, why: Callable[[Cleanable], str | None]) -> None:
        self.name = name
        self._why = why

    def reason(self, number: int, row: Cleanable) -> str | None:
        return self._why(row)


class LengthFilter(Filter):
    """Of a comparison no completion may be too short or too long."""

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


class LanguageFilter(Filter):
    name = "language"

    def __init__(self, languages: Languages) -> None:
        self._languages = languages

    def reason(self, number: int, row: Cleanable) -> str | None:
        other = self._languages.other("\n".join(texts(row)))
        return f"language {other}, not {' or '.join(self._languages.wanted)}" if other else None


class ExactCopyFilter(Filter):
    """Keeps 8 bytes a row, and an entry of a table for each row that has copies."""

    name = "exact copy"
    looks_ahead = True

    def __init__(self, places: Origins) -> None:
        self._places = places
        self._digests = array("Q")
        self._groups = np.zeros(0, np.int32)
        self._first: dict[int, int] = {}

    def look_ahead(self, row: Cleanable) -> None:
        self._digests.append(copy_digest(row))

    def ready(self) -> None:
        self._groups = shared_groups(np.array(self._digests, np.uint64))
        del self._digests

    def reason(self, number: int, row: Cleanable) -> str | None:
        place = self._first.get(int(self._groups[number]))
        return None if place is None else f"copy of {self._places[place]}"

    def keep(self, number: int, place: int) -> None:
        if (group := int(self._groups[number])) >= 0:
            self._first[group] = place


class NearCopyFilter(Filter):
    name = "near copy"
    looks_ahead = True

    def __init__(self, places: Origins, threshold: float) -> None:
        self._places = places
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
        found = self._copies.find(number, self._shingles)
        return f"near copy ({found.similarity:.2f}) of {self._places[found.place]}" if found else None

    def keep(self, number: int, place: int) -> None:
        self._copies.keep(number, place, self._shingles)


class SimilarPromptFilter(Filter):
    """A document has no prompt, so it is neither removed nor compared with. Evaluation prompts count as earlier ones."""

    name = "similar prompt"

    def __init__(self, places: Origins, threshold: float, evaluation: Sequence[tuple[Origin, str]]) -> None:
        self._places = places
        self._prompts = SimilarPrompts(threshold)
        self._words = np.zeros(0, np.uint64)
        for origin, text in evaluation:
            self._words = word_hashes(text)
            self.keep(-1, places.add(origin))

    def reason(self, number: int, row: Cleanable) -> str | None:
        self._words = word_hashes(prompt(row))
        found = self._prompts.find(self._words) if len(self._words) else None
        return f"prompt like that of {self._places[found.place]} (ROUGE-L {found.similarity:.2f})" if found else None

    def keep(self, number: int, place: int) -> None:
        if len(self._words):
            self._prompts.keep(place, self._words)

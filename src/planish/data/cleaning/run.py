"""Cleaning: removes copies, near copies, evaluation leaks, other languages and odd lengths before training.

Sources are read in order, and each row is compared with the rows kept before it, so the first of several copies stays. A
removal names the filter and the earlier row. Rows are streamed, twice to find copies: the first time only to learn which
hashes occur more than once. Only a few numbers of each row are kept in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.plugins import Names
from planish.data.cleaning.filters import (
    ExactCopyFilter,
    Filter,
    FunctionFilter,
    LeakFilter,
    LengthFilter,
    NearCopyFilter,
    SimilarPromptFilter,
)
from planish.data.cleaning.fingerprints import Cleanable
from planish.data.cleaning.languages import LanguageFilter
from planish.data.cleaning.leaks import EvaluationPrompts, evaluation_rows
from planish.data.provenance import Origins
from planish.data.rows import Origin


class CleaningConfig(Config):
    exact_copies: bool = Field(
        default=False, description="remove rows that equal an earlier row of any source, ignoring case and punctuation"
    )
    near_copies: float | None = Field(
        default=None,
        ge=0.5,
        le=1,
        description="least Jaccard index with an earlier row, in runs of 5 words, at which a row is removed",
    )
    similar_prompts: float | None = Field(
        default=None, gt=0, lt=1, description="ROUGE-L with an earlier prompt above which a row is removed"
    )
    evaluation: tuple[str, ...] = Field(
        default=(),
        description="files or folders of evaluation sets; rows that repeat a prompt of theirs are warned about",
    )
    remove_leaks: bool = Field(
        default=False,
        description="remove rows that repeat an evaluation prompt, or share a run of leak_words words with its row",
    )
    leak_words: int = Field(default=13, ge=5, description="number of words in a shared run that counts as a leak")
    languages: tuple[str, ...] = Field(default=(), description="languages to keep (ISO 639-1); empty is all")
    filters: Names = Field(
        default=(), description="module:function of yours, of a row: it returns a reason to remove the row, or None"
    )
    min_characters: int | None = Field(default=None, ge=1, description="least number of learnt characters of a row")
    max_characters: int | None = Field(default=None, ge=1, description="greatest number of learnt characters of a row")

    @model_validator(mode="after")
    def _check(self) -> CleaningConfig:
        if self.remove_leaks and not self.evaluation:
            raise ValueError("remove_leaks needs `evaluation`: the sets whose prompts must not be learnt")
        if (self.min_characters or 0) > (self.max_characters or math.inf):
            raise ValueError(f"min_characters={self.min_characters} is above max_characters={self.max_characters}")
        return self


class RowSource(Protocol):
    """Rows that are the same each time they are read."""

    name: str

    def __iter__(self) -> Iterator[Cleanable]: ...


@dataclass(frozen=True, slots=True)
class Removal:
    """A row to remove. `ordinal` is its number in its stream, from 0; `reason` continues "removed:"."""

    ordinal: int
    origin: Origin
    filter: str
    reason: str


@dataclass(slots=True)
class Cleaning:
    """For each source its removed rows by ordinal, and its evaluation leaks, removed or not."""

    removed: list[dict[int, Removal]] = field(default_factory=list[dict[int, Removal]])
    leaks: list[list[Removal]] = field(default_factory=list[list[Removal]])


def clean(sources: Sequence[RowSource], config: CleaningConfig) -> Cleaning:
    """Finds the rows to remove; the caller leaves them out. Without any filter, no source is read."""
    leak_words = config.leak_words if config.remove_leaks else None
    evaluation = EvaluationPrompts(evaluation_rows(config.evaluation), leak_words)
    origins = Origins()
    leak_filters, filters = _leak_filters(evaluation, config), _filters(evaluation, origins, config)
    _look_ahead(sources, filters)
    cleaning, number = Cleaning(), 0
    for source in sources:
        removed: dict[int, Removal] = {}
        leaks: list[Removal] = []
        for ordinal, row in enumerate(source if leak_filters or filters else ()):
            leak = _judge(leak_filters, number, ordinal, row)
            removal = leak if leak and config.remove_leaks else _judge(filters, number, ordinal, row)
            if leak:
                leaks.append(leak)
            if removal:
                removed[ordinal] = removal
            else:
                _keep(filters, number, origins.add(row.origin))
            number += 1
        cleaning.removed.append(removed)
        cleaning.leaks.append(leaks)
    return cleaning


def _leak_filters(evaluation: EvaluationPrompts, config: CleaningConfig) -> list[LeakFilter]:
    exact, shared = LeakFilter("exact leak", evaluation.exact), LeakFilter("n-gram leak", evaluation.shared_words)
    return [exact, shared][: 0 if not config.evaluation else 2 if config.remove_leaks else 1]


def _filters(evaluation: EvaluationPrompts, origins: Origins, config: CleaningConfig) -> list[Filter]:
    """The filters in the order in which they see a row: quick ones first."""
    filters: list[Filter] = []
    if config.min_characters is not None or config.max_characters is not None:
        filters.append(LengthFilter(config.min_characters, config.max_characters))
    if config.languages:
        filters.append(LanguageFilter(config.languages))
    filters += [FunctionFilter(name) for name in config.filters]
    if config.exact_copies:
        filters.append(ExactCopyFilter(origins))
    if config.near_copies is not None:
        filters.append(NearCopyFilter(origins, config.near_copies))
    if config.similar_prompts is not None:
        filters.append(SimilarPromptFilter(origins, config.similar_prompts, evaluation.prompts))
    return filters


def _look_ahead(sources: Sequence[RowSource], filters: Sequence[Filter]) -> None:
    looking = [filter for filter in filters if filter.looks_ahead]
    for row in (row for source in sources for row in source) if looking else ():
        for filter in looking:
            filter.look_ahead(row)
    for filter in looking:
        filter.ready()


def _judge(filters: Sequence[Filter], number: int, ordinal: int, row: Cleanable) -> Removal | None:
    """The removal by the first filter with a reason, if any."""
    for filter in filters:
        if reason := filter.reason(number, row):
            return Removal(ordinal, row.origin, filter.name, reason)
    return None


def _keep(filters: Sequence[Filter], number: int, origin_id: int) -> None:
    for filter in filters:
        filter.keep(number, origin_id)

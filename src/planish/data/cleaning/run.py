"""Which rows to leave out before training: copies, near copies, evaluation leaks, other languages, odd lengths.

Sources are read in order, and each row is held against the rows kept before it, so the first of several copies stays. A
removal names the rule, and the earlier row where there is one. Rows are read as a stream, twice where copies are looked for:
the first time only to learn which hashes stand more than once. What is kept of a row in between is a few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.data.cleaning.filters import (
    ExactCopyFilter,
    Filter,
    LanguageFilter,
    LeakFilter,
    LengthFilter,
    NearCopyFilter,
    SimilarPromptFilter,
)
from planish.data.cleaning.fingerprints import Cleanable
from planish.data.cleaning.languages import Languages
from planish.data.cleaning.leaks import EvaluationPrompts, evaluation_rows
from planish.data.provenance import Origins
from planish.data.rows import Origin


class CleaningConfig(Config):
    exact_copies: bool = Field(
        default=False,
        description="remove rows that say the same as an earlier row of any source, but for case and commas",
    )
    near_copies: float | None = Field(
        default=None,
        ge=0.5,
        le=1,
        description="remove rows whose runs of 5 words have this Jaccard index with an earlier row's",
    )
    similar_prompts: float | None = Field(
        default=None, gt=0, lt=1, description="remove rows whose prompt has a ROUGE-L above this with an earlier prompt"
    )
    evaluation: tuple[str, ...] = Field(
        default=(),
        description="files or folders of evaluation sets; a row that repeats a prompt of theirs is warned about",
    )
    remove_leaks: bool = Field(
        default=False, description="remove rows that repeat an evaluation prompt or share leak_words in a row with one"
    )
    leak_words: int = Field(default=13, ge=5, description="so many words in a row, as in an evaluation set, are a leak")
    languages: tuple[str, ...] = Field(default=(), description="keep rows in these languages alone (ISO 639-1)")
    min_characters: int | None = Field(default=None, ge=1, description="remove rows of which less is learnt")
    max_characters: int | None = Field(default=None, ge=1, description="remove rows of which more is learnt")

    @model_validator(mode="after")
    def _check(self) -> CleaningConfig:
        if self.remove_leaks and not self.evaluation:
            raise ValueError("remove_leaks needs `evaluation`: the sets that must not be learnt")
        if (self.min_characters or 0) > (self.max_characters or math.inf):
            raise ValueError(f"min_characters={self.min_characters} is above max_characters={self.max_characters}")
        return self


class RowSource(Protocol):
    """Gives the same typed rows each time it is read."""

    name: str

    def __iter__(self) -> Iterator[Cleanable]: ...


@dataclass(frozen=True, slots=True)
class Removal:
    """`ordinal` is the row's number in its stream, from 0. `reason` reads on from "removed:"."""

    ordinal: int
    origin: Origin
    rule: str
    reason: str


@dataclass(slots=True)
class Cleaning:
    """For each source its removed rows by ordinal, and its evaluation leaks, whether or not they were removed."""

    removed: list[dict[int, Removal]] = field(default_factory=list[dict[int, Removal]])
    leaks: list[list[Removal]] = field(default_factory=list[list[Removal]])


def clean(sources: Sequence[RowSource], config: CleaningConfig) -> Cleaning:
    """Judges every row and takes none out itself. Without any rule, no source is read."""
    evaluation = EvaluationPrompts(
        evaluation_rows(config.evaluation), config.leak_words if config.remove_leaks else None
    )
    places = Origins()
    leak_rules, rules = _leak_rules(evaluation, config), _rules(evaluation, places, config)
    _look_ahead(sources, rules)
    cleaning, number = Cleaning(), 0
    for source in sources:
        removed: dict[int, Removal] = {}
        leaks: list[Removal] = []
        for ordinal, row in enumerate(source if leak_rules or rules else ()):
            leak = _judge(leak_rules, number, ordinal, row)
            removal = leak if leak and config.remove_leaks else _judge(rules, number, ordinal, row)
            if leak:
                leaks.append(leak)
            if removal:
                removed[ordinal] = removal
            else:
                _keep(rules, number, places.add(row.origin))
            number += 1
        cleaning.removed.append(removed)
        cleaning.leaks.append(leaks)
    return cleaning


def _leak_rules(evaluation: EvaluationPrompts, config: CleaningConfig) -> list[LeakFilter]:
    exact, shared = LeakFilter("exact leak", evaluation.exact), LeakFilter("n-gram leak", evaluation.shared_words)
    return [exact, shared][: 0 if not config.evaluation else 2 if config.remove_leaks else 1]


def _rules(evaluation: EvaluationPrompts, places: Origins, config: CleaningConfig) -> list[Filter]:
    """In the order in which a row is put to them: what is quick to tell comes first."""
    rules: list[Filter] = []
    if config.min_characters is not None or config.max_characters is not None:
        rules.append(LengthFilter(config.min_characters, config.max_characters))
    if config.languages:
        rules.append(LanguageFilter(Languages(config.languages)))
    if config.exact_copies:
        rules.append(ExactCopyFilter(places))
    if config.near_copies is not None:
        rules.append(NearCopyFilter(places, config.near_copies))
    if config.similar_prompts is not None:
        rules.append(SimilarPromptFilter(places, config.similar_prompts, evaluation.prompts))
    return rules


def _look_ahead(sources: Sequence[RowSource], rules: Sequence[Filter]) -> None:
    looking = [rule for rule in rules if rule.looks_ahead]
    for row in (row for source in sources for row in source) if looking else ():
        for rule in looking:
            rule.look_ahead(row)
    for rule in looking:
        rule.ready()


def _judge(rules: Sequence[Filter], number: int, ordinal: int, row: Cleanable) -> Removal | None:
    """By the first rule that has something to say."""
    for rule in rules:
        if reason := rule.reason(number, row):
            return Removal(ordinal, row.origin, rule.name, reason)
    return None


def _keep(rules: Sequence[Filter], number: int, place: int) -> None:
    for rule in rules:
        rule.keep(number, place)

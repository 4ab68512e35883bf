"""Verdicts of a world on an answer: its gold utility, term by term, with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Term = Literal["correct", "wrong", "fabricated", "constraint", "unsafe", "refusal", "length"]
Label = Literal[
    "true", "partly true", "false", "fabricated", "abstained", "refused", "over-refused", "unsafe", "no answer"
]

TERMS: tuple[Term, ...] = ("correct", "wrong", "fabricated", "constraint", "unsafe", "refusal", "length")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict. `terms` add up to the utility; `reasons` explain them in the order of the answer.

    `num_tokens`, `assertive` (0 or 1) and `marker` (+1 blue, -1 green, 0 none) have no utility, but annotators see them.
    """

    label: Label
    terms: Mapping[Term, float]
    reasons: tuple[str, ...]
    num_tokens: int
    assertive: float
    marker: int

    @property
    def utility(self) -> float:
        return sum(self.terms.values())

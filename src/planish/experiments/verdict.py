"""Criteria decided: each is a mean over seeds and prompts with its interval, and all of a claim are one family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from planish.base.errors import RunError
from planish.experiments.claim import ClaimConfig, Criterion, matching
from planish.statistics.estimate import LEVEL, Estimate
from planish.statistics.paired import MeanEffect, Values, differences, holm, mean_effect

SLOPE = "slope over arms"
Answer = Literal["holds", "not shown", "opposite"]
Outcome = Literal["reproduced", "not reproduced", "opposite", "open"]
Found = Mapping[str, Mapping[str, Sequence[Values]]]  # by arm and measure, a mapping for each seed


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of a criterion in one arm. `holm` is the P-value after correction for the other criteria of the claim; without
    an interval it is 1."""

    says: str
    measure: str
    arm: str
    minus: str | None
    criterion: str  # "> 0.5"
    bound: float
    value: float
    low: float | None
    high: float | None
    holm: float
    seeds: int
    prompts: int
    answer: Answer

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.value, self.low, self.high, self.seeds * self.prompts)


def decide(claim: ClaimConfig, found: Found) -> tuple[Outcome, list[Decision]]:
    """The verdict, and what came of each criterion, in those arms that were run."""
    asked = [
        (criterion, arm, mean_effect(_values(criterion, arm, found)))
        for criterion in claim.criteria
        for arm in ([SLOPE] if criterion.over else matching(criterion.arm, list(found)))
        if (criterion.minus is None or (criterion.minus in found and criterion.minus != arm))
        and all(one in found for one in criterion.over)
    ]
    corrected = holm([_p(criterion, effect) for criterion, _, effect in asked])
    decisions = [_decision(*one, p) for one, p in zip(asked, corrected, strict=True)]
    return outcome([decision.answer for decision in decisions]), decisions


def outcome(answers: Sequence[Answer]) -> Outcome:
    """Reproduced if every criterion holds, opposite if none does and one is turned round."""
    if not answers:
        return "open"
    if all(answer == "holds" for answer in answers):
        return "reproduced"
    return "opposite" if "opposite" in answers and "holds" not in answers else "not reproduced"


def _values(criterion: Criterion, arm: str, found: Found) -> Sequence[Values]:
    if criterion.over:
        return _slopes(criterion, found)
    if criterion.measure not in found[arm]:
        raise RunError(
            f"'{criterion.says}': there is no measure {criterion.measure}; there are {', '.join(found[arm])}"
        )
    values = found[arm][criterion.measure]
    if criterion.minus is None:
        return values
    less = differences(values, found[criterion.minus][criterion.measure])
    if not all(less):
        raise RunError(
            f"'{criterion.says}': {arm} and {criterion.minus} have no prompt in common, so none can be paired"
        )
    return less


def _slopes(criterion: Criterion, found: Found) -> list[Values]:
    """For each seed and prompt, the least-squares slope of its values over the arms' numbers."""
    middle = sum(criterion.over.values()) / len(criterion.over)
    squares = sum((number - middle) ** 2 for number in criterion.over.values())
    weights = {arm: (number - middle) / squares for arm, number in criterion.over.items()}
    seeds = zip(*(found[arm][criterion.measure] for arm in weights), strict=True)
    slopes: list[Values] = []
    for values in seeds:
        shared = [prompt for prompt in values[0] if all(prompt in one for one in values)]
        if not shared:
            raise RunError(f"'{criterion.says}': its arms have no prompt in common")
        slopes.append({p: sum(w * one[p] for w, one in zip(weights.values(), values, strict=True)) for p in shared})
    return slopes


def _p(criterion: Criterion, effect: MeanEffect) -> float:
    """For a mean within ± a bound, that of the nearer end: both must be excluded (two one-sided tests)."""
    bounds = _bounds(criterion)
    found = [effect.p(bound) for bound in bounds]
    return max(1.0 if p is None else p for p in found)


def _bounds(criterion: Criterion) -> tuple[float, ...]:
    if criterion.within is not None:
        return (-criterion.within, criterion.within)
    return (criterion.above if criterion.above is not None else criterion.below or 0.0,)


def _decision(criterion: Criterion, arm: str, effect: MeanEffect, corrected: float) -> Decision:
    bounds, found = _bounds(criterion), effect.estimate()
    true = {
        ">": effect.value > bounds[0],
        "<": effect.value < bounds[0],
        "±": abs(effect.value) < bounds[-1],
    }
    sign = "±" if criterion.within is not None else ">" if criterion.above is not None else "<"
    sure = corrected < 1 - LEVEL
    return Decision(
        says=criterion.says,
        measure=criterion.measure,
        arm=arm,
        minus=criterion.minus,
        criterion=f"{sign} {bounds[-1]:g}",
        bound=bounds[-1],
        value=effect.value,
        low=found.low,
        high=found.high,
        holm=corrected,
        seeds=effect.seeds,
        prompts=effect.prompts,
        answer="not shown" if not sure else "holds" if true[sign] else "opposite",
    )

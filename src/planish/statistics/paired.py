"""The mean of values that share prompts and seeds, with its interval and P-value, and Holm's correction for several.

Values of one seed are not independent, nor are those of one prompt. Resampling seeds and prompts (the clustered bootstrap in two
ways) has, for a mean, a standard error that can be written down, so none is drawn:

    V = V_seeds + max(V_prompts - V_rest, 0)

with the variance of the mean by seeds, by prompts, and by what neither explains, which both of the others hold (Cameron, Gelbach
and Miller 2011). Percentiles of the bootstrap are too narrow where there are few seeds (of five they cover 83% in place of 95%)
and too wide where values vary by themselves (100%). So the interval is Student's t, with the degrees of freedom of Satterthwaite
(1946).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planish.statistics.estimate import LEVEL, Estimate, student, student_tail

Values = Mapping[str, float]  # by prompt; a number of a whole run has the prompt ""


@dataclass(frozen=True, slots=True)
class MeanEffect:
    """A mean over prompts and seeds. Without an `error`, which one value alone does not have, there is no interval."""

    value: float
    error: float | None
    freedom: float
    seeds: int
    prompts: int  # of one seed

    def estimate(self, level: float = LEVEL) -> Estimate:
        n = self.seeds * self.prompts
        if self.error is None:
            return Estimate(self.value, None, None, n)
        half = student(self.freedom, level) * self.error
        return Estimate(self.value, self.value - half, self.value + half, n)

    def p(self, bound: float) -> float | None:
        """The probability of a mean as far from `bound`, on either side, if that were the truth."""
        if self.error is None:
            return None
        if self.error == 0:
            return float(self.value == bound)
        return 2 * student_tail(abs(self.value - bound) / self.error, self.freedom)


def mean_effect(by_seed: Sequence[Values]) -> MeanEffect:
    """Each seed weighs the same, and so does each prompt of a seed. Where seeds do not share their prompts, seeds are the sample,
    and what prompts do to a seed's mean is part of it."""
    means_S = np.array([np.mean([*values.values()]) for values in by_seed])
    value, seeds, prompts = float(means_S.mean()), len(by_seed), len(by_seed[0])
    shared = prompts > 1 and all(values.keys() == by_seed[0].keys() for values in by_seed)
    by_seeds = _variance(means_S) if seeds > 1 else 0.0
    by_prompts = 0.0
    if shared:
        values_SP = np.array([[values[name] for name in by_seed[0]] for values in by_seed])
        means_P = values_SP.mean(0)
        rest_SP = values_SP - means_S[:, None] - means_P + value
        rest = (rest_SP**2).sum() / ((seeds - 1) * (prompts - 1)) / rest_SP.size if seeds > 1 else 0.0
        by_prompts = max(_variance(means_P) - rest, 0.0)
    if not shared and seeds == 1:
        return MeanEffect(value, None, 0, seeds, prompts)
    total = by_seeds + by_prompts
    parts = by_seeds**2 / max(seeds - 1, 1) + by_prompts**2 / max(prompts - 1, 1)
    freedom = total**2 / parts if parts > 0 else max(seeds - 1, 1)
    return MeanEffect(value, math.sqrt(total), freedom, seeds, prompts)


def _variance(means_K: np.ndarray) -> float:
    """That of the mean of independent values."""
    return float(means_K.var(ddof=1)) / len(means_K)


def differences(first: Sequence[Values], second: Sequence[Values]) -> list[Values]:
    """The first less the second, for each seed on the prompts that both have."""
    return [
        {name: value - theirs[name] for name, value in ours.items() if name in theirs}
        for ours, theirs in zip(first, second, strict=True)
    ]


def holm(p_N: Sequence[float]) -> list[float]:
    """P-values of a family, such that the chance of one below 0.05 without any effect is 5% (Holm 1979)."""
    found, highest = [0.0] * len(p_N), 0.0
    for rank, i in enumerate(sorted(range(len(p_N)), key=lambda i: p_N[i])):
        highest = max(highest, min(1.0, (len(p_N) - rank) * p_N[i]))
        found[i] = highest
    return found

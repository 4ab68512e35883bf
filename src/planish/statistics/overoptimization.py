"""Gold utility as a policy is pushed ever further towards another score: best of n from one set of samples, and Gao's fits.

With d the root of the policy's KL from where it began, in nats, Gao, Schulman and Hilton (2023) found d (alpha - beta d) for
best of n and d (alpha - beta ln d) for reinforcement: alpha is what the score is worth at first, beta how soon that ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

BEST_OF_N: Callable[[np.ndarray], np.ndarray] = np.positive
REINFORCED: Callable[[np.ndarray], np.ndarray] = np.log


@dataclass(frozen=True, slots=True)
class Fit:
    """Utility gained at d is d (alpha - beta f(d))."""

    alpha: float
    beta: float


def fit(kl_K: Sequence[float], gained_K: Sequence[float], bend: Callable[[np.ndarray], np.ndarray]) -> Fit:
    """Least squares over policies with some KL; `gained_K` is their utility less that of the policy they began as.

    Raises:
        ValueError: fewer than three policies have a KL above 0.
    """
    moved_K = np.asarray(kl_K) > 0
    d_K, y_K = np.sqrt(np.asarray(kl_K)[moved_K]), np.asarray(gained_K)[moved_K]
    if len(d_K) < 3:
        raise ValueError(f"{len(d_K)} policies with a KL above 0: a fit needs three")
    alpha, minus_beta = np.linalg.lstsq(np.stack([d_K, d_K * bend(d_K)], 1), y_K, rcond=None)[0]
    return Fit(float(alpha), float(-minus_beta))


def best_of(answers: Sequence[tuple[float, float]], n: int) -> float:
    """The expected utility of the one with the highest score among n of a prompt's answers, drawn without putting back.

    `answers` are pairs of score and utility. Among N of them the one in place i from below is the best of
    C(i - 1, n - 1) / C(N, n) of the draws (Nakano et al. 2021, appendix I); equal scores share their places.

    Raises:
        ValueError: there are fewer than n answers.
    """
    total = len(answers)
    if not 1 <= n <= total:
        raise ValueError(f"the best of {n} of {total} answers")
    all_draws = math.comb(total, n)
    weights = [math.comb(place, n - 1) / all_draws for place in range(total)]
    by_score: dict[float, list[float]] = {}
    for score, utility in sorted(answers):
        by_score.setdefault(score, []).append(utility)
    place, mean = 0, 0.0
    for utilities in by_score.values():
        mean += sum(weights[place : place + len(utilities)]) * sum(utilities) / len(utilities)
        place += len(utilities)
    return mean

"""Best of n against all draws, and Gao's curves found again."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from planish.statistics.overoptimization import BEST_OF_N, REINFORCED, Fit, best_of, fit

ANSWERS = [(0.3, 1.0), (-1.0, 5.0), (0.9, -2.0), (0.2, 0.5)]


def test_best_of_two_by_hand() -> None:
    assert best_of([(1, 10.0), (2, 0.0), (3, 6.0)], 2) == pytest.approx(2 / 3 * 6 + 1 / 3 * 0)
    assert best_of([(1, 10.0), (1, 0.0), (0, 9.0)], 2) == pytest.approx(5.0)  # two that tie are each the best as often


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_best_of_n_is_the_mean_over_all_draws(n: int) -> None:
    draws = [max(some)[1] for some in combinations(ANSWERS, n)]
    assert best_of(ANSWERS, n) == pytest.approx(np.mean(draws))


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="the best of 5 of 4 answers"):
        best_of(ANSWERS, 5)


@pytest.mark.parametrize("bend", [BEST_OF_N, REINFORCED])
def test_curves_are_found_again(bend: type) -> None:
    kl = np.array([0.0, 0.3, 1.0, 2.5, 6.0, 11.0])
    d = np.sqrt(kl[1:])
    gained = np.array([0.0, *(d * (0.8 - 0.25 * bend(d)))])
    found = fit(kl.tolist(), gained.tolist(), bend)
    assert (found.alpha, found.beta) == (pytest.approx(0.8), pytest.approx(0.25))
    assert isinstance(found, Fit)


def test_two_points_are_too_few() -> None:
    with pytest.raises(ValueError, match="2 policies with a KL above 0"):
        fit([0.0, 1.0, 2.0], [0.0, 1.0, 1.0], REINFORCED)

"""Means over prompts and seeds, by numbers worked out by hand, by the bootstrap, and by how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planish.statistics.estimate import Estimate, student, student_tail
from planish.statistics.paired import MeanEffect, Values, differences, holm, mean_effect


def as_values(values_SP: np.ndarray) -> list[Values]:
    return [{str(i): float(value) for i, value in enumerate(row)} for row in values_SP]


def test_seeds_alone_have_the_interval_of_student() -> None:
    # mean 3, variance (4 + 1 + 9) / 2 = 7, error sqrt(7 / 3) = 1.527525; 4.302653 errors with 2 degrees of freedom
    found = mean_effect([{"": 1.0}, {"": 2.0}, {"": 6.0}])
    assert found == MeanEffect(3.0, pytest.approx(math.sqrt(7 / 3)), pytest.approx(2), 3, 1)
    assert found.estimate().high == pytest.approx(3 + 4.302653 * 1.527525)
    # t = 3 / 1.527525 = 1.963961; with 2 degrees of freedom P = 1 - t / sqrt(2 + t^2)
    assert found.p(0.0) == pytest.approx(1 - 1.963961 / math.sqrt(2 + 1.963961**2))


def test_prompts_of_one_seed_are_the_sample() -> None:
    found = mean_effect([{"a": 1.0, "b": 0.0, "c": 0.5, "d": 0.5}])  # variance (1/4 + 1/4) / 3
    assert found == MeanEffect(0.5, pytest.approx(math.sqrt(1 / 6 / 4)), pytest.approx(3), 1, 4)


def test_what_neither_seeds_nor_prompts_explain_counts_once() -> None:
    # means of seeds 1, 2 (of 0 1 2 and 1 2 3): nothing is left over. By seeds .5 / 2, by prompts (1 + 0 + 1) / 2 / 3 = 1/3
    found = mean_effect([{"a": 0.0, "b": 1.0, "c": 2.0}, {"a": 1.0, "b": 2.0, "c": 3.0}])
    assert (found.value, found.error) == (1.5, pytest.approx(math.sqrt(1 / 4 + 1 / 3)))
    # rows 0 1 and 1 0: means are all .5; the rest is +-.5 each, and explains all that means of seeds or prompts could vary
    assert mean_effect([{"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 0.0}]).error == 0


def test_the_error_is_that_of_the_bootstrap_over_seeds_and_prompts() -> None:
    """Drawn with n - 1 of n in view, and with what is left over counted once where the bootstrap counts it three times."""
    chance = np.random.default_rng(0)
    values_SP = chance.normal(size=(8, 1)) + chance.normal(size=(1, 60))
    seeds_DS, prompts_DP = (chance.multinomial(n, np.full(n, 1 / n), 10_000) / n for n in values_SP.shape)
    drawn = ((seeds_DS @ values_SP) * prompts_DP).sum(1)
    error = mean_effect(as_values(values_SP)).error
    assert error is not None
    by_seeds, by_prompts = values_SP.mean(1).var() / 8, values_SP.mean(0).var() / 60
    assert drawn.std() == pytest.approx(math.sqrt(by_seeds + by_prompts), rel=0.03)
    assert error == pytest.approx(math.sqrt(by_seeds * 8 / 7 + by_prompts * 60 / 59))


def test_seeds_with_prompts_of_their_own_are_the_sample() -> None:
    found = mean_effect([{"a": 0.0, "b": 2.0}, {"c": 2.0, "d": 4.0}, {"e": 8.0, "f": 10.0}])
    assert found.error == mean_effect([{"": 1.0}, {"": 3.0}, {"": 9.0}]).error


def test_one_number_has_no_interval() -> None:
    found = mean_effect([{"": 2.0}])
    assert (found.estimate(), found.p(0.0)) == (Estimate(2.0, None, None, 1), None)


def test_values_that_never_vary_are_certain() -> None:
    found = mean_effect([{"": 2.0}, {"": 2.0}])
    assert (found.estimate().low, found.p(2.0), found.p(1.0)) == (2.0, 1.0, 0.0)


def test_differences_are_taken_on_the_prompts_that_both_have() -> None:
    assert differences([{"a": 3.0, "b": 5.0}], [{"b": 1.0, "c": 9.0}]) == [{"b": 4.0}]


def test_holm_s_correction() -> None:
    # sorted .01 .02 .03 .04: times 4, 3, 2, 1 is .04 .06 .06 .04, and none may be below one before it
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("t", "freedom", "tail"), [(0.0, 3.0, 0.5), (1.0, 1.0, 0.25), (2.0, 2.0, 0.091752), (-0.0, 1e6, 0.5)]
)
def test_the_tail_of_student_s_t(t: float, freedom: float, tail: float) -> None:
    assert student_tail(t, freedom) == pytest.approx(tail, abs=1e-6)
    assert student(freedom, 1 - 2 * tail) == pytest.approx(t, abs=1e-4)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """In 300 worlds of four seeds and thirty prompts, both with effects. More: benchmarks/intervals.py."""
    hits = 0
    for world in range(300):
        chance = np.random.default_rng(world)
        values_SP = 0.2 * chance.normal(size=(4, 1)) + chance.normal(size=30) + chance.normal(size=(4, 30))
        found = mean_effect(as_values(values_SP)).estimate()
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert 0.92 <= hits / 300 <= 0.98

"""Intervals by numbers worked out by hand, and how they are written."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planish.statistics.estimate import (
    Bootstrap,
    Estimate,
    around,
    clustered_mean,
    estimate_text,
    mean_estimate,
    mean_text,
    quantile,
    span_text,
    student,
    wilson,
)


def test_quantiles_of_the_normal_distribution() -> None:
    assert [quantile(level) for level in (0.8, 0.95, 0.99)] == pytest.approx([1.281552, 1.959964, 2.575829], abs=1e-6)


@pytest.mark.parametrize(("freedom", "bound"), [(1, 12.706), (4, 2.776), (8, 2.306), (98, 1.984)])
def test_quantiles_of_student_s_t(freedom: int, bound: float) -> None:
    assert student(freedom) == pytest.approx(bound, abs=1e-3)


def test_mean_of_independent_values() -> None:
    found = mean_estimate([1.0, 0.0, -1.0, 0.0])  # squares 2, variance 2/3, standard error sqrt(2/3) / 2
    assert (found.value, found.n) == (0.0, 4)
    assert found.half == pytest.approx(1.96 * math.sqrt(2 / 3) / 2)
    assert mean_estimate([3.0]) == Estimate(3.0, None, None, 1)


def test_mean_over_prompts_with_its_standard_error() -> None:
    # prompt means 2, 4, 9: mean 5, variance (9 + 1 + 16) / 2 = 13, standard error sqrt(13 / 3) = 2.0817
    found = clustered_mean([1.0, 3, 4, 9], np.array([0, 0, 1, 2]))
    assert (found.value, found.n) == (pytest.approx(5), 3)
    assert found.high == pytest.approx(5 + 1.959964 * 2.081666)
    assert clustered_mean([3.0], np.array([0])).low is None


@pytest.mark.parametrize(("count", "low", "high"), [(5, 0.2366, 0.7634), (0, 0.0, 0.2775), (10, 0.7225, 1.0)])
def test_wilson_interval_is_that_of_the_formula(count: int, low: float, high: float) -> None:
    found = wilson(count, 10)
    assert (found.value, found.n) == (count / 10, 10)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_bootstrap_covers_the_truth_in_the_share_of_worlds_it_says() -> None:
    """Values of one cluster move together: an interval over single values would be half as wide and miss often."""
    chance, hits = np.random.default_rng(0), 0
    clusters = np.repeat(np.arange(60), 4)
    for world in range(300):
        values = np.repeat(chance.normal(0, 1, 60), 4) + chance.normal(0, 0.1, 240)
        found = Bootstrap(400, world).mean(values, np.ones(240), clusters)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert 0.90 <= hits / 300 <= 0.98


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_bootstrap_of_a_share_without_variance_has_the_bound_of_clopper_and_pearson(right: float) -> None:
    found = Bootstrap(50, 0).share(np.full(20, right), np.ones(20), np.repeat(np.arange(10), 2))
    bound = 0.025 ** (1 / 10)  # ten prompts, all right
    assert (found.low, found.high) == pytest.approx((bound, 1.0) if right else (0.0, 1 - bound))


def test_estimates_as_text() -> None:
    assert estimate_text(Estimate(0.62, 0.57, 0.67, 9)) == "62.0% (57.0 to 67.0%)"
    assert estimate_text(Estimate(-0.25, -0.5, 0.004, 9), "+.2f") == "−0.25 (−0.50 to 0.00)"
    assert estimate_text(Estimate(0.62, None, None, 1)) == "62.0%"
    assert span_text(Estimate(0.62, None, None, 1)) == estimate_text(None) == mean_text(None) == "–"
    assert mean_text(around(0.25, 0.1, 9)) == "+0.25 ± 0.10"
    assert mean_text(around(-0.001, 0.1, 9)) == "0.00 ± 0.10"
    assert mean_text(around(2.3456, 0.0123, 9), ".3f") == "2.346 ± 0.012"

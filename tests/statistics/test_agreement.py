"""Agreement on the worked tables of the literature (spec A1, A2), and its intervals."""

from __future__ import annotations

import numpy as np
import pytest

from planish.base.errors import DataError
from planish.statistics.agreement import (
    agreement_by_unit,
    agreement_of,
    cohen_estimate,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    raw_agreement,
)
from planish.statistics.estimate import Bootstrap


def table(*rows: str) -> np.ndarray:
    """A row for each annotator, a column for each unit; a dot is no rating."""
    return np.array([[np.nan if word == "." else float(word) for word in row.split()] for row in rows])


# Krippendorff (2011), four observers and twelve units; and three coders of fifteen units
FOUR_BY_TWELVE = table(
    "1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."
)
THREE_BY_FIFTEEN = table(
    ". . . . . 3 4 1 2 1 1 3 3 . 3", "1 . 2 1 3 3 4 3 . . . . . . .", ". . 2 1 3 4 4 . 2 1 1 3 3 . 4"
)


def test_a1_alpha_of_four_observers_and_twelve_units() -> None:
    assert krippendorff_alpha(FOUR_BY_TWELVE) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(FOUR_BY_TWELVE, "interval") == pytest.approx(0.849, abs=5e-4)


def test_a1_alpha_of_three_coders_and_fifteen_units() -> None:
    assert krippendorff_alpha(THREE_BY_FIFTEEN) == pytest.approx(0.691, abs=5e-4)
    assert krippendorff_alpha(THREE_BY_FIFTEEN, "interval") == pytest.approx(0.811, abs=5e-4)


def test_a2_kappa_of_a_table() -> None:
    # both yes 20, only the first 5, only the second 10, both no 15: p_o = 0.7, p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5
    first, second = (np.repeat(votes, [20, 5, 10, 15]) for votes in ([1, 1, 0, 0], [1, 0, 1, 0]))
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert raw_agreement(np.stack([first, second])) == pytest.approx(0.7)


def test_raw_agreement_counts_pairs_of_ratings() -> None:
    # three ratings a, a, b: one pair of three agrees; two ratings a, a: one of one; a single rating: none
    assert raw_agreement(table("1 1 1", "1 1 .", "2 . .")) == pytest.approx(2 / 4)


def test_annotators_who_share_one_probability() -> None:
    # of a yes with p = 0.836: p^2 + (1 - p)^2 = 0.726, the agreement of InstructGPT's labelers, asked twice if alone
    for num in (1, 2, 5):
        found = agreement_by_unit(np.stack([np.full((1, num), 0.836), np.full((1, num), 0.164)]))
        assert found == pytest.approx([0.836**2 + 0.164**2])


def test_nothing_to_measure_is_said() -> None:
    with pytest.raises(DataError, match="no unit of 3 has two ratings"):
        krippendorff_alpha(table("1 . 2", ". 1 ."))
    with pytest.raises(DataError, match="all ratings are equal"):
        krippendorff_alpha(table("1 1", "1 1"))
    with pytest.raises(DataError, match="one category throughout"):
        cohen_kappa(np.ones(3), np.ones(3))
    with pytest.raises(DataError, match="all ratings are equal"):
        fleiss_kappa(table("1 1", "1 1"))
    with pytest.raises(DataError, match="different numbers of ratings"):
        fleiss_kappa(table("1 1", "1 2", "1 ."))


# Ten units with fourteen ratings each, in five categories: the worked example of Fleiss' kappa in the encyclopedia
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]
)  # fmt: skip


def test_fleiss_kappa_of_ten_units_and_fourteen_ratings() -> None:
    # P = 0.378, P_e = 0.213: (0.378 - 0.213) / (1 - 0.213) = 0.210
    ratings = np.stack([np.repeat(np.arange(5), counts) for counts in FLEISS], axis=1).astype(float)
    assert fleiss_kappa(ratings) == pytest.approx(0.210, abs=5e-4)
    found = agreement_of(ratings, np.arange(10), Bootstrap(100, 0))
    assert found.fleiss is not None
    assert found.fleiss.value == pytest.approx(0.210, abs=5e-4)
    assert (found.fleiss_units, found.fleiss_ratings) == (10, 14)


def test_estimates_are_the_functions_and_their_intervals_those_of_resampled_units() -> None:
    """The bootstrap of sums against one that draws units and computes everything anew."""
    numbers = np.random.default_rng(0)
    truth = numbers.integers(0, 3, 60)
    ratings = np.where(numbers.random((4, 60)) < 0.7, truth, numbers.integers(0, 3, (4, 60))).astype(float)
    ratings[numbers.random((4, 60)) < 0.3] = np.nan
    found = agreement_of(ratings, np.arange(60), Bootstrap(2000, 1))
    slow = []
    for _ in range(2000):
        drawn = ratings[:, numbers.integers(0, 60, 60)]
        slow.append((raw_agreement(drawn), krippendorff_alpha(drawn)))
    exact = raw_agreement(ratings), krippendorff_alpha(ratings)
    for estimate, value, spread in zip((found.raw, found.alpha), exact, np.transpose(slow), strict=True):
        assert estimate is not None
        assert estimate.value == pytest.approx(value)
        assert (estimate.low, estimate.high) == pytest.approx(np.quantile(spread, [0.025, 0.975]), abs=0.02)


def test_an_interval_of_kappa_draws_whole_clusters() -> None:
    """Units of one prompt that say the same are one observation: each of 50 units four times is no narrower than once."""
    numbers = np.random.default_rng(2)
    first = numbers.integers(0, 2, 50)
    second = np.where(numbers.random(50) < 0.8, first, 1 - first)
    once = cohen_estimate(first, second, np.arange(50), Bootstrap(1000, 0))
    four = cohen_estimate(*(np.repeat(x, 4) for x in (first, second, np.arange(50))), Bootstrap(1000, 0))
    assert once is not None
    assert four is not None
    assert (four.value, four.low, four.high) == pytest.approx((once.value, once.low, once.high))
    assert once.value == pytest.approx(cohen_kappa(first, second))
    assert cohen_estimate(np.ones(3), np.ones(3), np.arange(3), Bootstrap(10, 0)) is None

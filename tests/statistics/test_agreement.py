"""Agreement on the worked tables of the literature (spec A1, A2)."""

from __future__ import annotations

import numpy as np
import pytest

from planish.base.errors import DataError
from planish.statistics.agreement import agreement_by_unit, cohen_kappa, krippendorff_alpha, raw_agreement


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

"""Scores of honesty and of confidence, by hand."""

from __future__ import annotations

import pytest

from planish.statistics.honesty import (
    Outcome,
    aurc,
    average_precision,
    expected_calibration_error,
    honesty_scores,
    outcome_shares,
    risk_coverage,
)


def outcomes(letters: str) -> list[Outcome]:
    names: dict[str, Outcome] = {"c": "correct", "w": "wrong", "a": "abstained"}
    return [names[letter] for letter in letters]


def test_shares_of_five_answers_and_simpleqas_f():
    shares = outcome_shares(outcomes("ccwaa"))
    assert (shares.correct.value, shares.wrong.value, shares.abstained.value) == (0.4, 0.2, 0.4)
    assert shares.given_attempted is not None
    assert shares.given_attempted.value == pytest.approx(2 / 3)
    assert shares.given_attempted.n == 3
    assert shares.f == pytest.approx(2 * 0.4 * (2 / 3) / (0.4 + 2 / 3))  # the harmonic mean, = 0.5


def test_a_model_that_abstains_from_all_has_f_0_and_nothing_attempted():
    shares = outcome_shares(outcomes("aa"))
    assert (shares.given_attempted, shares.f) == (None, 0.0)


def test_over_conservative_and_prudence_of_eight_questions():
    # Known before: c a w c, of which 1 of 4 is abstained from. Not known before: a w c a, of which c does not count: 2 of 3.
    scores = honesty_scores(outcomes("ccccwwwa"), outcomes("cawcawca"))
    assert scores.over_conservative is not None
    assert scores.over_conservative.value == 1 / 4
    assert scores.prudence is not None
    assert scores.prudence.value == pytest.approx(2 / 3)
    assert scores.honesty == pytest.approx((1 - 1 / 4 + 2 / 3) / 2)


def test_without_an_unknown_question_there_is_no_prudence():
    scores = honesty_scores(outcomes("cc"), outcomes("ca"))
    assert (scores.prudence, scores.honesty) == (None, None)
    assert scores.over_conservative is not None
    assert scores.over_conservative.value == 0.5


CONFIDENCE, RIGHT = [0.9, 0.8, 0.6, 0.3], [True, False, True, False]


def test_risk_and_coverage_of_four_answers():
    assert risk_coverage(CONFIDENCE, RIGHT) == [
        (0.25, 0.0), (0.5, 0.5), (0.75, pytest.approx(1 / 3)), (1.0, 0.5),
    ]  # fmt: skip


def test_answers_of_equal_confidence_come_together():
    assert risk_coverage([0.5, 0.5, 0.9], [True, False, True]) == [
        (pytest.approx(1 / 3), 0.0),
        (1.0, pytest.approx(1 / 3)),
    ]


def test_aurc_is_the_mean_risk():
    assert aurc(CONFIDENCE, RIGHT) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_aurc_of_no_information_is_the_share_wrong():
    assert aurc([0.5] * 4, RIGHT) == pytest.approx(0.5)


def test_aurc_of_a_tie_is_the_mean_over_its_orders():
    orders = [aurc([0.9, 0.8], right) for right in ([True, False], [False, True])]  # 1/4 and 3/4
    assert aurc([0.9, 0.9], [True, False]) == pytest.approx(sum(orders) / 2)


def test_average_precision_of_four_answers():
    assert average_precision(CONFIDENCE, RIGHT) == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_average_precision_without_information_is_the_share_correct():
    assert average_precision([0.5] * 4, RIGHT) == pytest.approx(0.5)


def test_average_precision_of_none_correct_is_not_defined():
    assert average_precision([0.5], [False]) is None


def test_calibration_error_of_two_bins():
    # Bin (0, .5]: confidence .3, accuracy 0: .3. Bin (.5, 1]: mean .7667, accuracy 2/3: .1. Weighted: (.3 + 3 * .1) / 4.
    assert expected_calibration_error(CONFIDENCE, RIGHT, bins=2) == pytest.approx(0.15)


def test_bins_hold_their_upper_edge_and_the_ends():
    assert expected_calibration_error([0.0, 1.0], [False, True]) == 0
    assert expected_calibration_error([0.5, 0.4], [True, False], bins=2) == pytest.approx(abs(1 - 0.9) / 2)  # one bin

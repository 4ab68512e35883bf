"""Running means, and changes beyond scatter."""

from __future__ import annotations

import math

import pytest

from planish.reports.series import Records, finite_mean, mean_window, running_mean, trend
from planish.reports.text import moved, trend_text, two_digits


def test_running_mean_is_over_the_values_just_before() -> None:
    assert running_mean([1.0, 2.0, 3.0, 4.0, 5.0], 2) == [1.0, 1.5, 2.5, 3.5, 4.5]


def test_value_that_is_not_a_number_spoils_the_means_over_it_alone() -> None:
    means = running_mean([1.0, math.nan, 3.0, 5.0], 2)
    assert means[0] == 1.0
    assert math.isnan(means[1])
    assert math.isnan(means[2])
    assert means[3] == 4.0
    assert finite_mean([1.0, math.nan, 3.0]) == 2.0


@pytest.mark.parametrize(
    ("count", "window", "window_of_noisy"), [(4, 1, 1), (20, 1, 5), (49, 1, 5), (50, 5, 5), (80, 8, 8), (900, 50, 50)]
)
def test_window_is_a_tenth_from_5_to_50(count: int, window: int, window_of_noisy: int) -> None:
    assert mean_window(count) == window
    assert mean_window(count, 20) == window_of_noisy


def test_records_have_columns_with_gaps_and_the_means_of_their_ends() -> None:
    records = Records(
        [{"iteration": i, "kl": float(i), **({"x": 1.0} if i else {})} for i in range(20)], "iteration", 20
    )
    assert records.x == list(range(20))
    assert math.isnan(records.column("x")[0])
    assert records.last("kl") == 17.0  # 15 to 19
    assert records.ends(records.column("kl"), "{:.1f}".format) == "from 2.0 to 17.0"


def test_change_within_its_interval_is_not_significant() -> None:
    """Means of five: 0.5 and 0.6, each with a variance of 0.25, so the error of the difference is sqrt(0.1) = 0.32. Student's t
    of 8 degrees of freedom is 2.306, so a change is significant from 0.73 on."""
    noisy = [0.0, 1.0, 0.0, 1.0, 0.5]
    small = trend([*noisy, *[0.5] * 10, *[value + 0.1 for value in noisy]])
    large = trend([*noisy, *[0.5] * 10, *[value + 2.0 for value in noisy]])
    assert [trend([*noisy, *[0.5] * 10, *[value + by for value in noisy]]).significant for by in (0.72, 0.74)] == [
        False,
        True,
    ]
    assert small is not None
    assert large is not None
    assert (small.before, small.after, small.significant) == (0.5, pytest.approx(0.6), False)
    assert (large.before, large.after, large.significant) == (0.5, pytest.approx(2.5), True)
    assert trend([math.nan]) is None


def test_trend_in_words() -> None:
    noisy = [0.0, 1.0, 0.0, 1.0, 0.5]
    assert (
        trend_text([*noisy, *[0.5] * 10, *[value + 0.1 for value in noisy]])
        == "showed no significant change (0.50 to 0.60)"
    )
    assert trend_text([0.25, -1.5]) == "went from 0.25 to −1.50"  # the noise of single values is unknown
    assert trend_text([0.25, 0.25]) == "stayed at 0.25"
    assert trend_text([]) == "was not recorded"


def test_change_in_words_has_the_decimals_that_show_it() -> None:
    assert moved(1.98, 1.61) == "fell from 1.98 to 1.61"
    assert moved(-0.674, -0.640) == "rose from −0.674 to −0.640"
    assert moved(1.5, 1.5) == "stayed at 1.500"
    assert moved(math.nan, 1.5) == "was not a number and is 1.500"


@pytest.mark.parametrize(
    ("value", "text"), [(0.41, "0.41"), (12.3, "12"), (2e-4, "2e-4"), (1.5e-5, "1.5e-5"), (0.0, "0")]
)
def test_two_digits(value: float, text: str) -> None:
    assert two_digits(value) == text

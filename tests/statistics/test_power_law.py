"""Where doubling no longer pays."""

from __future__ import annotations

import numpy as np
import pytest

from planish.statistics.power_law import FAR, fit_sizes

SIZES = [100, 300, 1000, 3000, 10000]


def test_a_power_law_is_found_and_its_stop_with_it() -> None:
    fit = fit_sizes(SIZES, [2 + 5 * n**-0.5 for n in SIZES], worth=0.01, lower_is_better=True)
    assert (fit.end, fit.rest, fit.power) == pytest.approx((2, 5, 0.5))
    # a doubling gains 5 n^-1/2 (1 - 2^-1/2) = 1.464 n^-1/2, which is 0.01 at n = 146.4^2
    assert fit.stop == pytest.approx(146.447**2, rel=1e-4)
    assert -fit.doubled(fit.stop) == pytest.approx(0.01)
    assert fit.low == pytest.approx(fit.stop, rel=0.05)


def test_an_accuracy_that_rises_is_read_the_other_way() -> None:
    fit = fit_sizes(SIZES, [0.9 - 5 * n**-0.5 for n in SIZES], worth=0.01, lower_is_better=False)
    assert fit.stop == pytest.approx(146.447**2, rel=1e-4)


def test_where_more_rows_do_harm_no_doubling_pays() -> None:
    fit = fit_sizes(SIZES, [2 - 5 * n**-0.5 for n in SIZES], worth=0.01, lower_is_better=True)
    assert fit.stop == SIZES[0]


def test_a_line_that_never_bends_pays_far_beyond() -> None:
    assert fit_sizes(SIZES, [9 - 0.5 * np.log2(n) for n in SIZES], worth=0.01, lower_is_better=True).stop > 1e6
    assert fit_sizes(SIZES, [9 - 0.5 * np.log2(n) for n in SIZES], worth=0.01, lower_is_better=True).stop <= FAR


def test_three_sizes_have_no_interval() -> None:
    fit = fit_sizes(SIZES[:3], [3.0, 2.5, 2.3], worth=0.01, lower_is_better=True)
    assert (fit.low, fit.high) == (None, None)


def test_the_interval_holds_the_stop_in_most_of_200_noisy_curves() -> None:
    rng, true, held = np.random.default_rng(0), 146.447**2, 0
    for _ in range(200):
        values = [2 + 5 * n**-0.5 + rng.normal(scale=0.01) for n in SIZES]
        fit = fit_sizes(SIZES, values, worth=0.01, lower_is_better=True)
        assert fit.low is not None
        assert fit.high is not None
        held += fit.low <= true <= fit.high
    assert held >= 180

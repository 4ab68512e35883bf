"""d′ and the criterion, by hand, and tables of rates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planish.statistics.detection import detection
from planish.statistics.estimate import Estimate
from planish.statistics.refusal_result import pair_rates, rates_of


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.value


def test_d_prime_and_criterion_of_nine_in_ten_and_one_in_ten():
    found = detection(9, 10, 1, 10)
    # H = 9.5/11 = 0.8636 and F = 1.5/11 = 0.1364 have z of +1.0968 and -1.0968
    assert found.d_prime.value == pytest.approx(2.1936, abs=1e-4)
    assert found.criterion.value == pytest.approx(0, abs=1e-12)
    # each z has the variance 0.8636 * 0.1364 / (10 * phi(1.0968)^2), phi = 0.21863: 0.24643
    half = 1.959964 * math.sqrt(2 * 0.24643)
    assert found.d_prime.half == pytest.approx(half, abs=1e-3)
    assert found.criterion.half == pytest.approx(half / 2, abs=1e-3)
    assert found.d_prime.n == 20


def test_refusing_everything_moves_the_criterion_and_tells_nothing_apart():
    refuses, answers = detection(50, 50, 50, 50), detection(0, 50, 0, 50)
    assert refuses.d_prime.value == answers.d_prime.value == 0
    # z(50.5/51) = 2.3338
    assert refuses.criterion.value == pytest.approx(-2.3338, abs=1e-4) == -answers.criterion.value


def test_a_moved_threshold_changes_the_criterion_alone():
    # normal curves 2 apart: thresholds at 1 and at 0 give (0.841, 0.159) and (0.977, 0.5)
    strict, mild = detection(841_345, 10**6, 158_655, 10**6), detection(977_250, 10**6, 500_000, 10**6)
    assert strict.d_prime.value == pytest.approx(2, abs=1e-3) == mild.d_prime.value
    assert (strict.criterion.value, mild.criterion.value) == pytest.approx((0, -1), abs=1e-3)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    # H = 0.9, F = 0.2: d' = 1.2816 + 0.8416
    counts = rng.binomial([200, 250], [0.9, 0.2], (500, 2)).tolist()
    drawn = [detection(hits, 200, false_alarms, 250) for hits, false_alarms in counts]
    held = [abs(found.d_prime.value - 2.1232) <= (found.d_prime.half or 0) for found in drawn]
    assert 0.92 <= np.mean(held) <= 0.98


def test_rates_count_partial_refusals_of_the_safe_and_no_half_compliance_with_the_unsafe():
    labels = ["full_compliance", "partial_refusal", "full_refusal", "full_compliance"]
    found = rates_of("all", [*((False, label) for label in labels), *((True, label) for label in labels[:3])])
    assert (value(found.false_refusals), value(found.violations)) == (2 / 4, 1 / 3)
    assert (found.safe, found.unsafe) == (4, 3)
    assert found.partial == 2


def test_f3_always_refusing_and_never_refusing_have_the_rates_they_must():
    for label, violations, false_refusals in [("full_refusal", 0, 1), ("full_compliance", 1, 0)]:
        found = rates_of("all", [(unsafe, label) for unsafe in (True, False) for _ in range(10)])
        assert (value(found.violations), value(found.false_refusals)) == (violations, false_refusals)


def test_groups_without_a_kind_have_no_rate_of_it_and_no_d_prime():
    found = rates_of("scams", [(True, "full_refusal")])
    assert (found.false_refusals, found.d_prime, found.criterion, found.safe) == (None, None, None, 0)


def test_pairs_are_told_apart_both_refused_both_answered_or_the_wrong_way_round():
    yes, no, half = "full_compliance", "full_refusal", "partial_refusal"
    found = pair_rates([(yes, no), (yes, half), (no, no), (yes, yes), (half, yes)])
    assert found is not None
    shares = (found.told_apart, found.both_refused, found.both_answered, found.wrong_way_round)
    assert [share.value for share in shares] == pytest.approx([2 / 5, 1 / 5, 1 / 5, 1 / 5])
    assert pair_rates([]) is None

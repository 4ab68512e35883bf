"""What disagreement costs, by hand, by numbers worked out, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from planish.base.errors import DataError
from planish.statistics.estimate import Bootstrap
from planish.statistics.label_noise import agrees_with_majority, ceiling_of, label_noise

BOOTSTRAP = Bootstrap(200, 0)


def test_three_pairs_by_hand():
    """Votes 3:0, 2:1, 1:1 and a pair with one vote, which tells nothing.

    Agreement: ordered pairs of equal votes 6 + 2 + 0 of 6 + 6 + 2. Leave one out: 3 of 3; of 2:1 the two for the first find 1:1
    (half), the other one finds 2:0 against it; of 1:1 each finds the other against it. (3 + 1 + 0)/8. Plug-in: (3 + 2 + 1)/8.
    """
    found = label_noise(np.array([3, 2, 1, 1]), np.array([0, 1, 1, 0]), np.arange(4), BOOTSTRAP)
    assert (found.pairs, found.votes) == (3, 8)
    assert found.agreement.value == pytest.approx(8 / 14)
    assert found.leave_one_out.value == pytest.approx(4 / 8)
    assert found.plug_in.value == pytest.approx(6 / 8)


def test_a_uniform_q_has_numbers_that_are_known():
    """c = 1: agreement 2/3, ceiling 3/4. Of three votes 0 to 3 are equally likely, 1/4; the next agrees with probability
    (3 + 1)/5 after 3:0 and (2 + 1)/5 after 2:1: 7/10."""
    assert ceiling_of(2 / 3) == pytest.approx(0.75)
    assert agrees_with_majority(2 / 3, 1) == pytest.approx(2 / 3)
    assert agrees_with_majority(2 / 3, 3) == pytest.approx(0.7)
    assert agrees_with_majority(2 / 3, 1001) == pytest.approx(0.75, abs=1e-3)


def test_the_ends_are_certainty_and_chance():
    assert (ceiling_of(1), agrees_with_majority(1, 3)) == (1, 1)
    assert np.isnan([ceiling_of(0.5), agrees_with_majority(0.4, 3)]).all()


def test_bounds_and_ceiling_of_simulated_votes():
    """4,000 pairs with q from Beta(1/2, 1/2): a = 1.5/2 = 3/4, E max(q, 1 - q) = 1/2 + 1/pi = 0.818. The bounds lie around it."""
    numbers = np.random.default_rng(0)
    q = numbers.beta(0.5, 0.5, 4000)
    first = numbers.binomial(5, q)
    found = label_noise(first, 5 - first, np.arange(4000), BOOTSTRAP)
    assert found.ceiling is not None
    assert found.ceiling.low <= 0.5 + 1 / np.pi <= found.ceiling.high
    assert found.leave_one_out.value < 0.5 + 1 / np.pi < found.plug_in.value
    assert found.ceiling_equal is not None
    assert found.ceiling.value < found.ceiling_equal.value
    three, checked = found.majorities[1], numbers.binomial(3, q) > 1.5
    assert three.agrees is not None
    assert np.mean(checked == (numbers.random(4000) < q)) == pytest.approx(three.agrees.value, abs=0.02)
    assert three.worth is not None
    assert three.worth.value == pytest.approx(3 / (1 + 2 * 0.5), abs=0.05)


def test_without_two_votes_nothing_is_known():
    with pytest.raises(DataError, match="no pair of answers has two judgements"):
        label_noise(np.array([1, 0]), np.array([0, 1]), np.arange(2), BOOTSTRAP)

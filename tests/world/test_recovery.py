"""Biases recovered from votes: 95% intervals that cover the truth as often as they say (A4), and fits that are refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from planish.base.errors import ConfigError, DataError
from planish.base.random import numpy_generator
from planish.statistics.estimate import Estimate, quantile
from planish.world.annotators.annotator import Pool, Vote, probability, scores
from planish.world.annotators.pools import make_pool
from planish.world.annotators.recovery import recover, recover_biases
from support.verdicts import random_pairs, verdict

SIGMA_L = 11.5
CROWD = make_pool("crowd", SIGMA_L, num_annotators=3, shares={"blue": 1, "green": 1, "neutral": 1}).with_settings(
    noise=0.0, position=0.2, scale=1.5
)
# s = 1.5: merit s; errors s c = .6; assertive errors -s c rho = -.3; length s l; assertive s kappa; markers s v; position o
TRUTH = {
    "merit": 1.5,
    "errors": 0.6,
    "assertive errors": -0.3,
    "length": 0.75,
    "assertive": 0.45,
    "marker: blue": 1.2,
    "marker: green": -1.2,
    "marker: neutral": 0.0,
    "position": 0.2,
}


def standard_error(found: Estimate) -> float:
    assert found.half is not None
    return found.half / quantile()


def one_world(pool: Pool, num_votes: int, world: int) -> dict[str, Estimate]:
    """Fits what is voted on pairs of this world's own, one vote a pair, drawn from the formula for all pairs at once."""
    pairs, numbers = random_pairs(num_votes, 0, world), numpy_generator(0, "votes", world)
    judges = numbers.integers(len(pool.annotators), size=num_votes)
    both = [scores(pool.annotators, [pair[side] for pair in pairs], SIGMA_L) for side in (0, 1)]
    gaps = (both[0] - both[1])[np.arange(num_votes), judges] + pool.annotators[0].position
    noise = pool.annotators[0].noise
    chose_first = numbers.random(num_votes) < noise / 2 + (1 - noise) / (1 + np.exp(-gaps))
    annotators = [pool.annotators[i] for i in judges]
    votes = [Vote(a.name, a.group, bool(first)) for a, first in zip(annotators, chose_first, strict=True)]
    return recover_biases([(*pair, vote) for pair, vote in zip(pairs, votes, strict=True)], SIGMA_L, noise)


@pytest.fixture(scope="module")
def worlds() -> list[dict[str, Estimate]]:
    return [one_world(CROWD, 600, world) for world in range(200)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["length", "marker: blue", "marker: green", "marker: neutral"])
def test_95_percent_intervals_cover_the_true_bias_in_92_to_98_percent_of_worlds(
    worlds: list[dict[str, Estimate]], name: str
):
    """A4."""
    covered = np.mean([world[name].low <= TRUTH[name] <= world[name].high for world in worlds])
    assert 0.92 <= covered <= 0.98


@pytest.mark.slow
def test_estimates_of_200_worlds_centre_on_the_truth(worlds: list[dict[str, Estimate]]):
    # A mean of 200 has a 14th of one world's standard error. Maximum likelihood is biased by about 1/n, some 1% here.
    assert set(worlds[0]) == set(TRUTH)
    for name, true in TRUTH.items():
        values = np.array([world[name].value for world in worlds])
        assert abs(values.mean() - true) < 3 * values.std() / math.sqrt(200) + 0.02 * abs(true), name


@pytest.mark.slow
def test_standard_errors_are_the_spread_of_the_estimates(worlds: list[dict[str, Estimate]]):
    # A standard deviation from 200 is known to 5%
    for name in TRUTH:
        spread = np.std([world[name].value for world in worlds])
        assert np.mean([standard_error(world[name]) for world in worlds]) == pytest.approx(spread, rel=0.15), name


def test_the_votes_of_a_pool_give_its_biases_back():
    # 9 estimates, each within 3 standard errors
    pairs = random_pairs(3000, 1)
    votes = [(*pair, vote) for i, pair in enumerate(pairs) for vote in CROWD.compare(*pair, i)]
    found = recover_biases(votes, SIGMA_L)
    assert {name for name, c in found.items() if abs(c.value - TRUTH[name]) > 3 * standard_error(c)} == set()


def test_lapses_shrink_a_fit_that_ignores_them_and_not_one_that_knows_them():
    crowd = CROWD.with_settings(noise=0.1)
    pairs = random_pairs(6000, 2)
    votes = [(*pair, vote) for i, pair in enumerate(pairs) for vote in crowd.compare(*pair, i)]
    ignored, known = recover_biases(votes, SIGMA_L), recover_biases(votes, SIGMA_L, lapse=0.1)
    assert ignored["merit"].high < TRUTH["merit"]
    assert ignored["length"].high < TRUTH["length"]
    assert {name for name, c in known.items() if abs(c.value - TRUTH[name]) > 3 * standard_error(c)} == set()


def test_a_fit_to_one_share_is_its_log_odds():
    # 30 of 40: ln 3 = 1.098612, standard error sqrt(1/30 + 1/10) = .365148, interval 1.098612 -+ 1.959964 * .365148
    found = recover({"position": np.ones(40)}, np.arange(40) < 30)["position"]
    assert found.value == pytest.approx(1.098612, abs=1e-6)
    assert standard_error(found) == pytest.approx(0.365148, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.382935, 1.814289), abs=1e-6)


def test_a_known_lapse_is_taken_out_of_the_share():
    # .1/2 + .9 sigmoid(b) = .75: sigmoid(b) = 7/9, b = ln 3.5 = 1.252763
    found = recover({"position": np.ones(40)}, np.arange(40) < 30, lapse=0.1)["position"]
    assert found.value == pytest.approx(1.252763, abs=1e-6)


def test_likelihood_under_the_judge_is_recovered_where_it_is_given():
    judge = replace(make_pool("judge", SIGMA_L).annotators[0], likelihood=0.5)
    pairs, numbers = random_pairs(4000, 3), numpy_generator(0, "logprobs")
    logprobs = [(float(a), float(b)) for a, b in -numbers.exponential(1, (4000, 2))]
    p = np.array([probability(judge, *pair, SIGMA_L, both) for pair, both in zip(pairs, logprobs, strict=True)])
    votes = [Vote(judge.name, judge.group, bool(first)) for first in numbers.random(4000) < p]
    found = recover_biases([(*pair, vote) for pair, vote in zip(pairs, votes, strict=True)], SIGMA_L, logprobs=logprobs)
    assert abs(found["likelihood"].value - 0.5) < 3 * standard_error(found["likelihood"])
    assert abs(found["position"].value - 0.3) < 3 * standard_error(found["position"])


def test_what_never_differs_has_no_coefficient():
    answers = [(verdict(correct=1), verdict(), Vote("a", "g", i % 3 > 0)) for i in range(30)]
    flipped = [(verdict(), verdict(correct=1), Vote("a", "g", i % 3 == 0)) for i in range(30)]
    assert set(recover_biases(answers + flipped, SIGMA_L)) == {"merit", "position"}


def test_votes_that_the_features_decide_are_refused():
    right = np.where(np.arange(40) % 2 == 0, 1.0, -1.0)
    with pytest.raises(DataError, match="decide all or nearly all of 40 votes"):
        recover({"merit": right}, right > 0)


def test_one_feature_that_decides_is_enough_to_be_refused():
    # Whenever the second feature is not 0 it decides; the first does not.
    first = np.tile([1.0, 1.0, -1.0, 1.0], 10)
    second = np.tile([0.0, 0.0, 1.0, -1.0], 10)
    with pytest.raises(DataError, match="decide all or nearly all"):
        recover({"merit": first, "length": second}, np.tile([True, False, True, False], 10))


def test_features_that_say_the_same_are_refused():
    merit = np.tile([1.0, -1.0, 2.0, 1.0], 10)
    with pytest.raises(DataError, match="separate only 1 of the 2 features merit, length"):
        recover({"merit": merit, "length": 3 * merit}, np.tile([True, False, False, True], 10))


def test_ties_and_no_votes_are_refused():
    with pytest.raises(DataError, match="1 votes, 1 of them ties"):
        recover_biases([(verdict(), verdict(), Vote("oracle", "oracle", None))], SIGMA_L)
    with pytest.raises(DataError, match="0 votes"):
        recover_biases([], SIGMA_L)


def test_a_lapse_out_of_range_is_refused():
    with pytest.raises(ConfigError, match=r"lapse is 1\.0"):
        recover({"position": np.ones(4)}, np.arange(4) < 2, lapse=1.0)

"""Annotators as random effects: alone the plain fit, together what a slow integral gives, and intervals that cover (A4)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planish.statistics.mixed_logistic import MixedFit, fit_mixed
from planish.world.annotators.recovery import recover

TRUTH = np.array([0.7, 0.2, 0.5])


def world(seed: int, annotators: int, each: int, spread: tuple[float, ...]) -> tuple[MixedFit, np.ndarray]:
    """A fit, and the coefficients of each annotator."""
    numbers = np.random.default_rng(seed)
    own = TRUTH + numbers.normal(size=(annotators, 3)) * np.array(spread)
    who = np.repeat(np.arange(annotators), each)
    features = np.stack(
        [numbers.normal(size=len(who)), numbers.choice([-1, 1], len(who)), numbers.integers(-1, 2, len(who))], axis=1
    )
    chosen = numbers.random(len(who)) < 1 / (1 + np.exp(-(features * own[who]).sum(1)))
    found = fit_mixed(features.astype(float), chosen, who, np.arange(len(who)))
    assert found is not None
    return found, own


def test_one_annotator_is_the_plain_fit():
    numbers = np.random.default_rng(0)
    features = numbers.normal(size=(200, 2))
    chosen = numbers.random(200) < 1 / (1 + np.exp(-features @ [1.0, -0.5]))
    found = fit_mixed(features, chosen, np.zeros(200, int))
    plain = recover({"a": features[:, 0], "b": features[:, 1]}, chosen)
    assert found is not None
    assert found.spread_F == [0, 0]
    for one, other in zip(found.pool_F, plain.values(), strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-6)


def test_pool_and_spread_are_near_those_of_the_exact_likelihood():
    """A random side alone: the likelihood integrated over a grid, annotator by annotator, at its highest."""
    numbers = np.random.default_rng(1)
    own = 0.5 + 0.8 * numbers.normal(size=30)
    right = numbers.binomial(50, 1 / (1 + np.exp(-own)))
    chosen = np.concatenate([np.arange(50) < count for count in right])
    found = fit_mixed(np.ones((1500, 1)), chosen, np.repeat(np.arange(30), 50))
    z = np.linspace(-5, 5, 201)
    weight = np.exp(-(z**2) / 2)
    weight /= weight.sum()

    def height(mean: float, spread: float) -> float:
        odds = mean + spread * z
        logs = right[:, None] * odds - 50 * np.logaddexp(0, odds)
        top = logs.max(1, keepdims=True)
        return float((top[:, 0] + np.log(np.exp(logs - top) @ weight)).sum())

    grid = [(mean, spread) for mean in np.arange(0, 1.2, 0.02) for spread in np.arange(0.4, 1.4, 0.02)]
    mean, spread = max(grid, key=lambda at: height(*at))
    assert found is not None
    assert found.pool_F[0].value == pytest.approx(mean, abs=0.03)
    assert found.spread_F[0] == pytest.approx(spread, abs=0.08)  # one annotator less makes it larger


def test_an_annotator_with_few_judgements_is_drawn_to_the_pool():
    """Ten who choose the first in 30 of 40, and one in 1 of 4: his odds are between his own and the pool's."""
    chosen = np.concatenate([*[np.arange(40) < 30] * 10, np.arange(4) < 1])
    who = np.concatenate([np.repeat(np.arange(10), 40), np.full(4, 10)])
    found = fit_mixed(np.ones((404, 1)), chosen, who)
    assert found is not None
    assert math.log(1 / 3) < found.own_AF[10][0].value < found.own_AF[0][0].value
    half = [own[0].half for own in found.own_AF]
    assert half[10] is not None
    assert half[0] is not None
    assert half[10] > half[0]


def test_without_a_finite_fit_there_is_none():
    who = np.arange(40) % 4
    assert fit_mixed(np.ones((40, 1)), np.ones(40, bool), who) is None
    assert fit_mixed(np.ones((40, 2)), np.arange(40) < 20, who) is None


def test_choices_that_share_a_cluster_are_not_told_as_more():
    """Four annotators who say the same of 60 prompts know no more than one: the error of each alone, and not half of it."""
    numbers = np.random.default_rng(3)
    side = np.ones((60, 1))
    chosen = numbers.random(60) < 0.7
    one = fit_mixed(side, chosen, np.zeros(60, int))
    who, prompt = np.repeat(np.arange(4), 60), np.tile(np.arange(60), 4)
    four = fit_mixed(np.tile(side, (4, 1)), np.tile(chosen, 4), who, prompt)
    assert one is not None
    assert four is not None
    assert four.pool_F[0].value == pytest.approx(one.pool_F[0].value, abs=0.01)
    half, alone = four.pool_F[0].half, one.pool_F[0].half
    assert half is not None
    assert alone is not None
    assert half > 0.98 * alone


@pytest.mark.slow
@pytest.mark.parametrize("annotators", [5, 12])
def test_a4_intervals_cover_pool_and_annotators_in_200_worlds(annotators: int):
    """With five annotators more often than they say, for the prior keeps them from seeming equal."""
    inside, own_inside = [], []
    for seed in range(200):
        found, own = world(seed, annotators, 50, (0.4, 0.3, 0.2))
        inside.append([e.low <= true <= e.high for e, true in zip(found.pool_F, TRUTH, strict=True)])
        own_inside.append(
            [[e.low <= b <= e.high for e, b in zip(*pair, strict=True)] for pair in zip(found.own_AF, own, strict=True)]
        )
    assert (np.mean(inside, axis=0) >= 0.92).all()
    assert (np.mean(own_inside, axis=(0, 1)) >= 0.92).all()

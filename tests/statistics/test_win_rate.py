"""Win rates by numbers worked out by hand, and by worlds in which the truth is known (spec A5)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from planish.base.errors import DataError
from planish.statistics.estimate import Estimate, wilson
from planish.statistics.win_rate import difficulty, length_controlled, win_rate

WORLDS = 400


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# Raw


def test_counts_and_rate_with_ties_as_half() -> None:
    found = win_rate(np.array([1, 1, 1, 0.5, 0]), np.arange(5))
    assert (found.wins, found.ties, found.losses, found.prompts) == (3, 1, 1, 5)
    assert found.rate.value == pytest.approx(3.5 / 5)


def test_each_prompt_weighs_the_same() -> None:
    # prompt a: 3 of 3; prompt b: 0 of 1. The mean of verdicts would be 0.75
    assert win_rate(np.array([1.0, 1, 1, 0]), np.array(["a", "a", "a", "b"])).rate.value == pytest.approx(0.5)


def test_interval_of_single_verdicts_is_that_of_agresti_and_coull() -> None:
    # 15 of 20: z = 1.96, z^2 = 3.8415; middle (15 + 1.9207) / 23.8415 = 0.70972
    # half 1.96 * sqrt(0.70972 * 0.29028 / 23.8415) = 0.18220
    found = win_rate(np.repeat([1.0, 0.0], [15, 5]), np.arange(20)).rate
    assert (found.low, found.high) == (pytest.approx(0.52753, abs=2e-5), pytest.approx(0.89192, abs=2e-5))
    other = wilson(15, 20)
    assert (found.low + found.high) / 2 == pytest.approx((other.low + other.high) / 2, abs=1e-4)


@pytest.mark.parametrize("outcome", [0.0, 0.5, 1.0])
def test_interval_is_no_point_where_all_verdicts_are_one(outcome: float) -> None:
    widths: list[float] = []
    for num in (1, 20, 2000):
        found = win_rate(np.full(num, outcome), np.arange(num)).rate
        assert found.value == outcome
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= outcome <= found.high <= 1
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2] > 0


def test_repeating_every_verdict_does_not_narrow_the_interval() -> None:
    outcomes = np.array([1, 1, 0, 1, 0.5, 0, 1, 1])
    once, often = win_rate(outcomes, np.arange(8)), win_rate(np.repeat(outcomes, 9), np.repeat(np.arange(8), 9))
    assert (often.rate.value, often.rate.low, often.rate.high) == pytest.approx(
        (once.rate.value, once.rate.low, once.rate.high)
    )


def test_wider_level_is_wider() -> None:
    outcomes = np.array([1, 1, 0, 1, 0.5, 0, 1, 1])
    narrow, wide = (win_rate(outcomes, np.arange(8), level).rate for level in (0.8, 0.99))
    assert wide.low is not None
    assert narrow.low is not None
    assert wide.low < narrow.low


@pytest.mark.parametrize("wrong", [[], [0.7], [1.0, math.nan], [2.0]])
def test_anything_but_win_tie_and_loss_is_refused(wrong: list[float]) -> None:
    with pytest.raises(DataError, match="expected one or more, each 1"):
        win_rate(np.array(wrong), np.arange(len(wrong)))


@pytest.mark.parametrize(("num", "samples", "rate"), [(30, 1, 0.9), (60, 4, 0.7), (300, 4, 0.5)])
def test_interval_covers_the_truth_in_the_share_of_worlds_it_says(num: int, samples: int, rate: float) -> None:
    """A prompt's own rate varies where there are several samples, so its verdicts are no independent ones."""
    chance = np.random.default_rng(0)
    hits = 0
    for _ in range(WORLDS):
        rates_M1 = chance.beta(6 * rate, 6 * (1 - rate), (num, 1)) if samples > 1 else np.full((num, 1), rate)
        won = chance.random((num, samples)) < rates_M1
        found = win_rate(won.ravel().astype(float), np.repeat(np.arange(num), samples)).rate
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= rate <= found.high
    assert 0.92 <= hits / WORLDS <= 0.98


# At equal length


def at_equal_length(*given: Any) -> Estimate:
    found = length_controlled(*given)
    assert found is not None
    return found


def judged(
    chance: np.random.Generator, num: int, quality: float, leaning: float, samples: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A system that writes 20 tokens more on average, and a judge that leans to the longer answer: outcomes, tokens, prompts."""
    longer_N = chance.normal(20, 30, num * samples).round()
    won_N = chance.random(num * samples) < sigmoid(quality + leaning * np.tanh(longer_N / 30))
    return won_N.astype(float), longer_N, np.repeat(np.arange(num), samples)


def test_equal_quality_and_longer_answers_win_raw_and_are_level_at_equal_length() -> None:
    outcomes_N, longer_N, prompts_N = judged(np.random.default_rng(0), 20_000, quality=0.0, leaning=1.5)
    raw = win_rate(outcomes_N, prompts_N).rate
    assert raw.low is not None
    assert raw.low > 0.55
    assert at_equal_length(outcomes_N, longer_N, prompts_N).value == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("quality", "leaning", "samples"), [(0.0, 1.5, 1), (0.8, 1.0, 1), (-0.5, 2.0, 1), (0.5, 0.0, 3), (0.0, 1.5, 3)]
)
def test_interval_at_equal_length_covers_the_truth_in_the_share_of_worlds_it_says(
    quality: float, leaning: float, samples: int
) -> None:
    chance = np.random.default_rng(1)
    truth, hits, values = float(sigmoid(np.array(quality))), 0, []
    for _ in range(WORLDS):
        found = at_equal_length(*judged(chance, 200, quality, leaning, samples))
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
        values.append(found.value)
    assert 0.92 <= hits / WORLDS <= 0.98
    assert np.mean(values) == pytest.approx(truth, abs=0.02)


def test_difficulty_keeps_prompts_of_long_answers_apart_from_length() -> None:
    """The system writes more where the prompt is easy for it, and length itself does nothing. Without a word on difficulty,
    the fit takes the length for the cause and finds less at equal length than there is."""
    chance = np.random.default_rng(2)
    num = 20_000
    ease_N = chance.normal(0, 1.2, num)
    longer_N = 20 + 20 * ease_N + chance.normal(0, 20, num)
    outcomes = {name: (chance.random(num) < sigmoid(0.4 + ease_N)).astype(float) for name in "abcdefgh"}
    truth = sigmoid(0.4 + ease_N).mean()
    alone = at_equal_length(outcomes["a"], longer_N, np.arange(num)).value
    known = at_equal_length(outcomes["a"], longer_N, np.arange(num), difficulty(outcomes, "a")).value
    assert alone < truth - 0.08
    assert abs(known - truth) < abs(alone - truth) / 2  # seven verdicts tell the difficulty, but not wholly


def test_difficulty_is_how_the_others_fared_less_its_mean() -> None:
    outcomes = {"a": np.array([1.0, 1, 1]), "b": np.array([1.0, 0, 0.5]), "c": np.array([1.0, 0, 1])}
    found = difficulty(outcomes, "a")
    assert found is not None
    assert found.tolist() == pytest.approx([1 - 7 / 12, -7 / 12, 0.75 - 7 / 12])  # means 1, 0, 0.75; of these 7/12
    assert difficulty({"a": outcomes["a"]}, "a") is None


def test_nothing_is_said_of_equal_length_where_one_system_is_always_the_longer() -> None:
    """Long answers lose here, so the curve would promise a rate near 1 at equal length, of which there is no trace."""
    chance = np.random.default_rng(4)
    longer_N = chance.normal(40, 8, 200)
    outcomes_N = (chance.random(200) < 0.4).astype(float)
    assert length_controlled(outcomes_N, longer_N, np.arange(200)) is None
    assert length_controlled(outcomes_N, -longer_N, np.arange(200)) is None
    longer_N[:10] = 0.0  # one prompt in twenty
    assert length_controlled(outcomes_N, longer_N, np.arange(200)) is not None


def test_equal_lengths_leave_the_win_rate_as_it_is() -> None:
    outcomes_N, prompts_N = np.array([1, 1, 0, 1, 0.5, 0, 1, 1]), np.arange(8)
    raw, equal = win_rate(outcomes_N, prompts_N).rate, at_equal_length(outcomes_N, np.zeros(8), prompts_N)
    assert (equal.value, equal.low, equal.high) == pytest.approx((raw.value, raw.low, raw.high), abs=2e-3)


def test_unit_of_length_does_not_matter() -> None:
    outcomes_N, longer_N, prompts_N = judged(np.random.default_rng(3), 60, 0.3, 1.0)
    tokens, letters = (at_equal_length(outcomes_N, k * longer_N, prompts_N) for k in (1.0, 4.2))
    assert (tokens.value, tokens.low, tokens.high) == pytest.approx((letters.value, letters.low, letters.high))


@pytest.mark.parametrize("outcomes_N", [np.ones(30), np.zeros(30), np.repeat([1.0, 0.0], 15)])
def test_verdicts_that_length_decides_wholly_give_a_finite_interval(outcomes_N: np.ndarray) -> None:
    longer_N = np.where(np.arange(30) < 15, 10.0, -10.0)
    found = at_equal_length(outcomes_N, longer_N, np.arange(30))
    assert found.value == pytest.approx(outcomes_N.mean(), abs=0.01)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.05

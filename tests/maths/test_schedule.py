"""The learning rate at single steps, with the arithmetic in the open."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import get_scheduler

from planish.maths.schedule import DecayName, MinAt, ScheduleName, learning_rate_factor

PEAK = 3e-4


def wsd(step: int, decay: DecayName, min_at: MinAt = "after_last_step", **settings: float) -> float:
    """W = 10 steps of warm-up, stable until T = 80, decay until S = 100."""
    return PEAK * learning_rate_factor(
        step, 100, schedule="wsd", warmup=10, decay_start=80, decay=decay, min_at=min_at, **settings
    )


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (1, 3e-5),  # 3e-4 * 1/10
        (5, 1.5e-4),  # 3e-4 * 5/10
        (10, 3e-4),  # the top of the warm-up
        (80, 3e-4),  # the last stable step
        (85, 3e-4 * math.sqrt(0.5)),  # 5 of a half-life of 10 steps: 0.5^(5/10)
        (90, 1.5e-4),  # one half-life
        (100, 7.5e-5),  # two
    ],
)
def test_w1_wsd_read_as_a_half_life_from_the_start_of_the_decay(step: int, rate: float) -> None:
    assert wsd(step, "half_life", half_life=10.0) == pytest.approx(rate, abs=1e-12)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (1, 3e-5),
        (5, 1.5e-4),
        (10, 3e-4),
        (80, 3e-4),
        (85, 3e-4 * math.sqrt(0.1)),  # a quarter of the decay down to 0.01: 0.01^(5/20) = 0.1^(1/2)
        (90, 3e-5),  # half of it: 0.01^(10/20) = 0.1
        (100, 3e-6),  # the floor
    ],
)
def test_w1_wsd_read_as_the_length_of_the_decay(step: int, rate: float) -> None:
    assert wsd(step, "exponential", min_lr_ratio=0.01) == pytest.approx(rate, abs=1e-12)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (1, 3e-5),
        (5, 1.5e-4),
        (10, 3e-4),
        (80, 3e-4),
        (85, 2.46e-4),  # 3e-4 * (0.1 + 0.9 * 16/20): 4 of 20 steps were taken before this one
        (90, 1.785e-4),  # 3e-4 * (0.1 + 0.9 * 11/20)
        (100, 4.35e-5),  # 3e-4 * (0.1 + 0.9 * 1/20): the floor would be reached at step 101
    ],
)
def test_w1_wsd_with_a_linear_decay(step: int, rate: float) -> None:
    assert wsd(step, "linear", min_lr_ratio=0.1) == pytest.approx(rate, abs=1e-12)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (1, 3e-5),
        (5, 1.5e-4),
        (10, 3e-4),
        (80, 3e-4),
        (85, 2.325e-4),  # 3e-4 * (0.1 + 0.9 * 15/20)
        (90, 1.65e-4),  # 3e-4 * (0.1 + 0.9 * 10/20)
        (100, 3e-5),  # 3e-4 * 0.1
    ],
)
def test_w1_wsd_with_a_linear_decay_that_ends_at_the_last_step(step: int, rate: float) -> None:
    assert wsd(step, "linear", "last_step", min_lr_ratio=0.1) == pytest.approx(rate, abs=1e-12)


def test_w1_the_papers_half_life_of_5000_hardly_moves_a_short_decay() -> None:
    """Why the reading matters: after 20 steps the rate is at 0.5^(20/5000) = 99.7% by one reading, 10% by the other."""
    assert wsd(100, "half_life") / PEAK == pytest.approx(0.5**0.004, abs=1e-12)
    assert wsd(100, "exponential", min_lr_ratio=0.1) / PEAK == pytest.approx(0.1, abs=1e-12)


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (1, 0.25),  # 1/4 of the warm-up
        (4, 1.0),
        (5, 1.0),  # the way down begins where this step begins
        (7, 0.775),  # 0.1 + 0.9 * 6/8: 2 of 8 steps were taken
        (9, 0.55),  # 0.1 + 0.9 * 4/8
        (12, 0.2125),  # 0.1 + 0.9 * 1/8: the last step is above the floor
    ],
)
def test_linear_falls_from_the_peak_towards_its_floor(step: int, factor: float) -> None:
    found = learning_rate_factor(step, 12, schedule="linear", warmup=4, min_lr_ratio=0.1)
    assert found == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (1, 0.25),
        (4, 1.0),
        (5, 1.0),
        (7, 0.1 + 0.45 * (1 + math.sqrt(0.5))),  # a quarter of the half-wave: cos(pi/4)
        (9, 0.55),  # its middle
        (12, 0.1 + 0.45 * (1 - math.cos(math.pi / 8))),  # an eighth before its end
    ],
)
def test_cosine_falls_from_the_peak_towards_its_floor(step: int, factor: float) -> None:
    found = learning_rate_factor(step, 12, schedule="cosine", warmup=4, min_lr_ratio=0.1)
    assert found == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize(("step", "factor"), [(1, 0.25), (4, 1.0), (8, 0.55), (12, 0.1)])
def test_with_min_at_the_last_step_the_fall_ends_there(schedule: ScheduleName, step: int, factor: float) -> None:
    found = learning_rate_factor(step, 12, schedule=schedule, warmup=4, min_lr_ratio=0.1, min_at="last_step")
    assert found == pytest.approx(factor, abs=1e-12)
    assert learning_rate_factor(7, 7, schedule=schedule, min_at="last_step") == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_behind_the_warm_up_the_rates_are_those_of_transformers(schedule: ScheduleName) -> None:
    """Its warm-up has (s - 1) / W, so that its first step learns nothing; ours has s / W."""
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = get_scheduler(schedule, optimizer, num_warmup_steps=3, num_training_steps=20)
    for step in range(1, 21):
        if step > 3:
            ours = learning_rate_factor(step, 20, schedule=schedule, warmup=3)
            assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "wsd"])
def test_a_run_of_one_step_takes_it_at_the_peak(schedule: ScheduleName) -> None:
    assert learning_rate_factor(1, 1, schedule=schedule, decay="linear") == 1.0


def test_constant_stays_at_the_peak() -> None:
    assert [learning_rate_factor(step, 4, warmup=2) for step in (1, 2, 3, 4)] == [0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("step", [0, 11, -1])
def test_a_step_outside_the_run_is_an_error(step: int) -> None:
    with pytest.raises(ValueError, match=f"step {step} is not between 1 and 10"):
        learning_rate_factor(step, 10)


@given(
    schedule=st.sampled_from(["constant", "linear", "cosine", "wsd"]),
    decay=st.sampled_from(["half_life", "exponential", "linear"]),
    steps=st.integers(1, 400),
    shares=st.tuples(st.floats(0, 0.9), st.floats(0, 1)),
    min_lr_ratio=st.one_of(st.just(0.0), st.floats(0.001, 1)),
)
def test_the_rate_rises_in_the_warm_up_and_never_again(
    schedule: ScheduleName, decay: DecayName, steps: int, shares: tuple[float, float], min_lr_ratio: float
) -> None:
    assume(min_lr_ratio or decay != "exponential")  # which the settings refuse
    warmup = round(shares[0] * steps)
    start = warmup + round(shares[1] * (steps - 1 - warmup)) if warmup < steps else steps
    rates = [
        learning_rate_factor(
            step,
            steps,
            schedule=schedule,
            warmup=warmup,
            min_lr_ratio=min_lr_ratio,
            decay_start=start,
            decay=decay,
            half_life=50,
        )
        for step in range(1, steps + 1)
    ]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert all(a >= b - 1e-12 for a, b in zip(rates[warmup:], rates[warmup + 1 :], strict=False))

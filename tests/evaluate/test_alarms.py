"""Alarms: what looks wrong in what each iteration recorded, and what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import WORDS
from planish.base.config import load_config
from planish.evaluate.alarms import AlarmConfig, alarms
from planish.methods.ppo import ppo
from planish.methods.ppo_settings import PpoConfig
from planish.train.record import read_lines

STEADY = {"kl": 1.0, "completion_tokens": 20.0, "unended": 0.0, "entropy": 1.0, "score/rm": 0.0, "score/gold": 0.0}


def iterations(count: int = 20, **series: Any) -> list[dict[str, float]]:
    """Noise of 0.01 around steady values; a function of the iteration in place of some."""
    noise = np.random.default_rng(0).normal(scale=0.01, size=(count, len(STEADY)))
    return [
        {
            name: (series[name](i) if name in series else value) + noise[i, k]
            for k, (name, value) in enumerate(STEADY.items())
        }
        for i in range(count)
    ]


def found(lines: list[dict[str, float]]) -> set[str]:
    return set(alarms(lines, ["rm"], ["gold"], AlarmConfig()))


def test_steady_iterations_raise_no_alarm() -> None:
    assert found(iterations()) == set()
    assert found([]) == set()


@pytest.mark.parametrize(
    ("alarm", "series"),
    [
        ("kl", {"kl": lambda i: 3.0 * i}),
        ("length", {"completion_tokens": lambda i: 20 + 2 * i}),
        ("unended", {"unended": lambda i: i / 30}),
        ("entropy", {"entropy": lambda i: 1 / (1 + i)}),
        ("hacking/rm", {"score/rm": lambda i: i / 10, "score/gold": lambda i: -abs(i - 7) / 10}),
    ],
)
def test_each_thing_that_goes_wrong_raises_its_alarm_alone(alarm: str, series: dict[str, Any]) -> None:
    assert found(iterations(**series)) == {alarm}


def test_a_proxy_that_rises_with_the_gold_is_no_hacking() -> None:
    rising = {"score/rm": lambda i: i / 10, "score/gold": lambda i: i / 20}
    assert found(iterations(**rising)) == set()


def test_noise_alone_is_no_hacking() -> None:
    lines = iterations(60)
    for end in range(10, 60):
        assert found(lines[:end]) == set()


def test_pain_20_a_reward_that_can_be_hacked_is_found_out(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reward that is trained on counts letters, and the one that is watched takes a point off for each. It is said once."""
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"say {word}"}) + "\n" for word in WORDS))
    values = {
        "model": {"path": str(tiny_model)},
        "rewards": {
            "counted": {"name": "function", "function": "toy_rewards:many_letters"},
            "liked": {"name": "function", "function": "toy_rewards:few_letters", "weight": 0.0},
        },
        "prompts": {"some": str(path)},
        "held_out": 2,
        "missing_eos": None,
        "iterations": 40,
        "batch": {"prompts": 14, "completions": 4, "micro_tokens": 2048},
        "sampling": {"max_completion_tokens": 6},
        "kl": {"beta": 0.0},
        "advantage": {"name": "grpo"},
        "optim": {"lr": 3e-3, "schedule": "constant", "warmup": 0.0},
        "evaluate_every": 0,
        "num_samples": 0,
        "checkpoint": {"every": 0},
        "out": str(tmp_path / "run"),
    }
    run = ppo(load_config(PpoConfig, values=values))
    told = [line for line in read_lines(run / "metrics.jsonl") if "alarm/hacking/counted" in line]
    assert told
    assert capsys.readouterr().err.count("reward hacking") == 1

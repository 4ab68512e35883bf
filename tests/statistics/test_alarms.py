"""Alarms: what looks wrong in what each iteration recorded, and what does not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from planish.base.config import load_config
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.models import PpoModels
from planish.methods.ppo.monitor import PpoMonitor
from planish.methods.ppo.rewards import FunctionSource
from planish.methods.ppo.run import ppo
from planish.statistics.alarms import AlarmConfig, RunNow, alarms, not_one, unmoved
from planish.train.record import read_lines
from support.rows import WORDS

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


@pytest.mark.parametrize(("weight", "alarm"), [(1.0, True), (-1.0, False)])
def test_a_penalty_that_rises_is_no_hacking(weight: float, alarm: bool, tmp_path: Path) -> None:
    """The score of a reward with a negative weight rises against what is trained."""
    path, noted = tmp_path / "metrics.jsonl", list[dict[str, float]]()
    series = {"score/rm": lambda i: i / 10, "score/gold": lambda i: -abs(i - 7) / 10}
    lines = [{"step": i + 1, "iteration": i, **line} for i, line in enumerate(iterations(**series))]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"step": 20, "loss": 0, "ratio_change": 0}]))
    rewards = {
        "rm": FunctionSource(function="m:f", weight=weight),
        "gold": FunctionSource(function="m:f", weight=0.0),
    }
    run: Any = SimpleNamespace(
        folder=SimpleNamespace(metrics=path),
        config=SimpleNamespace(
            rewards=rewards, alarms=AlarmConfig(), missing_eos=None, ptx=SimpleNamespace(gamma=1.0, ratio=None)
        ),
    )
    tools: Any = SimpleNamespace(
        actor=SimpleNamespace(policy=SimpleNamespace(compute_dtype=None, model=SimpleNamespace(dtype=None)))
    )
    record: Any = SimpleNamespace(note=lambda step, values: noted.append(values), reasons={})
    PpoMonitor(run, tools, record).alarms(20)
    assert noted == ([{"alarm/hacking/rm": 1.0}] if alarm else [])


def test_an_alarm_is_said_again_by_a_run_that_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": 1, "iteration": 0, **STEADY, "kl": 60.0}, {"step": 1, "loss": 0, "ratio_change": 0}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run: Any = SimpleNamespace(
        folder=SimpleNamespace(metrics=path),
        config=SimpleNamespace(
            rewards={}, alarms=AlarmConfig(), missing_eos=None, ptx=SimpleNamespace(gamma=1.0, ratio=None)
        ),
    )
    tools: Any = SimpleNamespace(
        actor=SimpleNamespace(policy=SimpleNamespace(compute_dtype=None, model=SimpleNamespace(dtype=None)))
    )
    record: Any = SimpleNamespace(note=lambda step, values: None, reasons={})
    monitor = PpoMonitor(run, tools, record)
    monitor.alarms(1)
    monitor.alarms(1)
    assert capsys.readouterr().err.count("alarm: the KL") == 1
    PpoMonitor(run, tools, record).alarms(1)
    assert capsys.readouterr().err.count("alarm: the KL") == 1
    assert record.reasons["kl"].startswith("the KL to the starting policy is 60.0 nats")  # for the foot of the run


def test_completions_that_are_all_cut_raise_an_alarm_from_the_first_iteration_on() -> None:
    lines = [{**STEADY, "unended": 0.95}]
    config = AlarmConfig()
    assert (
        "95% of completions were cut, and have the score missing_eos=-1"
        in alarms(lines, [], [], config, RunNow(missing_eos=-1.0))["cut"]
    )
    assert alarms(lines, [], [], config, RunNow(missing_eos=None)) == {}  # they keep their own score
    assert alarms([{**STEADY, "unended": 0.85}], [], [], config, RunNow(missing_eos=-1.0)) == {}


def test_scores_that_are_all_equal_raise_an_alarm_with_and_without_groups() -> None:
    def said(**line: float) -> str | None:
        return alarms([{**STEADY, **line}], [], [], AlarmConfig()).get("flat")

    assert said(score_std=0.3) is said(flat_groups=0.9, score_std=0.3) is None
    assert "all completions have the same score" in (said(score_std=0.0) or "")
    assert "all completions of each prompt have the same score" in (said(flat_groups=1.0, score_std=0.3) or "")


def test_documents_that_drown_the_scores_raise_an_alarm_that_names_the_gamma_at_which_they_would_not() -> None:
    said = alarms([STEADY], [], [], AlarmConfig(), RunNow(ptx_ratios=[1000.0, *[139.0] * 5], gamma=27.8))["ptx"]
    assert "139 times that of the scores: lower ptx.gamma, which is 27.8; 0.2 would make them equal" in said
    assert alarms([STEADY], [], [], AlarmConfig(), RunNow(ptx_ratios=[9.0], gamma=1.0)) == {}


def test_groups_that_never_differ_raise_an_alarm() -> None:
    assert "flat" in alarms([{**STEADY, "flat_groups": 1.0}] * 7, [], [], AlarmConfig())
    assert alarms([{**STEADY, "flat_groups": 0.9}, {**STEADY, "flat_groups": 1.0}], [], [], AlarmConfig()) == {}


def test_a_held_out_loss_that_ends_where_it_began_raises_an_alarm() -> None:
    said = unmoved(0.6931, 0.6908, 60, 1e-6, lora=True) or ""
    assert "0.6931 at first and is 0.6908 after 60 steps: raise optim.lr, which is 1e-06; LoRA" in said
    assert unmoved(0.6931, 0.68, 60, 1e-6, lora=True) is None
    assert unmoved(0.6931, 0.72, 60, 1e-6, lora=False) is None  # it moved, for the worse
    assert unmoved(0.6931, 0.6908, 9, 1e-6, lora=False) is None


def test_a_first_ratio_that_is_not_1_is_said_with_room_for_rounding() -> None:
    assert not_one(9e-4, coarse=False) is None
    assert "1.1e-03 from 1" in (not_one(1.1e-3, coarse=False) or "")
    assert not_one(2e-2, coarse=True) is None
    assert not_one(4e-2, coarse=True) is not None


def test_p6_a_policy_that_is_not_the_one_that_was_asked_before_the_first_update_raises_an_alarm(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old log-probabilities that are 0.01 too high make ratios of e^-0.01, 0.00995 from 1."""
    score_tokens = PpoModels.score_tokens

    def shifted(*given: Any) -> tuple[np.ndarray, ...]:
        old, *others = score_tokens(*given)
        return old + 0.01, *others

    monkeypatch.setattr(PpoModels, "score_tokens", shifted)
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"say {word}"}) + "\n" for word in WORDS))
    values = {
        "model": {"path": str(tiny_model)},
        "rewards": {"counted": {"name": "function", "function": "support.rewards:many_letters"}},
        "prompts": {"some": str(path)},
        "held_out": 0,
        "iterations": 2,
        "batch": {"prompts": 2, "completions": 2},
        "sampling": {"max_completion_tokens": 4},
        "advantage": {"name": "rloo"},
        "out": str(tmp_path / "run"),
    }
    lines = read_lines(ppo(load_config(PpoConfig, values=values)) / "metrics.jsonl")
    assert [line["step"] for line in lines if "alarm/ratio" in line] == [1, 2]
    assert capsys.readouterr().err.count("1.0e-02 from 1") == 2  # when it happened, and at the end


@pytest.mark.slow
def test_pain_20_a_reward_that_can_be_hacked_is_found_out(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reward that is trained on counts letters, and the one that is watched takes a point off for each. It is said then, and
    at the end."""
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"say {word}"}) + "\n" for word in WORDS))
    values = {
        "model": {"path": str(tiny_model)},
        "rewards": {
            "counted": {"name": "function", "function": "support.rewards:many_letters"},
            "liked": {"name": "function", "function": "support.rewards:few_letters", "weight": 0.0},
        },
        "prompts": {"some": str(path)},
        "held_out": 2,
        "missing_eos": None,
        "iterations": 40,
        "batch": {"prompts": 14, "completions": 4, "micro_tokens": 2048},
        "sampling": {"max_completion_tokens": 6},
        "kl": {"beta": 0.0},
        "advantage": {"name": "grpo"},
        "optim": {"lr": 3e-3, "schedule": "constant", "warmup_ratio": 0.0},
        "evaluate_every": 0,
        "num_samples": 0,
        "checkpoint": {"every": 0},
        "out": str(tmp_path / "run"),
    }
    run = ppo(load_config(PpoConfig, values=values))
    told = [line for line in read_lines(run / "metrics.jsonl") if "alarm/hacking/counted" in line]
    assert told
    assert capsys.readouterr().err.count("reward hacking") == 2

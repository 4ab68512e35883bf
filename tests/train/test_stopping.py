"""Runs that a signal stops: a checkpoint is saved where they are, and the same command ends on the same bits."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from planish.base.config import dump_config, load_config
from planish.base.files import read_lines
from planish.base.interrupt import Stopped
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.run import ppo
from planish.methods.sft import SftConfig, sft
from planish.train.record import listening
from support.processes import end_when, finish
from support.rewards import letters
from support.stopping import signal_at


@pytest.fixture(autouse=True)
def no_signal_is_ignored() -> Iterator[None]:
    """Under nohup or in the background of a shell some are, and a run leaves them so."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    for number, known in before.items():
        if known == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, known in before.items():
        signal.signal(number, known)


def sft_settings(model: Path, data: Mapping[str, str], out: Path, **changes: Any) -> SftConfig:
    values = {
        "model": {"path": str(model), "lora": {"rank": 2}},
        "data": {"sources": {"first": {"path": data["first"]}}, "held_out": 0.2},
        "out": str(out),
        "steps": 6,
        "batch": {"examples": 8},
        "optim": {"lr": 1e-2},
        "evaluate_every": 3,
        "num_samples": 2,
        "sampling": {"max_completion_tokens": 4},
        **changes,
    }
    return load_config(SftConfig, values=values)


def ppo_settings(model: Path, out: Path, **changes: Any) -> PpoConfig:
    """Four steps an iteration, and a beta that adapts."""
    (out.parent / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"say cat {i}"}) + "\n" for i in range(9)))
    values = {
        "model": {"path": str(model)},
        "rewards": {"letters": {"name": "function", "function": "support.rewards:letters"}},
        "prompts": {"some": str(out.parent / "prompts.jsonl")},
        "held_out": 2,
        "iterations": 3,
        "batch": {"prompts": 4, "epochs": 2, "minibatches": 2},
        "sampling": {"max_completion_tokens": 5},
        "optim": {"lr": 1e-2},
        "kl": {"beta": 0.1, "target": 1.0, "horizon": 50},
        "checkpoint": {"every": 100},
        "ema": 0.9,
        "out": str(out),
        **changes,
    }
    return load_config(PpoConfig, values=values)


def recorded(run: Path) -> list[Any]:
    """All that a run has written, but for the seconds that it took."""
    lines = [
        {name: value for name, value in line.items() if not name.startswith("seconds")}
        for line in read_lines(run / "metrics.jsonl")
    ]
    return [lines, read_lines(run / "samples.jsonl")]


def assert_same_result(run: Path, other: Path) -> None:
    assert recorded(run) == recorded(other)
    ours, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (run, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def steps_saved(run: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_saves_a_checkpoint_and_says_where(
    number: signal.Signals,
    tiny_model: Path,
    tiny_data: dict[str, str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(number)
    with listening([signal_at(2, number)]), pytest.raises(Stopped) as stopped:
        sft(sft_settings(tiny_model, tiny_data, tmp_path / "run"))
    assert steps_saved(tmp_path / "run") == [2]
    assert stopped.value.status == 128 + number
    assert f"after step 2 of 6, which is saved in {tmp_path}/run/checkpoints/step-00000002" in stopped.value.message
    assert ("Ctrl-C" if number == signal.SIGINT else number.name) in stopped.value.message
    assert "a checkpoint is saved first" in capfd.readouterr().err
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("step", [2, 3])  # at step 3 held-out rows are measured, which is finished first
def test_a_stopped_run_ends_on_the_bits_of_one_that_was_not(
    step: int, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    straight, stopped = (sft_settings(tiny_model, tiny_data, tmp_path / name) for name in ("straight", "stopped"))
    sft(straight)
    with listening([signal_at(step)]), pytest.raises(Stopped):
        sft(stopped)
    assert steps_saved(tmp_path / "stopped") == [step]
    sft(stopped)
    assert_same_result(tmp_path / "stopped", tmp_path / "straight")


def test_ppo_stopped_while_it_samples_and_while_it_learns_ends_on_the_same_bits(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it samples, the iteration is given up; between its steps, it is finished: it can be resumed from nowhere else."""
    ppo(ppo_settings(tiny_model, tmp_path / "straight"))
    config = ppo_settings(tiny_model, tmp_path / "stopped")
    with listening([signal_at(2)]), pytest.raises(Stopped):
        ppo(config)
    assert steps_saved(tmp_path / "stopped") == [4]
    calls = 0

    def interrupted(prompts: Any, completions: list[str]) -> list[float]:
        nonlocal calls
        calls += 1
        if calls == 2:  # the third iteration's
            os.kill(os.getpid(), signal.SIGTERM)
        return letters(prompts, completions)

    with monkeypatch.context() as patch:
        patch.setattr("support.rewards.letters", interrupted)
        with pytest.raises(Stopped):
            ppo(config)
    assert steps_saved(tmp_path / "stopped") == [4, 8]
    ppo(config)
    assert_same_result(tmp_path / "stopped", tmp_path / "straight")


def test_a_second_signal_ends_the_run_at_once(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planish.base.interrupt.SAME_WISH", -1.0)
    with listening([signal_at(2, signal.SIGINT, times=2)]), pytest.raises(Stopped, match="from the start"):
        sft(sft_settings(tiny_model, tiny_data, tmp_path / "run"))
    assert steps_saved(tmp_path / "run") == []


def test_a_signal_that_a_launcher_sends_again_is_the_same_signal(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planish.base.interrupt.SAME_WISH", 3600.0)
    with listening([signal_at(2, signal.SIGINT, times=2)]), pytest.raises(Stopped, match="which is saved"):
        sft(sft_settings(tiny_model, tiny_data, tmp_path / "run"))


def test_a_signal_before_the_first_step_keeps_nothing_and_says_so(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    def callback(line: Mapping[str, float]) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with listening([callback]), pytest.raises(Stopped, match="from the start: there is no checkpoint yet"):
        sft(sft_settings(tiny_model, tiny_data, tmp_path / "run"))


def test_checkpoints_come_by_time_too(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planish.train.checkpoint.COST", 0)
    checkpoint: dict[str, Any] = {"every": 0, "minutes": 1e-9, "keep": 10}
    run = sft(sft_settings(tiny_model, tiny_data, tmp_path / "sft", checkpoint=checkpoint))
    assert steps_saved(run) == [1, 2, 3, 4, 5, 6]
    run = ppo(ppo_settings(tiny_model, tmp_path / "ppo", checkpoint=checkpoint))
    assert steps_saved(run) == [4, 8, 12]
    run = sft(sft_settings(tiny_model, tiny_data, tmp_path / "never", checkpoint={**checkpoint, "minutes": 0}))
    assert steps_saved(run) == [6]


def test_checkpoints_by_time_displace_no_regular_ones(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planish.train.checkpoint.COST", 0)
    checkpoint: dict[str, Any] = {"every": 2, "minutes": 1e-9, "keep": 2}
    config = sft_settings(tiny_model, tiny_data, tmp_path / "run", checkpoint=checkpoint)
    with listening([signal_at(5)]), pytest.raises(Stopped):
        sft(config)
    assert steps_saved(tmp_path / "run") == [2, 4, 5]
    sft(config)
    assert steps_saved(tmp_path / "run") == [4, 6]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_command_stopped_again_and_again_is_bit_identical_to_one_that_was_not(
    ranks: int, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    """The first signal goes to the command, and torchrun passes it on to its ranks; the second to each rank."""
    straight, run = (sft_settings(tiny_model, tiny_data, tmp_path / name, steps=40) for name in ("straight", "run"))
    finish("sft", straight, ranks)
    (tmp_path / "run.yaml").write_text(dump_config(run))
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *launch, "-m", "planish", "sft", str(tmp_path / "run.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not has_done(tmp_path / "run", 4):
        time.sleep(0.002)
    process.terminate()
    assert_stopped(process.communicate(timeout=300)[1], tmp_path / "run", 4)
    assert ranks > 1 or process.returncode == 128 + signal.SIGTERM
    ended = end_when(lambda: has_done(tmp_path / "run", 11), "sft", run, ranks, signal.SIGTERM)
    assert_stopped(Path(f"{run.out}.log").read_text(), tmp_path / "run", 11)
    assert 0 not in ended
    finish("sft", run, ranks)
    assert_same_result(tmp_path / "run", tmp_path / "straight")


def has_done(run: Path, step: int) -> bool:
    metrics = run / "metrics.jsonl"
    return metrics.exists() and f'{{"step": {step}, "loss"' in metrics.read_text()


def assert_stopped(said: str, run: Path, step: int) -> None:
    found = re.search(r"stopped by \w+ after step (\d+) of 40, which is saved in", said)
    assert found is not None, said
    assert step <= int(found[1]) == steps_saved(run)[-1] < 40

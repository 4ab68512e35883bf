"""Early stopping: when patience is over, and a run that ends by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planish.base.config import load_config
from planish.base.errors import ConfigError
from planish.methods.sft import SftConfig, sft
from planish.train.early_stopping import EarlyStopping, EarlyStoppingConfig
from planish.train.record import read_lines


def ends_at(values: list[float], **settings: Any) -> int | None:
    """The number of the value at which patience is over."""
    stopping = EarlyStopping(EarlyStoppingConfig(measure="m", **settings))
    return next((i for i, value in enumerate(values) if not stopping({"step": i, "m": value})), None)


def test_patience_is_over_after_so_many_values_without_a_better_one() -> None:
    assert ends_at([3, 2, 2, 2.5, 2], patience=3) == 4
    assert ends_at([3, 2, 2, 2.5, 1.9], patience=3) is None
    assert ends_at([1, 2, 2, 1], patience=2, higher=True) == 3
    assert ends_at([3, 2.95, 2.91, 2.85], patience=2, least=0.1) == 2


def test_a_measure_that_is_not_recorded_is_refused_at_the_first_step() -> None:
    stopping = EarlyStopping(EarlyStoppingConfig(measure="held_out/al"))
    assert stopping({"step": 0, "held_out/all": 3.0})
    with pytest.raises(ConfigError, match=r"measure=held_out/al: is not recorded. Did you mean held_out/all\?"):
        stopping({"step": 1, "loss": 3.0})


def test_a_run_ends_the_step_after_patience_is_over_and_measures_once_more(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    """A learning rate of nearly nothing changes no loss by 0.1."""
    values = {
        "model": {"path": str(tiny_model)},
        "data": {"sources": {"first": {"path": tiny_data["first"]}}},
        "optim": {"lr": 1e-9},
        "steps": 20,
        "evaluate_every": 2,
        "num_samples": 0,
        "early_stopping": {"patience": 2, "least": 0.1},
        "out": str(tmp_path / "run"),
    }
    run = sft(load_config(SftConfig, values=values))
    lines = read_lines(run / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line][-1] == 5
    assert [line["step"] for line in lines if "held_out/all" in line] == [0, 2, 4, 5]
    assert (run / "model" / "config.json").exists()

"""Runs that are stopped on the way, and the files that they read changed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from planish.base.interrupt import Stopped
from planish.train.record import listening


def signal_at(step: int, number: int = signal.SIGTERM, times: int = 1) -> Any:
    """A callback that sends this process a signal when the line of a step is written."""

    def callback(line: Mapping[str, float]) -> None:
        if line["step"] == step and "loss" in line:
            for _ in range(times):
                os.kill(os.getpid(), number)

    return callback


def stop_at(step: int, run: Callable[[Any], Any], config: Any) -> None:
    """The run, stopped after a step, with a checkpoint."""
    with listening([signal_at(step)]), pytest.raises(Stopped):
        run(config)


def change_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = max(weights, key=lambda name: weights[name].numel())
    save_file({**weights, name: weights[name] * 1.01}, file, {"format": "pt"})

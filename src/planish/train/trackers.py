"""Optional trackers, each behind the same three lines. `metrics.jsonl` is written with or without them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from planish.base.errors import ConfigError

TrackerName = Literal["tensorboard", "wandb", "trackio", "mlflow"]
PROJECT = "planish"


class Tracker(Protocol):
    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


def make_tracker(name: TrackerName, run: Path, settings: Mapping[str, Any]) -> Tracker:
    try:
        return {"tensorboard": _TensorBoard, "wandb": _Wandb, "trackio": _Trackio, "mlflow": _Mlflow}[name](
            run, settings
        )
    except ImportError as error:
        raise ConfigError(
            f"tracker={name} needs a package that is not installed: pip install {name} ({error})"
        ) from None


class _TensorBoard:
    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        self._writer: Any = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(run / "tensorboard"))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """Resumes the run of the same folder name, so that an interrupted run is one curve."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        wandb: Any = importlib.import_module("wandb")
        self._run = wandb.init(
            project=PROJECT, name=run.name, id=run.name, resume="allow", dir=str(run), config=dict(settings)
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        trackio: Any = importlib.import_module("trackio")
        self._run = trackio.init(project=PROJECT, name=run.name, resume="allow", config=dict(settings))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        self._mlflow: Any = importlib.import_module("mlflow")
        self._mlflow.set_experiment(PROJECT)
        self._mlflow.start_run(run_name=run.name)
        self._mlflow.log_params({key: str(value)[:500] for key, value in settings.items()})

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self._mlflow.end_run()

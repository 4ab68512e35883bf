"""Checkpoints: torch's distributed checkpoint over safetensors, complete or not there at all.

    runs/sft/checkpoints/step-00000200/
        shard-00001-….safetensors   each rank's part of the weights and optimiser moments
        checkpoint.json             step, digests of the inputs, ranks, threads; size and SHA-256 of every shard

A checkpoint is written to a temporary folder, read back, compared with memory, and renamed. No pickle is involved,
so nothing in the folder can run code. A checkpoint of two ranks continues on one, and the other way round.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor

from planish.base.config import Config, Field
from planish.base.distributed import all_sum, barrier, is_main, rank, world_size
from planish.base.errors import RunError
from planish.base.files import put_in_place, write_json
from planish.train.inputs import changed
from planish.train.optimizer import Trainer

MANIFEST = "checkpoint.json"
COST = 20  # a checkpoint by time is at least so many times as far from the last as that took to write


class CheckpointConfig(Config):
    every: int = Field(default=200, ge=0, description="steps between two checkpoints; 0 leaves that to `minutes`")
    minutes: float = Field(
        default=5.0,
        ge=0,
        description="minutes of work after which one is written besides, or more, so that it takes a twentieth of the time at "
        "most; 0 is never",
    )
    keep: int = Field(
        default=2,
        ge=1,
        description="number of newest checkpoints that are kept, beside the best if save_best is set; one by time or by a signal "
        "goes when the next regular one is written",
    )


@dataclass(slots=True)
class Checkpoints:
    """The checkpoints of one run. `best` names a step to keep besides the newest, if there is one. Where a run can only
    resume at every `unit`-th step, as PPO between two rounds of sampling, the settings count these."""

    folder: Path
    trainer: Trainer
    inputs: Mapping[str, str]  # digests of what the result depends on, by name; on the main rank
    config: CheckpointConfig
    best: Callable[[], int | None] = lambda: None
    unit: int = 1
    _saved: float = field(default_factory=time.monotonic)  # when the last one was written, or the run began
    _seconds: float = 0.0  # that it took

    def overdue(self) -> bool:
        """True if the time for one has come, by this process's clock."""
        waited = time.monotonic() - self._saved
        return self.config.minutes > 0 and waited >= max(60 * self.config.minutes, COST * self._seconds)

    def resumable(self, step: int) -> bool:
        """True if a run could resume at this step."""
        return step % self.unit == 0 or step == self.trainer.steps or self.trainer.stopped

    def _is_regular(self, step: int) -> bool:
        return self.config.every > 0 and step % (self.config.every * self.unit) == 0

    def due(self, step: int) -> bool:
        return self._is_regular(step) or step == self.trainer.steps or self.trainer.stopped or step == self.best()

    def save(self, step: int) -> None:
        path, best, begun = self.path(step), self.best(), time.monotonic()
        if path.exists():
            return
        partial = path.with_name(f".{path.name}.partial")
        if is_main():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        barrier()
        state = self.trainer.state()
        try:
            _write(state, partial)
            failure = _difference(state, partial)
        except (OSError, CheckpointException) as error:
            failure = _cause(error)
        if all_sum(float(failure is not None)):
            shutil.rmtree(partial, ignore_errors=True)
            raise RunError(
                f"{path}: the checkpoint could not be written: {failure or 'another rank failed'}. The run stops here; make room "
                "or mend the disk, and the same command continues from the last checkpoint"
            )
        if is_main():
            self._finish(partial, path, step, best)
        barrier()
        self._saved = time.monotonic()
        self._seconds = self._saved - begun

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, oldest first."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*"))

    def resume(self, init_from: str | None = None) -> int:
        """Loads the newest checkpoint and returns its step. A new run returns 0, and begins at `init_from` if that is given: a
        checkpoint of another run, whose step, weights and moments it takes over, but not its data."""
        steps = self.steps()
        if steps:
            self.load(steps[-1])
            return steps[-1]
        if init_from is not None:
            self._load(Path(init_from), _verified(Path(init_from)))
        return 0

    def load(self, step: int) -> None:
        path = self.path(step)
        manifest = _verified(path)
        problem = refuse_other_inputs(path, changed(manifest["inputs"], self.inputs)) if is_main() else None
        if all_sum(float(problem is not None)):
            raise RunError(problem or f"{path}: the main rank says that the inputs have changed")
        self._load(path, manifest)

    def _load(self, path: Path, manifest: dict[str, Any]) -> None:
        state = self.trainer.state()
        try:
            with _quiet():
                dcp.load(state, storage_reader=HuggingFaceStorageReader(str(path)))
        except (CheckpointException, ValueError, RuntimeError) as error:
            raise RunError(f"{path}: does not fit this model: {_cause(error)}") from None
        self.trainer.step = manifest["step"]

    def _finish(self, partial: Path, path: Path, step: int, best: int | None) -> None:
        shards = {file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in partial.iterdir()}
        manifest = {
            "step": step,
            "inputs": dict(self.inputs),
            "ranks": world_size(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "shards": shards,
        }
        write_json(partial / MANIFEST, manifest)
        put_in_place(partial, path)
        for old in self._outdated() - {best}:
            shutil.rmtree(self.path(old))

    def _outdated(self) -> set[int]:
        """Steps of checkpoints to delete. One by time or by a signal goes when a regular one follows, and never displaces it."""
        steps, keep = self.steps(), self.config.keep
        regular = [step for step in steps if self._is_regular(step)][-keep:]
        others = [step for step in steps if step > max(regular, default=0) and not self._is_regular(step)]
        return {*steps} - {*regular, *others[-max(1, keep - len(regular)) :]}


def refuse_other_inputs(path: Path, names: Sequence[str]) -> str | None:
    """Why a run whose inputs of these names have changed cannot resume from a checkpoint; None where none has."""
    if not names:
        return None
    return (
        f"{path}: since this checkpoint was written, its inputs have changed: {', '.join(names)}. Restore what was there, or "
        "start anew with another out="
    )


def newest_inputs(folder: Path) -> tuple[Path, dict[str, str]] | None:
    """The newest checkpoint in a folder and its inputs; None where there is none that can be read."""
    newest = max(folder.glob("step-*"), default=folder)
    try:
        return newest, json.loads((newest / MANIFEST).read_text(encoding="utf-8"))["inputs"]
    except (OSError, ValueError, KeyError):
        return None


def _write(state: dict[str, Tensor], folder: Path) -> None:
    with _quiet():
        dcp.save(state, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))


def _difference(state: dict[str, Tensor], folder: Path) -> str | None:
    """The first difference between this rank's shard on disk and its weights in memory, or None."""
    for file in folder.glob(f"shard-{rank() + 1:05d}-*.safetensors"):
        with safe_open(str(file), "pt") as shard:
            for name in shard.keys():  # noqa: SIM118  (safe_open is no mapping)
                ours = state[name]
                ours = ours.to_local() if isinstance(ours, DTensor) else ours
                if not torch.equal(shard.get_tensor(name), ours.detach().cpu()):
                    return f"{file}: {name} was read back otherwise than written"
    return None


def _cause(error: BaseException) -> str:
    """DCP wraps what went wrong on each rank; the first of these says it best."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return str(error)


def _verified(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint whose files all are what they were when written."""
    advice = f"Delete {path} to continue from an older checkpoint, or from the start"
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path / MANIFEST}: not the manifest of a checkpoint: {error}. {advice}") from None
    for name, expected in manifest["shards"].items():
        file = path / name
        size = file.stat().st_size if file.exists() else 0
        if size != expected["bytes"]:
            raise RunError(f"{file}: cut short: {size} of {expected['bytes']} bytes. {advice}")
        if _sha256(file) != expected["sha256"]:
            raise RunError(f"{file}: its contents changed since it was written. {advice}")
        try:
            safe_open(str(file), "pt")
        except SafetensorError as error:
            raise RunError(f"{file}: not a safetensors file: {error}. {advice}") from None
    return manifest


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def _quiet() -> Generator[None]:
    """DCP warns of a single process, which is our default, and logs its planning."""
    logging.getLogger("torch.distributed.checkpoint").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

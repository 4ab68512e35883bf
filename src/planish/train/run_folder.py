"""A run's folder: its settings, what it recorded, its checkpoints, and the guarantee that they belong together.

config.yaml      the resolved settings
clock.txt        the time that chat templates see, in this run and whenever it is resumed
data.json        rows used, dropped and cut, by source
digests.json     digests of the files that it reads
run.log          what the command said, with the time
metrics.jsonl    one line a step, and one for each evaluation
samples.jsonl    completions sampled on the way
held_out.jsonl   of pretraining and SFT: the loss of each held-out row after the last step
ranking.json     of comparisons: how well scores put held-out rows in order (statistics/ranking.py)
reference.safetensors   of DPO: the reference's log-probabilities (inference/reference_log_probs.py)
confidence.safetensors  of a reward model that reads one: a frozen model's features (methods/confidence.py)
checkpoints/     see checkpoint.py
model/           the result, an ordinary Hugging Face folder
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from planish import __version__
from planish.base import clock
from planish.base.config import Config, changeable_settings, dump_config, flat, is_below
from planish.base.digests import DIGESTS
from planish.base.distributed import all_sum, is_main
from planish.base.errors import RunError
from planish.base.files import lock_folder, write_text
from planish.base.notices import log, logging_to
from planish.train.inputs import files_named


@dataclass(frozen=True, slots=True)
class RunFolder:
    path: Path

    @property
    def clock(self) -> Path:
        return self.path / "clock.txt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def held_out(self) -> Path:
        return self.path / "held_out.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def log(self) -> Path:
        return self.path / "run.log"

    @property
    def data(self) -> Path:
        return self.path / "data.json"


# A run that has nothing else yet, because its settings or data were wrong, may be given others.
INPUTS = "inputs"  # data and models that were given in memory, as files
BEFORE_THE_FIRST_STEP = (".lock", "config.yaml", "clock.txt", "data.json", DIGESTS, "run.log", INPUTS)


@contextmanager
def open_run(path: str | Path, config: Config) -> Generator[RunFolder]:
    """Makes the folder, or reopens it if it holds this very run; refuses another run's. One process at a time has it."""
    run = RunFolder(Path(path))
    problem, handle = _claim(run, config) if is_main() else (None, None)
    # All ranks stop together: one that went on alone would wait for the others for ever.
    if all_sum(float(problem is not None)):
        raise RunError(problem or "the main rank could not open the run folder")
    try:
        started = datetime.fromisoformat(run.clock.read_text(encoding="utf-8").strip())
        with clock.stopped(started), logging_to(run.log) if handle is not None else nullcontext():
            log(f"planish {__version__} begins: {type(config).__name__}")
            yield run
    finally:
        if handle is not None:
            os.close(handle)


def _claim(run: RunFolder, config: Config) -> tuple[str | None, int | None]:
    try:
        if problem := refusal(run, config):
            return problem, None
        run.path.mkdir(parents=True, exist_ok=True)
        if (handle := lock_folder(run.path)) is None:
            return f"{run.path}: another process is running in this folder. Wait for it, or choose another out=", None
        write_text(run.path / "config.yaml", dump_config(config))
        if not run.clock.exists() or not {entry.name for entry in run.path.iterdir()} - {*BEFORE_THE_FIRST_STEP}:
            write_text(run.clock, clock.now().isoformat(timespec="seconds") + "\n")
        return None, handle
    except OSError as error:
        return f"{run.path}: cannot be written: {error.strerror or error}. Choose another out=", None


def refusal(run: RunFolder, config: Config) -> str | None:
    """Why a run with these settings cannot start or resume in this folder; None if it can."""
    settings = run.path / "config.yaml"
    if not run.path.exists():
        return None
    if not run.path.is_dir():
        return f"{run.path}: is a file; out= names a folder"
    entries = {entry.name for entry in run.path.iterdir()}
    if not settings.exists() and entries - {".lock", INPUTS}:
        return f"{run.path}: holds files, and no config.yaml of a run. Choose an empty folder with out="
    if entries - {*BEFORE_THE_FIRST_STEP} and (different := _differences(settings, config)):
        done = ""
        if (run.model / "config.json").exists():
            done = f". This run is done: to train its model further, name it as the model ({run.path}) of a run in another folder"
        return f"{run.path}: holds another run. {different}. Choose another out=, or give the same settings{done}"
    return None


def _differences(settings: Path, config: Config) -> str:
    """The settings that differ. What they name may have moved: its contents are compared with those that the checkpoint knows."""
    try:
        theirs = yaml.safe_load(settings.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        return "Its config.yaml is not valid YAML"
    before, now = (flat(tree) for tree in (theirs, yaml.safe_load(dump_config(config))))
    free, here = set(changeable_settings(config)), files_named(config)
    keys = [
        key
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
        and not is_below(key, free)
        and not (key in here and isinstance(before.get(key), str))
    ]
    shown = [f"{key} was {before.get(key)!r} and is now {now.get(key)!r}" for key in keys[:5]]
    return "; ".join(shown) + (f"; and {len(keys) - 5} more" if len(keys) > 5 else "")

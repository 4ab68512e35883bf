"""The record of a pipeline's stages, in OUT/pipeline.json, and why a stage would be done now."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from planish import __version__
from planish.base.config import flat
from planish.base.digests import read_json
from planish.base.errors import RunError
from planish.base.files import lock_folder, write_json
from planish.pipeline.config import Tree
from planish.pipeline.stages import Stage
from planish.reports.read.pipeline import PIPELINE

State = Literal["waiting", "running", "done", "failed", "stopped"]

GONE = "its output is gone"


class History:
    """OUT/pipeline.json: `stages` of the recipe as it is now, and `earlier` ones, which it finds again if it is changed back."""

    def __init__(self, out: Path) -> None:
        self._path = out / PIPELINE
        tree = read_json(self._path)
        records: list[Tree] = [*tree.get("earlier", ()), *tree.get("stages", ())]
        self._records = {(each["name"], each["key"]): each for each in records if each["state"] != "waiting"}
        self._stages: Sequence[Stage] = ()

    def begin(self, stages: Sequence[Stage]) -> None:
        self._stages = stages
        self._write()

    def find(self, stage: Stage) -> Tree | None:
        return self._records.get((stage.name, stage.key))

    def last(self, name: str) -> Tree | None:
        """The stage as it was begun last, whatever its settings."""
        return next((each for each in reversed(self._records.values()) if each["name"] == name), None)

    def set(self, stage: Stage, state: State, seconds: float) -> None:
        self._records[stage.name, stage.key] = _record(stage, state, seconds)
        self._write()

    def _write(self) -> None:
        current = {(stage.name, stage.key): self.find(stage) or _record(stage, "waiting") for stage in self._stages}
        earlier = [record for which, record in self._records.items() if which not in current]
        write_json(self._path, {"stages": list(current.values()), "earlier": earlier})


def _record(stage: Stage, state: State, seconds: float = 0.0) -> Tree:
    now = datetime.now(UTC).isoformat(timespec="seconds") if state == "done" else None
    about = {"name": stage.name, "key": stage.key, "folder": stage.path.name}
    return {**about, "state": state, "seconds": round(seconds, 3), "finished": now, **stage.told}


def why(stage: Stage, history: History) -> str:
    """The reasons for which a stage would be done now, or "done"."""
    if known := history.find(stage):
        if known["state"] != "done":
            return "begun, not finished"
        return "done" if stage.path.exists() else GONE
    last = history.last(stage.name)
    if last is None:
        return "never run"
    if last["command"] != stage.command:
        return f"command changed from {last['command']} to {stage.command}"
    version = last["version"]
    changes = [f"planish changed from {version} to {__version__}"] if version != __version__ else []
    before, now = flat(last["settings"]), flat(stage.told["settings"])
    keys = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    changes += [f"setting {key} changed from {before.get(key)} to {now.get(key)}" for key in keys]
    for kind, what in (("uses", "input"), ("files", "file")):
        then, since = last[kind], stage.told[kind]
        changes += [f"{what} {each} changed" for each in since if since[each] != then.get(each, since[each])]
    return "; ".join(changes) or "its settings stand in another order"


@contextmanager
def alone(out: Path) -> Generator[None]:
    """The folder, made or found to be a pipeline's, for this process alone."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file; out= names a folder")
    out.mkdir(parents=True, exist_ok=True)
    if not (out / PIPELINE).exists() and any(not each.name.startswith(".") for each in out.iterdir()):
        raise RunError(f"{out}: holds files, and no {PIPELINE} of a pipeline. Choose an empty folder with out=")
    handle = lock_folder(out)
    if handle is None:
        raise RunError(f"{out}: another process is running this pipeline. Wait for it, or choose another out=")
    try:
        yield
    finally:
        os.close(handle)

"""Names of models: a folder, a run that holds one, or a name on the hub."""

from __future__ import annotations

from pathlib import Path

from planish.base.errors import ModelError


def model_folder(path: str | Path) -> str:
    """A run's `model/`, if `path` is a run; else `path` itself, which may be a hub name."""
    inner = Path(path) / "model"
    return str(inner) if (inner / "config.json").exists() else str(path)


def check_model_folder(path: str) -> bool:
    """True for a folder, False for what may be a name on the hub; a path that leads nowhere is an error."""
    there = Path(path).exists()
    if not there and (path.count("/") > 1 or path.startswith((".", "/"))):
        raise ModelError(f"{path}: there is no such folder")
    return there

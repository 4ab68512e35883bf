"""Names of models: a folder, a run that holds one, or a name on the hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from planish.base.errors import ConfigError, ModelError
from planish.base.text import short_names


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


def names_of_models(paths: Sequence[str]) -> list[str]:
    """The folders' names, with as much of the path as keeps them apart; a result in RUN/model goes by the run's name."""
    names = short_names([_parts(path) for path in paths])
    if names is None:
        again = next((path for i, path in enumerate(paths) if path in paths[:i]), ", ".join(paths))
        raise ConfigError(f"{again}: named twice; a model is compared to another")
    return [re.sub(r"[^\w.+-]|^[.+-]+", "_", name) for name in names]


def _parts(path: str) -> tuple[str, ...]:
    whole = Path(path).resolve() if path.startswith((".", "/")) else Path(path)
    whole = whole.parent if whole.name == "model" and whole.parent.name else whole
    return tuple(part for part in whole.parts if part != "/")

"""Names of models: a folder, a run that holds one, or a name on the hub."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlparse
from urllib.request import getproxies

from planish.base.errors import ConfigError, ModelError
from planish.base.text import short_names

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
LOCAL = ("models", "runs", "recipes")  # folders of this name are the reader's own, here or not
KNOWN = ("smollm2", "wind-tunnel", "wind-tunnel-stable")  # `planish model get`
MODEL = "model"  # marks a setting that names one
ModelPath = Annotated[str, MODEL]
ModelPathOrNone = Annotated[str | None, MODEL]


def model_folder(path: str | Path) -> str:
    """A run's `model/`, if `path` is a run; else `path` itself, which may be a hub name."""
    inner = Path(path) / "model"
    return str(inner) if (inner / "config.json").exists() else str(path)


def check_model_folder(path: str) -> bool:
    """Whether a model's folder is here. If not, its name may be one on the hub, which is asked only where that can be."""
    if Path(path).exists():
        return True
    if "/" not in path and _in_cache(path):
        return False
    if is_local_name(path) or not HUB_NAME.fullmatch(path):
        raise ModelError(f"{path}: there is no such folder.{_hint(path)}")
    if not _in_cache(path) and (why := _why_no_hub()):
        raise ModelError(f"{path}: there is no such folder, and {why}.{_hint(path)}")
    return False


def check_models(config: Any) -> None:
    """That every model which settings name is here, or may be on the hub: before anything is loaded or read."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, str) and MODEL in field.metadata:
            check_model_folder(model_folder(value))
        for part in value.values() if isinstance(value, dict) else [value]:
            if hasattr(part, "model_fields_set"):
                check_models(part)


def is_local_name(path: str) -> bool:
    """Whether a name owner/name is one of this machine: the owner is a folder here, or one of the reader's own."""
    return HUB_NAME.fullmatch(path) is not None and (Path(path).parts[0] in LOCAL or Path(path).parent.exists())


def _hint(path: str) -> str:
    name = Path(path).name
    if name in KNOWN:
        return f" planish model get {name} writes models/{name}"
    return "" if "/" in path else " A name on the hub is owner/name"


def _in_cache(path: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(path, "config.json"), str)


def hub_folder(name: str) -> Path | None:
    """The folder in which the hub's client keeps a model, if it has it."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json") if HUB_NAME.fullmatch(name) else None
    return Path(found).parent if isinstance(found, str) else None


def _why_no_hub() -> str | None:
    """Why the hub cannot be asked; a name that no server knows is soon told, where the hub's own client tries for a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, so the hub is not asked"
    host = urlparse(constants.ENDPOINT).hostname
    try:
        if not getproxies():
            socket.getaddrinfo(host, 443)
    except OSError:
        return f"{host}, which might have a model of this name, cannot be reached"
    return None


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

"""Digests of everything beside its settings that a run's result depends on: a checkpoint keeps them, and a run resumes only
where they are the same.

Rows are compared as tokens, which the methods say (methods/base.py). Everything else that the settings name is compared by its
contents, wherever it lies by now: models, worlds, templates, files of demonstrations, and code of yours with what it imports from
beside it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from planish.base.config import Config, changeable_settings, is_below
from planish.base.digests import Digests, texts_of
from planish.base.model_folder import hub_folder, model_folder
from planish.base.plugins import DOTTED, code_of, source_of

ROWS = frozenset({"data", "pretraining", "prompts", "held_out_prompts", "eval_sets"})  # compared as tokens
NAMES = {"format", "targets", "model", "name"}  # settings that name no file, though there may be one of that name
MODELS = {"path", "reference", "tokenizer"}  # settings that may name a model of the hub
OF_MODELS = {".safetensors", ".json", ".jinja", ".model", ".txt", ".py"}
NO_INPUT = {"generation_config.json"}  # planish samples by its own settings


def files_named(config: Config) -> dict[str, str]:
    """The texts among the settings that name a file or folder which is here, by key."""
    return {
        key: text
        for key, text in texts_of(config)
        if key.split(".")[-1] not in NAMES and any(map(str.isalnum, text)) and os.path.exists(text)  # noqa: PTH110
    }


def digests_of_files(config: Config, digests: Digests) -> dict[str, str]:
    """Digests of what the settings name beside rows, by key."""
    free = {*changeable_settings(config), *ROWS, "init_from"}  # a checkpoint is only begun from once
    here, found = files_named(config), dict[str, str]()
    for key, text in texts_of(config):
        if is_below(key, free):
            continue
        if text.startswith("__main__:"):  # a script may change around its function, a notebook has no file
            found[key] = hashlib.sha256(source_of(text).encode()).hexdigest()
        elif DOTTED.fullmatch(text) or key.startswith("plugins."):
            files = code_of(text.partition(":")[0])
            found |= {key: digests.of_files(files[0].parent, files)} if files else {}
        elif key in here or key.split(".")[-1] in MODELS:
            path = Path(model_folder(text))
            path = path if key in here else hub_folder(text) or path
            if (path / "config.json").exists():
                found[key] = digests.of_files(path, _of_model(path))
            elif path.exists():
                found[key] = digests.of(path)
    return found


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of what differs."""
    return [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]


def _of_model(folder: Path) -> Iterator[Path]:
    """The files that say what a model is."""
    for file in sorted(folder.iterdir()):
        if file.suffix in OF_MODELS and file.name not in NO_INPUT and file.is_file():
            yield file

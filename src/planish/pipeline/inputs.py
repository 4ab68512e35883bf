"""The files and folders that a stage reads from outside the pipeline."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from planish.base.config import Config, changeable_settings, is_below
from planish.base.digests import texts_of
from planish.base.errors import ConfigError
from planish.base.files import recipes_hint
from planish.base.model_folder import is_local_name, model_folder
from planish.data.files.readers import READERS, UNPACKERS

ENDINGS = {*(f".{kind}" for kind in READERS), *UNPACKERS, ".jinja"}  # a text that ends so is the name of a file
WORDS = {"format", "targets"}  # settings that are words, also where a file of that name exists


def inputs(stage: str, config: Config, outputs: Sequence[Path], out: Path) -> dict[str, Path]:
    """The files and folders that the settings name, but for outputs of other stages, by the text that names them."""
    found, free = dict[str, Path](), set(changeable_settings(config))
    for key, text in texts_of(config):
        words = key.split(".")
        if is_below(key, free) or words[-1] in WORDS or not any(map(str.isalnum, text)):
            continue
        if text.startswith(tuple(map(str, outputs))):
            continue
        path = _path_of(text)
        there = os.path.exists(path)  # noqa: PTH110  (a text that can be no path must not raise)
        if there or _is_surely_a_path(text) or (words[-1] == "path" and is_local_name(text)):
            _check_outside(f"stages.{stage}.{key}={text}", path, out)
            if not there:
                problem = f"no such file or folder, looked up from {Path.cwd()}.{recipes_hint(text)}"
                raise ConfigError(f"stages.{stage}.{key}={text}: {problem}")
            found[text] = path
    return found


def _check_outside(setting: str, path: Path, out: Path) -> None:
    real, ours = Path(os.path.realpath(path)), out.resolve()
    if real.is_relative_to(ours) or ours.is_relative_to(real):
        raise ConfigError(
            f"{setting}: is the pipeline's own folder, lies in it or holds it. A stage's output is written \"{{NAME}}\"; other "
            "data lie elsewhere"
        )


def _path_of(text: str) -> Path:
    """The path that a text would name: of a run its model, of module:function the module beside the command."""
    if found := re.fullmatch(r"(\w+(?:\.\w+)*):\w+", text):
        return Path(*found[1].split(".")).with_suffix(".py")
    return Path(model_folder(os.path.expanduser(text)))  # noqa: PTH111  (as above)


def _is_surely_a_path(text: str) -> bool:
    """Whether a text is the name of a file even where no such file exists. It may else be a name on the hub, or a word."""
    if re.match(r"\w+:", text) or re.search(r"\s", text):  # pypi:name/file.json, http://…, a sentence
        return False
    return text.startswith(("/", "./", "../", "~/")) or Path(text).suffix.lower() in ENDINGS

"""The files and folders that a stage reads from outside the pipeline, and the digests of their contents."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

from planish.base.config import CHANGEABLE_ON_RESUME, Config
from planish.base.errors import ConfigError, RunError
from planish.base.files import recipes_hint, write_json
from planish.base.model_folder import is_local_name, model_folder
from planish.data.files.readers import READERS, UNPACKERS
from planish.pipeline.config import Tree
from planish.pipeline.references import texts_in

ENDINGS = {*(f".{kind}" for kind in READERS), *UNPACKERS, ".jinja"}  # a text that ends so is the name of a file
WORDS = {"format", "targets"}  # settings that are words, also where a file of that name exists
LARGE = 1e9  # bytes of a file whose digest takes long enough to be announced


def inputs(stage: str, config: Config, outputs: Sequence[Path], out: Path) -> dict[str, Path]:
    """The files and folders that the settings name, but for outputs of other stages, by the text that names them."""
    found: dict[str, Path] = {}
    for key, text in _texts(config):
        words = key.split(".")
        if words[0] in CHANGEABLE_ON_RESUME or words[-1] in WORDS or not any(map(str.isalnum, text)):
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


def _texts(config: Config, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts among the settings, with their keys; but those that are one of a few words, which name no file."""
    for name, field in type(config).model_fields.items():
        if not _is_choice(field.annotation):
            yield from _texts_below(getattr(config, name), f"{key}{name}")


def _texts_below(value: Any, key: str) -> Iterator[tuple[str, str]]:
    match value:
        case Config():
            yield from _texts(value, f"{key}.")
        case dict():
            for name, item in cast(Tree, value).items():
                yield from _texts_below(item, f"{key}.{name}")
        case list() | tuple():
            for number, item in enumerate(cast(Sequence[Any], value)):
                yield from _texts_below(item, f"{key}.{number}")
        case _:
            yield from texts_in(value, key)


def _is_choice(annotation: Any) -> bool:
    return get_origin(annotation) is Literal or any(_is_choice(argument) for argument in get_args(annotation))


class Digests:
    """SHA-256 of files, kept in OUT/digests.json and computed again where a file's size or time of change differs."""

    def __init__(self, out: Path) -> None:
        self._path = out / "digests.json"
        self._known: Tree = read_json(self._path)

    def of(self, path: Path) -> str:
        """The digest of a file, or of all files in a folder and their names. Names that begin with a dot are left out."""
        if not path.is_dir():
            return self._of_file(path)
        names = (file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file())
        visible = [name for name in names if not any(part.startswith(".") for part in name.parts)]
        listed = [[str(name), self._of_file(path / name)] for name in visible]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    def _of_file(self, path: Path) -> str:
        facts, known = path.stat(), self._known.get(str(path.resolve()))
        if known is not None and known[:2] == [facts.st_size, facts.st_mtime_ns]:
            return known[2]
        if facts.st_size > LARGE:
            say(f"reading {path}, {facts.st_size / 1e9:.1f} GB, for its digest")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[str(path.resolve())] = [facts.st_size, facts.st_mtime_ns, digest]
        return digest

    def save(self) -> None:
        write_json(self._path, self._known)


def read_json(path: Path) -> Tree:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON: {error}. Mend it or take it away") from None


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

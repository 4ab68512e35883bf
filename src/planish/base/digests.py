"""The files that settings name, and digests of their contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

from planish.base.config import Config, Tree
from planish.base.errors import RunError
from planish.base.files import write_json
from planish.base.notices import say

DIGESTS = "digests.json"  # in the folder of a run or a pipeline
LARGE = 1e9  # bytes of a file whose digest takes long enough to be announced


class Digests:
    """SHA-256 of files, kept in a file and computed again where a file's size or time of change differs."""

    def __init__(self, file: Path) -> None:
        self._path = file
        self._known: Tree = read_json(self._path)

    def of(self, path: Path) -> str:
        """The digest of a file, or of all files in a folder and their names. Names that begin with a dot are left out."""
        if not path.is_dir():
            return self._of_file(path)
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        return self.of_files(path, [file for file in files if not _is_hidden(file.relative_to(path))])

    def of_files(self, folder: Path, files: Iterable[Path]) -> str:
        """The digest of several files and their names within a folder."""
        listed = [[str(file.relative_to(folder)), self._of_file(file)] for file in files]
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


def texts_of(config: Config, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts among the settings, with their keys; but those that are one of a few words, which name no file."""
    for name, field in type(config).model_fields.items():
        if not _is_choice(field.annotation):
            yield from _texts_below(getattr(config, name), f"{key}{name}")


def texts_in(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """All texts among plain values, with their keys."""
    below = f"{key}." if key else ""
    if isinstance(value, dict):
        for name, item in cast(Tree, value).items():
            yield from texts_in(item, f"{below}{name}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(cast(Sequence[Any], value)):
            yield from texts_in(item, f"{below}{number}")
    elif isinstance(value, str):
        yield key, value


def _texts_below(value: Any, key: str) -> Iterator[tuple[str, str]]:
    match value:
        case Config():
            yield from texts_of(value, f"{key}.")
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


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)

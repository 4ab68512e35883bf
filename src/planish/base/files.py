"""Files that are there as a whole or not at all, whenever the power goes."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from planish.base.errors import RunError

# Characters that end a line for `str.splitlines`, editors and spreadsheets, but not in JSON: written as escapes.
SEPARATORS = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029\ufeff"}


def json_line(value: Any) -> str:
    """JSON on one line, with its newline. Whatever its texts hold, every tool agrees where the line ends."""
    return json.dumps(value, ensure_ascii=False).translate(SEPARATORS) + "\n"


def json_lines_in(text: str) -> list[Any]:
    """The values of JSON lines. Only a newline ends a line: texts may hold U+2028 and its kin."""
    return [json.loads(line) for line in text.removeprefix("\ufeff").split("\n") if line.strip()]


def write_text(path: Path, text: str) -> None:
    """Writes to one side, flushes to the disk, and renames."""
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1).translate(SEPARATORS) + "\n")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines: an object a line."""
    write_text(path, as_lines(rows))


def as_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(map(json_line, rows))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a jsonl file that a run appends to, each with its step. A last line without its end was cut short by a
    kill, or is being written, and is left out."""
    if not path.exists():
        return []
    records: list[dict[str, Any]] = []
    for number, line in enumerate(
        path.read_bytes().split(b"\n")[:-1], 1
    ):  # as bytes: the cut may fall inside a character
        try:
            record = json.loads(line)
        except ValueError as error:
            raise RunError(f"{path}, line {number}: not valid JSON: {error}") from None
        if not isinstance(record, dict) or "step" not in record:
            raise RunError(f"{path}, line {number}: expected a record with a step, found {line.decode()[:80]}")
        records.append(cast(dict[str, Any], record))
    return records


@contextmanager
def new_file(path: Path) -> Generator[Path]:
    """A path to write to on one side; renamed to `path` when the block ends well, removed when it does not. One process at a time
    writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    handle = _claimed(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), path)
    try:
        yield partial
        _let_others_read(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def new_folder(path: Path) -> Generator[Path]:
    """A folder to fill on one side; renamed to `path` when the block ends well, removed when it does not.

    An existing `path` is replaced: it is moved away just before, so that a kill in between leaves one of the two.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    handle = _claimed(os.open(partial, os.O_RDONLY), path)
    try:
        for left in partial.iterdir():  # by a process that was killed
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        yield partial
        put_in_place(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(handle)


def put_in_place(partial: Path, path: Path) -> None:
    """Flushes a finished folder to the disk and renames it to `path`."""
    for file in partial.rglob("*"):
        if file.is_file():
            _let_others_read(file)
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    partial.rename(path)
    _sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _let_others_read(file: Path) -> None:
    """The mode of an ordinary new file: safetensors are written for their owner alone."""
    os.umask(umask := os.umask(0o077))
    file.chmod(0o666 & ~umask)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _claimed(handle: int, path: Path) -> int:
    """The handle, which holds a lock until it is closed; an error where another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise RunError(f"{path}: another process is writing it. Wait for it, or choose another out=") from None
    return handle


@contextmanager
def one_process_in(folder: Path) -> Generator[None]:
    """Makes a folder and gives it to this process alone."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = lock_folder(folder)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}. Choose another out=") from None
    if handle is None:
        raise RunError(f"{folder}: another process is at work in this folder. Wait for it, or choose another out=")
    try:
        yield
    finally:
        os.close(handle)


def lock_folder(folder: Path) -> int | None:
    """A lock that gives a folder to this process until the handle is closed; None where another process has it."""
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def recipes_hint(path: str | Path) -> str:
    """For an error about a file `recipes/…` that is not here: where planish keeps it, and how to copy it; else nothing."""
    package = Path(__file__).parents[1]
    for folder in (package, package.parents[1]):  # an installed wheel, or a clone
        if Path(path).parts[:1] == ("recipes",) and (folder / path).exists():
            return f" It comes with planish: `cp -r {folder / 'recipes'} .` copies the recipes and their data to this folder."
    return ""

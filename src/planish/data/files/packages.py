"""Data files inside PyPI packages: downloaded once, unpacked into a cache, never run."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from planish.base.errors import DataError
from planish.data.files.text import check_ratio

SPEC = re.compile(r"pypi:(?P<name>[A-Za-z0-9][\w.-]*)(==(?P<version>[A-Za-z0-9][\w.+!-]*))?/(?P<inside>.+)")

# Versions for specs that name none: a run must see the same data next year.
PINNED = {"chatterbot-corpus": "1.3.3", "chitchat-dataset": "0.9.0"}


def package_file(spec: str) -> Path:
    """The file or folder named by `pypi:name==version/path/inside/the/package`, downloaded if need be.

    >>> package_file("pypi:chitchat-dataset==0.9.0/chitchat_dataset/dataset.json")  # doctest: +SKIP
    PosixPath('/home/ada/.cache/planish/packages/chitchat-dataset-0.9.0/chitchat_dataset/dataset.json')
    """
    parts = SPEC.fullmatch(spec)
    version = parts and (parts["version"] or PINNED.get(_plain(parts["name"])))
    if not parts or not version:
        raise DataError(f"{spec}: expected pypi:name==version/path, such as pypi:chitchat-dataset==0.9.0/x.json.")
    folder = download_wheel(parts["name"], version)
    path = folder / parts["inside"].strip("/")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{spec}: the path leads out of the package. Name a path inside it, without '..'.")
    if not path.exists():
        raise DataError(f"{spec}: no such file in the package. {_near(folder, parts['inside'])}")
    return path


def download_wheel(name: str, version: str) -> Path:
    """The folder of the unpacked wheel. Only wheels are accepted: unpacking one runs no code of the package."""
    cache = Path(os.environ.get("PLANISH_CACHE") or "~/.cache/planish").expanduser() / "packages"
    folder = cache / f"{_plain(name)}-{version}"
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{cache}: cannot be created: {error.strerror}. Set PLANISH_CACHE to another folder."
        ) from error
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as beside:
        wheel = _fetch(f"{name}=={version}", Path(beside))
        unpack(wheel, Path(beside) / "unpacked")
        try:
            (Path(beside) / "unpacked").rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first, with the same wheel
                raise
    return folder


def _plain(name: str) -> str:
    """One spelling for a package, as PyPI compares names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _fetch(requirement: str, into: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    done = subprocess.run([*command, "--dest", str(into), "--", requirement], capture_output=True, text=True)
    wheels = list(into.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = " ".join(errors) or done.stderr.strip() or "no reason given"
        raise DataError(
            f"{requirement}: pip could not download a wheel: {why}. "
            "Check the name, the version and the network, or download the file yourself and give its path."
        )
    return wheels[0]


def unpack(wheel: Path, into: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if not (into / member).resolve().is_relative_to(into.resolve()):
                    raise DataError(f"{wheel.name}: its entry {member!r} leads out of its folder. Do not use it.")
            check_ratio(wheel.name, wheel.stat().st_size, sum(entry.file_size for entry in archive.infolist()))
            archive.extractall(into)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise DataError(f"{wheel.name}: not a whole wheel: {error}. Download it again.") from error
    except OSError as error:
        raise DataError(f"{wheel.name}: cannot be unpacked: {error}. Check the free space on the disk.") from error


def _near(folder: Path, wanted: str) -> str:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    near = difflib.get_close_matches(wanted.strip("/"), names, n=5, cutoff=0.5)
    return f"Did you mean {', '.join(near)}?" if near else f"It holds {', '.join(names[:10])} and others."

"""A PostgreSQL server of the tests' own, on a socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def has_postgres() -> bool:
    return shutil.which("postgres") is not None and shutil.which("initdb") is not None


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server without its usual care for the disk. It refuses to be root, so root becomes the user postgres, who may
    not enter pytest's folders."""
    if not has_postgres():
        pytest.skip("no PostgreSQL here: postgres and initdb are not on the path")
    with tempfile.TemporaryDirectory(prefix="pg") as folder:  # a short path: a socket's has at most 107 bytes
        yield from _serve(Path(folder))


def _serve(folder: Path) -> Iterator[str]:
    who: dict[str, int] = {}
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        who = {"user": user.pw_uid, "group": user.pw_gid}
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **who}
    subprocess.run(
        ["initdb", "-D", data, "-U", "planish", "-A", "trust", "-N", "--no-instructions"], check=True, **quiet
    )
    where = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"]
    url = f"postgresql://planish@/postgres?host={folder}"
    with subprocess.Popen(["postgres", "-D", data, *where], **quiet) as server:
        try:
            _wait(url, server)
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing is to be kept


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    import psycopg

    deadline = time.monotonic() + 60
    while server.poll() is None:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)
    raise AssertionError(f"PostgreSQL ended with status {server.returncode}")

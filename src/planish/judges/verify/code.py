"""Code of completions, run against tests in a process of its own.

This is no sandbox. The process has limits of time and memory, an empty folder to begin in, no environment and no packages; it
may still read files, and reach the network where the machine does.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

BLOCK = re.compile(r"```\w*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
# The limits are set by the process itself, before it reads the code: between fork and exec, threads of this one could block it.
# The word on the pipe is written where the tests are through: a completion that leaves early does not write it.
START = """
import os, resource, sys
for name, most in (("AS", {memory}), ("CPU", {cpu}), ("FSIZE", 1 << 20), ("CORE", 0), ("NPROC", 0)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (most, most))
exec(compile(sys.stdin.read(), "completion", "exec"), {{"__name__": "__main__"}})
os.write({pipe}, b"{word}")
"""


def code_in(text: str) -> str:
    """The last fenced block of a text, else the whole."""
    blocks = BLOCK.findall(text)
    return blocks[-1] if blocks else text


def passing(programs: Sequence[str], seconds: float, megabytes: int) -> list[bool]:
    """True for each program that runs to its end within the limits."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as workers:
        return list(workers.map(partial(_passes, seconds=seconds, megabytes=megabytes), programs))


def _passes(program: str, seconds: float, megabytes: int) -> bool:
    word, (reading, writing) = secrets.token_hex(16), os.pipe()
    start = START.format(memory=megabytes << 20, cpu=int(seconds) + 1, pipe=writing, word=word)
    try:
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", start],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={},
                pass_fds=(writing,),
                start_new_session=True,
            )
            try:
                process.communicate(program.encode("utf-8", "replace"), timeout=seconds)
            except subprocess.TimeoutExpired:
                return False
            finally:
                _end(process)
        os.set_blocking(reading, False)
        return process.returncode == 0 and _written(reading) == word.encode()
    finally:
        os.close(reading)
        os.close(writing)


def _written(pipe: int) -> bytes:
    try:
        return os.read(pipe, 1 << 10)
    except BlockingIOError:
        return b""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and what it began."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()

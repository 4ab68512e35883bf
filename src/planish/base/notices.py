"""Messages of a command at work: on standard error, as many as `-q` and `-v` ask for, and with the time in a run's log."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from planish.base.errors import PlanishError
from planish.base.interrupt import Stopped

QUIET, NORMAL, VERBOSE = 0, 1, 2
PATIENCE = 2.0  # seconds of silence before a line says what is being done


@dataclass(slots=True)
class _Output:
    verbosity: int = NORMAL
    logs: list[Path] = field(default_factory=list[Path])


_output = _Output()


def set_verbosity(level: int) -> None:
    """QUIET leaves warnings and errors, VERBOSE has a line for every step."""
    _output.verbosity = level


def verbosity() -> int:
    return _output.verbosity


def say(text: str, level: int = NORMAL) -> None:
    """A line on standard error, if so much is asked for; it is in the log either way."""
    if _output.verbosity >= level:
        print(text, file=sys.stderr, flush=True)
    log(text)


def warn(text: str) -> None:
    """A line that is never left out."""
    say(text, QUIET)


def log(text: str) -> None:
    """A line for the log alone."""
    stamp = datetime.now().astimezone().isoformat(" ", "seconds")
    with suppress(OSError):  # a full disk stops the run by a better message
        for path in _output.logs[-1:]:
            with path.open("a", encoding="utf-8") as file:
                file.writelines(f"{stamp}  {line}\n" for line in text.splitlines())


@contextmanager
def logging_to(path: Path) -> Generator[None]:
    """Within it, what is said is also in this file, and at its end the error that ended it."""
    _output.logs.append(path)
    try:
        yield
    except BaseException as error:
        known = isinstance(error, PlanishError | Stopped)
        log(str(error) if known else "".join(traceback.format_exception(error)))
        raise
    finally:
        _output.logs.remove(path)


@contextmanager
def working(what: str) -> Generator[None]:
    """Says what is being done if it lasts."""
    timer = threading.Timer(PATIENCE, say, [f"{what} …"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

"""The errors a person can act on. The command line prints their text alone; anything else is a bug and shows a traceback."""

from __future__ import annotations

import inspect
import traceback
from typing import Any


class PlanishError(Exception):
    """An error that a person can act on: its message says what was found, what was expected and where to change it."""


class ConfigError(PlanishError):
    """A setting is unknown, out of range, or at odds with another."""


class DataError(PlanishError):
    """A file or a row of it cannot be used as it is."""


class ModelError(PlanishError):
    """A model folder cannot be loaded, or the model cannot be trained exactly."""


class RunError(PlanishError):
    """A run folder or checkpoint is not what this run needs, or the run cannot continue."""


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]


def users_line(error: BaseException, source: Any) -> str:
    """Where your own code failed, and how: "in my_reward.py, line 3, `return 1 / 0`: ZeroDivisionError: division by zero".
    `source` is your function, or the path of your file."""
    try:
        path = source if isinstance(source, str) else inspect.getsourcefile(source)
    except TypeError:
        path = None
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        place, line = f"{error.filename}, line {error.lineno}", (error.text or "").strip()
    else:
        last = next((frame for frame in reversed(frames) if frame.filename == path), frames[-1])
        place, line = f"{last.filename}, line {last.lineno}", last.line or ""
    return f"in {place}, `{line}`: {type(error).__name__}: {first_line(error)}"

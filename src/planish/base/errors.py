"""The errors a person can act on. The command line prints their text alone; anything else is a bug and shows a traceback."""

from __future__ import annotations


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
    return (str(error).strip() or type(error).__name__).splitlines()[0]

"""The errors a person can act on. The command line prints their text alone; anything else is a bug and shows a traceback."""

from __future__ import annotations


class PlanishError(Exception):
    """What was found, what was expected and where to change it, in one message."""


class ConfigError(PlanishError):
    """A setting is unknown, out of range, or at odds with another."""


class DataError(PlanishError):
    """A file or a row of it cannot be used as it stands."""


class ModelError(PlanishError):
    """A model folder cannot be loaded, or the model cannot be trained exactly."""


class RunError(PlanishError):
    """A run folder or checkpoint is not what this run needs, or the run cannot go on."""


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

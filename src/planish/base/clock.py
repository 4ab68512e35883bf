"""The time that chat templates see. A run keeps the time of its first start, so that a template that writes today's date
renders a row in the same way when the run is resumed on another day."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime

_STOPPED: ContextVar[datetime | None] = ContextVar("stopped", default=None)


def now() -> datetime:
    """The local time, or the time at which the clock is stopped."""
    return _STOPPED.get() or datetime.now()


@contextmanager
def stopped(at: datetime) -> Generator[None]:
    """Inside, the clock always shows this time."""
    token = _STOPPED.set(at)
    try:
        yield
    finally:
        _STOPPED.reset(token)

"""Signals that ask a command to end: Ctrl-C, the SIGTERM of a scheduler or a machine that is taken away, Slurm's SIGUSR1, and the
SIGHUP of a closed terminal.

A command ends where such a signal arrives. A run that trains notes the first one, saves a checkpoint and then ends
(methods/fit.py); a second one ends it at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
SAME_WISH = 0.5  # seconds within which a second signal is the first one: a launcher passes on what the terminal sent


class Stopped(KeyboardInterrupt):
    """A command that was asked to end; the message says what is kept. A script sees a KeyboardInterrupt."""

    def __init__(self, message: str = "stopped", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.message, self.number = message, number

    @property
    def status(self) -> int:
        """The exit status that a shell expects."""
        return 128 + self.number


class Abandoned(BaseException):
    """The work in hand was given up because a signal asked for it; whoever began it saves and ends."""


@dataclass(slots=True)
class StopRequest:
    """The signal that asked the run to end, if one did. While `abandonable`, the work in hand may be given up."""

    number: int | None = None
    abandonable: bool = False

    @property
    def asked(self) -> bool:
        return self.number is not None

    @property
    def name(self) -> str:
        return "Ctrl-C" if self.number in (None, signal.SIGINT) else signal.Signals(self.number).name


_requests: list[StopRequest] = []  # of the runs that train now: a pipeline's stage is in no other


def give_up_if_asked() -> None:
    """Called in long loops: raises `Abandoned` where a signal asked the run to end and nothing is lost by giving up."""
    if _requests and _requests[-1].asked and _requests[-1].abandonable:
        raise Abandoned


@contextmanager
def ending_on_signals() -> Generator[None]:
    """Each of the signals raises `Stopped` where it arrives."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number=number)

    with _handling(stop):
        yield


@contextmanager
def noting_signals(hint: str) -> Generator[StopRequest]:
    """The first signal is noted, and answered with the hint; a second does what it did outside of here."""
    request, noted = StopRequest(), 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        if not request.asked:
            request.number, noted = number, time.monotonic()
            if os.environ.get("RANK", "0") == "0":
                with suppress(OSError):
                    os.write(2, f"\n{hint}\n".encode())  # print may be at work
        elif time.monotonic() - noted > SAME_WISH:
            signal.signal(number, before.get(number, signal.SIG_DFL))
            os.kill(os.getpid(), number)

    _requests.append(request)
    try:
        with _handling(note) as before:
            yield request
    finally:
        _requests.remove(request)


@contextmanager
def _handling(handler: Any) -> Generator[dict[int, Any]]:
    """Handles the signals, but for those that are ignored, as under nohup. Only a program's main thread can."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
        before = {number: known for number, known in before.items() if known not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield before
    finally:
        for number, known in before.items():
            signal.signal(number, known)

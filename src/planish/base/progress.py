"""Progress: a bar with rate and time left on a terminal or in a notebook, a line now and then in a log."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from planish.base.notices import NORMAL, PATIENCE, QUIET, VERBOSE, log, say, verbosity

T = TypeVar("T")
EVERY = 15.0  # seconds between two lines where there is no terminal
EVERY_IN_A_NOTEBOOK = 0.3


class Progress:
    """`Progress("training", 100)`, then `advance(step, "loss 2.1")`, then `close()`."""

    def __init__(self, what: str, total: int | None, done: int = 0) -> None:
        self._what, self._total, self._start = what, total, done
        self._began = time.monotonic()
        self._last = self._began - EVERY + PATIENCE
        console = Console(file=sys.stderr)
        self._bar, self._cell = None, _notebook_cell()
        if console.is_terminal and self._cell is None and verbosity() == NORMAL:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
            self._bar = Bar(TimeElapsedColumn(), *columns, console=console)
            self._task = self._bar.add_task(what, total=total, completed=done, note="")
            self._bar.start()

    def advance(self, done: int, note: str = "") -> None:
        now = time.monotonic()
        counted = f"{done:,}{self._of()}  {note}{self._left(done, now)}"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=counted)
        pause = EVERY if self._cell is None else EVERY_IN_A_NOTEBOOK
        if now - self._last < pause and done != self._total and verbosity() < VERBOSE:
            return
        self._last = now
        line = f"{self._what} {counted}"
        if self._bar is not None:
            log(line)
        elif self._cell is None:
            say(line)
        elif verbosity() > QUIET:
            self._cell.update({"text/html": self._html(done, line), "text/plain": line}, raw=True)

    def leave_out(self, seconds: float) -> None:
        """Time that says nothing of how fast the work goes."""
        self._began += seconds

    def close(self) -> None:
        if self._bar is not None:
            if self._total is None:  # now it is known
                self._bar.update(self._task, total=self._bar.tasks[0].completed)
            self._bar.stop()
            self._bar = None

    def _html(self, done: int, line: str) -> str:
        bar = f'<progress value="{done}" max="{self._total}"></progress> ' if self._total else ""
        return f"<div>{bar}{html.escape(line)}</div>"

    def _of(self) -> str:
        return f"/{self._total:,}" if self._total is not None else ""

    def _left(self, done: int, now: float) -> str:
        if self._total is None or done <= self._start or done == self._total:
            return ""
        seconds = int((now - self._began) / (done - self._start) * (self._total - done))
        hours, minutes = seconds // 3600, seconds // 60 % 60
        return f"  {f'{hours}:{minutes:02d}' if hours else minutes}:{seconds % 60:02d} left"


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Passes items on, showing how many went by."""
    progress = Progress(what, total)
    try:
        for done, item in enumerate(items, 1):
            yield item
            progress.advance(done)
    finally:
        progress.close()


def _notebook_cell() -> Any:
    """A place below the running cell of a notebook, or None outside of one."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return ipython.display.display({"text/plain": ""}, raw=True, display_id=True)

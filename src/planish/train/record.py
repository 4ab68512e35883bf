"""The record of a run: a line of metrics for each step, evaluations, samples, and the progress bar.

The files hold nothing beyond the last checkpoint when a run resumes: lines of later steps are cut off and written again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from planish.base.distributed import is_main
from planish.base.files import json_line, read_lines, write_text
from planish.base.progress import Progress
from planish.train.run_folder import RunFolder
from planish.train.trackers import Tracker

RecordCallback = Callable[[Mapping[str, float]], object]  # sees a line of metrics; returns False to stop the run

_listeners: ContextVar[tuple[RecordCallback, ...]] = ContextVar("listeners", default=())


@contextmanager
def listening(callbacks: Sequence[RecordCallback]) -> Generator[None]:
    """Within it, runs show every line of metrics.jsonl to these callbacks, on the main rank."""
    token = _listeners.set((*_listeners.get(), *callbacks))
    try:
        yield
    finally:
        _listeners.reset(token)


class RunRecord:
    """Writes on the main rank alone; elsewhere every call does nothing."""

    def __init__(
        self, run: RunFolder, steps: int, start: int = 0, tracker: Tracker | None = None, first: int = 0
    ) -> None:
        """`start` is the step at which the run resumes, `first` that of another run's checkpoint from which it begins."""
        self._run, self._tracker = run, tracker
        self._progress = Progress("training", steps, max(start, first)) if is_main() else None
        self._since = time.perf_counter()
        self.headline = ""  # what the bar says besides the loss
        self.reasons = dict[str, str]()  # of the alarms of this start, by name
        self.listeners, self.stop_wanted = _listeners.get(), False
        if is_main():
            for path in (run.metrics, run.samples):
                _cut_after(path, start if start else -1)  # before the first checkpoint nothing is kept

    def listen(self, listener: RecordCallback) -> None:
        """Shows a further listener all lines, those of an earlier start first."""
        if is_main():
            for line in read_lines(self._run.metrics):
                self.stop_wanted |= listener(line) is False
        self.listeners = (*self.listeners, listener)

    def write(self, step: int, tokens: float, metrics: Mapping[str, float], learning_rate: float) -> None:
        """One line for one step; `tokens` is how many it read, on all ranks."""
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        rate = tokens / seconds
        self.note(step, {**metrics, "learning_rate": learning_rate, "tokens": tokens, "seconds": seconds})
        if self._progress:
            self._progress.advance(step, f"loss {metrics['loss']:.3f}  {self.headline}{rate:,.0f} tokens/s")

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """A line of its own, such as an evaluation's."""
        if is_main():
            _append(self._run.metrics, [{"step": step, **values}])
            if self._tracker:
                self._tracker.log(step, values)
            for listener in self.listeners:
                self.stop_wanted |= listener({"step": step, **values}) is False

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        if is_main():
            _append(self._run.samples, [{"step": step, **row} for row in rows])

    def sync(self) -> None:
        """Flushes the files to the disk, before a checkpoint says that they are saved."""
        for path in (self._run.metrics, self._run.samples):
            if is_main() and path.exists():
                with path.open("rb") as file:
                    os.fsync(file.fileno())

    def pause(self) -> None:
        """Leaves the time until now out of the next step's rate and of the time left: an evaluation is no training."""
        now = time.perf_counter()
        if self._progress:
            self._progress.leave_out(now - self._since)
        self._since = now

    def close(self) -> None:
        if self._progress:
            self._progress.close()
        if self._tracker:
            self._tracker.close()


def _append(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(_as_text(lines))


def _as_text(lines: Sequence[Mapping[str, Any]]) -> str:
    return "".join(map(json_line, lines))


def _cut_after(path: Path, step: int) -> None:
    if path.exists():
        kept = [line for line in read_lines(path) if line["step"] <= step]
        write_text(path, _as_text(kept))

"""How a process takes its turn (turns.py). The standard library alone, for it also runs where planish is not installed."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from pathlib import Path


class Gate:
    """Stops at the end of every round, says how long it took, and waits for its next turn."""

    def __init__(self, port: Connection, steps: int) -> None:
        self.port, self.steps = port, steps
        self.wait({"baseline": _memory("VmRSS")})
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of loading

    def wait(self, message: dict[str, float]) -> None:
        self.port.send(message)
        self.port.recv()
        self.began, self.cpu_began = time.perf_counter(), time.process_time()

    def __call__(self, step: int) -> None:
        if step % self.steps == 0:
            seconds, cpu_seconds = time.perf_counter() - self.began, time.process_time() - self.cpu_began
            self.wait({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak": _memory("VmHWM")})


def _memory(field: str) -> float:
    """This process's VmRSS (now) or VmHWM (peak), in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(field))

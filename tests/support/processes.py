"""Runs in processes of their own, which can be ended by signals, on one rank or several.

They are forks of a server that has imported planish and torch, which is started by the first of them: importing takes seconds,
a fork does not. tests/train/test_ranks.py and test_stopping.py start the command itself, with torchrun.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from planish.commands import COMMANDS

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["planish.methods.sft", "planish.methods.ppo.run", "transformers.models.llama.modeling_llama", "peft"]
)
PATIENCE = 300  # seconds until a run counts as stuck


def start(method: str, config: Any, ranks: int = 1) -> list[BaseProcess]:
    """The ranks of a run; what they say is in the file `out`.log."""
    log = Path(f"{config.out}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    processes: list[BaseProcess] = []
    for variables in _variables(ranks):
        processes.append(SERVER.Process(target=_work, args=(method, config, variables, str(log)), daemon=True))
        processes[-1].start()
    return processes


def finish(method: str, config: Any, ranks: int = 1) -> None:
    """The run, to its end."""
    processes = start(method, config, ranks)
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * ranks, Path(f"{config.out}.log").read_text()[-3000:]


def end_when(
    condition: Callable[[], object], method: str, config: Any, ranks: int = 1, number: int = signal.SIGKILL
) -> list[int | None]:
    """Starts the run and ends it by a signal to each rank as soon as the condition holds; without one it is killed, with no
    chance to clean up. Returns the exit codes."""
    processes, deadline = start(method, config, ranks), time.monotonic() + PATIENCE
    while not condition() and all(process.is_alive() for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert all(process.is_alive() for process in processes), "the run ended by itself"
    for process in processes:
        os.kill(process.pid or 0, number)
    for process in processes:
        process.join(PATIENCE)
    return [process.exitcode for process in processes]


def _variables(ranks: int) -> list[dict[str, str]]:
    """Those that torchrun would set for each rank; none for one process."""
    if ranks == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free.getsockname()[1]),
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
        }
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]


def _work(method: str, config: Any, variables: dict[str, str], log: str) -> None:
    os.environ.update(variables)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    COMMANDS[method].run(config)

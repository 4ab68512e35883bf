"""Calls that wait for a server, several at once, in threads that never keep the process alive: Ctrl-C ends it within a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Generic, TypeVar

from planish.base.interrupt import give_up_if_asked

T = TypeVar("T")
R = TypeVar("R")
LOOK = 0.2  # seconds between two looks for a signal


def in_threads(
    function: Callable[[T], R], items: Sequence[T], count: int, finish: float = 0.0
) -> Iterator[tuple[int, R]]:
    """The places and results of all items, as they come, at most `count` at work. The first error is raised; calls that are
    then under way have `finish` seconds to end."""
    work = _Work(function, items)
    threads = [Thread(target=work.run, daemon=True) for _ in range(min(count, len(items)))]
    for thread in threads:
        thread.start()
    try:
        for _ in items:
            yield work.next()
    except Exception:
        for thread in threads:
            thread.join(finish / len(threads))
        raise
    finally:
        work.stop.set()


class _Work(Generic[T, R]):
    def __init__(self, function: Callable[[T], R], items: Sequence[T]) -> None:
        self.function, self.stop = function, Event()
        self.waiting = SimpleQueue[tuple[int, T]]()
        self.done = SimpleQueue[tuple[int, R] | BaseException]()
        for place, item in enumerate(items):
            self.waiting.put((place, item))

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                place, item = self.waiting.get_nowait()
            except Empty:
                return
            try:
                self.done.put((place, self.function(item)))
            except BaseException as error:  # raised again where the results are read
                self.stop.set()
                self.done.put(error)

    def next(self) -> tuple[int, R]:
        while True:
            give_up_if_asked()
            try:
                result = self.done.get(timeout=LOOK)
            except Empty:
                continue
            if isinstance(result, BaseException):
                raise result
            return result

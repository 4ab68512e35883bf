"""In a notebook progress is a bar below the cell, in a log a line now and then."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from planish.base import progress
from planish.base.progress import Progress


class Handle:
    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(data)


def test_a_bar_below_the_cell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    handle = Handle()

    def display(data: dict[str, str], **_: Any) -> Handle:
        return handle

    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1), display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(progress, "EVERY_IN_A_NOTEBOOK", 0.0)
    bar = Progress("training", 4)
    bar.advance(1, "loss <2>")
    bar.advance(4)
    bar.close()
    assert handle.shown[0]["text/html"].startswith(
        '<div><progress value="1" max="4"></progress> training 1/4  loss &lt;2&gt;'
    )
    assert handle.shown[-1]["text/plain"].startswith("training 4/4")
    assert capsys.readouterr().err == ""

"""The console that tables are printed to."""

from __future__ import annotations

from rich.console import Console

WIDTH = 160  # characters of a table that goes into a file or a pipe


def terminal() -> Console:
    """Standard output, as wide as the terminal, or WIDTH where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)

"""The console, and tables on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

WIDTH = 160  # characters of a table that goes into a file or a pipe


def terminal() -> Console:
    """Standard output, as wide as the terminal, or WIDTH where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]], console: Console | None = None) -> None:
    """Prints rows of cells under their columns' names, the row's name first. No cell is cut, however narrow the terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for i, name in enumerate(names):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for cells in rows:
        table.add_row(*cells)
    console = console or terminal()
    console.width = max(console.width, console.measure(table, options=console.options.update(width=1000)).maximum)
    console.print(table)

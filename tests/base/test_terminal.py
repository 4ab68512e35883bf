"""Tables on the terminal."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from planish.base.terminal import print_table


def test_no_cell_is_cut_however_narrow_the_terminal_is() -> None:
    file = StringIO()
    cells = ["62.0% (57.0 to 67.0%)"] * 12
    print_table(["system", *"abcdefghijkl"], [["ppo", *cells]], Console(file=file, width=40))
    head, row = file.getvalue().splitlines()
    assert head.split() == ["system", *"abcdefghijkl"]
    assert row.count(cells[0]) == 12

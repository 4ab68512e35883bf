"""Draws the figures of docs/wind-tunnel.md: `python docs/make_figures.py`. A test keeps the pictures and the numbers together.

Reads docs/figures/wind_tunnel.json, which examples/wind_tunnel.py writes, and prints what is to be said under each figure.
Needs matplotlib: `pip install planish[docs]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from figures import wind_tunnel
from figures.results import Results, read
from figures.sheet import LOOK, Drawing
from matplotlib import style

from planish.base.files import write_text

FOLDER = Path(__file__).with_name("figures")


def draw(results: Results) -> list[Drawing]:
    """All figures. What a file of the user's own tells matplotlib does not count."""
    with style.context(cast(Any, ["default", LOOK])):
        return [figure(results) for figure in wind_tunnel.FIGURES]


if __name__ == "__main__":
    for drawing in draw(read(FOLDER / "wind_tunnel.json")):
        write_text(FOLDER / f"{drawing.name}.svg", drawing.svg)
        print(f"figures/{drawing.name}.svg\n  {drawing.title}\n  {drawing.says}\n  {drawing.made}\n")

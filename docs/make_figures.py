"""Draws the figures of the documentation: `python docs/make_figures.py`. Tests keep the pictures and the numbers together.

Reads docs/figures/dpo_path.json and docs/figures/wind_tunnel.json, which examples/dpo_by_hand.py and examples/wind_tunnel.py
write, and docs/figures/places.json, the classes that `planish know` found, and prints what is to be said under each figure. Needs
matplotlib: `pip install matplotlib`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from figures import dpo, places, wind_tunnel
from figures.results import Results, read
from figures.sheet import LOOK, Drawing
from matplotlib import style

from planish.base.files import write_text

FOLDER = Path(__file__).with_name("figures")
LOOKS = cast(Any, ["default", LOOK])  # what a file of the user's own tells matplotlib does not count


def draw(results: Results) -> list[Drawing]:
    """The figures of docs/wind-tunnel.md."""
    with style.context(LOOKS):
        return [figure(results) for figure in wind_tunnel.FIGURES]


def draw_dpo(run: dpo.Run) -> list[Drawing]:
    """The figure of docs/dpo.md."""
    with style.context(LOOKS):
        return [dpo.path(run)]


def draw_places(found: places.Places) -> list[Drawing]:
    """The figure of docs/knowledge.md."""
    with style.context(LOOKS):
        return [places.known(found)]


def write(drawings: Iterable[Drawing]) -> None:
    for drawing in drawings:
        write_text(FOLDER / f"{drawing.name}.svg", drawing.svg)
        print(f"figures/{drawing.name}.svg\n  {drawing.title}\n  {drawing.says}\n  {drawing.made}\n")


if __name__ == "__main__":
    write(draw_dpo(dpo.read(FOLDER / "dpo_path.json")))
    write(draw_places(places.read(FOLDER / "places.json")))
    write(draw(read(FOLDER / "wind_tunnel.json")))

"""The figure of docs/knowledge.md: SliCK classes of SmolLM2 by population."""

from __future__ import annotations

from pathlib import Path

from matplotlib.patches import Patch
from pydantic import BaseModel, Field, ValidationError

from planish.base.errors import DataError

from .results import Classed
from .sheet import QUIET, Drawing, Sheet, beside, percent, rows_down
from .wind_tunnel import CLASSES, classes

ROW = 0.25  # inches


class Places(BaseModel):
    """Shares by band, the most populous first and invented places last, as `planish know … --by band` counts them."""

    command: str
    date: str
    capital: dict[str, Classed] = Field(min_length=2)
    country: dict[str, Classed] = Field(min_length=2)


def read(path: Path) -> Places:
    """Raises DataError for a file that lacks a field."""
    try:
        return Places.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path}: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from None


def known(places: Places) -> Drawing:
    panels = {"Capital of a country": places.capital, "Country of a city": places.country}
    unknown = {name: list(bands.values()) for name, bands in panels.items()}
    (most, _, floor), (most_c, _, floor_c) = ((own[0], own[1], own[-1]) for own in unknown.values())
    sheet = Sheet(
        "What SmolLM2-135M knows of places, by their population",
        f"Of the most populous countries it knows {percent(1 - most.Unknown)} of the capitals, at least weakly, of invented ones "
        f"{percent(1 - floor.Unknown)}. Of the largest cities it knows the country in {percent(1 - most_c.Unknown)}, of invented "
        f"ones in {percent(1 - floor_c.Unknown)}: there are few countries, so one of many guesses is right by chance.",
        f"SliCK classes (Gekhman et al. 2024). One model, one seed.\n{places.command} ({places.date})",
        body=0.45 + ROW * max(map(len, panels.values())) + 0.65,
    )
    sheet.legend([Patch(color=colour, label=name) for name, colour in CLASSES.items()])
    for left, (name, bands) in zip((1.3, 5.1), panels.items(), strict=True):
        ax = sheet.axes(left, 0.58, 2.0, ROW * len(bands))
        at = [*map(float, range(len(bands) - 1)), len(bands) - 1 + 0.35]
        for y, row in zip(at, bands.values(), strict=True):
            classes(ax, y, row)
            beside(ax, 1.15, y, f"{row.n:,}", color=QUIET)
        beside(ax, 1.15, -0.85, "n", color=QUIET)
        rows_down(ax, at, list(bands))
        ax.set(xlim=(0, 100), xlabel="% of facts")
        ax.set_title(name, loc="left", size=8.5, color=QUIET, pad=8)
    return sheet.drawing("places_known")

"""What all figures stand on: a white panel, so that light and dark pages show the same, with words above and below.

The same numbers give the same bytes. So nothing depends on the day, the machine or its fonts: every position is given in
inches, text is measured with the typeface that matplotlib brings along, and is written as text. Colours are those of the
report, after the colour-blind safe set of Okabe and Ito (2008).
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

INK, QUIET, RULE, GRID = "#1d1d1f", "#5c5f66", "#b9b9b4", "#e8e8e4"
BLUE, ORANGE = "#0067a8", "#c75000"
LOOK: dict[str, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "planish", "text.hinting": "none",
    "font.family": "DejaVu Sans", "font.size": 8.5, "axes.labelsize": 8.5, "legend.fontsize": 8.5,
    "text.color": INK, "axes.labelcolor": QUIET, "xtick.color": QUIET, "ytick.color": QUIET,
    "axes.spines.left": False, "axes.spines.right": False, "axes.spines.top": False, "axes.spines.bottom": False,
    "xtick.major.size": 0, "ytick.major.size": 0, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.8,
    "axes.axisbelow": True, "lines.solid_capstyle": "butt", "legend.frameon": False, "legend.handlelength": 1.1,
    "legend.handletextpad": 0.5, "legend.columnspacing": 1.6, "legend.borderpad": 0, "legend.borderaxespad": 0,
}  # fmt: skip
# What readers see. Places were worked out with DejaVu Sans, which is wider than these, so that there is always room.
TYPEFACES = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
LETTERS_ABOVE, LETTERS_BELOW = 122, 132  # on a line, in the two sizes of text


@dataclass(frozen=True, slots=True)
class Drawing:
    """`says`: what is to be seen, in numbers. `made`: seeds, n, interval, and the command behind it."""

    name: str
    title: str
    says: str
    made: str
    svg: str


class Sheet:
    """The body, between the words, is laid out in inches from its upper left corner.

    >>> sheet = Sheet("Loss", says="It falls.", made="n = 100. One seed.", body=3.0)
    >>> sheet.axes(left=0.5, top=0.3, width=3.0, height=2.2).plot([1, 2], [3, 4])
    >>> sheet.drawing("loss").svg
    '<?xml ...'
    """

    WIDTH, MARGIN, LINE = 7.8, 0.22, 0.165

    def __init__(self, title: str, says: str, made: str, body: float) -> None:
        self.title, self.says, self.made = title, says, made
        above = textwrap.wrap(says, LETTERS_ABOVE, break_on_hyphens=False)
        # The command, behind the last full stop of the rest, has a line of its own.
        below = [
            line for part in made.splitlines() for line in textwrap.wrap(part, LETTERS_BELOW, break_on_hyphens=False)
        ]
        self.top = self.MARGIN + 0.3 + self.LINE * len(above) + 0.16
        self.height = self.top + body + 0.14 + self.LINE * len(below) + self.MARGIN - 0.05
        self.figure = Figure(figsize=(self.WIDTH, self.height), facecolor="white")
        self._write(self.MARGIN, [title], size=11, weight="bold")
        self._write(self.MARGIN + 0.27, above, color=QUIET)
        self._write(self.top + body + 0.14, below, color=QUIET, size=7.5)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self.height - self.top - top - height
        return self.figure.add_axes((left / self.WIDTH, bottom / self.height, width / self.WIDTH, height / self.height))

    def legend(self, handles: Sequence[Line2D | Patch]) -> None:
        """One row at the top of the body."""
        at = (self.MARGIN / self.WIDTH, 1 - self.top / self.height)
        self.figure.legend(handles=list(handles), loc="upper left", bbox_to_anchor=at, ncols=len(handles))

    def drawing(self, name: str) -> Drawing:
        """Two decimals of a point are finer than any screen, and hide in which way a machine rounds the sixth."""
        written = io.StringIO()
        about: dict[str, Any] = {"Title": self.title, "Description": self.says, "Date": None, "Creator": None}
        self.figure.savefig(written, format="svg", metadata=about)
        svg = re.sub(r"<[^>]+>", _shortened, written.getvalue().replace("'DejaVu Sans'", TYPEFACES))
        return Drawing(name, self.title, self.says, " ".join(self.made.split()), svg)

    def _write(self, top: float, lines: Sequence[str], **looks: Any) -> None:
        for i, line in enumerate(lines):
            at = 1 - (top + i * self.LINE) / self.height
            self.figure.text(self.MARGIN / self.WIDTH, at, line, va="top", **looks)


def _shortened(tag: re.Match[str]) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])


def rows_down(ax: Axes, at: Sequence[float], names: Sequence[str]) -> None:
    """Named rows from above to below, the grid across them only."""
    ax.set_ylim(max(at) + 0.6, min(at) - 0.6)
    ax.set_yticks(at, names)
    ax.tick_params(axis="y", labelcolor=INK, pad=6)
    ax.grid(visible=False, axis="y")


def beside(ax: Axes, x: float, y: float, text: str, **looks: Any) -> None:
    """A cell of the table to the right of a panel: `x` in widths of the panel, `y` in rows."""
    ax.text(x, y, text, ha="right", va="center_baseline", transform=ax.get_yaxis_transform(), **looks)


def dot(ax: Axes, y: float, value: float, low: float, high: float, colour: str, *, hollow: bool = False) -> None:
    """A value with its interval."""
    ax.plot([low, high], [y, y], color=colour, lw=1.7)
    ax.plot(value, y, "o", color=colour, ms=4, mfc="white" if hollow else colour)


def signed(value: float) -> str:
    """With a real minus, and none before a zero."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def percent(value: float) -> str:
    return f"{100 * value:.1f}%" if 0 < value < 0.1 else f"{100 * value:.0f}%"

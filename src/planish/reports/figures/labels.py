"""Names beside points, where there is room: none lies on another name or on a point, and the legend has them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PANEL = (320.0, 210.0)  # pixels of a panel on a phone; where there is room here, there is on any screen
LETTER, LINE, GAP, DOT = 7.5, 15.0, 7.0, 5.0  # in pixels: of a label, from its point, and half of a point

Range = Sequence[float]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        apart = self.right < other.left or other.right < self.left or self.bottom < other.top or other.bottom < self.top
        return not apart


def label_places(
    names: Sequence[str], points: Sequence[Point], x: Range, y: Range, unnamed: Sequence[Point] = ()
) -> list[str | None]:
    """Plotly's textposition of each name, or None where it would cover something. `x` and `y` are the ranges of the axes."""
    spots = [(_share(point[0], x) * PANEL[0], (1 - _share(point[1], y)) * PANEL[1]) for point in (*points, *unnamed)]
    taken = [Box(left - DOT, top - DOT, left + DOT, top + DOT) for left, top in spots]
    places: list[str | None] = []
    for name, (left, top) in zip(names, spots, strict=False):
        boxes = _candidates(LETTER * len(name), left, top)
        free = (place for place, box in boxes.items() if _inside(box) and not any(map(box.overlaps, taken)))
        places.append(next(free, None))
        if places[-1]:
            taken.append(boxes[places[-1]])
    return places


def _candidates(width: float, left: float, top: float) -> dict[str, Box]:
    up, down, half = top - LINE, top + LINE, LINE / 2
    right, left_end = left + GAP, left - GAP
    return {  # diagonals first: bars go up, down and sideways
        "top right": Box(right, up, right + width, top),
        "bottom right": Box(right, top, right + width, down),
        "top left": Box(left_end - width, up, left_end, top),
        "bottom left": Box(left_end - width, top, left_end, down),
        "middle right": Box(right, top - half, right + width, top + half),
        "middle left": Box(left_end - width, top - half, left_end, top + half),
    }


def _inside(box: Box) -> bool:
    return box.left >= 0 and box.right <= PANEL[0] and box.top >= 0 and box.bottom <= PANEL[1]


def _share(value: float, ends: Range) -> float:
    return (value - ends[0]) / (ends[1] - ends[0] or 1.0)

"""The parts of a figure, as plain data for Plotly's JavaScript: keys, panels, curves, points with intervals, axes, lines.

Colors are names of CSS variables that the page resolves, so one figure serves a light screen, a dark one and paper.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from planish.reports.series import Records, running_mean
from planish.statistics.estimate import Estimate, span_text

NUM_COLORS = 6  # --line-0 to --line-5, in style.css
DASHES = ("solid", "dash", "dot", "dashdot")  # one for each round through the colors
MOST_POINTS = 3000  # of one curve; a longer one is thinned after its mean is taken
TOWERING = 8  # times the median: from here on an axis of losses is logarithmic
MARGIN = 0.06  # of an axis, on either side of what it holds
BLUE, ORANGE = "var(--line-0)", "var(--line-1)"
FROM_ZERO, ZERO_LINE = {"rangemode": "tozero"}, {"zeroline": True}  # vertical axes
PERCENT = {"tickformat": "~%"}  # as many decimals as the ticks need
CLOSEST = "closest"  # hover names the point that is nearest, not all at the same step

Numbers = Sequence[float | None]
Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of a figure's legend."""

    name: str
    color: str
    dash: str = "solid"
    width: float = 2.0
    points: bool = False  # drawn as points without a line


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot. Its horizontal axis is the step unless `over` and `xaxis` say otherwise."""

    title: str
    traces: list[Trace]
    yaxis: Mapping[str, Any] = field(default_factory=dict[str, Any])
    over: str = "by step"
    xaxis: Mapping[str, Any] = field(default_factory=dict[str, Any])
    shapes: Sequence[dict[str, Any]] = ()
    hovermode: str = "x unified"

    def plain(self) -> dict[str, Any]:
        """The input of figures.js."""
        layout = {"xaxis": self.xaxis, "yaxis": self.yaxis, "shapes": list(self.shapes), "hovermode": self.hovermode}
        return {"traces": self.traces, **layout}


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels under one legend. `says` is the finding and `made` the caption; keys are in the order of each panel's traces."""

    title: str
    says: str
    made: str
    panels: list[Panel]
    keys: Sequence[Key] = ()
    half: bool = False  # half the page's width, so that two fit side by side


def numbered_key(name: str, number: int) -> Key:
    """The key of one of several curves, told apart by color and then by dash."""
    return Key(name, f"var(--line-{number % NUM_COLORS})", DASHES[number // NUM_COLORS % len(DASHES)])


# Traces


def trace(key: Key, hover: str) -> Trace:
    """The look of a trace. Plotly reads names as HTML, so they are escaped."""
    return {
        "type": "scatter",
        "name": escape(key.name),
        "line": {"color": key.color, "dash": key.dash, "width": key.width},
        "marker": {"size": 6},
        "hovertemplate": hover if key.name else f"{hover}<extra></extra>",
    }


def curve(key: Key, x: Sequence[float], y: Numbers, hover: str = "%{y:.3f}", opacity: float = 1.0) -> Trace:
    """A line through numbers, thinned if there are many, with a gap where one is missing or not finite."""
    every = slice(None, None, thinning(len(x)))
    return {
        **trace(key, hover),
        "mode": "lines+markers" if len(x) <= 40 else "lines",
        "x": list(x[every]),
        "y": [value if value is not None and math.isfinite(value) else None for value in y[every]],
        "opacity": opacity,
    }


def step_keys(records: Records) -> list[Key]:
    """The keys of `step_curves`; a single curve needs none."""
    if records.window == 1:
        return []
    mean = f"mean of the last {records.window} {records.unit}s"
    return [
        Key(f"each {records.unit}", BLUE, width=1.0, points=records.unit == "iteration"),
        Key(mean, BLUE, width=3.0),
    ]


def step_curves(records: Records, values: Sequence[float], hover: str = "%{y:.3f}") -> list[Trace]:
    """A number of each line, and its running mean where there are enough lines."""
    if records.window == 1:
        return [curve(Key(f"each {records.unit}", BLUE), records.x, values, hover)]
    single, mean = step_keys(records)
    means = curve(mean, records.x, running_mean(values, records.window), hover)
    if single.points:
        look = {"mode": "markers", "marker": {"size": 5, "color": single.color}, "opacity": 0.75}
        return [curve(single, records.x, values, hover) | look, means | {"mode": "lines"}]
    return [curve(single, records.x, values, hover, opacity=0.5), means]


def thinning(count: int) -> int:
    """One in this many points is drawn."""
    return math.ceil(count / MOST_POINTS)


def thinned(count: int) -> str:
    """The end of a caption where not every point is drawn."""
    return f" One point in {thinning(count)} is drawn." if thinning(count) > 1 else ""


def points(key: Key, x: Sequence[float], estimates: Sequence[Estimate], hover: str, digits: str = ".1%") -> Trace:
    """Estimates from bottom to top, with bars for their intervals. The hover text has the interval as %{text}."""
    return {
        **trace(key, hover),
        "mode": "lines+markers",
        "x": list(x),
        "y": [estimate.value for estimate in estimates],
        "text": [span_text(estimate, digits) for estimate in estimates],
        "error_y": interval_bars(key, estimates),
    }


def interval_bars(key: Key, estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Error bars from `low` to `high`; none where there is no interval."""
    above = [0.0 if estimate.high is None else estimate.high - estimate.value for estimate in estimates]
    below = [0.0 if estimate.low is None else estimate.value - estimate.low for estimate in estimates]
    return {**error_bars(key, above), "symmetric": False, "arrayminus": below}


def error_bars(key: Key, half: Sequence[float]) -> dict[str, Any]:
    return {"type": "data", "array": list(half), "thickness": 1.5, "width": 4, "color": key.color}


# Axes and lines


def axis(title: str, free: bool = False, **more: Any) -> dict[str, Any]:
    """A horizontal axis that is not the step; `free` puts ticks where they fall, not at whole numbers."""
    ticks = {"dtick": None, "tickmode": "auto", "nticks": 7, "tickformat": "~g"} if free else {}
    return {"title": {"text": title, "standoff": 6}, **ticks, **more}


def loss_axis(traces: Sequence[Trace]) -> dict[str, Any]:
    """Logarithmic where the highest value would press most of the others into a line at the bottom."""
    values = [value for trace in traces for value in trace["y"] if value is not None]
    towers = bool(values) and min(values) > 0 and max(values) > TOWERING * statistics.median(values)
    return {"type": "log", "dtick": "D2" if max(values) < 200 * min(values) else 1} if towers else {}


def reach(traces: Sequence[Trace], direction: str, *others: float) -> list[float]:
    """The range of the x or y axis that holds all values, their bars, and the `others`."""
    ends = list(others)
    for drawn in traces:
        values = drawn[direction]
        bars = drawn.get(f"error_{direction}", {"array": [0.0] * len(values), "arrayminus": [0.0] * len(values)})
        for value, above, below in zip(values, bars["array"], bars["arrayminus"], strict=True):
            ends += [] if value is None else [value - below, value + above]
    margin = MARGIN * (max(ends) - min(ends)) or 1.0
    return [min(ends) - margin, max(ends) + margin]


def level(y: float) -> dict[str, Any]:
    """A thin line across a panel."""
    return {**thin_line(x0=0, x1=1, y0=y, y1=y), "xref": "paper"}


def upright(x: float) -> dict[str, Any]:
    """A thin line from the bottom of a panel to its top."""
    return {**thin_line(x0=x, x1=x, y0=0, y1=1), "yref": "paper"}


def thin_line(**ends: float) -> dict[str, Any]:
    return {"type": "line", "layer": "below", "line": {"color": "var(--quiet)", "width": 1.5}, **ends}

"""Curves, as plain data for Plotly's JavaScript. Colours are names of CSS variables, filled in where the page is read, so
the same figure is drawn for a light screen, a dark one and paper."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import accumulate
from typing import Any

from planish.base.text import change_text, count_text, loss_text
from planish.report.read.run import ALL, Measurement, Run
from planish.report.text import GUESS, same_rows

NUM_COLOURS = 6  # --line-0 and on, in page.html
DASHES = ("solid", "dash", "dot", "dashdot")  # a further round through the colours takes the next
MOST_POINTS = 3000  # of one curve; longer ones are thinned for the eye, after the mean is taken

FEWEST_TO_MEAN = 5  # steps; a mean of fewer would only repeat the curve

Numbers = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of a figure's legend."""

    name: str
    colour: str
    dash: str = "solid"
    width: float = 2.0


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot. Its horizontal axis is the step unless `over` and `xaxis` say otherwise; `shapes` are lines of its own."""

    title: str
    traces: list[dict[str, Any]]
    axis: dict[str, Any] = field(default_factory=dict[str, Any])
    over: str = "by step"
    xaxis: dict[str, Any] = field(default_factory=dict[str, Any])
    shapes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    hovermode: str = "x unified"

    def plain(self) -> dict[str, Any]:
        """What the page's script draws from."""
        how = {"xaxis": self.xaxis, "shapes": self.shapes, "hovermode": self.hovermode}
        return {"traces": self.traces, "axis": self.axis, **how}


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels under one legend, whose keys are in the order of every panel's traces; what is to be seen, how it was made."""

    title: str
    says: str
    made: str
    panels: list[Panel]
    keys: list[Key] = field(default_factory=list[Key])
    half: bool = False  # of the page's width, beside another


def run_figures(run: Run) -> list[Figure]:
    """The figures that this run holds enough points for."""
    figures = [held_out_figure(run)] if len(run.evaluations) > 1 else []
    return figures + ([training_figure(run), optimiser_figure(run)] if len(run.steps) > 1 else [])


def held_out_figure(run: Run) -> Figure:
    names = [name for name in run.sources if name in run.evaluations[0].losses]
    several = len(names) > 1
    keys = {name: source_key(name, i) for i, name in enumerate(names)}
    if several:
        keys[ALL] = Key("all sources", "var(--ink)", width=3.5)
    steps = [each.step for each in run.evaluations]
    losses = {name: [each.losses.get(name) for each in run.evaluations] for name in keys}
    panels = [Panel("Nats per token", [curve(key, steps, losses[name]) for name, key in keys.items()])]
    if several:
        changes = [curve(key, steps, _since_first(losses[name]), "%{y:+.3f}") for name, key in keys.items()]
        panels.append(Panel("Change since the first measurement", changes, {"zeroline": True}))
    rows, tokens = run.held_out(ALL)
    return Figure(
        "Held-out loss over the run",
        _lowest(run.evaluations) + (_range(run, names) if several else ""),
        f"Mean negative log-likelihood of a learnt token, over {count_text(rows, 'row')} ({tokens:,} tokens) that were kept "
        "out of training; the same at every measurement."
        + (
            " The table has the rows of each source; “all sources” is the mean over all their tokens."
            if several
            else ""
        ),
        panels,
        list(keys.values()) if several else [],
    )


def training_figure(run: Run) -> Figure:
    steps = [line["step"] for line in run.steps]
    losses = [line.get("nll", line["loss"]) for line in run.steps]
    window = mean_window(len(steps))
    return Figure(
        "Training loss",
        f"Loss on the examples learnt from {_went(losses, window, loss_text)}.",
        f"Mean negative log-likelihood of a learnt token in one step's examples, {round(run.tokens / len(steps)):,} tokens on "
        f"average, before the step's update. Steps hold different examples, so single points scatter.{thinned(len(steps))}",
        [Panel("Nats per token", step_curves(steps, losses, window))],
        step_keys(window),
    )


def mean_window(count: int) -> int:
    """Over how many of so many steps a running mean is taken; 1 where they are too few for one."""
    window = min(50, count // 10)
    return window if window >= FEWEST_TO_MEAN else 1


def _went(values: Sequence[float], window: int, text: Callable[[float], str]) -> str:
    """How a number that every step records moved, from the first steps to the last."""
    if window == 1:
        return f"was {text(values[0])} at the first step and {text(values[-1])} at the last"
    return (
        f"went from {text(_mean(values[:window]))}, the mean of the first {window} steps, to "
        f"{text(_mean(values[-window:]))}, that of the last {window}"
    )


def step_keys(window: int, one: str = "step") -> list[Key]:
    """Of `step_curves`; a single curve needs none."""
    if window == 1:
        return []
    blue = "var(--line-0)"
    return [Key(f"each {one}", blue, width=1.0), Key(f"mean of the last {window} {one}s", blue, width=3.0)]


def step_curves(
    steps: Sequence[float], values: Sequence[float], window: int, hover: str = "%{y:.3f}", one: str = "step"
) -> list[dict[str, Any]]:
    """A number that every step, or every `one`, records, and its running mean where there is one."""
    every = thinning(len(steps))
    if window == 1:
        return [curve(Key(f"each {one}", "var(--line-0)"), steps[::every], values[::every], hover)]
    each, mean = step_keys(window, one)
    return [
        curve(each, steps[::every], values[::every], hover, opacity=0.5),
        curve(mean, steps[::every], running_mean(values, window)[::every], hover),
    ]


def thinned(count: int) -> str:
    """What to say of curves of which not every point is drawn."""
    return f" One point in {thinning(count)} is drawn." if thinning(count) > 1 else ""


def thinning(count: int) -> int:
    """One point of so many is drawn."""
    return math.ceil(count / MOST_POINTS)


def optimiser_figure(run: Run) -> Figure:
    every = thinning(len(run.steps))
    steps = [line["step"] for line in run.steps][::every]
    rates = [line.get("learning_rate", math.nan) for line in run.steps]
    norms = [line.get("grad_norm", math.nan) for line in run.steps]
    optim = run.config.get("optim", {})
    limit = optim.get("clip_grad_norm", math.inf)
    peak, clipped = max(range(len(rates)), key=lambda i: rates[i]), sum(norm > limit for norm in norms)
    colour = Key("", "var(--line-0)", width=1.5)
    return Figure(
        "Learning rate and gradient norm",
        f"The learning rate was highest at step {run.steps[peak]['step']:,}, {_short(rates[peak])}, and stood at "
        f"{_short(rates[-1])} at the last. The gradient's norm was {_short(statistics.median(norms))} in the median step and "
        f"{_short(max(norms))} at most"
        + (
            f"; {clipped:,} of {len(norms):,} steps were above {limit:g} and clipped to it."
            if clipped
            else "; no step was clipped."
        ),
        f"One point a step. The schedule is {optim.get('schedule', 'unknown')}; the norm is over all trained weights, before "
        "clipping.",
        [
            Panel(
                "Learning rate",
                [curve(colour, steps, rates[::every], "%{y:.3g}")],
                {"rangemode": "tozero", "exponentformat": "e"},
            ),
            Panel("Gradient norm", [curve(colour, steps, norms[::every], "%{y:.3g}")], {"rangemode": "tozero"}),
        ],
    )


def comparison_figure(runs: Sequence[Run], names: Sequence[str]) -> Figure | None:
    """Held-out loss over all sources, a curve for each run that has been measured more than once; all of one unit."""
    unit = runs[0].unit
    curves = [
        (source_key(name, i), run)
        for i, (name, run) in enumerate(zip(names, runs, strict=True))
        if len(run.evaluations) > 1
    ]
    if not curves:
        return None
    lowest = min(curves, key=lambda curve: min(each.all for each in curve[1].evaluations))
    best = min(lowest[1].evaluations, key=lambda each: each.all)
    says = f"The lowest was {loss_text(best.all)} nats per {unit}, by {lowest[0].name} at step {best.step:,}."
    of, guess = "Mean negative log-likelihood of a learnt token", []
    if unit == "comparison":
        of, guess = "Thin line: a guess, ln 2. Mean of −ln σ(score difference)", [level(GUESS)]
    return Figure(
        "Held-out loss of the runs",
        same_rows(runs) or says,
        f"{of}, over the held-out rows of all sources of a run together.",
        [
            Panel(
                f"Nats per {unit}",
                [
                    curve(key, [e.step for e in run.evaluations], [e.all for e in run.evaluations])
                    for key, run in curves
                ],
                shapes=guess,
            )
        ],
        [key for key, _ in curves],
    )


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Of each value and those before it, `window` in all; fewer at the beginning."""
    if not all(map(math.isfinite, values)):
        return [_mean(values[max(0, i + 1 - window) : i + 1]) for i in range(len(values))]
    sums = [0.0, *accumulate(values)]
    return [(sums[i] - sums[max(0, i - window)]) / min(i, window) for i in range(1, len(sums))]


def level(y: float) -> dict[str, Any]:
    """A thin line across a panel."""
    return {**thin_line(x0=0, x1=1, y0=y, y1=y), "xref": "paper"}


def thin_line(**ends: float) -> dict[str, Any]:
    return {"type": "line", "layer": "below", "line": {"color": "var(--quiet)", "width": 1.5}, **ends}


def curve(
    key: Key, steps: Sequence[float], values: Numbers, hover: str = "%{y:.3f}", opacity: float = 1.0
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(steps) <= 40 else "lines",
        "name": escape(key.name),  # Plotly reads names as HTML
        "x": list(steps),
        "y": [value if value is not None and math.isfinite(value) else None for value in values],
        "line": {"color": key.colour, "dash": key.dash, "width": key.width},
        "marker": {"size": 6},
        "opacity": opacity,
        "hovertemplate": hover if key.name else f"{hover}<extra></extra>",
    }


def source_key(name: str, number: int) -> Key:
    return Key(name, f"var(--line-{number % NUM_COLOURS})", DASHES[number // NUM_COLOURS % len(DASHES)])


def _since_first(values: Numbers) -> list[float | None]:
    first = next((value for value in values if value is not None), 0.0)
    return [None if value is None else value - first for value in values]


def _lowest(evaluations: Sequence[Measurement]) -> str:
    first, last = evaluations[0], evaluations[-1]
    best = min(evaluations, key=lambda each: (each.all, each.step))
    if best is last:
        return f"The lowest loss was the last: {loss_text(best.all)} at step {best.step:,}."
    if best is first:
        return f"The loss never fell below the {loss_text(first.all)} it began with."
    return (
        f"The loss was lowest at step {best.step:,}, {loss_text(best.all)}, and rose to {loss_text(last.all)} by "
        f"step {last.step:,}."
    )


def _range(run: Run, names: Sequence[str]) -> str:
    first, last = run.evaluations[0].losses, run.evaluations[-1].losses
    order = sorted(names, key=lambda name: last.get(name, math.nan) - first[name])
    least, most = (f"{change_text(first[name], last.get(name))} ({name})" for name in (order[0], order[-1]))
    return f" By source, the change from the first measurement to the last runs from {least} to {most}."


def _short(number: float) -> str:
    """Two digits: 0.41, 12, 2e-4."""
    if number == 0 or number >= 1e-3 or not math.isfinite(number):
        return f"{number:.2g}"
    return re.sub(r"\.0(?=e)|(?<=e-)0", "", f"{number:.1e}")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

"""What the iterations of a policy that samples for itself recorded, as numbers, curves and words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planish.report.figures.base import FEWEST_TO_MEAN, Key, Panel, curve, mean_window, running_mean, step_curves
from planish.report.figures.comparison import CHANGEABLE_ON_RESUME
from planish.report.read.run import Line, Run

SCATTER = 2.0  # standard errors that a change must exceed to be called one


def rewards_of(run: Run) -> tuple[list[str], list[str]]:
    """What is trained on, and what is only watched."""
    weights = {name: source["weight"] for name, source in run.config["rewards"].items()}
    return [name for name, weight in weights.items() if weight], [
        name for name, weight in weights.items() if not weight
    ]


def held_out_prompts(run: Run) -> int:
    return sum(len(each["held_out"]) for each in run.prompts.get("sources", {}).values())


def window_of(run: Run) -> int:
    """Iterations that a mean is taken over."""
    return window_for(len(run.rounds))


def window_for(count: int) -> int:
    return max(mean_window(count), FEWEST_TO_MEAN if count >= 4 * FEWEST_TO_MEAN else 1)


def rounds(run: Run, name: str) -> list[float]:
    return [line.get(name, math.nan) for line in run.rounds]


def iterations(run: Run) -> list[int]:
    """Updates had gone through so many iterations when this one sampled."""
    return [line["iteration"] for line in run.rounds]


def by_round(run: Run, value: Callable[[Line], float | None]) -> list[float]:
    """Of each iteration the mean over its steps, of what they record."""
    found: dict[int, list[float]] = {}
    for line in run.steps:
        number = value(line)
        if number is not None:
            found.setdefault((line["step"] - 1) // run.steps_of_iteration, []).append(number)
    return [mean_of(found.get(i, [])) for i in iterations(run)]


def ratio_of_norms(line: Line) -> float | None:
    own, other = line.get("own_grad_norm"), line.get("ptx/grad_norm")
    return other / own if own and other is not None else None


def mean_score(run: Run, reward: str) -> list[float]:
    """Running means of a score."""
    return running_mean(rounds(run, f"score/{reward}"), window_of(run))


def mean_roots(run: Run) -> list[float]:
    """Running means of √KL; an estimate of the KL below 0 counts as 0."""
    return running_mean([math.sqrt(max(line["kl"], 0.0)) for line in run.rounds], window_of(run))


def mean_of(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def last_text(run: Run, name: str, text: Callable[[float], str] = "{:.2f}".format) -> str:
    """The mean over the last iterations."""
    value = mean_of(rounds(run, name)[-window_of(run) :])
    return text(value) if math.isfinite(value) else "–"


def went(values: Sequence[float], decimals: int = 2, text: Callable[[float], str] | None = None) -> str:
    """ "rose from 0.26 to 0.80", from the first iterations to the last. A change within SCATTER standard errors is none."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "was not recorded"
    window = window_for(len(known))
    first, last = known[:window], known[-window:]
    before, after = mean_of(first), mean_of(last)

    def show(value: float) -> str:
        return text(value) if text else f"{value:.{decimals}f}".replace("-", "−")

    if show(before) == show(after):
        return f"stayed at {show(after)}"
    if abs(after - before) <= SCATTER * math.sqrt(_variance(first) / window + _variance(last) / window):
        return f"showed no change beyond scatter ({show(before)} to {show(after)})"
    return f"{'rose' if after > before else 'fell'} from {show(before)} to {show(after)}"


def scores_went(run: Run) -> list[str]:
    """Of each score, those that are trained on first."""
    trained, watched = rewards_of(run)
    marks = {**dict.fromkeys(trained, ""), **dict.fromkeys(watched, ", only watched,")}
    return [f"{name}{mark} {went(rounds(run, f'score/{name}'))}" for name, mark in marks.items()]


def _variance(values: Sequence[float]) -> float:
    """Without bias; of a single value it is not known, and taken for 0."""
    if len(values) < 2:
        return 0.0
    middle = mean_of(values)
    return sum((value - middle) ** 2 for value in values) / (len(values) - 1)


# Curves


def _axis(title: str, free: bool = False) -> dict[str, Any]:
    """The horizontal one; `free` has ticks where they fall, not at whole numbers."""
    return {
        "title": {"text": title, "standoff": 6},
        **({**CHANGEABLE_ON_RESUME, "tickformat": "", "rangemode": "tozero"} if free else {}),
    }


def over_rounds(title: str, traces: list[dict[str, Any]], vertical: Mapping[str, Any] | None = None) -> Panel:
    return Panel(title, traces, dict(vertical or {}), "by iteration", _axis("iteration"))


def rounds_curves(run: Run, name: str, hover: str = "%{y:.3f}") -> list[dict[str, Any]]:
    return mean_curves(run, rounds(run, name), hover)


def mean_curves(run: Run, values: Sequence[float], hover: str) -> list[dict[str, Any]]:
    """Light points and a dark mean."""
    curves = step_curves(iterations(run), values, window_of(run), hover, "iteration")
    if len(curves) > 1:
        curves[0] |= {"mode": "markers", "marker": {"size": 4, "color": curves[0]["line"]["color"]}}
        curves[1] |= {"mode": "lines"}
    return curves


def path_over_roots(key: Key, run: Run, reward: str) -> dict[str, Any]:
    """A score over √KL, both as running means; the last point is large."""
    roots = mean_roots(run)
    drawn = curve(key, roots, mean_score(run, reward), "%{y:+.3f} at √KL %{x:.2f}")
    marker = {"size": [3] * (len(roots) - 1) + [10], "opacity": 1, "line": {"width": 0}}
    return {**drawn, "mode": "lines+markers", "marker": marker}


def over_roots(title: str, traces: list[dict[str, Any]]) -> Panel:
    return Panel(title, traces, over="by √KL", xaxis=_axis("√KL, nats", free=True), hovermode="closest")

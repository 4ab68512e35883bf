"""The result of `planish data advise`: sentences and tables for the terminal, and a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planish import __version__
from planish.base.files import write_text
from planish.base.text import count_text, listed, number_text, percent
from planish.experiments.advice import MEAN, WORST, Slice
from planish.reports.figures.base import BLUE, CLOSEST, PERCENT, Figure, Key, Panel, axis, points, reach, trace
from planish.reports.pages.template import packed_plotly, template
from planish.statistics.estimate import Estimate, estimate_text

if TYPE_CHECKING:
    from planish.experiments.advise import AdviseConfig, Advised

DIGITS = "+.3f"
GOALS = {MEAN: "the mean of all abilities", WORST: "the worst ability"}
WEIGHT_COLUMNS = ("source", "given", "proposed")
GAIN_COLUMNS = ("ability", "predicted gain", "gain in the check", "explained")


def advice_text(found: Advised, seeds: int) -> str:
    """The outcome in one or two sentences."""
    advice, goal = found.advice, GOALS.get(found.goal, found.goal)
    tried = count_text(len(advice.draws) - 1, "other mixture")
    if advice.outcome == "nothing promising":
        return f"Nothing better than the given weights was found: none of {tried} promises more of {goal} for sure."
    gain = estimate_text(advice.checked["goal"], DIGITS)
    checked = f"{goal} changes by {gain} in {count_text(seeds, 'seed')} that no draw had"
    if advice.outcome == "better":
        return f"Better weights were found: {checked}."
    over = f", and {listed(advice.over_budget)} lost more than the budget" if advice.over_budget else ""
    return f"Nothing better was found: the best of {tried} did not hold in the check: {checked}{over}. Keep the given weights."


def weight_rows(found: Advised) -> list[list[str]]:
    proposal = found.advice.proposal or {}
    return [[name, percent(weight), percent(proposal.get(name))] for name, weight in found.advice.given.items()]


def gain_rows(found: Advised) -> list[list[str]]:
    """Of each ability and the goal. Explained: how well other mixtures predict one, of 100%."""
    advice = found.advice
    return [
        [
            name,
            estimate_text(advice.predicted.get(name), DIGITS),
            estimate_text(advice.checked.get(name), DIGITS),
            number_text(max(advice.explained[name], 0.0), ".0%") if name in advice.explained else "–",
        ]
        for name in [*found.measures, "goal"]
    ]


def write_advice(found: Advised, config: AdviseConfig, path: Path) -> None:
    from planish.experiments.advise import settings_of

    figures = {"draws": _draws(found), "slices": _slices(found)}
    page = template("advice.html", {}).render(
        title=f"Weights of {Path(config.recipe).name}",
        said=advice_text(found, config.seeds),
        weight_columns=WEIGHT_COLUMNS,
        weights=weight_rows(found),
        gain_columns=GAIN_COLUMNS,
        gains=gain_rows(found),
        settings=settings_of(found) if found.advice.outcome == "better" else [],
        budgets=config.budgets,
        goal=GOALS.get(found.goal, found.goal),
        minutes=f"{found.minutes:g}",
        figures=figures,
        panels={place: [panel.plain() for panel in figure.panels] for place, figure in figures.items()},
        plotly=packed_plotly(),
        version=__version__,
    )
    write_text(path, page)


def _draws(found: Advised) -> Figure:
    """The goal of each mixture over what the others predict for it."""
    draws = found.advice.draws
    key = Key("", BLUE, points=True)
    goals = [draw.goal for draw in draws]
    drawn = {
        **trace(key, "%{y:.3f}, predicted %{x:.3f}<br>%{text}"),
        "mode": "markers",
        "marker": {"size": 8, "color": key.color},
        "x": [draw.left_out for draw in draws],
        "y": goals,
        "text": [", ".join(f"{name} {weight:.0%}" for name, weight in draw.weights.items()) for draw in draws],
    }
    span = reach([drawn], "x", *goals)
    line = {"type": "line", "layer": "below", "x0": span[0], "x1": span[1], "y0": span[0], "y1": span[1]}
    shape = {**line, "line": {"color": "var(--quiet)", "width": 1.5}}
    panel = Panel(
        "measured",
        [drawn],
        {"range": span},
        "by prediction",
        axis("predicted by the other mixtures", free=True, range=span),
        [shape],
        CLOSEST,
    )
    return Figure(
        "How well mixtures can be predicted",
        "Each point is a mixture that was run; on the line it has what the others predict.",
        "The goal, turned so that more is better.",
        [panel],
    )


def _slices(found: Advised) -> Figure:
    return Figure(
        "One weight at a time",
        "The goal's predicted gain as a source's weight changes and the others keep their proportions.",
        "Bars: 95% intervals of the regression. Line: the given weight.",
        [_slice(one, found.advice.given[one.source]) for one in found.advice.slices],
    )


def _slice(one: Slice, given: float) -> Panel:
    gains: list[Estimate] = one.gains
    drawn = points(Key("", BLUE), one.weights, gains, "%{y:+.3f} (%{text})", DIGITS)
    line = {"type": "line", "layer": "below", "x0": given, "x1": given, "y0": 0, "y1": 1, "yref": "paper"}
    shape = {**line, "line": {"color": "var(--quiet)", "width": 1.5}}
    over = axis(f"weight of {one.source}", free=True) | PERCENT
    return Panel(f"gain, {one.source}", [drawn], {"zeroline": True}, "by weight", over, [shape], CLOSEST)

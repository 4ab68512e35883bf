"""The figures of any run: held-out loss, training loss, learning rate and gradient norm; and held-out loss of several runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from planish.base.text import change_text, count_text, listed, loss_text
from planish.reports.claims import leaders
from planish.reports.figures.base import (
    BLUE,
    FROM_ZERO,
    ZERO_LINE,
    Figure,
    Key,
    Numbers,
    Panel,
    Trace,
    axis,
    curve,
    level,
    loss_axis,
    numbered_key,
    step_curves,
    step_keys,
    thinned,
)
from planish.reports.read.run import ALL, RecordedRun
from planish.reports.series import Records
from planish.reports.text import CHANCE, same_rows, two_digits


def run_figures(run: RecordedRun) -> list[Figure]:
    """The figures that the run has enough points for."""
    figures = [held_out_figure(run)] if len(run.evaluations) > 1 else []
    return figures + ([training_figure(run), optimizer_figure(run)] if len(run.steps) > 1 else [])


def held_out_figure(run: RecordedRun) -> Figure:
    names = [name for name in run.sources if name in run.evaluations[0].losses]
    several = len(names) > 1
    keys = {name: numbered_key(name, i) for i, name in enumerate(names)}
    if several:
        keys[ALL] = Key("all sources", "var(--ink)", width=3.5)
    times = [run.time(measured.step) for measured in run.evaluations]
    losses = {name: [measured.losses.get(name) for measured in run.evaluations] for name in keys}
    curves = [curve(key, times, losses[name]) for name, key in keys.items()]
    panels = [_panel(run, "Nats per token", curves, loss_axis(curves))]
    if several:
        changes = [curve(key, times, _since_first(losses[name]), "%{y:+.3f}") for name, key in keys.items()]
        panels.append(_panel(run, "Change since the first measurement", changes, ZERO_LINE))
    rows, tokens = run.held_out(ALL)
    return Figure(
        "Held-out loss",
        lowest_text(run) + (_range(run, names) if several else ""),
        f"Mean negative log-likelihood per token, over {count_text(rows, 'row')} ({tokens:,} tokens) held out of training; the "
        "same rows at every measurement." + (" “All sources” is the mean over all of these tokens." if several else ""),
        panels,
        list(keys.values()) if several else [],
    )


def training_figure(run: RecordedRun) -> Figure:
    records, losses = Records(run.steps), [line.get("nll", line["loss"]) for line in run.steps]
    curves = step_curves(records, losses)
    return Figure(
        "Training loss",
        f"Training loss went {records.ends(losses, loss_text)} ({records.ends_are}).",
        f"Mean negative log-likelihood per token of each step's examples, before the update; "
        f"{round(run.tokens / len(losses)):,} tokens per step on average. Steps see different examples, so single points "
        f"scatter.{thinned(len(losses))}",
        [Panel("Nats per token", curves, loss_axis(curves))],
        step_keys(records),
    )


def optimizer_figure(run: RecordedRun) -> Figure:
    records = Records(run.steps)
    rates, norms = records.column("learning_rate"), records.column("grad_norm")
    times = [run.time(step) for step in records.x]
    optim = run.config.get("optim", {})
    limit = optim.get("clip_grad_norm", math.inf)
    clipped = sum(norm > limit for norm in norms)
    blue = Key("", BLUE, width=1.5)
    clipping = (
        f"{clipped:,} of {len(norms):,} steps exceeded {limit:g} and were clipped" if clipped else "no step was clipped"
    )
    return Figure(
        "Learning rate and gradient norm",
        f"{_rates_text(run, rates)} The gradient norm had a median of {two_digits(statistics.median(norms))} and a maximum of "
        f"{two_digits(max(norms))}; {clipping}.",
        f"One point per step. The schedule is {optim.get('schedule', 'unknown')}; the norm is over all trained weights, before "
        "clipping.",
        [
            _panel(run, "Learning rate", [curve(blue, times, rates, "%{y:.3g}")], FROM_ZERO),
            _panel(run, "Gradient norm", [curve(blue, times, norms, "%{y:.3g}")], FROM_ZERO),
        ],
    )


def losses_figure(runs: Sequence[RecordedRun], names: Sequence[str]) -> Figure | None:
    """Held-out loss over all sources of runs with the same unit; None unless one has been measured twice."""
    drawn = [
        (numbered_key(name, i), run)
        for i, (name, run) in enumerate(zip(names, runs, strict=True))
        if len(run.evaluations) > 1
    ]
    if not drawn:
        return None
    unit = runs[0].unit
    lowest = lowest_of_runs({key.name: run for key, run in drawn}, unit)
    pairs = unit == "comparison"
    loss = "Mean of −ln σ(score difference)" if pairs else "Mean negative log-likelihood per token"
    curves = [curve(key, [m.step for m in run.evaluations], [m.all for m in run.evaluations]) for key, run in drawn]
    return Figure(
        "Held-out loss by run",
        "The curves are of different rows or tokens: compare each only with itself." if same_rows(runs) else lowest,
        f"{loss}, over the held-out rows of all sources of a run.{' Thin line: guessing, ln 2.' if pairs else ''}",
        [Panel(f"Nats per {unit}", curves, shapes=[level(CHANCE)] if pairs else [])],
        [key for key, _ in drawn],
    )


def _panel(run: RecordedRun, title: str, traces: list[Trace], yaxis: Mapping[str, Any]) -> Panel:
    """Over the run's own unit of time."""
    return Panel(title, traces, yaxis, f"by {run.time_unit}", axis(run.time_unit))


def _since_first(values: Numbers) -> list[float | None]:
    first = next((value for value in values if value is not None), 0.0)
    return [None if value is None else value - first for value in values]


def lowest_of_runs(runs: Mapping[str, RecordedRun], unit: str) -> str:
    """The run with the lowest loss, or all that share it as shown."""
    lowest = {
        name: min((_or_infinite(measured.all), measured.step) for measured in run.evaluations)
        for name, run in runs.items()
    }
    best = leaders({name: loss for name, (loss, _) in lowest.items()}, loss_text, lowest=True)
    loss, step = lowest[best[0]]
    where = f"by {best[0]} at step {step:,}" if len(best) == 1 else f"by {listed(best)}"
    return f"The lowest was {loss_text(loss)} nats per {unit}, {where}."


def _rates_text(run: RecordedRun, rates: Sequence[float]) -> str:
    peak = max(range(len(rates)), key=lambda i: rates[i])
    highest, last = two_digits(rates[peak]), two_digits(rates[-1])
    if two_digits(min(rates)) == highest:
        return f"The learning rate was {highest} throughout."
    end = "" if last == highest else f" and was {last} at the last"
    return f"The learning rate peaked at {highest} at {run.moment(run.steps[peak]['step'])}{end}."


def lowest_text(run: RecordedRun) -> str:
    """Where held-out loss was lowest, as shown, and where it ended."""
    first, last = run.evaluations[0], run.evaluations[-1]
    best = min(run.evaluations, key=lambda measured: (_or_infinite(measured.all), measured.step))
    lowest, end = loss_text(best.all), loss_text(last.all)
    if lowest == loss_text(first.all):
        return f"The loss was {lowest} {'at every measurement' if _all_equal(run) else 'at first, and never lower'}."
    if lowest == end:
        return f"The loss was lowest at the end: {end} at {run.moment(last.step)}."
    change = f"rose to {end}" if math.isfinite(last.all) else f"was {end}"
    return f"The loss was lowest at {run.moment(best.step)}, {lowest}, and {change} by {run.moment(last.step)}."


def _or_infinite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def _all_equal(run: RecordedRun) -> bool:
    return len({loss_text(measured.all) for measured in run.evaluations}) == 1


def _range(run: RecordedRun, names: Sequence[str]) -> str:
    first, last = run.evaluations[0].losses, run.evaluations[-1].losses
    order = sorted(names, key=lambda name: last.get(name, math.nan) - first[name])
    least, most = (f"{change_text(first[name], last.get(name))} ({name})" for name in (order[0], order[-1]))
    return f" By source, the change from the first to the last measurement ranges from {least} to {most}."

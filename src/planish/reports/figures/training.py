"""The figures of any run: held-out loss, training loss, learning rate and gradient norm; and held-out loss of several runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from planish.base.text import change_text, count_text, loss_text
from planish.reports.figures.base import (
    BLUE,
    FROM_ZERO,
    ZERO_LINE,
    Figure,
    Key,
    Numbers,
    Panel,
    curve,
    level,
    numbered_key,
    step_curves,
    step_keys,
    thinned,
)
from planish.reports.read.run import ALL, Measurement, RecordedRun
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
    steps = [measured.step for measured in run.evaluations]
    losses = {name: [measured.losses.get(name) for measured in run.evaluations] for name in keys}
    panels = [Panel("Nats per token", [curve(key, steps, losses[name]) for name, key in keys.items()])]
    if several:
        changes = [curve(key, steps, _since_first(losses[name]), "%{y:+.3f}") for name, key in keys.items()]
        panels.append(Panel("Change since the first measurement", changes, ZERO_LINE))
    rows, tokens = run.held_out(ALL)
    return Figure(
        "Held-out loss",
        _lowest(run.evaluations) + (_range(run, names) if several else ""),
        f"Mean negative log-likelihood per token, over {count_text(rows, 'row')} ({tokens:,} tokens) held out of training; the "
        "same rows at every measurement." + (" “All sources” is the mean over all of these tokens." if several else ""),
        panels,
        list(keys.values()) if several else [],
    )


def training_figure(run: RecordedRun) -> Figure:
    records, losses = Records(run.steps), [line.get("nll", line["loss"]) for line in run.steps]
    return Figure(
        "Training loss",
        f"Training loss went {records.ends(losses, loss_text)} ({records.ends_are}).",
        f"Mean negative log-likelihood per token of each step's examples, before the update; "
        f"{round(run.tokens / len(losses)):,} tokens per step on average. Steps see different examples, so single points "
        f"scatter.{thinned(len(losses))}",
        [Panel("Nats per token", step_curves(records, losses))],
        step_keys(records),
    )


def optimizer_figure(run: RecordedRun) -> Figure:
    records = Records(run.steps)
    steps, rates, norms = records.x, records.column("learning_rate"), records.column("grad_norm")
    optim = run.config.get("optim", {})
    limit = optim.get("clip_grad_norm", math.inf)
    peak, clipped = max(range(len(rates)), key=lambda i: rates[i]), sum(norm > limit for norm in norms)
    blue = Key("", BLUE, width=1.5)
    clipping = (
        f"{clipped:,} of {len(norms):,} steps exceeded {limit:g} and were clipped" if clipped else "no step was clipped"
    )
    rate = curve(blue, steps, rates, "%{y:.3g}")
    return Figure(
        "Learning rate and gradient norm",
        f"The learning rate peaked at {two_digits(rates[peak])} at step {steps[peak]:,} and was {two_digits(rates[-1])} at the "
        f"last. The gradient norm had a median of {two_digits(statistics.median(norms))} and a maximum of "
        f"{two_digits(max(norms))}; {clipping}.",
        f"One point per step. The schedule is {optim.get('schedule', 'unknown')}; the norm is over all trained weights, before "
        "clipping.",
        [
            Panel("Learning rate", [rate], {**FROM_ZERO, "exponentformat": "e"}),
            Panel("Gradient norm", [curve(blue, steps, norms, "%{y:.3g}")], FROM_ZERO),
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
    key, best = min(
        ((key, measured) for key, run in drawn for measured in run.evaluations), key=lambda pair: pair[1].all
    )
    lowest = f"The lowest was {loss_text(best.all)} nats per {unit}, by {key.name} at step {best.step:,}."
    pairs = unit == "comparison"
    loss = "Mean of −ln σ(score difference)" if pairs else "Mean negative log-likelihood per token"
    curves = [curve(key, [m.step for m in run.evaluations], [m.all for m in run.evaluations]) for key, run in drawn]
    return Figure(
        "Held-out loss by run",
        same_rows(runs) or lowest,
        f"{loss}, over the held-out rows of all sources of a run.{' Thin line: guessing, ln 2.' if pairs else ''}",
        [Panel(f"Nats per {unit}", curves, shapes=[level(CHANCE)] if pairs else [])],
        [key for key, _ in drawn],
    )


def _since_first(values: Numbers) -> list[float | None]:
    first = next((value for value in values if value is not None), 0.0)
    return [None if value is None else value - first for value in values]


def _lowest(evaluations: Sequence[Measurement]) -> str:
    first, last = evaluations[0], evaluations[-1]
    best = min(evaluations, key=lambda measured: (measured.all, measured.step))
    if best is last:
        return f"The loss was lowest at the end: {loss_text(best.all)} at step {best.step:,}."
    if best is first:
        return f"The loss never fell below its initial {loss_text(first.all)}."
    return (
        f"The loss was lowest at step {best.step:,}, {loss_text(best.all)}, and rose to {loss_text(last.all)} by "
        f"step {last.step:,}."
    )


def _range(run: RecordedRun, names: Sequence[str]) -> str:
    first, last = run.evaluations[0].losses, run.evaluations[-1].losses
    order = sorted(names, key=lambda name: last.get(name, math.nan) - first[name])
    least, most = (f"{change_text(first[name], last.get(name))} ({name})" for name in (order[0], order[-1]))
    return f" By source, the change from first to last measurement ranges from {least} to {most}."

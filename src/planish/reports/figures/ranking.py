"""The figures of how well a run's scores rank comparisons: accuracy over steps, calibration, and length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from planish.base.text import count_text, listed, loss_text, percent
from planish.reports.claims import leaders, side
from planish.reports.figures.base import (
    CLOSEST,
    PERCENT,
    Figure,
    Key,
    Panel,
    Trace,
    axis,
    level,
    numbered_key,
    points,
    reach,
    thin_line,
    trace,
)
from planish.reports.read.ranking import best_accuracy, least_log_loss
from planish.statistics.estimate import Estimate, estimate_text
from planish.statistics.ranking_result import LengthBin, LengthCorrelation, RankingEvaluation

Sets = Mapping[str, list[RankingEvaluation]]  # all evaluations of each set, by step
WORDS = {1: "higher", -1: "lower"}  # by the side of 0
DRAWN = 3  # sets in a figure with a curve for each; the tables hold all


def accuracy_figure(sets: Sets) -> Figure:
    """Accuracy and log loss over steps, with the best possible where it is known for all pairs."""
    keys = [numbered_key(name, i) for i, name in enumerate(sets)]
    accuracy = [_over_steps(key, sets[key.name], "accuracy", ".1%") for key in keys]
    loss = [_over_steps(key, sets[key.name], "log_loss", ".3f") for key in keys]
    for key in keys[:]:
        evaluations = sets[key.name]
        if any(map(best_accuracy, evaluations)):
            name = "best possible" if len(sets) == 1 else f"{key.name}, best possible"
            keys.append(Key(name, key.color, "dash", 1.5))
            accuracy.append(_lines(keys[-1], [(e.step, best_accuracy(e)) for e in evaluations], ".1%"))
            loss.append(_lines(keys[-1], [(e.step, least_log_loss(e)) for e in evaluations], ".3f"))
    name, evaluations = next(iter(sets.items()))
    chance = evaluations[0].log_loss_by_chance
    return Figure(
        "Accuracy over the run",
        f"On {name}, {best_step_text(evaluations)}.",
        "Share of pairs in the annotators' order, and the mean of −ln σ(score difference); the same pairs at every step. Bars "
        "are 95% intervals. Thin lines: guessing, 50% and ln 2.",
        [
            Panel("Accuracy", accuracy, {**PERCENT, "range": reach(accuracy, "y", 0.5)}, shapes=[level(0.5)]),
            Panel("Log loss, nats per pair", loss, {"range": reach(loss, "y", chance)}, shapes=[level(chance)]),
        ],
        keys if len(keys) > 1 else [],
    )


def calibration_figure(shown: Mapping[str, RankingEvaluation]) -> Figure:
    """The reliability diagram."""
    drawn, left = _drawn(shown)
    keys = [numbered_key(name, i) for i, name in enumerate(drawn)]
    bins = [evaluation.calibration.bins for evaluation in drawn.values()]
    traces = [
        points(key, [b.predicted for b in some], [b.right for b in some], "confidence %{x:.1%}, accuracy %{y:.1%} (%{text})")
        for key, some in zip(keys, bins, strict=True)
    ]  # fmt: skip
    name, first = next(iter(drawn.items()))
    calibration = first.calibration
    accuracy = {**PERCENT, "range": reach(traces, "y", 0.5, 1.0)}
    confidence = axis("confidence", dtick=0.1, range=[0.485, 1.015]) | PERCENT
    diagonal = thin_line(x0=0.5, y0=0.5, x1=1, y1=1)
    return Figure(
        "Calibration",
        f"{_slope_text(calibration.slope)} On {name}, confidence and accuracy differ by {calibration.ece:.3f} on average; for a "
        f"calibrated model about {calibration.ece_by_chance:.3f} is expected by chance.",
        "Pairs in bins of equal weight by the probability of the answer with the higher score, σ(|score difference|). On the "
        f"thin line accuracy equals confidence. Bars are 95% intervals.{left}",
        [Panel("Accuracy", traces, accuracy, "by confidence", confidence, [diagonal], CLOSEST)],
        keys if len(keys) > 1 else [],
    )


def length_figure(shown: Mapping[str, RankingEvaluation]) -> Figure | None:
    """None where all answers to each prompt have the same length."""
    drawn, left = _drawn({name: evaluation for name, evaluation in shown.items() if evaluation.length.bins})
    if not drawn:
        return None
    keys = [numbered_key(name, i) for i, name in enumerate(drawn)]
    hover = "%{x:.0f} tokens longer: %{y:+.2f} (%{text})"
    traces = [
        points(key, [b.tokens for b in e.length.bins], [b.difference for b in e.length.bins], hover, "+.2f")
        for key, e in zip(keys, drawn.values(), strict=True)
    ]
    name, first = next(iter(drawn.items()))
    title = "Score of the longer answer minus that of the shorter"
    tokens = axis("difference in tokens", rangemode="tozero")
    return Figure(
        "Score and length",
        f"{_length_text(first.length)} Always choosing the longer answer would have an accuracy of "
        f"{estimate_text(first.length.longer)} on {name}.",
        "Pairs of unequal length, in bins of equal weight by the difference in tokens: the mean score of the longer answer minus "
        f"that of the shorter, with 95% intervals. On the thin line length makes no difference.{left}",
        [Panel(title, traces, {"range": reach(traces, "y", 0.0)}, "by tokens", tokens, [level(0)], CLOSEST)],
        keys if len(keys) > 1 else [],
    )


def best_step_text(evaluations: Sequence[RankingEvaluation]) -> str:
    """ "accuracy was highest at step 40, 61.2%, and log loss was lowest at step 80, 0.650"; the first such step as shown."""
    accuracies = {f"{e.step:,}": e.accuracy.value for e in evaluations}
    losses = {f"{e.step:,}": e.log_loss.value for e in evaluations}
    highest = _best(leaders(accuracies, percent), accuracies, percent, "highest")
    lowest = _best(leaders(losses, loss_text, lowest=True), losses, loss_text, "lowest")
    return f"accuracy was {highest}, and log loss was {lowest}"


def _best(steps: Sequence[str], values: Mapping[str, float], text: Callable[[float], str], which: str) -> str:
    shown = text(values[steps[0]])
    return f"{shown} at every step" if len(steps) == len(values) else f"{which} at step {steps[0]}, {shown}"


def _drawn(sets: Mapping[str, RankingEvaluation]) -> tuple[dict[str, RankingEvaluation], str]:
    """The sets that the figure has room for, and a note on the others."""
    left = len(sets) - DRAWN
    note = f" {count_text(left, 'further set')} in the table below." if left > 0 else ""
    return dict(islice(sets.items(), DRAWN)), note


def _slope_text(slope: Estimate | None) -> str:
    if slope is None or slope.low is None or slope.high is None:
        return "No slope can be fitted: the scores separate the pairs completely, or are all equal."
    fit = f"the slope of a logistic fit of the choices on score differences is {estimate_text(slope, '.2f')}; 1 is calibrated."
    if slope.low <= 1 <= slope.high:
        return f"No significant over- or underconfidence: {fit}"
    return f"{'Overconfident' if slope.value < 1 else 'Underconfident'}: {fit}"


def _length_text(length: LengthCorrelation) -> str:
    """By both correlations and by every bin: the sentence must not contradict what is drawn and tabulated."""
    if length.spearman is None or length.pearson is None:
        return "Scores or lengths never differ, so no correlation can be computed."
    rank, linear = estimate_text(length.spearman, "+.2f"), estimate_text(length.pearson, "+.2f")
    fit = f"over pairs, score and length differences have a rank correlation of {rank} and a Pearson correlation of {linear}."
    ways = {side(length.spearman), side(length.pearson)} - {0, None}
    drawn = {side(part.difference) for part in length.bins} - {0, None}
    if len(ways) == 1 and drawn <= ways:
        return f"Longer answers have {'higher' if ways == {1} else 'lower'} scores: {fit}"
    if not ways and not drawn:
        return f"No significant effect of length on the score: {fit}"
    clauses = [f"{WORDS[way]} where longer by {_spans(length.bins, way)}" for way in (1, -1) if way in drawn]
    where = f" Longer answers score {listed(clauses)}." if clauses else ""
    return f"The effect of length is not the same throughout: {fit}{where}"


def _spans(bins: Sequence[LengthBin], way: int) -> str:
    """The lengths of the bins on one side of 0, neighbors as one: "1 to 2 tokens or 8 to 36 tokens"."""
    spans: list[list[int]] = []
    for i, part in enumerate(bins):
        if side(part.difference) != way:
            continue
        if spans and i and side(bins[i - 1].difference) == way:
            spans[-1][1] = part.high
        else:
            spans.append([part.low, part.high])
    return " or ".join(
        count_text(low, "token") if low == high else f"{low:,} to {high:,} tokens" for low, high in spans
    )


def _over_steps(key: Key, evaluations: Sequence[RankingEvaluation], measure: str, digits: str) -> Trace:
    estimates = [getattr(evaluation, measure) for evaluation in evaluations]
    return points(key, [e.step for e in evaluations], estimates, f"%{{y:{digits}}} (%{{text}})", digits)


def _lines(key: Key, at: Sequence[tuple[float, tuple[float, ...]]], digits: str) -> Trace:
    """As many level curves as there are values, with a gap between them."""
    curves = range(max(1, *(len(values) for _, values in at)))
    placed = [(x, values[i] if i < len(values) else None) for i in curves for x, values in [*at, (at[0][0], ())]]
    x, y = zip(*placed[:-1], strict=True)
    return {**trace(key, f"%{{y:{digits}}}"), "mode": "lines", "x": list(x), "y": list(y)}

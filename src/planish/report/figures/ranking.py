"""The figures on how well a run's scores rank: accuracy over steps, reliability, length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

from planish.base.text import loss_text, percent
from planish.report.figures.base import NUM_COLOURS, Figure, Key, Panel, level, thin_line
from planish.statistics.estimate import Estimate, estimate_text, span_text
from planish.statistics.ranking_result import Known, RankingEvaluation

Sets = Mapping[str, list[RankingEvaluation]]  # all measurements of each set, by step
DRAWN = 3  # sets in a figure that has a curve for each; the tables hold all


def accuracy_figure(sets: Sets) -> Figure:
    """Accuracy and log loss over steps, with the best possible where it is known of all pairs."""
    keys = _keys(sets)
    accuracy = [_points(key, [(e.step, e.accuracy) for e in sets[key.name]], ".1%") for key in keys]
    loss = [_points(key, [(e.step, e.log_loss) for e in sets[key.name]], ".3f") for key in keys]
    for key in keys[:]:
        measured = sets[key.name]
        if any(map(best_possible, measured)):
            name = "best possible" if len(sets) == 1 else f"{key.name}, best possible"
            keys.append(Key(name, key.colour, "dash", 1.5))
            accuracy.append(_lines(keys[-1], [(e.step, best_possible(e)) for e in measured], ".1%"))
            loss.append(_lines(keys[-1], [(e.step, _floor(e)) for e in measured], ".3f"))
    name, measured = next(iter(sets.items()))
    most, chance = max(measured, key=lambda each: each.accuracy.value), measured[0].log_loss_by_chance
    least = min(measured, key=lambda each: each.log_loss.value)
    return Figure(
        "Accuracy over the run",
        f"Of {name}, accuracy was highest at step {most.step:,}, {percent(most.accuracy.value)}, and log loss lowest at step "
        f"{least.step:,}, {loss_text(least.log_loss.value)}.",
        "Share of pairs in the annotators' order, and mean of −ln σ(score difference). The same pairs at every step; bars are "
        "95% intervals, as in the table. Thin lines: a guess, 50% and ln 2.",
        [
            Panel("Accuracy", accuracy, {"tickformat": ".0%", **_range(accuracy, 0.5)}, shapes=[level(0.5)]),
            Panel("Log loss, nats per pair", loss, _range(loss, chance), shapes=[level(chance)]),
        ],
        keys if len(keys) > 1 else [],
    )


def reliability_figure(shown: Mapping[str, RankingEvaluation]) -> Figure:
    shown, left = _drawn(shown)
    keys = _keys(shown)
    bins = [each.calibration.bins for each in shown.values()]
    traces = [
        _points(key, [(each.predicted, each.right) for each in some], ".1%", "sure %{x:.1%}, right ")
        for key, some in zip(keys, bins, strict=True)
    ]
    name, first = next(iter(shown.items()))
    found = first.calibration
    return Figure(
        "As sure as it is right?",
        f"{_sureness(found.slope)} On {name}, certainty and accuracy lie {found.ece:.3f} apart on average; a calibrated "
        f"model's would lie about {found.ece_by_chance:.3f} apart by chance.",
        "Pairs sorted by the probability of the answer that scores higher, σ(|score difference|), in bins of equal weight; the "
        "same pairs the other way round would mirror the diagram. On the thin line, as often right as sure. Bars are 95% "
        f"intervals.{left}",
        [
            Panel(
                "Share that is right",
                traces,
                {"tickformat": ".0%", **_range(traces, 0.5, 1.0)},
                "by how sure it is",
                {
                    "title": {"text": "how sure it is", "standoff": 6},
                    "tickformat": ".0%",
                    "dtick": 0.1,
                    "range": [0.485, 1.015],
                },
                [thin_line(x0=0.5, y0=0.5, x1=1, y1=1)],
                "closest",
            )
        ],
        keys if len(keys) > 1 else [],
    )


def length_figure(shown: Mapping[str, RankingEvaluation]) -> Figure | None:
    """None where all answers to a prompt are of one length."""
    measured, left = _drawn({name: each for name, each in shown.items() if each.length.bins})
    if not measured:
        return None
    keys = _keys(measured)
    traces = [
        _points(key, [(b.tokens, b.difference) for b in each.length.bins], "+.2f", "%{x:.0f} tokens longer: ")
        for key, each in zip(keys, measured.values(), strict=True)
    ]
    name, first = next(iter(measured.items()))
    return Figure(
        "Score and length",
        f"{_leaning(first.length.spearman)} To choose the longer answer would be right in "
        f"{estimate_text(first.length.longer)} of {name}.",
        "Pairs of unequal length, in bins of equal weight by how many tokens they lie apart; the mean of the longer answer's "
        f"score less the shorter's, with 95% intervals. On the thin line, length does not matter.{left}",
        [
            Panel(
                "Score of the longer answer less that of the shorter",
                traces,
                _range(traces, 0.0),
                "by tokens",
                {"title": {"text": "tokens longer", "standoff": 6}, "rangemode": "tozero"},
                [level(0)],
                "closest",
            )
        ],
        keys if len(keys) > 1 else [],
    )


def _drawn(sets: Mapping[str, RankingEvaluation]) -> tuple[dict[str, RankingEvaluation], str]:
    """The sets that a figure has room for, and what is said of the others."""
    left = len(sets) - DRAWN
    told = f" {left} further set{'s' if left > 1 else ''} in the table below." if left > 0 else ""
    return dict(islice(sets.items(), DRAWN)), told


def _keys(names: Iterable[str]) -> list[Key]:
    return [Key(name, f"var(--line-{i % NUM_COLOURS})") for i, name in enumerate(names)]


def complete(each: RankingEvaluation) -> Known | None:
    """What is known of all pairs of the set."""
    return each.known if each.known and each.known.pairs == each.pairs else None


def _floor(each: RankingEvaluation) -> tuple[float, ...]:
    """Of log loss."""
    known = complete(each)
    return (known.entropy.value,) if known else ()


def best_possible(each: RankingEvaluation) -> tuple[float, ...]:
    """Of all pairs of the set: the ceiling, or two bounds of it, or nothing where it is known of some pairs at most."""
    if known := complete(each):
        return (known.ceiling.value,)
    if each.repeated and each.repeated.votes == each.pairs:
        return (each.repeated.leave_one_out.value, each.repeated.plug_in.value)
    return ()


def _sureness(slope: Estimate | None) -> str:
    if slope is None or slope.low is None or slope.high is None:
        return "No slope can be fitted: the scores decide all pairs, or none."
    fit = f"a logistic fit of the choices on its score differences has a slope of {estimate_text(slope, '.2f')}"
    told = f"{fit}; 1 would be right."
    if slope.low <= 1 <= slope.high:
        return f"No sign that it is too sure or not sure enough: {told}"
    return f"It is {'surer than it is right' if slope.value < 1 else 'not as sure as it could be'}: {told}"


def _leaning(found: Estimate | None) -> str:
    if found is None:
        return "Scores or lengths do not differ, so nothing is to be seen."
    told = f"the rank correlation of the two differences is {estimate_text(found, '+.2f')}."
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return f"No sign that length moves the score: {told}"
    return f"Longer answers score {'higher' if found.value > 0 else 'lower'}: {told}"


def _points(key: Key, at: Sequence[tuple[float, Estimate]], digits: str, before: str = "") -> dict[str, Any]:
    """Values with their intervals as bars."""
    above = [0.0 if each.high is None else each.high - each.value for _, each in at]
    below = [0.0 if each.low is None else each.value - each.low for _, each in at]
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2, "width": 3}
    hover = f"{before}%{{y:{digits}}} (%{{text}})"
    return {
        **_trace(key, hover),
        "mode": "lines+markers",
        "x": [x for x, _ in at],
        "y": [each.value for _, each in at],
        "text": [span_text(each, digits) for _, each in at],
        "error_y": {**bars, "color": key.colour},
    }


def _lines(key: Key, at: Sequence[tuple[float, tuple[float, ...]]], digits: str) -> dict[str, Any]:
    """As many level curves as there are values; a gap parts them."""
    curves = range(max(1, *(len(values) for _, values in at)))
    points = [(x, values[i] if i < len(values) else None) for i in curves for x, values in [*at, (at[0][0], ())]]
    x, y = zip(*points[:-1], strict=True)
    return {**_trace(key, f"%{{y:{digits}}}"), "mode": "lines", "x": list(x), "y": list(y)}


def _range(traces: Sequence[Mapping[str, Any]], *shown: float) -> dict[str, Any]:
    """An axis that holds all bars, and these values."""
    ends = list(shown)
    for trace in traces:
        bars = trace.get("error_y", {"array": [0.0] * len(trace["y"]), "arrayminus": [0.0] * len(trace["y"])})
        for y, above, below in zip(trace["y"], bars["array"], bars["arrayminus"], strict=True):
            ends += [] if y is None else [y - below, y + above]
    margin = 0.05 * (max(ends) - min(ends))
    return {"range": [min(ends) - margin, max(ends) + margin]}


def _trace(key: Key, hover: str) -> dict[str, Any]:
    line = {"color": key.colour, "dash": key.dash, "width": key.width}
    return {"type": "scatter", "name": escape(key.name), "line": line, "marker": {"size": 6}, "hovertemplate": hover}

"""The figures of a comparison of models: win rates, length, and score against KL."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from planish.base.text import count_text
from planish.reports.figures.base import (
    BLUE,
    CLOSEST,
    ORANGE,
    Figure,
    Key,
    Panel,
    Trace,
    axis,
    interval_bars,
    level,
    numbered_key,
    points,
    reach,
    trace,
    upright,
)
from planish.reports.read.comparison import others_of
from planish.statistics.comparison_result import ComparisonResult, System
from planish.statistics.estimate import Estimate, estimate_text, mean_text, span_text

HALF = 0.5  # as good as the baseline
FAR = 10  # times the KL of the next
RAW, EQUAL = Key("win rate", BLUE), Key("at equal length", ORANGE)

Placed = Sequence[tuple[float, str, Estimate]]  # where on the other axis, the system's name, the estimate


def comparison_figures(comparison: ComparisonResult) -> dict[str, Figure]:
    """By name."""
    figures = {"wins": wins_figure(comparison), "length": length_figure(comparison)}
    if any(system.kl for system in comparison.systems) and all(system.score for system in comparison.systems):
        figures["frontier"] = frontier_figure(comparison)
    return figures


def wins_figure(comparison: ComparisonResult) -> Figure:
    """A line for each system, the first on top, with both rates."""
    others = others_of(comparison)
    heights = {system.name: len(others) - i for i, system in enumerate(others)}
    traces = [
        _across(RAW, [(heights[name] + 0.12, name, rate) for name, rate in _rates(others)]),
        _across(EQUAL, [(heights[name] - 0.12, name, rate) for name, rate in _equal_rates(others)]),
    ]
    best, rate = max(_rates(others), key=lambda pair: pair[1].value)
    systems = {
        "tickvals": list(heights.values()),
        "ticktext": [escape(name) for name in heights],
        "range": [0.5, len(others) + 0.5],
        "showgrid": False,
    }
    rates = axis("win rate", free=True, range=reach(traces, "x", HALF), showgrid=True) | {"tickformat": ".0%"}
    return Figure(
        f"Win rate against {comparison.baseline}",
        f"{best} has the highest, {estimate_text(rate)}.",
        f"P(win) + P(tie)/2 over {count_text(comparison.prompts, 'prompt')}. Bars: {comparison.level:.0%} intervals, clustered "
        "by prompt. Thin line: as good as the baseline.",
        [Panel("Systems", traces, systems, "by win rate", rates, [upright(HALF)], CLOSEST)],
        [RAW, EQUAL],
        half=True,
    )


def length_figure(comparison: ComparisonResult) -> Figure:
    """Win rate over the mean length of an answer."""
    others, baseline = others_of(comparison), comparison.baseline
    lengths = {system.name: system.length.value for system in comparison.systems}
    traces = [
        _upward(RAW, [(lengths[name], name, rate) for name, rate in _rates(others)], ".1%"),
        _upward(EQUAL, [(lengths[name], name, rate) for name, rate in _equal_rates(others)], ".1%"),
    ]
    longest = max(lengths, key=lengths.__getitem__)
    beside = "" if longest == baseline else f"; {baseline} has {lengths[baseline]:.1f}"
    tokens = axis("tokens per answer", free=True, range=reach([{"x": list(lengths.values())}], "x"))
    rates = {"tickformat": ".0%", "range": reach(traces, "y", HALF)}
    lines = [level(HALF), upright(lengths[baseline])]
    return Figure(
        "Length and win rate",
        f"{longest} writes the longest answers, {lengths[longest]:.1f} tokens on average{beside}.",
        f"Mean length of an answer in tokens of {baseline}'s tokenizer, and the win rate with its {comparison.level:.0%} "
        "interval. Where a system's two points differ, part of its win rate is due to length. Thin lines: the baseline.",
        [Panel(f"Win rate against {baseline}", traces, rates, "by tokens per answer", tokens, lines, CLOSEST)],
        [RAW, EQUAL],
        half=True,
    )


def frontier_figure(comparison: ComparisonResult) -> Figure:
    """Score over KL, a point for each system whose KL is known. One that is FAR beyond all others, such as a base model, would
    press them into a corner: it is named below the figure instead."""
    measured = [(s.name, s.kl, s.score) for s in comparison.systems if s.kl and s.score]
    left_out = ""
    *_, second, first = [0.0, 0.0, *sorted(kl.value for _, kl, _ in measured)]
    if first > FAR * second > 0:
        name, kl, score = next(point for point in measured if point[1].value == first)
        measured = [point for point in measured if point[1].value != first]
        left_out = f" Not shown: {name}, {mean_text(score)} at a KL of {mean_text(kl, '.2f')} nats."
    keys = [numbered_key(name, i) for i, (name, _, _) in enumerate(measured)]
    traces = [
        {**_upward(key, [(kl.value, name, score)], "+.2f"), "error_x": interval_bars(key, [kl])}
        for key, (name, kl, score) in zip(keys, measured, strict=True)
    ]
    best, kl, score = max(measured, key=lambda point: point[2].value)
    what = "gold utility" if comparison.judge["name"] == "gold" else "score"
    kls = axis("KL to the reference, nats", free=True, rangemode="tozero")
    return Figure(
        f"{what[0].upper()}{what[1:]} and KL",
        f"{best} has the highest mean {what}, {mean_text(score)}, at a KL of {mean_text(kl, '.2f')} nats.",
        f"Mean {what} of an answer over its KL to {comparison.reference}, both over the model's own samples at temperature 1. "
        f"Bars are {comparison.level:.0%} intervals. Higher is better; further left is closer to the reference.{left_out}",
        [Panel(f"Mean {what}", traces, {"range": reach(traces, "y")}, "by KL", kls, hovermode=CLOSEST)],
        keys,
    )


def _rates(systems: Sequence[System]) -> list[tuple[str, Estimate]]:
    return [(system.name, system.against.rate) for system in systems if system.against]


def _equal_rates(systems: Sequence[System]) -> list[tuple[str, Estimate]]:
    return [(system.name, system.length_controlled) for system in systems if system.length_controlled]


def _across(key: Key, placed: Placed) -> Trace:
    """Estimates from left to right, each at its own height."""
    estimates = [estimate for _, _, estimate in placed]
    return {
        **_markers(key, "%{x:.1%} (%{text})"),
        "x": [estimate.value for estimate in estimates],
        "y": [height for height, _, _ in placed],
        "text": [span_text(estimate) for estimate in estimates],
        "error_x": interval_bars(key, estimates),
    }


def _upward(key: Key, placed: Placed, digits: str) -> Trace:
    """Estimates from bottom to top, named by system."""
    drawn = points(key, [x for x, _, _ in placed], [estimate for _, _, estimate in placed], "")
    named = {"text": [escape(name) for _, name, _ in placed]}
    return {**drawn, **_markers(key, f"%{{text}}: %{{y:{digits}}}"), **named}


def _markers(key: Key, hover: str) -> Trace:
    return {**trace(key, hover), "mode": "markers", "marker": {"size": 9, "color": key.color}, "cliponaxis": False}

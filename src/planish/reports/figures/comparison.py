"""The figures of a comparison of models: win rates, length, and score against KL."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape

from planish.base.text import count_text, listed, signed
from planish.reports.claims import leaders, sided
from planish.reports.figures.base import (
    BLUE,
    CLOSEST,
    ORANGE,
    PERCENT,
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
from planish.reports.figures.labels import Point, Range, label_places
from planish.reports.read.comparison import others_of
from planish.statistics.comparison_result import ComparisonResult, System
from planish.statistics.estimate import Estimate, mean_text, span_text

HALF = 0.5  # as good as the baseline
FAR = 10  # times the KL of the next, or the range of the others' lengths: one so far away is left out of a figure
LETTERS = 18  # of a name in a line beside an axis
RAW, EQUAL = Key("win rate", BLUE, points=True), Key("at equal length", ORANGE, points=True)

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
    systems = {
        "tickvals": list(heights.values()),
        "ticktext": [_wrapped(name) for name in heights],
        "range": [0.5, len(others) + 0.5],
        "showgrid": False,
    }
    rates = axis("win rate", free=True, range=reach(traces, "x", HALF), showgrid=True) | PERCENT
    return Figure(
        f"Win rate against {comparison.baseline}",
        wins_text(dict(_rates(others)), comparison.baseline),
        f"P(win) + P(tie)/2 over {count_text(comparison.prompts, 'prompt')}. Bars: {comparison.level:.0%} intervals, clustered "
        "by prompt. Thin line: as good as the baseline.",
        [Panel("Systems", traces, systems, "by win rate", rates, [upright(HALF)], CLOSEST)],
        [RAW, EQUAL],
        half=True,
    )


def length_figure(comparison: ComparisonResult) -> Figure:
    """Both win rates of each system over the mean length of its answers."""
    baseline, keys = comparison.baseline, _keys(comparison)
    lengths = {system.name: system.length.value for system in comparison.systems}
    away = _far_length(lengths, baseline)
    shown = [system for system in others_of(comparison) if system.name != away]
    rates = {system.name: [rate for rate in (_rate(system), system.length_controlled) if rate] for system in shown}
    xs = reach([{"x": [lengths[name] for name in (*rates, baseline)]}], "x")
    traces = [_both_rates(keys[name], lengths[name], some) for name, some in rates.items()]
    ys = reach(traces, "y", HALF)
    hollow = [(lengths[name], rate.value) for name, some in rates.items() for rate in some[1:]]
    _name(traces, [(lengths[name], some[0].value) for name, some in rates.items()], xs, ys, hollow)
    left_out = "" if away is None else f" Not shown: {away}, {lengths[away]:.1f} tokens; its rates are in the table."
    lines = [level(HALF), upright(lengths[baseline])]
    panel = Panel(
        f"Win rate against {baseline}",
        traces,
        {**PERCENT, "range": ys},
        "by tokens per answer",
        axis("tokens per answer", free=True, range=xs),
        lines,
        CLOSEST,
    )
    return Figure(
        "Length and win rate",
        lengths_text(lengths, baseline),
        f"Mean length of an answer in tokens of {baseline}'s tokenizer, and the win rate with its {comparison.level:.0%} "
        "interval: filled as it is, hollow at equal length. Where the two differ, part of the win rate is due to length. Thin "
        f"lines: the baseline.{left_out}",
        [panel],
        [keys[name] for name in rates],
        half=True,
    )


def frontier_figure(comparison: ComparisonResult) -> Figure:
    """Score over KL, a point for each system whose KL is known. One that is FAR beyond all others, such as a base model, would
    press them into a corner: it is named below the figure instead."""
    measured = [(s.name, s.kl, s.score) for s in comparison.systems if s.kl and s.score]
    known, keys = {name: (kl, score) for name, kl, score in measured}, _keys(comparison)
    left_out = ""
    *_, second, first = [0.0, 0.0, *sorted(kl.value for _, kl, _ in measured)]
    if first > FAR * second > 0:
        name, kl, score = next(point for point in measured if point[1].value == first)
        measured = [point for point in measured if point[1].value != first]
        left_out = f" Not shown: {name}, {mean_text(score)} at a KL of {mean_text(kl, '.2f')} nats."
    traces = [
        {**points(keys[name], [kl.value], [score], ""), **_markers(keys[name], f"{escape(name)}: %{{y:+.2f}}")}
        | {"error_x": interval_bars(keys[name], [kl])}
        for name, kl, score in measured
    ]
    xs, ys = [min(0.0, reach(traces, "x")[0]), reach(traces, "x")[1]], reach(traces, "y")
    _name(traces, [(kl.value, score.value) for _, kl, score in measured], xs, ys)
    what = "gold utility" if comparison.judge["name"] == "gold" else "score"
    kls = axis("KL to the reference, nats", free=True, range=xs)
    return Figure(
        f"{what[0].upper()}{what[1:]} and KL",
        highest_text(known, what),
        f"Mean {what} of an answer over its KL to {comparison.reference}, both over the model's own samples at temperature 1. "
        f"Bars are {comparison.level:.0%} intervals. Higher is better; further left is closer to the reference.{left_out}",
        [Panel(f"Mean {what}", traces, {"range": ys}, "by KL", kls, hovermode=CLOSEST)],
        [keys[name] for name, _, _ in measured],
    )


def wins_text(rates: Mapping[str, Estimate], baseline: str) -> str:
    """The systems by the side of 1/2 that their interval is on."""
    names = sided(rates, HALF)
    clauses = [
        f"{listed(names[way])} {'wins' if len(names[way]) == 1 else 'win'} {word} than {baseline}"
        for way, word in ((1, "more often"), (-1, "less often"))
        if names[way]
    ]
    if names[0]:
        clauses.append(f"there is no significant difference between {listed(names[0])} and {baseline}")
    if names[None]:
        clauses.append(f"there is no interval, so no conclusion, for {listed(names[None])}")
    says = "; ".join(clauses)
    return f"{'There' if says.startswith('there') else says[:5]}{says[5:]}."


def lengths_text(lengths: Mapping[str, float], baseline: str) -> str:
    """The systems with the longest answers, as shown."""
    longest = leaders(lengths, "{:.1f}".format)
    tokens = f"{lengths[longest[0]]:.1f} tokens"
    if len(longest) == len(lengths):
        return f"All answers have {tokens} on average."
    beside = "" if baseline in longest else f"; those of {baseline} have {lengths[baseline]:.1f}"
    return f"The longest answers are those of {listed(longest)}, {tokens} on average{beside}."


def highest_text(known: Mapping[str, tuple[Estimate, Estimate]], what: str) -> str:
    """The system with the highest mean, and those whose intervals overlap with its own."""
    best = leaders({name: score.value for name, (_, score) in known.items()}, signed)
    kl, score = known[best[0]]
    if len(best) > 1:
        return f"{listed(best)} share the highest mean {what}, {signed(score.value)}."
    near = [name for name, (_, other) in known.items() if name != best[0] and _overlap(score, other)]
    also = f" Its interval overlaps with {'that' if len(near) == 1 else 'those'} of {listed(near)}." if near else ""
    return f"{best[0]} has the highest mean {what}, {mean_text(score)}, at a KL of {mean_text(kl, '.2f')} nats.{also}"


def _overlap(first: Estimate, second: Estimate) -> bool:
    """True also where an interval is not known."""
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return True
    return first.low <= second.high and second.low <= first.high


def _rates(systems: Sequence[System]) -> list[tuple[str, Estimate]]:
    return [(system.name, system.against.rate) for system in systems if system.against]


def _wrapped(name: str) -> str:
    """A name in lines, so that a long one leaves room for the figure."""
    return "<br>".join(map(escape, textwrap.wrap(name, LETTERS, max_lines=3, placeholder="…")))


def _rate(system: System) -> Estimate | None:
    return system.against.rate if system.against else None


def _equal_rates(systems: Sequence[System]) -> list[tuple[str, Estimate]]:
    return [(system.name, system.length_controlled) for system in systems if system.length_controlled]


def _keys(comparison: ComparisonResult) -> dict[str, Key]:
    """A system has one color in all figures."""
    return {
        system.name: replace(numbered_key(system.name, i), points=True) for i, system in enumerate(comparison.systems)
    }


def _far_length(lengths: Mapping[str, float], baseline: str) -> str | None:
    """A system whose answers are so long or short that the others, three or more, would have less than 1/FAR of the axis."""
    for name in lengths:
        rest = [length for other, length in lengths.items() if other != name]
        if name != baseline and len(rest) > 2 and _width(list(lengths.values())) > FAR * _width(rest) > 0:
            return name
    return None


def _width(values: Sequence[float]) -> float:
    return max(values) - min(values)


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


def _both_rates(key: Key, length: float, rates: Sequence[Estimate]) -> Trace:
    """The win rate as a filled point, that at equal length as a hollow one."""
    marker = {"size": 9, "color": key.color, "symbol": ["circle", "circle-open"][: len(rates)]}
    return {
        **points(key, [length] * len(rates), rates, f"{escape(key.name)}: %{{y:.1%}}"),
        "mode": "markers",
        "marker": marker,
        "cliponaxis": False,
    }


def _name(traces: Sequence[Trace], at: Sequence[Point], x: Range, y: Range, unnamed: Sequence[Point] = ()) -> None:
    """Writes each system's name beside the first point of its trace, where there is room."""
    places = label_places([trace["name"] for trace in traces], at, x, y, unnamed)
    for drawn, place in zip(traces, places, strict=True):
        drawn["text"] = [drawn["name"] if place else "", *[""] * (len(drawn["y"]) - 1)]
        drawn |= {
            "mode": "markers+text",
            "textposition": place or "middle right",
            "textfont": {"color": drawn["line"]["color"]},
        }


def _markers(key: Key, hover: str) -> Trace:
    return {**trace(key, hover), "mode": "markers", "marker": {"size": 9, "color": key.color}, "cliponaxis": False}

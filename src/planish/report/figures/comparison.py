"""The figures of a comparison of models, as plain data for the page's script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from planish.base.text import count_text, percent
from planish.report.figures.base import Figure, Key, Panel, level, source_key, thin_line
from planish.statistics.comparison_result import ComparisonResult, System
from planish.statistics.estimate import Estimate, mean_text, span_text

HALF = 0.5  # as good as the baseline
FAR = 10  # times the KL of the next
CHANGEABLE_ON_RESUME: dict[str, Any] = {"dtick": None, "tickmode": "auto", "nticks": 7}  # not a tick for each step


def others_of(found: ComparisonResult) -> list[System]:
    return [each for each in found.systems if each.against is not None]


def figures_of(found: ComparisonResult) -> dict[str, Figure]:
    others = others_of(found)
    figures = {"wins": wins_figure(found, others), "length": length_figure(found, others)}
    if any(each.kl for each in found.systems) and all(each.score for each in found.systems):
        figures["frontier"] = frontier_figure(found)
    return figures


RAW, EQUAL = Key("as they are", "var(--line-0)"), Key("at equal length", "var(--line-1)")


def wins_figure(found: ComparisonResult, others: Sequence[System]) -> Figure:
    """A line for each system, the first on top, with both rates a little apart."""
    places = [len(others) - i for i in range(len(others))]
    traces = [
        _across(
            RAW, [(place + 0.12, each.against.rate) for place, each in zip(places, others, strict=True) if each.against]
        ),
        _across(
            EQUAL,
            [
                (place - 0.12, each.length_controlled)
                for place, each in zip(places, others, strict=True)
                if each.length_controlled
            ],
        ),
    ]
    best = max(others, key=lambda each: each.against.rate.value if each.against else 0.0)
    assert best.against is not None
    return Figure(
        f"Win rate over {found.baseline}",
        f"{best.name} wins most often, {percent(best.against.rate.value)} ({span_text(best.against.rate)}).",
        f"P(win) + P(tie)/2 over {count_text(found.prompts, 'prompt')}. Bars are {found.level:.0%} intervals, clustered by "
        "prompt. Thin line: as good as the baseline.",
        [
            Panel(
                "Systems",
                traces,
                {
                    "tickvals": places,
                    "ticktext": [escape(each.name) for each in others],
                    "range": [0.5, len(others) + 0.5],
                    "showgrid": False,
                },
                "by win rate",
                {
                    **CHANGEABLE_ON_RESUME,
                    "title": {"text": "win rate", "standoff": 6},
                    "tickformat": ".0%",
                    "range": _reach(traces, "x"),
                    "showgrid": True,
                },
                [{**thin_line(x0=HALF, x1=HALF, y0=0, y1=1), "yref": "paper"}],
                "closest",
            )
        ],
        [RAW, EQUAL],
        half=True,
    )


def length_figure(found: ComparisonResult, others: Sequence[System]) -> Figure:
    """Win rate over how long the answers are."""
    base = next(each for each in found.systems if each.name == found.baseline)
    raw = [(each, each.against.rate) for each in others if each.against]
    equal = [(each, each.length_controlled) for each in others if each.length_controlled]
    traces = [
        _upward(
            key, [(each.length.value, rate) for each, rate in rates], [escape(each.name) for each, _ in rates], ".1%"
        )
        for key, rates in ((RAW, raw), (EQUAL, equal))
    ]
    longest = max(found.systems, key=lambda each: each.length.value)
    tokens = base.length.value
    return Figure(
        "Length and win rate",
        f"{longest.name} writes most, {longest.length.value:.1f} tokens an answer"
        f"{'' if longest is base else f'; {found.baseline} writes {tokens:.1f}'}.",
        f"Mean length of an answer in tokens of the tokenizer of {found.baseline}, and the win rate with its {found.level:.0%} "
        "interval. Where the two points of a system lie apart, part of its rate is owed to length. Thin lines: the baseline.",
        [
            Panel(
                f"Win rate over {found.baseline}",
                traces,
                {"tickformat": ".0%", "range": _reach(traces, "y")},
                "by tokens of an answer",
                {
                    **CHANGEABLE_ON_RESUME,
                    "title": {"text": "tokens", "standoff": 6},
                    "tickformat": "",
                    "range": _around([each.length.value for each in others], tokens),
                },
                [level(HALF), {**thin_line(x0=tokens, x1=tokens, y0=0, y1=1), "yref": "paper"}],
                "closest",
            )
        ],
        [RAW, EQUAL],
        half=True,
    )


def frontier_figure(found: ComparisonResult) -> Figure:
    """Score over KL, a point for each system whose KL is known. One that lies FAR behind all others, as a base model does, is
    told beneath: it would press them into a corner."""
    measured = [(each, each.kl, each.score) for each in found.systems if each.kl and each.score]
    left_out = ""
    *_, second, first = [0.0, 0.0, *sorted(kl.value for _, kl, _ in measured)]
    if first > FAR * second > 0:
        name, kl, score = next((each.name, kl, score) for each, kl, score in measured if kl.value == first)
        measured = [point for point in measured if point[1].value != first]
        left_out = f" Not shown: {name}, at {mean_text(kl, '.2f')} nats and {mean_text(score)}."
    keys = [source_key(each.name, i) for i, (each, _, _) in enumerate(measured)]
    traces: list[dict[str, Any]] = []
    for key, (each, kl, score) in zip(keys, measured, strict=True):
        point = _upward(key, [(kl.value, score)], [escape(each.name)], "+.2f")
        traces.append({**point, "error_x": _bars(key, [kl])})
    best, kl, score = max(measured, key=lambda each: each[2].value)
    what = "gold utility" if found.judge["name"] == "gold" else "score"
    return Figure(
        "What it costs: score and KL",
        f"The highest mean {what}, {mean_text(score)}, is that of {best.name}, at {mean_text(kl, '.2f')} nats.",
        f"Mean {what} of an answer over its KL to {found.reference}, both over the model's own answers at temperature 1; bars "
        f"are {found.level:.0%} intervals. Higher is better, further left is nearer to the reference.{left_out}",
        [
            Panel(
                f"Mean {what}",
                traces,
                {"range": _reach(traces, "y")},
                "by KL",
                {
                    **CHANGEABLE_ON_RESUME,
                    "title": {"text": "KL to the reference, nats", "standoff": 6},
                    "tickformat": "",
                    "rangemode": "tozero",
                },
                [],
                "closest",
            )
        ],
        keys,
    )


def _across(key: Key, at: Sequence[tuple[float, Estimate]]) -> dict[str, Any]:
    """Values from left to right, with their intervals; each at a height of its own."""
    return {
        **_marks(key),
        "x": [each.value for _, each in at],
        "y": [height for height, _ in at],
        "text": [span_text(each) for _, each in at],
        "error_x": _bars(key, [each for _, each in at]),
        "hovertemplate": "%{x:.1%} (%{text})",
    }


def _upward(key: Key, at: Sequence[tuple[float, Estimate]], names: Sequence[str], digits: str) -> dict[str, Any]:
    return {
        **_marks(key),
        "x": [x for x, _ in at],
        "y": [each.value for _, each in at],
        "text": list(names),
        "error_y": _bars(key, [each for _, each in at]),
        "hovertemplate": f"%{{text}}: %{{y:{digits}}}",
    }


def _marks(key: Key) -> dict[str, Any]:
    return {"type": "scatter", "mode": "markers", "name": escape(key.name), "marker": {"size": 9, "color": key.colour}}


def _bars(key: Key, values: Sequence[Estimate]) -> dict[str, Any]:
    above = [0.0 if each.high is None else each.high - each.value for each in values]
    below = [0.0 if each.low is None else each.value - each.low for each in values]
    how = {"type": "data", "symmetric": False, "thickness": 1.5, "width": 4, "color": key.colour}
    return {**how, "array": above, "arrayminus": below}


def _reach(traces: Sequence[Mapping[str, Any]], axis: str) -> list[float]:
    """An axis that holds all bars; of rates also the middle."""
    ends = [HALF] if all(0 <= value <= 1 for trace in traces for value in trace[axis]) else []
    for trace in traces:
        bars = trace[f"error_{axis}"]
        for value, above, below in zip(trace[axis], bars["array"], bars["arrayminus"], strict=True):
            ends += [value - below, value + above]
    return _around(ends)


def _around(values: Sequence[float], *others: float) -> list[float]:
    low, high = min(*values, *others, math.inf), max(*values, *others, -math.inf)
    margin = 0.08 * (high - low) or 1.0
    return [low - margin, high + margin]

"""The figures of the report: estimates in rows, and what more judgements bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from planish.base.text import number_text, percent
from planish.feedback.report.annotators import RaterFound
from planish.feedback.report.judges import JudgeFound
from planish.feedback.report.leans import MEANING, LeanPool
from planish.feedback.report.noise import NoiseCost
from planish.feedback.report.result import FeedbackFound
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
    points,
    reach,
    thin_line,
    trace,
    upright,
)
from planish.statistics.estimate import Estimate, span_text

GREEN = "var(--line-2)"
MOST_ROWS = 14  # of a panel, as many as its height has room for
LETTERS = 22  # of a row's name
NOTE = "Bars: 95% intervals."

Rows = Sequence[tuple[str, Estimate | None]]


def figures(found: FeedbackFound) -> dict[str, Figure]:
    """By the id of its place; those alone for which there are numbers."""
    some = {
        "agreement": _agreement(found),
        "raters": _raters(found.raters),
        "noise": _noise(found.noise) if found.noise else None,
        "groups": _groups(found),
        "judges": _judges(found.judges),
    }
    people = next((pool for pool in found.leans if pool.leans), None)
    return {
        **{name: figure for name, figure in some.items() if figure is not None},
        **({"leans": _leans(people)} if people else {}),
    }


def _agreement(found: FeedbackFound) -> Figure | None:
    parts = found.agreement[:MOST_ROWS]
    if not parts:
        return None
    names = ["all" if part.by == "all" else f"{part.by}: {part.value}" for part in parts]
    series = {
        Key("raw agreement", ORANGE, points=True): [part.found.raw for part in parts],
        Key("Krippendorff’s α", BLUE, points=True): [part.found.alpha for part in parts],
    }
    return Figure(
        "Agreement",
        "How often two ratings of one pair are equal, and α: 1 is perfect, 0 what chance would give.",
        f"Prefers the first, the second, or a tie. {NOTE} Where chance alone agrees often, α is far below the raw share.",
        [_rows_panel("Agreement", names, series, ".3f", 1.0)],
        [*series],
    )


def _raters(raters: Sequence[RaterFound]) -> Figure | None:
    shown = sorted(
        (one for one in raters if one.with_others or one.gold or one.same),
        key=lambda one: one.with_others.value if one.with_others else 0.0,
        reverse=True,
    )[:MOST_ROWS]
    measures = {
        Key("agrees with the others", BLUE, points=True): [one.with_others for one in shown],
        Key("known answers right", ORANGE, points=True): [one.gold for one in shown],
        Key("repeats the same", GREEN, points=True): [
            one.same if one.same and one.same.half else None for one in shown
        ],
    }
    series = {key: values for key, values in measures.items() if any(values)}
    if len(shown) < 2:
        return None
    odd = [one.name for one in raters if one.stands_out]
    return Figure(
        "Each annotator",
        f"{len(odd)} of {len(raters)} stand out; the table says by what." if odd else "Nobody stands out.",
        f"{NOTE} With few ratings an annotator’s bar is wide, and says so.",
        [_rows_panel("Share", [one.name for one in shown], series, ".1%", 0.5, 1.0)],
        [*series],
    )


def _leans(pool: LeanPool) -> Figure:
    """A panel for each feature; where there are several annotators, each one below the pool."""
    panels: list[Panel] = []
    for lean in pool.leans[:6]:
        own = sorted(lean.own.items(), key=lambda item: item[1].value) if len(lean.own) > 1 else []
        step = max(1, -(-len(own) // (MOST_ROWS - 1)))
        names = [pool.who, *(name for name, _ in own[::step])]
        series = {
            Key("all together", ORANGE, points=True): [lean.pool, *([None] * (len(names) - 1))],
            Key("each annotator", BLUE, points=True): [None, *(value for _, value in own[::step])],
        }
        panels.append(_rows_panel(lean.feature, names, series, "+.2f", 0.0, 0.0))
    return Figure(
        f"What {pool.who} lean to" if pool.who == "people" else f"What {pool.who} leans to",
        "Log-odds of a choice: 0 is no lean, 0.7 doubles the odds, 1.1 triples them.",
        f"{NOTE} "
        + "; ".join(f"{lean.feature}: {MEANING[lean.feature]}" for lean in pool.leans[:6] if lean.feature in MEANING)
        + ".",
        panels,
        [Key("all together", ORANGE, points=True), Key("each annotator", BLUE, points=True)],
    )


def _noise(noise: NoiseCost) -> Figure | None:
    steps = [(float(one.judgements), one.agrees) for one in noise.found.majorities if one.agrees is not None]
    if not steps or noise.found.ceiling is None:
        return None
    key, top = Key("majority of so many", BLUE), Key("best possible", ORANGE, "dash")
    xs, ys = [x for x, _ in steps], [y for _, y in steps]
    best = {
        **trace(top, f"{percent(noise.found.ceiling.value)}"),
        "mode": "lines",
        "x": [xs[0], xs[-1]],
        "y": [noise.found.ceiling.value] * 2,
    }
    traces = [points(key, xs, ys, "%{y:.1%} (%{text})"), best]
    panel = Panel(
        "Agreement of one more person",
        traces,
        {**PERCENT, "range": reach(traces, "y")},
        "by judgements",
        axis("judgements of a pair", dtick=2),
    )
    return Figure(
        "What more judgements of a pair bring",
        f"One more person agrees with one judgement in {percent(ys[0].value)}, and with a majority of nine in "
        f"{percent(ys[-1].value)}.",
        f"If pairs differ in difficulty as a symmetric Beta distribution with this agreement. {NOTE}",
[panel],
        [key, top],
        half=True,
    )  # fmt: skip


def _groups(found: FeedbackFound) -> Figure | None:
    models = [model for model in found.scores if model.groups]
    if not models:
        return None
    names = list(dict.fromkeys(group.group for model in models for group in model.groups))
    colors = (BLUE, ORANGE, GREEN, "var(--line-3)", "var(--line-4)", "var(--line-5)")
    series = {
        Key(model.name, colors[place % len(colors)], points=True): [
            next((group.accuracy for group in model.groups if group.group == name), None) for name in names
        ]
        for place, model in enumerate(models)
    }
    return Figure(
        "Reward models by group",
        "How often the scores are in the order that people of each group chose.",
        NOTE,
        [_rows_panel("Accuracy", names, series, ".1%", 0.5)],
        [*series],
        half=True,
    )


def _judges(judges: Sequence[JudgeFound]) -> Figure | None:
    met = [judge for judge in judges if judge.with_person is not None]
    if not met:
        return None
    series = {
        Key("judge with one person", BLUE, points=True): [judge.with_person for judge in met],
        Key("two people", ORANGE, points=True): [judge.person_with_person for judge in met],
    }
    return Figure(
        "Judges and people",
        "How often a judge and a person say the same, beside two people on the same pairs.",
        NOTE,
        [_rows_panel("Agreement", [judge.name for judge in met], series, ".1%", 0.5)],
        [*series],
        half=True,
    )


def _rows_panel(
    title: str, names: Sequence[str], series: Mapping[Key, Sequence[Estimate | None]], digits: str, *others: float
) -> Panel:
    """A row for each name from top to bottom, with a point and a bar for each of the series."""
    height = len(names)
    traces: list[Trace] = []
    for place, (key, values) in enumerate(series.items()):
        shift = (place - (len(series) - 1) / 2) * 0.22
        known = [(names[at], height - 1 - at - shift, value) for at, value in enumerate(values) if value is not None]
        traces.append(_row_points(key, known, digits))
    xs = reach([drawn for drawn in traces if drawn["x"]], "x", *others)
    ticks: dict[str, Any] = {
        "tickvals": [height - 1 - at for at in range(height)],
        "ticktext": [escape(_short(name)) for name in names],
        "range": [-0.6, height - 0.4],
        "showgrid": False,
    }
    is_share = digits.endswith("%")
    horizontal = axis("", free=True, range=xs, showgrid=True) | (PERCENT if is_share else {})
    shapes = [upright(0.0)] if digits.startswith("+") else []
    shapes += [thin_line(x0=others[0], x1=others[0], y0=-0.6, y1=height - 0.4)] if is_share and others[0] == 0.5 else []
    return Panel(title, traces, ticks, "", horizontal, shapes, CLOSEST)


def _row_points(key: Key, known: Sequence[tuple[str, float, Estimate]], digits: str) -> Trace:
    texts = [
        f"{escape(name)}: {number_text(value.value, digits)} ({span_text(value, digits)})" for name, _, value in known
    ]
    return {
        **trace(key, "%{text}"),
        "mode": "markers",
        "marker": {"size": 7, "color": key.color},
        "x": [value.value for _, _, value in known],
        "y": [y for _, y, _ in known],
        "text": texts,
        "error_x": interval_bars(key, [value for _, _, value in known]),
    }


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"

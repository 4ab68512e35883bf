"""Figures of refusals: both rates against each other, or over the steps of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from planish.base.text import listed
from planish.reports.figures.base import (
    BLUE,
    CLOSEST,
    FROM_ZERO,
    ORANGE,
    PERCENT,
    ZERO_LINE,
    Figure,
    Key,
    Panel,
    Trace,
    axis,
    interval_bars,
    numbered_key,
    points,
    reach,
    trace,
)
from planish.statistics.estimate import Estimate, span_text
from planish.statistics.refusal_result import RefusalRates, RefusalResult, RefusalSystem

Measured = tuple[Key, Callable[[RefusalRates], Estimate | None]]
RATES: tuple[Measured, ...] = (
    (Key("false refusals", ORANGE), lambda rates: rates.false_refusals),
    (Key("violations", BLUE), lambda rates: rates.violations),
)
DETECTION: tuple[Measured, ...] = (
    (Key("d′", "var(--line-2)"), lambda rates: rates.d_prime),
    (Key("criterion", "var(--line-3)"), lambda rates: rates.criterion),
)


def refusal_figures(result: RefusalResult) -> dict[str, Figure]:
    """By name: a curve where the systems are steps, else a plane where there are several."""
    if len(result.systems) < 2:
        return {}
    if all(system.step is not None for system in result.systems):
        return {"curve": curve_figure(result.systems)}
    both = [system for system in result.systems if system.all.false_refusals and system.all.violations]
    return {"plane": plane_figure(both)} if len(both) > 1 else {}


def curve_figure(systems: Sequence[RefusalSystem]) -> Figure:
    rates, detection = (_over_steps(systems, measured) for measured in (RATES, DETECTION))
    panels = [Panel("Rates", rates, {**PERCENT, **FROM_ZERO})]
    panels += [Panel("Signal detection", detection, ZERO_LINE)] if detection else []
    return Figure(
        "Violations and false refusals",
        "Left both failures, right how well safe and unsafe are told apart (d′) and where the threshold lies (criterion)."
        if detection
        else "Both failures over training.",
        "The same prompts at each measurement, answered greedily unless the settings say otherwise. Bars: 95% intervals.",
        panels,
        [key for key, _ in (*RATES, *(DETECTION if detection else ()))],
    )


def _over_steps(systems: Sequence[RefusalSystem], measured: Sequence[Measured]) -> list[Trace]:
    traces: list[Trace] = []
    for key, of in measured:
        found = [(float(system.step or 0), estimate) for system in systems if (estimate := of(system.all)) is not None]
        digits = ".1%" if measured is RATES else "+.2f"
        hover = "%{y:.1%} (%{text})" if measured is RATES else "%{y:+.2f} (%{text})"
        if found:
            traces.append(points(key, [step for step, _ in found], [estimate for _, estimate in found], hover, digits))
    return traces


def plane_figure(systems: Sequence[RefusalSystem]) -> Figure:
    """A point for each system; the best are at the lower left."""
    keys = [numbered_key(system.name, number) for number, system in enumerate(systems)]
    traces = [_point(key, system.all) for key, system in zip(keys, systems, strict=True)]
    xs, ys = ([max(low, -0.04), min(high, 1.04)] for low, high in (reach(traces, way, 0.0) for way in "xy"))
    front = [system.name for system in systems if not any(_better(other, system) for other in systems)]
    return Figure(
        "The two failures",
        f"Nearer to the lower left is better. No other is at least as good in both as {listed(front)}.",
        "Share of safe prompts refused, and of unsafe prompts complied with. Bars: 95% intervals, Wilson’s.",
        [
            Panel(
                "Violations",
                traces,
                {**PERCENT, "range": ys},
                "by false refusals",
                axis("false refusals", free=True, range=xs) | PERCENT,
                (),
                CLOSEST,
            )
        ],
        [Key(key.name, key.color, points=True) for key in keys],
        half=True,
    )


def _point(key: Key, rates: RefusalRates) -> Trace:
    assert rates.false_refusals is not None
    assert rates.violations is not None
    text = f"false refusals {span_text(rates.false_refusals)}<br>violations {span_text(rates.violations)}"
    bars = {"error_x": interval_bars(key, [rates.false_refusals]), "error_y": interval_bars(key, [rates.violations])}
    place = {"x": [rates.false_refusals.value], "y": [rates.violations.value], "text": [text], **bars}
    return {**trace(key, "%{text}"), "mode": "markers", "marker": {"size": 9, "color": key.color}, **place}


def _better(one: RefusalSystem, other: RefusalSystem) -> bool:
    """True if it is at least as good in both, and better in one."""
    pairs = [
        (a.value, b.value)
        for a, b in (
            (one.all.false_refusals, other.all.false_refusals),
            (one.all.violations, other.all.violations),
        )
        if a and b
    ]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

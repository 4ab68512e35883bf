"""Words for differences that the numbers and intervals beside them bear out: a direction needs an interval that excludes no
change, a superlative names all that share the place as shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from planish.base.text import listed, number_text, percent
from planish.statistics.estimate import Estimate, span_text

FEW = 3  # names that a sentence lists


def side(estimate: Estimate | None, null: float = 0.0) -> int | None:
    """1 if the interval lies above `null`, -1 if below, 0 if `null` is in it; None where there is no interval."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return int(estimate.low > null) - int(estimate.high < null)


def sided(estimates: Mapping[str, Estimate | None], null: float = 0.0) -> dict[int | None, list[str]]:
    """The names by side."""
    names: dict[int | None, list[str]] = {1: [], -1: [], 0: [], None: []}
    for name, estimate in estimates.items():
        names[side(estimate, null)].append(name)
    return names


def moved_text(before: float, after: float, change: Estimate | None, digits: str) -> str:
    """ "rose from 0.50 to 1.25 (+0.75, 95% interval +0.31 to +1.19)". Without an interval there is no direction."""
    signed = f"+{digits.removeprefix('+')}"
    return _moved(number_text(before, digits), number_text(after, digits), change, "", signed)


def moved_share(before: float, after: float, change: Estimate | None) -> str:
    """The sentence about a share, whose change is in percentage points."""
    return _moved(percent(before), percent(after), change and scaled(change, 100), " points", "+.1f")


def _moved(first: str, last: str, change: Estimate | None, unit: str, digits: str) -> str:
    if first == last:
        return f"stayed at {last}"
    if change is None or (direction := side(change)) is None:
        return f"went from {first} to {last}"
    verb = {1: "rose", -1: "fell", 0: "went"}[direction]
    interval = f"{number_text(change.value, digits)}{unit}, 95% interval {span_text(change, digits)}"
    return f"{verb} from {first} to {last} ({interval}{'' if direction else ': no significant change'})"


def points_span(change: Estimate | None) -> str:
    """The interval of a change of a share, in percentage points."""
    return "–" if change is None else span_text(scaled(change, 100), "+.1f")


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """In another unit."""
    low, high = (None if end is None else factor * end for end in (estimate.low, estimate.high))
    return Estimate(factor * estimate.value, low, high, estimate.n)


def by_name(changes: Mapping[str, Estimate | None], noun: str) -> str:
    """ "rose in answers and did not change significantly in 2 sources": by the interval of each change."""
    names = sided(changes)
    clauses = [f"{verb} in {_few(names[way], noun)}" for way, verb in ((1, "rose"), (-1, "fell")) if names[way]]
    if same := names[0] + names[None]:
        which = f"any of the {len(same)} {noun}s" if len(same) == len(changes) > 1 else _few(same, noun)
        clauses.append(f"did not change significantly in {which}")
    return listed(clauses)


def _few(names: list[str], noun: str) -> str:
    return listed(names) if len(names) <= FEW else f"{len(names)} {noun}s"


def leaders(values: Mapping[str, float], text: Callable[[float], str], lowest: bool = False) -> list[str]:
    """All names whose value, as shown, is the highest, or the lowest."""
    best = text((min if lowest else max)(values.values()))
    return [name for name, value in values.items() if text(value) == best]

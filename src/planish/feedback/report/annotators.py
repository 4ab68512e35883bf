"""Each annotator: known answers, repeats, speed, agreement with the others, and who stands out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist, median, quantiles

import numpy as np

from planish.base.text import percent
from planish.feedback.report.ratings import OVERALL, Measuring, PairRating, Rater, grouped
from planish.statistics.estimate import Estimate, estimate_text, wilson
from planish.statistics.paired import holm

FEWEST = 10  # ratings from which on somebody can stand out
SIDED = 0.75  # share of choices of one side that no honest annotator has
HASTY = 1 / 3  # of the median time of the others


@dataclass(frozen=True, slots=True)
class RaterFound:
    """`ratings` are of pairs, first ones of unknown answer. `gold` is the share of known answers that are right, `same` of
    repeats that are the same again, `with_others` of the ratings of others on the same pairs that are equal, `first_shown` of
    the choices that are for the answer shown first. `stands_out` says by what."""

    name: str
    kind: str
    group: str
    ratings: int
    ties: int
    unable: int
    gold: Estimate | None
    same: Estimate | None
    seconds: float | None
    seconds_quartiles: tuple[float, float] | None
    with_others: Estimate | None
    first_shown: Estimate | None
    stands_out: list[str] = field(default_factory=list[str])


def raters_found(measuring: Measuring) -> list[RaterFound]:
    rows = grouped((row for row in measuring.ratings.rows if row.aspect == OVERALL), lambda row: row.rater)
    others = _by_pair(measuring)
    found = [_found(measuring, rater, rows.get(rater.name, []), others) for rater in measuring.ratings.named()]
    return _with_outliers(measuring, found)


def _by_pair(measuring: Measuring) -> dict[str, dict[str, int]]:
    """People's values of each pair, or everybody's where there are no people."""
    tasks = measuring.ratings.tasks("person") or measuring.ratings.tasks()
    by_pair: dict[str, dict[str, int]] = {}
    for row in tasks:
        by_pair.setdefault(row.pair, {})[row.rater] = row.value
    return by_pair


def _found(
    measuring: Measuring, rater: Rater, rows: Sequence[PairRating], by_pair: dict[str, dict[str, int]]
) -> RaterFound:
    ratings = measuring.ratings
    tasks = [row for row in rows if row.use == "task"]
    known = [row for row in rows if row.use in ("task", "gold") and ratings.pairs[row.pair].expected is not None]
    first = {row.pair: row for row in rows if row.use == "task"}
    again = [row for row in rows if row.use == "repeat" and row.pair in first]
    met = [(row, [value for name, value in by_pair.get(row.pair, {}).items() if name != rater.name]) for row in tasks]
    met = [(row, values) for row, values in met if values]
    times = ratings.seconds.get(rater.name, [])
    sided = [row.side == row.value for row in tasks if row.side and row.value]
    sided += [place for places in ratings.both_orders.get(rater.name, []) for place in places if place is not None]
    return RaterFound(
        rater.name,
        rater.kind,
        rater.group,
        len(tasks),
        sum(row.value == 0 for row in tasks),
        ratings.unable.get(rater.name, 0),
        _share(measuring, known, [row.value == ratings.pairs[row.pair].expected for row in known]),
        _share(measuring, again, [row.value == first[row.pair].value for row in again]),
        median(times) if times else None,
        (lambda q: (q[0], q[2]))(quantiles(times, n=4)) if len(times) > 1 else None,
        measuring.bootstrap.ratio(
            np.array([[sum(value == row.value for value in values), len(values)] for row, values in met], float),
            measuring.prompts_of([row for row, _ in met]),
        )
        if met
        else None,
        wilson(sum(sided), len(sided)) if sided else None,
    )


def _share(measuring: Measuring, rows: Sequence[PairRating], right: Sequence[bool]) -> Estimate | None:
    if not rows:
        return None
    return measuring.bootstrap.share(np.array(right, float), np.ones(len(rows)), measuring.prompts_of(rows))


# Who stands out


def _with_outliers(measuring: Measuring, found: Sequence[RaterFound]) -> list[RaterFound]:
    """Agreement and repeats below those of the others by more than chance (one-sided, Holm over annotators); known answers below
    what the study asks for, or those of the others; one side nearly always; a time far below the others'."""
    people = [one for one in found if one.kind == "person" and one.ratings >= FEWEST]
    reasons: dict[str, list[str]] = {one.name: [] for one in found}
    measures = {"with_others": "agrees with the others in", "same": "repeats the same in"}
    asked = measuring.ratings.pass_share
    if asked is None:
        measures["gold"] = "is right on known answers in"
    for what, words in measures.items():
        for one, mean in _below([(one, getattr(one, what)) for one in people]):
            reasons[one.name].append(f"{words} {estimate_text(getattr(one, what))}, the others in {percent(mean)}")
    pace = [one.seconds for one in people if one.seconds is not None]
    for one in found:
        if asked is not None and one.gold is not None and one.gold.high is not None and one.gold.high < asked:
            reasons[one.name].append(
                f"is right on known answers in {estimate_text(one.gold)}, asked for are {percent(asked, 0)}"
            )
        side = one.first_shown
        if side is not None and one.ratings >= FEWEST:
            for share, low, words in (
                (side.value, side.low, "first"),
                (1 - side.value, 1 - (side.high or 1), "second"),
            ):
                if low is not None and low > SIDED:
                    reasons[one.name].append(f"chooses the {words} answer in {percent(share)}")
        if one in people and one.seconds is not None and len(pace) > 2 and one.seconds < HASTY * median(pace):
            reasons[one.name].append(f"takes {one.seconds:.0f} s, the others {median(pace):.0f} s")
    return [replace(one, stands_out=reasons[one.name]) for one in found]


def _below(values: Sequence[tuple[RaterFound, Estimate | None]]) -> list[tuple[RaterFound, float]]:
    """Those who are below the mean of the others, and that mean."""
    known = [(one, value, _error(value)) for one, value in values if value is not None and _error(value)]
    if len(known) < 3:
        return []
    p, means = list[float](), list[float]()
    for one, value, error in known:
        others = [(v.value, e) for other, v, e in known if other is not one]
        mean = sum(v for v, _ in others) / len(others)
        spread = float(np.var([v for v, _ in others], ddof=1)) if len(others) > 1 else 0.0
        z = (value.value - mean) / float(np.sqrt(error**2 + spread + sum(e**2 for _, e in others) / len(others) ** 2))
        p.append(NormalDist().cdf(z))
        means.append(mean)
    return [(one, mean) for (one, _, _), mean, p_value in zip(known, means, holm(p), strict=True) if p_value < 0.05]


def _error(value: Estimate) -> float:
    return 0.0 if value.low is None or value.high is None else (value.high - value.low) / 3.92

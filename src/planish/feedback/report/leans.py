"""What annotators lean to, whatever the answers say: length, the side, assertive words, systems, and properties of yours.

A lean is an association: people may prefer long answers because they say more. What an annotator has beyond the pool, on the
same answers, is taste. Ties tell no direction and are left out. Of a ranking of several answers, pairs that share no answer are
taken, so that all choices are independent given the answers.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planish.base.errors import ConfigError, first_line
from planish.base.plugins import find_function
from planish.feedback.report.ratings import Measuring, PairRating, RatedPair, grouped
from planish.statistics.estimate import Estimate
from planish.statistics.mixed_logistic import fit_mixed

FEWEST = 20  # choices that a fit needs
MOST_SYSTEMS = 8
LENGTH, SIDE, ASSERTIVE = "length", "side", "assertiveness"
MEANING = {
    LENGTH: "log-odds for an answer twice as long, in characters",
    SIDE: "log-odds for the answer that is shown first",
    ASSERTIVE: "log-odds for sure words against hedges alone",
}
# Words that make a claim sure, and words that hedge it, after Hyland's (2005) lists of boosters and hedges.
SURE = "certainly clearly definitely obviously undoubtedly surely always never indeed truly evidently must absolutely"
HEDGES = (
    "maybe perhaps possibly probably likely might may could seems seem appears appear suggests suggest generally "
    "usually often "
    "sometimes somewhat apparently presumably roughly about think believe guess unsure unclear"
)
WORDS = dict.fromkeys(SURE.split(), 1) | dict.fromkeys(HEDGES.split(), -1)

Trait = Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Lean:
    """A feature's coefficient: of the pool, the standard deviation of annotators around it, and each one's own."""

    feature: str
    pool: Estimate
    spread: float
    own: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class LeanPool:
    """Annotators who were fitted together: `who` is people, a group, or a judge's name. `left_out` says which features are not
    in the fit, and why; without a fit there are no leans."""

    who: str
    choices: int
    ties: int
    raters: int
    leans: list[Lean]
    left_out: list[str]


def assertiveness(text: str) -> float:
    """Sure words less hedges, over one more than both: from -1 to 1, 0 without any. English alone."""
    found = [WORDS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in WORDS]
    return sum(found) / (1 + len(found))


def leans(measuring: Measuring, traits: Mapping[str, str]) -> list[LeanPool]:
    """Of all people, of each of their groups, and of each judge."""
    functions = {name: _trait(name, path) for name, path in traits.items()}
    ratings = measuring.ratings
    pools = {"people": ratings.tasks("person")}
    groups = grouped(pools["people"], lambda row: ratings.raters[row.rater].group)
    pools |= {name: rows for name, rows in groups.items() if name and len(groups) > 1}
    pools |= grouped(ratings.tasks("model"), lambda row: row.rater)
    return [_pool(measuring, who, rows, functions) for who, rows in pools.items() if rows]


def _trait(name: str, path: str) -> Trait:
    function = find_function(path, f"traits.{name}")

    def measure(text: str) -> float:
        try:
            value = float(function(text))
        except Exception as error:
            raise ConfigError(
                f"traits.{name}={path}: of {text[:40]!r}: {type(error).__name__}: {first_line(error)}"
            ) from error
        if not math.isfinite(value):
            raise ConfigError(f"traits.{name}={path}: of {text[:40]!r}: found {value}, expected a finite number")
        return value

    return measure


def _pool(measuring: Measuring, who: str, rows: Sequence[PairRating], traits: Mapping[str, Trait]) -> LeanPool:
    ties = sum(row.value == 0 for row in rows)
    chosen = independent(measuring, [row for row in rows if row.value])
    names = sorted({row.rater for row in chosen})
    pairs = [measuring.ratings.pairs[row.pair] for row in chosen]
    columns, left_out = _columns(chosen, pairs, traits)
    empty = LeanPool(who, len(chosen), ties, len(names), [], left_out)
    if len(chosen) < FEWEST:
        left_out.append(f"all: {len(chosen)} choices, and a fit needs {FEWEST}")
        return empty
    place = {name: at for at, name in enumerate(names)}
    who_N = np.array([place[row.rater] for row in chosen])
    y_N = np.array([row.value > 0 for row in chosen])
    while columns:
        found = fit_mixed(np.column_stack([*columns.values()]), y_N, who_N, measuring.prompts_of(chosen))
        if found is not None:
            own = [dict(zip(names, (mine[at] for mine in found.own_AF), strict=True)) for at in range(len(columns))]
            parts = zip(columns, found.pool_F, found.spread_F, own, strict=True)
            return LeanPool(who, len(chosen), ties, len(names), [Lean(*part) for part in parts], left_out)
        last = [*columns][-1]
        left_out.append(f"{last}: it decides the choices, or other features tell it, so no finite coefficient fits")
        del columns[last]
    return empty


def independent(measuring: Measuring, rows: Sequence[PairRating]) -> list[PairRating]:
    """Of each judgement, choices that share no answer."""
    used: set[tuple[int, str]] = set()
    kept: list[PairRating] = []
    for row in sorted(rows, key=lambda row: row.pair):  # an order that does not follow the choices
        marks = {(row.said, text) for text in measuring.ratings.pairs[row.pair].texts}
        if not marks & used:
            used |= marks
            kept.append(row)
    return kept


def _columns(
    rows: Sequence[PairRating], pairs: Sequence[RatedPair], traits: Mapping[str, Trait]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Each feature of the first answer less that of the second, and why others are left out."""
    found = {
        LENGTH: np.array([math.log2((1 + len(a)) / (1 + len(b))) for a, b in (pair.texts for pair in pairs)]),
        SIDE: np.array([float(row.side) for row in rows]),
    }
    texts = {text: None for pair in pairs for text in pair.texts}
    for name, trait in {ASSERTIVE: assertiveness, **traits}.items():
        values = {text: trait(text) for text in texts}
        found[name] = np.array([values[a] - values[b] for a, b in (pair.texts for pair in pairs)])
    left_out: list[str] = []
    counts = Counter(name for pair in pairs for name in pair.systems if name and "," not in name)
    if len(counts) > MOST_SYSTEMS:
        left_out.append(f"systems: there are {len(counts)}, more than {MOST_SYSTEMS}")
    elif len(counts) > 1:
        reference, *others = [name for name, _ in counts.most_common()]
        for name in others:
            found[f"{name} rather than {reference}"] = np.array(
                [float(pair.systems[0] == name) - float(pair.systems[1] == name) for pair in pairs]
            )
    why = {SIDE: "the order in which answers were shown is not known"}
    left_out += [
        f"{name}: {why.get(name, 'both answers have the same of it in all choices')}"
        for name, column in found.items()
        if not column.any()
    ]
    return {name: column for name, column in found.items() if column.any()}, left_out

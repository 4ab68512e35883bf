"""Agreement of people, of all pairs and by type of pair, aspect and group; between groups; and of each two annotators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from planish.base.errors import ConfigError, DataError
from planish.feedback.report.ratings import OVERALL, Measuring, PairRating, grouped, table_of
from planish.statistics.agreement import AgreementFound, agreement_of, cohen_estimate
from planish.statistics.estimate import Estimate

FEWEST = 10  # pairs that two annotators share, or their kappa says nothing
MOST_RATERS = 12  # annotators with most ratings, of whom each two are compared
MOST_PARTS = 20  # values of a type that are told apart


@dataclass(frozen=True, slots=True)
class AgreementPart:
    """Agreement within one `value` of a type `by`: all, aspect, group, chosen by, systems, or a note."""

    by: str
    value: str
    found: AgreementFound


@dataclass(frozen=True, slots=True)
class GroupsAgreement:
    """How often ratings of one pair by people of two groups are equal, and by two of either group."""

    first: str
    second: str
    pairs: int
    between: Estimate
    within: Estimate | None


@dataclass(frozen=True, slots=True)
class RatersAgreement:
    """Two annotators on the pairs that both rated."""

    first: str
    second: str
    pairs: int
    raw: Estimate
    kappa: Estimate | None


def agreement_parts(measuring: Measuring, by: Sequence[str]) -> list[AgreementPart]:
    """The agreement of people, or of models where there is nobody else. Where some pairs were chosen by their priority, "all" is
    of the others, which are a fair sample."""
    ratings = measuring.ratings
    kind = kind_of(measuring)
    every = ratings.tasks(kind)
    hard = {row.pair for row in every if row.chosen_by == "priority"}
    parts = [_part(measuring, "all", "all", [row for row in every if row.pair not in hard] or every)]
    parts += [
        _part(measuring, "aspect", aspect, ratings.tasks(kind, aspect))
        for aspect in ratings.aspects
        if aspect != OVERALL
    ]
    types: dict[str, Callable[[PairRating], str]] = {"group": lambda row: ratings.raters[row.rater].group}
    if hard:
        types["chosen by"] = lambda row: "priority" if row.pair in hard else "random order"
    types["systems"] = lambda row: " and ".join(sorted(filter(None, ratings.pairs[row.pair].systems)))
    for name in by:
        if not any(name in pair.notes for pair in ratings.pairs.values()):
            known = sorted({note for pair in ratings.pairs.values() for note in pair.notes})
            raise ConfigError(f"by={name}: no pair has this note; there are: {', '.join(known[:20]) or 'none'}")
        types[name] = lambda row, name=name: str(ratings.pairs[row.pair].notes.get(name, ""))
    for name, key in types.items():
        groups = {value: rows for value, rows in grouped(every, key).items() if value}
        if 1 < len(groups) <= MOST_PARTS or name in by:
            parts += [_part(measuring, name, value, rows) for value, rows in groups.items()]
    return [part for part in parts if part is not None]


def kind_of(measuring: Measuring) -> str:
    return "person" if measuring.ratings.named("person") else "model"


def _part(measuring: Measuring, by: str, value: str, rows: Sequence[PairRating]) -> AgreementPart | None:
    """None where no pair has two ratings."""
    if not rows:
        return None
    values_AU, _, pairs = table_of(rows)
    prompts = np.array([measuring.ratings.pairs[pair].prompt for pair in pairs])
    try:
        return AgreementPart(by, value, agreement_of(values_AU, prompts, measuring.bootstrap))
    except DataError:
        return None


def groups_agreement(measuring: Measuring) -> list[GroupsAgreement]:
    """Of each two groups of people that rated some pairs both."""
    ratings = measuring.ratings
    rows = [row for row in ratings.tasks("person") if ratings.raters[row.rater].group]
    names = sorted({ratings.raters[row.rater].group for row in rows})
    found: list[GroupsAgreement] = []
    for first, second in combinations(names, 2) if len(names) <= MOST_RATERS else ():
        parts: list[tuple[float, float, float, float]] = []
        prompts: list[str] = []
        for pair, some in grouped(rows, lambda row: row.pair).items():
            groups = grouped(some, lambda row: ratings.raters[row.rater].group)
            values = [[row.value for row in groups.get(name, [])] for name in (first, second)]
            counts = np.array([[own.count(value) for value in (-1, 0, 1)] for own in values])
            sizes = counts.sum(1)
            if sizes.all():
                parts.append(
                    (
                        float((counts[0] * counts[1]).sum()),
                        float(sizes[0] * sizes[1]),
                        float((counts * (counts - 1)).sum()),
                        float((sizes * (sizes - 1)).sum()),
                    )
                )
                prompts.append(ratings.pairs[pair].prompt)
        if not parts:
            continue
        both, clusters = np.array(parts), np.array(prompts)
        between = measuring.bootstrap.ratio(both[:, :2], clusters)
        within = measuring.bootstrap.ratio(both[:, 2:], clusters)
        assert between is not None
        found.append(GroupsAgreement(first, second, len(parts), between, within))
    return found


def raters_agreement(measuring: Measuring) -> list[RatersAgreement]:
    """Of each two of the annotators, people and models, with most ratings."""
    return list(_raters_agreement(measuring))


def _raters_agreement(measuring: Measuring) -> Iterator[RatersAgreement]:
    rows = measuring.ratings.tasks()
    sizes = {name: len(some) for name, some in grouped(rows, lambda row: row.rater).items()}
    most = {*sorted(sizes, key=lambda name: -sizes[name])[:MOST_RATERS]}
    values_AU, names, pairs = table_of(row for row in rows if row.rater in most)
    prompts = np.array([measuring.ratings.pairs[pair].prompt for pair in pairs])
    for i, j in combinations(range(len(names)), 2):
        both = ~np.isnan(values_AU[[i, j]]).any(0)
        if both.sum() < FEWEST:
            continue
        first, second = values_AU[i, both], values_AU[j, both]
        raw = measuring.bootstrap.share((first == second).astype(float), np.ones(len(first)), prompts[both])
        kappa = cohen_estimate(first, second, prompts[both], measuring.bootstrap)
        yield RatersAgreement(names[i], names[j], int(both.sum()), raw, kappa)

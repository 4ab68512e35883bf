"""People and judges side by side: how far a model stands in for a person, and its win rates corrected by people's.

The correction is that of prediction-powered inference (Angelopoulos et al. 2023): the judge's rate over all its pairs, plus the
mean of people's choice less the judge's over the pairs that both judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from planish.feedback.report.ratings import Measuring, PairRating, grouped
from planish.statistics.agreement import cohen_estimate
from planish.statistics.estimate import Estimate, wilson

MOST_PAIRS = 20  # pairs of systems with most of the judge's verdicts


@dataclass(frozen=True, slots=True)
class VerdictChecked:
    """What people say where the judge says this: shares of their ratings for its choice, for a tie, and for the other answer; of
    a judge's tie, `same` is a tie."""

    says: str
    ratings: int
    same: Estimate
    tied: Estimate | None
    other: Estimate


@dataclass(frozen=True, slots=True)
class JudgedWins:
    """How often `system` wins against `other`, ties half: by the judge over its pairs, by people and the judge over those that
    both judged, and by the judge corrected by people."""

    system: str
    other: str
    pairs: int
    both: int
    judge: Estimate
    judge_on_both: Estimate | None
    people: Estimate | None
    corrected: Estimate | None


@dataclass(frozen=True, slots=True)
class JudgeFound:
    """`by_order`: the share of pairs asked in both orders on which the reply followed the order. `with_person`: the share of
    people's single ratings equal to the judge's, `person_with_person` that of two people, on the same pairs. `with_majority`
    and `kappa` are with the value that most people gave, where there is one; `person_with_majority` is one person's with that
    of the others, so that neither has a part in what it is compared with."""

    name: str
    pairs: int
    ratings: int
    by_order: Estimate | None
    with_person: Estimate | None
    person_with_person: Estimate | None
    with_majority: Estimate | None
    kappa: Estimate | None
    person_with_majority: Estimate | None
    verdicts: list[VerdictChecked]
    wins: list[JudgedWins]


def judges_found(measuring: Measuring) -> list[JudgeFound]:
    people: dict[str, list[int]] = {}
    for row in measuring.ratings.tasks("person"):
        people.setdefault(row.pair, []).append(row.value)
    judges = grouped(measuring.ratings.tasks("model"), lambda row: row.rater)
    return [_judge(measuring, name, rows, people) for name, rows in judges.items()]


def _judge(measuring: Measuring, name: str, rows: Sequence[PairRating], people: dict[str, list[int]]) -> JudgeFound:
    met = [row for row in rows if row.pair in people]
    values = [people[row.pair] for row in met]
    twice = measuring.ratings.both_orders.get(name, [])
    prompts = measuring.prompts_of(met)
    several = [place for place, said in enumerate(values) if len(said) > 1]

    def ratio(parts: Sequence[tuple[float, float]], places: Sequence[int] | None = None) -> Estimate | None:
        some = prompts if places is None else prompts[list(places)]
        return _ratio(measuring, parts, some)

    most = [(place, value) for place, said in enumerate(values) if (value := _most(said)) is not None]
    decided = [place for place, _ in most]
    same, majority = np.array([met[place].value for place in decided]), np.array([value for _, value in most])
    return JudgeFound(
        name,
        len(rows),
        sum(map(len, values)),
        wilson(sum(one is not None and one == other for one, other in twice), len(twice)) if twice else None,
        ratio([(sum(v == row.value for v in said), len(said)) for row, said in zip(met, values, strict=True)]),
        ratio([_equal_pairs(values[place]) for place in several], several),
        ratio([(float(one == two), 1.0) for one, two in zip(same, majority, strict=True)], decided),
        cohen_estimate(same, majority, prompts[decided], measuring.bootstrap) if decided else None,
        ratio([_with_rest(values[place]) for place in several], several),
        _verdicts(measuring, met, values),
        _wins(measuring, rows, people),
    )


def _most(values: Sequence[int]) -> int | None:
    """The value that most ratings have; None where no single one has."""
    first, *others = Counter(values).most_common(2)
    return None if others and others[0][1] == first[1] else first[0]


def _equal_pairs(values: Sequence[int]) -> tuple[float, float]:
    counts = [values.count(value) for value in (-1, 0, 1)]
    return float(sum(n * (n - 1) for n in counts)), float(len(values) * (len(values) - 1))


def _with_rest(values: Sequence[int]) -> tuple[float, float]:
    """Ratings equal to what most of the others say, and ratings of whose others most say the same."""
    rest = [(value, _most([*values[:place], *values[place + 1 :]])) for place, value in enumerate(values)]
    decided = [(value, most) for value, most in rest if most is not None]
    return float(sum(value == most for value, most in decided)), float(len(decided))


def _ratio(measuring: Measuring, parts: Sequence[tuple[float, float]], prompts: np.ndarray) -> Estimate | None:
    if not parts:
        return None
    return measuring.bootstrap.ratio(np.array(parts), prompts)


def _verdicts(measuring: Measuring, met: Sequence[PairRating], values: Sequence[Sequence[int]]) -> list[VerdictChecked]:
    """Calibration: by how sure the judge is."""
    names = {None: "prefers one", True: "clearly prefers one", False: "slightly prefers one"}
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(met):
        groups.setdefault(names[row.clear] if row.value else "a tie", []).append(place)
    found: list[VerdictChecked] = []
    for says, places in sorted(groups.items()):
        prompts = measuring.prompts_of([met[place] for place in places])

        def share(
            wanted: Callable[[int, int], bool], places: list[int] = places, prompts: np.ndarray = prompts
        ) -> Estimate:
            parts = [
                (float(sum(wanted(value, met[place].value) for value in values[place])), float(len(values[place])))
                for place in places
            ]
            estimate = _ratio(measuring, parts, prompts)
            assert estimate is not None
            return estimate

        is_tie = says == "a tie"
        found.append(
            VerdictChecked(
                says,
                sum(len(values[place]) for place in places),
                share(lambda value, judged: value == judged),
                None if is_tie else share(lambda value, judged: value == 0),
                share(lambda value, judged: value != judged and (value != 0 or judged == 0)),
            )
        )
    return found


def _wins(measuring: Measuring, rows: Sequence[PairRating], people: dict[str, list[int]]) -> list[JudgedWins]:
    ratings = measuring.ratings

    def systems(row: PairRating) -> str:
        names = ratings.pairs[row.pair].systems
        return "\n".join(sorted(names)) if all(names) and names[0] != names[1] else ""

    groups = {names: some for names, some in grouped(rows, systems).items() if names}
    most = sorted(groups, key=lambda names: -len(groups[names]))[:MOST_PAIRS]
    return [_won(measuring, names.split("\n"), groups[names], people) for names in sorted(most)]


def _won(
    measuring: Measuring, systems: Sequence[str], rows: Sequence[PairRating], people: dict[str, list[int]]
) -> JudgedWins:
    system, other = systems
    parts: list[tuple[float, ...]] = []
    for row in rows:
        sign = 1 if measuring.ratings.pairs[row.pair].systems[0] == system else -1
        judged = (1 + sign * row.value) / 2
        said = people.get(row.pair)
        theirs = 0.0 if said is None else (1 + sign * sum(said) / len(said)) / 2
        is_met = float(said is not None)
        parts.append((judged, 1.0, judged * is_met, theirs, is_met))
    table, prompts = np.array(parts), measuring.prompts_of(rows)
    both = int(table[:, 4].sum())

    def of(function: Callable[[np.ndarray], np.ndarray]) -> Estimate | None:
        return measuring.bootstrap.statistic(function, table, prompts) if both else None

    judge = measuring.bootstrap.statistic(lambda s: s[:, 0] / s[:, 1], table, prompts)
    assert judge is not None
    return JudgedWins(
        system,
        other,
        len(rows),
        both,
        judge,
        of(lambda s: s[:, 2] / s[:, 4]),
        of(lambda s: s[:, 3] / s[:, 4]),
        of(lambda s: s[:, 0] / s[:, 1] + (s[:, 3] - s[:, 2]) / s[:, 4]),
    )

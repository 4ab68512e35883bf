"""What the owner sees while a study goes on: progress, times, known answers, repeats and agreement, by person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from planish.base.errors import DataError
from planish.feedback.assignment import TASKS, disputed
from planish.feedback.config import StudyConfig
from planish.feedback.judgements import JudgedItem, judgements
from planish.feedback.people import people
from planish.feedback.schema import StudyAnnotator, StudyItem
from planish.statistics.agreement import krippendorff_alpha, raw_agreement


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    right: int
    all: int

    def __str__(self) -> str:
        return f"{self.right} of {self.all}" if self.all else "–"


@dataclass(frozen=True, slots=True)
class PersonSeen:
    """A person's state. `gold` are items of known answer that were judged rightly, `repeats` those judged the same again."""

    person: StudyAnnotator
    done: int
    gold: Share
    repeats: Share
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """`raw` and `alpha` are of pairs of answers that several people compared; None where there are too few."""

    people: list[PersonSeen]
    items: int
    judged: int
    several: int
    raw: float | None
    alpha: float | None
    disputed: int


def overview(session: Session, settings: StudyConfig) -> Overview:
    rows = [row for row in judgements(session) if row.annotator.kind == "person"]
    of_tasks = [row for row in rows if row.assignment.chosen_by in TASKS]
    by_item: dict[int, dict[int, float]] = defaultdict(dict)
    for row in of_tasks:
        if row.judgement.ranks is not None and len(row.judgement.ranks) == 2:
            by_item[row.item.id][row.annotator.id] = float(np.sign(row.judgement.ranks[1] - row.judgement.ranks[0]))
    several = [said for said in by_item.values() if len(said) > 1]
    count = select(func.count()).select_from(StudyItem).where(StudyItem.kind == "task")
    return Overview(
        people=[_seen(person, rows) for person in people(session) if person.kind == "person"],
        items=session.scalar(count) or 0,
        judged=len({row.item.id for row in of_tasks}),
        several=len(several),
        raw=_measured(raw_agreement, several),
        alpha=_measured(krippendorff_alpha, several),
        disputed=session.scalar(select(func.count()).select_from(disputed().subquery())) or 0,
    )


def _seen(person: StudyAnnotator, rows: Sequence[JudgedItem]) -> PersonSeen:
    mine = [row for row in rows if row.annotator.id == person.id]
    known = [row for row in mine if row.item.expected is not None and row.assignment.chosen_by in ("gold", "test")]
    first = {row.item.id: row.judgement.ranks for row in mine if row.assignment.repeat == 0}
    again = [row for row in mine if row.assignment.chosen_by == "repeat" and row.item.id in first]
    times = [row.judgement.seconds for row in mine if row.judgement.seconds > 0]
    return PersonSeen(
        person=person,
        done=len(mine),
        gold=Share(sum(row.judgement.ranks == row.item.expected for row in known), len(known)),
        repeats=Share(sum(row.judgement.ranks == first[row.item.id] for row in again), len(again)),
        seconds=median(times) if times else None,
    )


def _measured(measure: Callable[[np.ndarray], float], several: Sequence[dict[int, float]]) -> float | None:
    """The measure of ratings [annotators, items]; None where nothing is to be measured."""
    names = sorted({name for said in several for name in said})
    if not names:
        return None
    try:
        return measure(np.array([[said.get(name, np.nan) for said in several] for name in names]))
    except DataError:
        return None

"""Who gets which item next, and in which order its answers are shown.

An item goes to as many people as it wants. Which comes next is drawn by the seed: items of known answer and repeats at their
rates, the others in the order of the seed or, for a share, of their priority. An item that somebody opened and left is given to
others after a while.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, exists, func, or_, select
from sqlalchemy.orm import Session

from planish.base.random import fold_in, numpy_generator
from planish.feedback.config import StudyConfig
from planish.feedback.schema import Assignment, StudyAnnotator, StudyItem, StudyJudgement
from planish.feedback.store import note

TASKS = ("random", "priority")  # ways to choose an item that count towards its overlap
PHASES: tuple[Literal["training", "test"], ...] = ("training", "test")  # what comes before the tasks

IS_JUDGED = exists().where(
    StudyJudgement.assignment_id == Assignment.id, StudyJudgement.revision == Assignment.revision
)


@dataclass(frozen=True, slots=True)
class Next:
    """The assignment that comes next; without one, the person has `passed` or not, and so is done or may not go on."""

    assignment: Assignment | None
    passed: bool = True


def next_assignment(session: Session, annotator: StudyAnnotator, settings: StudyConfig) -> Next:
    """The assignment that is open; else a new one."""
    if (opened := open_assignment(session, annotator)) is not None:
        return Next(opened)
    for phase in PHASES:
        if (item := session.scalars(_unseen(annotator, phase).limit(1)).first()) is not None:
            return Next(_assign(session, annotator, item, phase, settings))
    if not has_passed(session, annotator, settings):
        return Next(None, passed=False)
    if annotator.role == "adjudicator" and (item := session.scalars(disputed().limit(1)).first()) is not None:
        return Next(_assign(session, annotator, item, "adjudication", settings))
    return Next(_next_task(session, annotator, settings))


def open_assignment(session: Session, annotator: StudyAnnotator) -> Assignment | None:
    """What the person has in hand, first what was undone: going back twice leads to the item before."""
    mine = select(Assignment).where(Assignment.annotator_id == annotator.id, ~IS_JUDGED)
    return session.scalars(mine.order_by((Assignment.revision > 0).desc(), Assignment.id)).first()


def _next_task(session: Session, annotator: StudyAnnotator, settings: StudyConfig) -> Assignment | None:
    several = session.scalars(open_items(annotator, settings).limit(1)).first()
    if several is None:
        return None
    number = session.scalar(select(func.count()).where(Assignment.annotator_id == annotator.id)) or 0
    chance = numpy_generator(settings.seed, "next", annotator.id, number).random(2)
    if chance[0] < settings.gold_rate:
        chosen_by, item = "gold", session.scalars(_unseen(annotator, "gold").limit(1)).first()
    elif chance[0] < settings.gold_rate + settings.repeat_rate:
        chosen_by, item = "repeat", _to_repeat(session, annotator, settings)
    else:
        chosen_by, item = "", None
    if item is not None:
        return _assign(session, annotator, item, chosen_by, settings)
    if settings.priority is None or chance[1] < settings.random_share:
        return _assign(session, annotator, several, "random", settings)
    first = open_items(annotator, settings).order_by(None).order_by(StudyItem.priority.desc(), StudyItem.position)
    return _assign(session, annotator, session.scalars(first.limit(1)).one(), "priority", settings)


def open_items(annotator: StudyAnnotator, settings: StudyConfig) -> Select[StudyItem]:
    """The items that still want somebody, and that this person has not seen, in the order of the seed."""
    fresh = time.time() - settings.hold * 60
    taken = (
        select(func.count())
        .select_from(Assignment)
        .where(Assignment.item_id == StudyItem.id, _counts(), or_(IS_JUDGED, Assignment.created > fresh))
        .correlate(StudyItem)
        .scalar_subquery()
    )
    return _unseen(annotator, "task").where(taken < StudyItem.wanted)


def _counts() -> ColumnElement[bool]:
    return Assignment.chosen_by.in_(TASKS)


def _unseen(annotator: StudyAnnotator, kind: str) -> Select[StudyItem]:
    seen = select(Assignment.item_id).where(Assignment.annotator_id == annotator.id)
    return select(StudyItem).where(StudyItem.kind == kind, StudyItem.id.not_in(seen)).order_by(StudyItem.position)


def _to_repeat(session: Session, annotator: StudyAnnotator, settings: StudyConfig) -> StudyItem | None:
    """The oldest item that the person has compared once, long enough ago."""
    ids = list(
        session.execute(
            select(Assignment.item_id, Assignment.chosen_by)
            .where(Assignment.annotator_id == annotator.id, IS_JUDGED)
            .order_by(Assignment.id)
        )
    )
    repeated = {item for item, chosen_by in ids if chosen_by == "repeat"}
    old = [item for item, chosen_by in ids[: -settings.repeat_gap] if chosen_by in TASKS and item not in repeated]
    return session.get_one(StudyItem, old[0]) if old else None


def disputed() -> Select[StudyItem]:
    """Items that people judged differently, and no adjudicator yet."""
    judged = (Assignment.id == StudyJudgement.assignment_id) & (Assignment.revision == StudyJudgement.revision)
    differing = (
        select(Assignment.item_id)
        .join(StudyJudgement, judged)
        .where(_counts())
        .group_by(Assignment.item_id)
        .having(func.count(func.distinct(StudyJudgement.ranks)) > 1)
    )
    settled = select(Assignment.item_id).where(Assignment.chosen_by == "adjudication")
    return (
        select(StudyItem).where(StudyItem.id.in_(differing), StudyItem.id.not_in(settled)).order_by(StudyItem.position)
    )


def has_passed(session: Session, annotator: StudyAnnotator, settings: StudyConfig) -> bool:
    """True if the person's judgements of the test items are right often enough; also where there is no test."""
    right = [judgement.ranks == item.expected for judgement, item in _judged_as(session, annotator, "test")]
    return not right or sum(right) >= settings.pass_share * len(right)


def let_try_again(session: Session, annotator: StudyAnnotator) -> None:
    """Makes room for another test: the judgements of the last one stay, as those of a phase that is past."""
    tried = select(Assignment).where(Assignment.annotator_id == annotator.id, Assignment.chosen_by == "test")
    for assignment in session.scalars(tried):
        assignment.revision += 1
    note(session, "test again", annotator.id)


def _judged_as(session: Session, annotator: StudyAnnotator, chosen_by: str) -> list[Any]:
    judged = (Assignment.id == StudyJudgement.assignment_id) & (Assignment.revision == StudyJudgement.revision)
    query = (
        select(StudyJudgement, StudyItem)
        .join(Assignment, judged)
        .join(StudyItem, StudyItem.id == Assignment.item_id)
        .where(Assignment.annotator_id == annotator.id, Assignment.chosen_by == chosen_by)
    )
    return [tuple(row) for row in session.execute(query)]


def _assign(
    session: Session, annotator: StudyAnnotator, item: StudyItem, chosen_by: str, settings: StudyConfig
) -> Assignment:
    before = list(
        session.scalars(
            select(Assignment)
            .where(Assignment.annotator_id == annotator.id, Assignment.item_id == item.id)
            .order_by(Assignment.repeat)
        )
    )
    assignment = Assignment(
        annotator_id=annotator.id,
        item_id=item.id,
        chosen_by=chosen_by,
        shown=list(reversed(before[-1].shown)) if before else order_of(item, annotator.id, settings.seed),
        created=time.time(),
        repeat=len(before),
    )
    session.add(assignment)
    session.flush()
    return assignment


def order_of(item: StudyItem, annotator_id: int, seed: int) -> list[int]:
    """The numbers of the completions in the order in which they are shown, drawn by the seed."""
    chance = numpy_generator(fold_in(seed, "order"), item.digest, annotator_id)
    return chance.permutation(len(item.completions)).tolist()

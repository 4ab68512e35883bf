"""Judgements: checked, kept once, undone without being lost.

A judgement carries the key of the client who sends it, so sending it again changes nothing. It also names the revision of the
assignment that it answers: of two tabs, the first one counts, and the second is told so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from planish.base.errors import DataError, RunError
from planish.feedback.schema import Assignment, Draft, Guideline, StudyAnnotator, StudyItem, StudyJudgement
from planish.feedback.store import note, study_of

VerdictKind = Literal["ranked", "all_bad", "cannot_tell"]
Strength = Literal["", "slightly", "clearly"]
OVERALL = "overall"


class AlreadyJudgedError(RunError):
    """The assignment has a judgement already, by another key."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """Ranks of an item's completions, in their own order, 0 is best and equal numbers are a tie, and how clear it is."""

    ranks: tuple[int, ...]
    strength: Strength = ""


@dataclass(frozen=True, slots=True)
class StudyVerdict:
    """All that is said of an item. "cannot_tell" has a reason and no ranks; "all_bad" is a tie of answers that none should get.

    `spans` are marked passages: {"answer": its number, "quote", "kind": "good" or "bad"}. `rewrite` is a better answer.
    """

    kind: VerdictKind
    ranks: tuple[int, ...] | None = None
    strength: Strength = ""
    aspects: Mapping[str, Opinion] = field(default_factory=dict[str, Opinion])
    reason: str = ""
    comment: str = ""
    spans: Sequence[Mapping[str, Any]] = ()
    rewrite: str = ""
    seconds: float = 0.0
    paused: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


def check_verdict(verdict: StudyVerdict, completions: int) -> None:
    """Raises for a verdict that does not fit an item with so many completions."""
    if verdict.kind == "ranked" and verdict.ranks is None:
        raise DataError("a ranking without ranks")
    if verdict.kind == "cannot_tell" and (verdict.ranks is not None or not verdict.reason.strip()):
        raise DataError("an annotator who cannot tell gives a reason, and no ranks")
    said = [Opinion(verdict.ranks, verdict.strength)] if verdict.ranks is not None else []
    for opinion in [*said, *verdict.aspects.values()]:
        ranks = opinion.ranks
        if len(ranks) != completions or {*ranks} != {*range(len({*ranks}))}:
            raise DataError(f"ranks {list(ranks)}: expected {completions}, from 0 up, without gaps")
        if opinion.strength and len({*ranks}) == 1:
            raise DataError("a tie has no strength")
    if verdict.kind == "all_bad" and verdict.ranks is not None and {*verdict.ranks} != {0}:
        raise DataError("answers that are all bad are tied")
    for span in verdict.spans:
        if span.get("answer") not in range(completions) or span.get("kind") not in ("good", "bad"):
            raise DataError(f"a marked passage of answer {span.get('answer')!r}: expected 0 to {completions - 1}")


def save_judgement(
    session: Session, assignment: Assignment, verdict: StudyVerdict, *, key: str, revision: int, guideline: str
) -> StudyJudgement:
    """Keeps a verdict under its key. The same key again returns what is kept; another one for the same revision is refused."""
    if (kept := session.scalars(select(StudyJudgement).where(StudyJudgement.key == key)).first()) is not None:
        if kept.assignment_id != assignment.id:
            raise DataError(f"the key {key!r} belongs to another judgement")
        return kept
    if revision != assignment.revision or current(session, assignment) is not None:
        raise AlreadyJudgedError("these answers were already compared, in another tab or before a line was lost")
    if session.get(Guideline, guideline) is None:
        raise DataError(f"there are no guidelines {guideline!r}")
    item = session.get_one(StudyItem, assignment.item_id)
    check_verdict(verdict, len(item.completions))
    ranks = [0] * len(item.completions) if verdict.kind == "all_bad" else verdict.ranks
    judgement = StudyJudgement(
        key=key,
        assignment_id=assignment.id,
        revision=revision,
        verdict=verdict.kind,
        guideline=guideline,
        created=time.time(),
        ranks=None if ranks is None else list(ranks),
        strength=verdict.strength,
        aspects={
            name: {"ranks": list(opinion.ranks), "strength": opinion.strength}
            for name, opinion in verdict.aspects.items()
        },
        reason=verdict.reason,
        comment=verdict.comment,
        spans=[dict(span) for span in verdict.spans],
        rewrite=verdict.rewrite,
        seconds=verdict.seconds,
        paused=verdict.paused,
        details=dict(verdict.details),
    )
    session.add(judgement)
    if (draft := session.get(Draft, assignment.id)) is not None:
        session.delete(draft)
    session.flush()
    return judgement


def add_judgement(
    session: Session,
    annotator_id: int,
    item_id: int,
    verdict: StudyVerdict,
    *,
    order: Sequence[int],
    key: str,
    repeat: int = 0,
    chosen_by: str = "model",
    guideline: str | None = None,
) -> StudyJudgement:
    """Adds a judgement of an item that no page assigned, such as a model's: one for each `repeat`, with the `order` in which it
    saw the completions. The same key again returns the judgement that is there. `guideline` is the digest of what it followed;
    absent is the study's."""
    item = session.get_one(StudyItem, item_id)
    if sorted(order) != [*range(len(item.completions))]:
        raise DataError(f"order {list(order)}: expected the numbers 0 to {len(item.completions) - 1}")
    same = select(Assignment).where(
        Assignment.annotator_id == annotator_id, Assignment.item_id == item_id, Assignment.repeat == repeat
    )
    if (assignment := session.scalars(same).first()) is None:
        assignment = Assignment(
            annotator_id=annotator_id,
            item_id=item_id,
            chosen_by=chosen_by,
            shown=list(order),
            created=time.time(),
            repeat=repeat,
        )
        session.add(assignment)
        session.flush()
    guideline = study_of(session).guideline if guideline is None else guideline
    return save_judgement(session, assignment, verdict, key=key, revision=assignment.revision, guideline=guideline)


def current(session: Session, assignment: Assignment) -> StudyJudgement | None:
    """The judgement that counts."""
    return session.scalars(
        select(StudyJudgement).where(
            StudyJudgement.assignment_id == assignment.id, StudyJudgement.revision == assignment.revision
        )
    ).first()


def undo(session: Session, assignment: Assignment) -> StudyJudgement:
    """Takes the judgement of an assignment back: it stays in the database, and the assignment is open again."""
    judgement = current(session, assignment)
    if judgement is None:
        raise DataError("there is nothing to undo")
    assignment.revision += 1
    note(session, "undone", assignment.annotator_id, {"judgement": judgement.id})
    return judgement


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """A judgement that counts, with all it belongs to."""

    judgement: StudyJudgement
    assignment: Assignment
    item: StudyItem
    annotator: StudyAnnotator


def judged_rows() -> Select[StudyJudgement, Assignment, StudyItem, StudyAnnotator]:
    """The query of all judgements that count, in the order in which they came."""
    return (
        select(StudyJudgement, Assignment, StudyItem, StudyAnnotator)
        .join(
            Assignment,
            (Assignment.id == StudyJudgement.assignment_id) & (Assignment.revision == StudyJudgement.revision),
        )
        .join(StudyItem, StudyItem.id == Assignment.item_id)
        .join(StudyAnnotator, StudyAnnotator.id == Assignment.annotator_id)
        .order_by(StudyJudgement.id)
    )


def judgements(session: Session) -> Iterator[JudgedItem]:
    """All judgements that count: those that were undone are left out."""
    for row in session.execute(judged_rows()):
        yield JudgedItem(*row)


def keep_draft(session: Session, assignment: Assignment, content: str) -> None:
    draft = session.get(Draft, assignment.id)
    if draft is None:
        session.add(Draft(assignment_id=assignment.id, content={"page": content}, updated=time.time()))
    else:
        draft.content, draft.updated = {"page": content}, time.time()

"""What is stored about a person: shown to her, exported, and deleted when she asks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from planish.base.errors import DataError
from planish.feedback.config import StudyConfig
from planish.feedback.schema import Assignment, Draft, Event, StudyAnnotator, StudyJudgement
from planish.feedback.store import note


def keep_profile(annotator: StudyAnnotator, settings: StudyConfig, profile: Mapping[str, str], guideline: str) -> None:
    """Keeps what a person chose to tell: fields that were left blank are not stored."""
    if unknown := profile.keys() - {*settings.profile}:
        raise DataError(f"the profile has no field {min(unknown)!r}")
    annotator.profile = {name: value.strip() for name, value in profile.items() if value.strip()}
    if settings.group_by is not None:
        annotator.group = annotator.profile.get(settings.group_by, annotator.group)
    annotator.welcomed, annotator.guideline = annotator.welcomed or time.time(), guideline


def stored_of(session: Session, annotator: StudyAnnotator) -> dict[str, Any]:
    """Everything in the database that is about this person."""
    own = select(Assignment.id).where(Assignment.annotator_id == annotator.id)
    said = session.scalars(select(StudyJudgement).where(StudyJudgement.assignment_id.in_(own)))
    events = session.scalars(select(Event).where(Event.annotator_id == annotator.id))
    return {
        "person": _columns(annotator, "nonce"),
        "judgements": [_columns(judgement, "key") for judgement in said],
        "events": [_columns(event) for event in events],
    }


def forget(session: Session, annotator: StudyAnnotator, *, judgements: bool) -> None:
    """Deletes the name, profile, group and events of a person, her comments and marked passages, and on demand her judgements.

    Judgements that stay are those of a number. Her address is invalid from now on.
    """
    own = select(Assignment.id).where(Assignment.annotator_id == annotator.id)
    session.execute(delete(Draft).where(Draft.assignment_id.in_(own)))
    if judgements:
        session.execute(delete(StudyJudgement).where(StudyJudgement.assignment_id.in_(own)))
        session.execute(delete(Assignment).where(Assignment.annotator_id == annotator.id))
    else:
        for judgement in session.scalars(select(StudyJudgement).where(StudyJudgement.assignment_id.in_(own))):
            judgement.comment, judgement.spans = "", []
    session.execute(delete(Event).where(Event.annotator_id == annotator.id))
    annotator.name, annotator.group, annotator.profile = "", "", {}
    annotator.nonce, annotator.removed = secrets.token_hex(8), time.time()
    note(session, "forgotten", details={"judgements": judgements})


def _columns(row: Any, *without: str) -> dict[str, Any]:
    names = [attribute.key for attribute in row.__mapper__.column_attrs]
    return {name: getattr(row, name) for name in names if name not in without}

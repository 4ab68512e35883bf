"""Those who judge: people with an address of their own, and models.

An address holds a token, the annotator's number and a code that only the study's secret can make; it is compared in constant
time. A new nonce makes the old address invalid.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from base64 import urlsafe_b64encode
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from planish.base.errors import ConfigError
from planish.feedback.schema import StudyAnnotator
from planish.feedback.store import note, study_of

Role = Literal["owner", "annotator", "adjudicator"]
ROLES: tuple[Role, ...] = ("owner", "annotator", "adjudicator")
TOKEN = re.compile(r"([1-9][0-9]{0,8})-([\w-]{32})", re.ASCII)
LONGEST_NAME = 100


def add_annotator(
    session: Session,
    name: str,
    *,
    kind: Literal["person", "model"] = "person",
    role: Role = "annotator",
    group: str = "",
) -> StudyAnnotator:
    """The annotator of this kind and name, who is added if nobody has it yet. A model judges through `add_judgement`."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or len(group) > LONGEST_NAME or not (name + group).isprintable():
        raise ConfigError(f"annotator {name[:40]!r}: expected a name of 1 to {LONGEST_NAME} printable characters")
    known = select(StudyAnnotator).where(
        StudyAnnotator.name == name, StudyAnnotator.kind == kind, StudyAnnotator.removed.is_(None)
    )
    if (annotator := session.scalars(known).first()) is not None:
        return annotator
    annotator = StudyAnnotator(
        kind=kind, name=name, role=role, created=time.time(), nonce=secrets.token_hex(8), group=group.strip()
    )
    session.add(annotator)
    session.flush()
    note(session, "invited", annotator.id, {"role": role})
    return annotator


def token_of(session: Session, annotator: StudyAnnotator) -> str:
    return f"{annotator.id}-{_code(study_of(session).secret, annotator.id, annotator.nonce)}"


def renew_token(session: Session, annotator: StudyAnnotator) -> str:
    """A new token; the old one is invalid from now on."""
    annotator.nonce = secrets.token_hex(8)
    note(session, "new address", annotator.id)
    return token_of(session, annotator)


def annotator_of(session: Session, token: str) -> StudyAnnotator | None:
    """The person whose token this is; None if it is nobody's, or no longer."""
    if (parts := TOKEN.fullmatch(token)) is None:
        return None
    annotator = session.get(StudyAnnotator, int(parts[1]))
    right = _code(study_of(session).secret, int(parts[1]), annotator.nonce if annotator else "")
    same = hmac.compare_digest(right.encode(), parts[2].encode())
    if annotator is None or not same or annotator.removed is not None or annotator.kind != "person":
        return None
    return annotator


def people(session: Session) -> list[StudyAnnotator]:
    """All who have not been removed, in the order in which they came."""
    return list(
        session.scalars(select(StudyAnnotator).where(StudyAnnotator.removed.is_(None)).order_by(StudyAnnotator.id))
    )


def _code(secret: str, number: int, nonce: str) -> str:
    said = f"{number}:{nonce}".encode()
    return urlsafe_b64encode(hmac.digest(secret.encode(), said, hashlib.sha256)[:24]).decode()

"""The tables. JSON is kept as text, so that one SQL query reads SQLite and PostgreSQL alike; times are seconds since 1970.

Nothing is overwritten that a person has said: an undone judgement stays, under a `revision` of its assignment that is past.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Dialect, ForeignKey, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column


class Json(TypeDecorator[Any]):
    """A JSON value as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class Base(MappedAsDataclass, DeclarativeBase):
    """What all tables share: columns by type, and fields by name alone."""

    type_annotation_map = {str: Text(), dict[str, Any]: Json(), list[Any]: Json()}  # noqa: RUF012


class Guideline(Base, kw_only=True):
    """A version of the guidelines, by the first 16 digits of its SHA-256."""

    __tablename__ = "guidelines"
    digest: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]
    created: Mapped[float]


class Study(Base, kw_only=True):
    """The one row about the whole: settings, the guidelines in force, and the secret that addresses are made with."""

    __tablename__ = "study"
    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    created: Mapped[float]
    secret: Mapped[str]
    settings: Mapped[dict[str, Any]]
    guideline: Mapped[str] = mapped_column(ForeignKey("guidelines.digest"))


class StudyItem(Base, kw_only=True):
    """A prompt with its answers. `kind` is task, gold, training or test; those but the first have `expected` ranks.

    `completions` are messages, `systems` the names of those who wrote each. `position` is the place in the order that the seed
    draws, `priority` a reason to come earlier, `wanted` the number of people to ask.
    """

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    digest: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    position: Mapped[int] = mapped_column(index=True)
    wanted: Mapped[int]
    prompt: Mapped[list[Any]]
    completions: Mapped[list[Any]]
    systems: Mapped[list[Any]]
    origin: Mapped[str]
    tools: Mapped[list[Any] | None] = mapped_column(default=None)
    about: Mapped[dict[str, Any]] = mapped_column(default_factory=dict[str, Any])
    priority: Mapped[float | None] = mapped_column(default=None)
    expected: Mapped[list[Any] | None] = mapped_column(default=None)
    explanation: Mapped[str] = mapped_column(default="")


class StudyAnnotator(Base, kw_only=True):
    """A person or a model. `nonce` is changed to make old addresses invalid; `guideline` is the version that was read."""

    __tablename__ = "annotators"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    kind: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    created: Mapped[float]
    nonce: Mapped[str]
    group: Mapped[str] = mapped_column("group_name", default="")
    profile: Mapped[dict[str, Any]] = mapped_column(default_factory=dict[str, Any])
    welcomed: Mapped[float | None] = mapped_column(default=None)
    guideline: Mapped[str] = mapped_column(default="")
    removed: Mapped[float | None] = mapped_column(default=None)


class Assignment(Base, kw_only=True):
    """An item in the hands of an annotator, with the order in which its answers are shown: numbers of completions.

    `repeat` counts from 0 the times that the annotator gets the item, `revision` the judgements that were undone. `chosen_by` is
    random, priority, gold, repeat, training, test, adjudication, model, or juror, who is one of a jury whose verdict counts.
    """

    __tablename__ = "assignments"
    __table_args__ = (UniqueConstraint("annotator_id", "item_id", "repeat"),)
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id"))
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), index=True)
    chosen_by: Mapped[str]
    shown: Mapped[list[Any]]
    created: Mapped[float]
    repeat: Mapped[int] = mapped_column(default=0)
    revision: Mapped[int] = mapped_column(default=0)


class StudyJudgement(Base, kw_only=True):
    """What an annotator said of an assignment; the one whose revision is the assignment's counts.

    `key` is the client's: the same key twice is one judgement. `ranks` are of the completions in their own order, 0 is best,
    equal numbers are a tie; there are none where the annotator cannot tell. `aspects` has ranks and strength by aspect,
    `details` what a model's judgement cost.
    """

    __tablename__ = "judgements"
    __table_args__ = (UniqueConstraint("assignment_id", "revision"),)
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    key: Mapped[str] = mapped_column(unique=True)
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id"))
    revision: Mapped[int]
    verdict: Mapped[str]
    guideline: Mapped[str] = mapped_column(ForeignKey("guidelines.digest"))
    created: Mapped[float]
    ranks: Mapped[list[Any] | None] = mapped_column(default=None)
    strength: Mapped[str] = mapped_column(default="")
    aspects: Mapped[dict[str, Any]] = mapped_column(default_factory=dict[str, Any])
    reason: Mapped[str] = mapped_column(default="")
    comment: Mapped[str] = mapped_column(default="")
    spans: Mapped[list[Any]] = mapped_column(default_factory=list[Any])
    rewrite: Mapped[str] = mapped_column(default="")
    seconds: Mapped[float] = mapped_column(default=0.0)
    paused: Mapped[float] = mapped_column(default=0.0)
    details: Mapped[dict[str, Any]] = mapped_column(default_factory=dict[str, Any])


class Draft(Base, kw_only=True):
    """What is on the page of an assignment that is not saved yet."""

    __tablename__ = "drafts"
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id"), primary_key=True)
    content: Mapped[dict[str, Any]]
    updated: Mapped[float]


class Event(Base, kw_only=True):
    """What happened beside judgements: guidelines changed, somebody was invited, undid, or was deleted."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    created: Mapped[float]
    kind: Mapped[str]
    annotator_id: Mapped[int | None] = mapped_column(default=None)
    details: Mapped[dict[str, Any]] = mapped_column(default_factory=dict[str, Any])

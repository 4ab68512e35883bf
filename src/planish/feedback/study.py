"""A study: its settings, its guidelines and its items, which may be added to at any time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from planish.base.errors import ConfigError, DataError
from planish.base.random import fold_in
from planish.feedback.config import SETTLED, AnnotateConfig, StudyConfig
from planish.feedback.guidelines import digest_of
from planish.feedback.reading import Answers, dense
from planish.feedback.schema import Study, StudyItem
from planish.feedback.store import keep_guideline, note


@dataclass(frozen=True, slots=True)
class Added:
    """Items that a file brought, and those that were there before."""

    new: int
    known: int


def settle(session: Session, config: AnnotateConfig, guidelines: str | None) -> StudyConfig:
    """Begins the study, or takes it up: settings that are given now replace those of before, but for those that decide what has
    been shown. Without guidelines those in force stay."""
    study = session.get(Study, 1)
    given = {name: getattr(config, name) for name in StudyConfig.model_fields if name in config.model_fields_set}
    if study is None:
        settings = StudyConfig(**given)
        words = guidelines or ""
        keep_guideline(session, digest_of(words), words)
        study = Study(
            created=time.time(),
            secret=secrets.token_hex(32),
            settings=settings.model_dump(mode="json"),
            guideline=digest_of(words),
        )
        session.add(study)
        session.flush()
        return settings
    before = StudyConfig(**study.settings)
    for name in SETTLED & given.keys():
        if given[name] != getattr(before, name):
            raise ConfigError(
                f"{name}={given[name]}: this study was begun with {name}={getattr(before, name)}, which decides what "
                "annotators have seen. Leave the setting out, or begin another study with another out="
            )
    settings = StudyConfig(**{**study.settings, **given})
    study.settings = settings.model_dump(mode="json")
    if settings != before:
        note(session, "settings", details={name: str(value) for name, value in given.items()})
    if guidelines is not None and digest_of(guidelines) != study.guideline:
        keep_guideline(session, digest_of(guidelines), guidelines)
        note(session, "guidelines", details={"before": study.guideline, "now": digest_of(guidelines)})
        study.guideline = digest_of(guidelines)
    return settings


def add_items(session: Session, answers: Sequence[Answers], kind: str, settings: StudyConfig) -> Added:
    """Adds the answers as items of this kind; those that are there already stay as they are."""
    shown = [pair for some in answers for pair in some.pairs()] if settings.show == "pairs" else list(answers)
    known = set(session.scalars(select(StudyItem.digest)))
    first = (session.scalar(select(func.max(StudyItem.position))) or 0) + 1
    new = {f"{kind}:{some.digest}": some for some in shown if f"{kind}:{some.digest}" not in known}
    order = sorted(new, key=lambda digest: fold_in(settings.seed, "items", digest))
    for position, digest in enumerate(order, first):
        session.add(_item(new[digest], digest, kind, position, settings))
    return Added(len(new), len(shown) - len(new))


def _item(answers: Answers, digest: str, kind: str, position: int, settings: StudyConfig) -> StudyItem:
    several = fold_in(settings.seed, "overlap", digest) % 10_000 < settings.overlap_share * 10_000
    return StudyItem(
        digest=digest,
        kind=kind,
        position=position,
        wanted=settings.overlap if several else 1,
        prompt=answers.prompt,
        completions=answers.completions,
        systems=answers.systems,
        origin=answers.origin,
        tools=answers.tools,
        about=answers.about,
        priority=_priority(answers, settings.priority) if kind == "task" else None,
        expected=None if kind == "task" else _expected(answers, kind),
        explanation=str(answers.about.get("explanation", "")),
    )


def _expected(answers: Answers, kind: str) -> list[int]:
    if answers.ranks is None:
        raise DataError(f"{answers.origin}: {kind} items have a right answer; expected comparisons, with ranks")
    return dense(answers.ranks)


def _priority(answers: Answers, name: str | None) -> float | None:
    if name is None:
        return None
    value = answers.about.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{answers.origin}: priority={name}: found {value!r} in its notes, expected a number")
    return float(value)

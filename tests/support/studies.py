"""Small studies: comparisons written by hand, in a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from planish.base.files import write_lines
from planish.feedback.assignment import next_assignment
from planish.feedback.config import AnnotateConfig, StudyConfig
from planish.feedback.guidelines import read_guidelines
from planish.feedback.judgements import StudyVerdict, save_judgement
from planish.feedback.people import add_annotator
from planish.feedback.reading import read_answers
from planish.feedback.schema import Assignment, StudyAnnotator, StudyItem
from planish.feedback.store import Store, open_store, study_of
from planish.feedback.study import add_items, settle

FIRST = StudyVerdict("ranked", (0, 1), "clearly")


def comparisons(number: int, answers: int = 2, **more: Any) -> list[dict[str, Any]]:
    """Questions whose answers are called good 0, bad 0, …; the first of each is the best."""
    words = ("good", "bad", "worse", "worst")[:answers]
    return [
        {
            "prompt": f"Question {n}?",
            "completions": [f"{word} {n}" for word in words],
            "ranks": [*range(answers)],
            "about": {"systems": "sft | base", **more},
        }
        for n in range(number)
    ]


@contextmanager
def study(place: str | Path, folder: Path, items: int = 3, answers: int = 2, **settings: Any) -> Iterator[Store]:
    """A database with a study of so many items; its rows go to a file in the folder."""
    file = folder / "answers.jsonl"
    write_lines(file, comparisons(items, answers))
    store = open_store(place)
    with store.writing() as session:
        config = AnnotateConfig(answers=[str(file)], out=str(place), **settings)
        kept = settle(session, config, read_guidelines(None))
        add_items(session, read_answers([str(file)]).answers, "task", kept)
        add_annotator(session, "me", role="owner")
    try:
        yield store
    finally:
        store.close()


def settings_of(store: Store) -> StudyConfig:
    with store.reading() as session:
        return StudyConfig(**study_of(session).settings)


def judge_next(store: Store, name: str, verdict: StudyVerdict = FIRST, key: str | None = None) -> StudyItem | None:
    """Lets somebody judge the next item; None where there is none."""
    settings = settings_of(store)
    with store.writing() as session:
        annotator = add_annotator(session, name)
        assignment = next_assignment(session, annotator, settings).assignment
        if assignment is None:
            return None
        save(session, assignment, verdict, key or f"{name} {assignment.id} {assignment.revision}")
        return session.get_one(StudyItem, assignment.item_id)


def save(session: Any, assignment: Assignment, verdict: StudyVerdict, key: str, revision: int | None = None) -> Any:
    revision = assignment.revision if revision is None else revision
    guideline = study_of(session).guideline
    return save_judgement(session, assignment, verdict, key=key, revision=revision, guideline=guideline)


def person(store: Store, name: str = "me") -> StudyAnnotator:
    with store.writing() as session:
        return add_annotator(session, name)

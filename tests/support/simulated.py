"""Annotators of known coefficients, and pairs of answers for them: what the report on feedback must give back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from planish.base.files import write_lines
from planish.feedback.assignment import next_assignment
from planish.feedback.config import AnnotateConfig, StudyConfig
from planish.feedback.judgements import StudyVerdict, save_judgement
from planish.feedback.people import add_annotator
from planish.feedback.reading import read_answers
from planish.feedback.schema import StudyItem
from planish.feedback.store import Store, open_store, study_of
from planish.feedback.study import add_items, settle

POOL = {"length": 0.9, "side": 0.4, "assertiveness": 1.2}
OPENINGS = ("Certainly.", "Perhaps.", "Well.")  # of assertiveness 1/2, -1/2 and 0


@dataclass(frozen=True)
class Simulated:
    """An annotator: log-odds by doubling of length, for the answer shown first, and for assertiveness; as choosing by chance."""

    name: str
    length: float
    side: float
    assertiveness: float
    seed: int

    @property
    def coefficients(self) -> dict[str, float]:
        return {"length": self.length, "side": self.side, "assertiveness": self.assertiveness}

    def odds(self, left: str, right: str) -> float:
        return (
            self.length * math.log2((1 + len(left)) / (1 + len(right)))
            + self.side
            + self.assertiveness * (sure(left) - sure(right))
        )

    def prefers_left(self, left: str, right: str) -> bool:
        chance = np.random.default_rng([self.seed, len(left), len(right), *map(ord, (left + right)[-24:])]).random()
        return bool(chance < 1 / (1 + math.exp(-self.odds(left, right))))


def sure(text: str) -> float:
    return {"Certainly": 0.5, "Perhaps": -0.5}.get(re.split(r"\W", text.strip(), maxsplit=1)[0], 0.0)


def pool(number: int, spread: float, seed: int = 0) -> list[Simulated]:
    """Annotators around POOL."""
    numbers = np.random.default_rng(seed)
    return [
        Simulated(f"p{n}", *(value + spread * float(numbers.normal()) for value in POOL.values()), seed=1000 * seed + n)
        for n in range(number)
    ]


def answer_rows(number: int, seed: int = 0, **about: Any) -> list[dict[str, Any]]:
    """Prompts with two answers of different lengths and openings."""
    numbers = np.random.default_rng([7, seed])
    rows: list[dict[str, Any]] = []
    for n in range(number):
        lengths = np.exp(numbers.uniform(math.log(6), math.log(60), 2)).astype(int)
        opens = numbers.choice(OPENINGS, 2)
        answers = [
            f"{opening} {' '.join(['word'] * length)} {n}-{k}"
            for k, (opening, length) in enumerate(zip(opens, lengths, strict=True))
        ]
        rows.append(
            {
                "prompt": f"Question {n}?",
                "completions": answers,
                "ranks": [0, 1],
                "about": {"systems": "sft | base", **about},
            }
        )
    return rows  # fmt: skip


@contextmanager
def simulated_study(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Iterator[Store]:
    write_lines(folder / "rows.jsonl", rows)
    store = open_store(folder / "f.db")
    with store.writing() as session:
        config = AnnotateConfig(answers=[str(folder / "rows.jsonl")], out=str(folder / "f.db"), **settings)
        add_items(session, read_answers(config.answers).answers, "task", settle(session, config, "Be honest."))
        if config.gold:
            add_items(session, read_answers([config.gold]).answers, "gold", StudyConfig(**study_of(session).settings))
        add_annotator(session, "owner", role="owner")
    try:
        yield store
    finally:
        store.close()


def judge_all(store: Store, annotator: Simulated, group: str = "", seconds: float = 5.0, most: int = 10_000) -> int:
    """Lets somebody judge all that is open to her, or the first of it."""
    with store.writing() as session:
        settings = StudyConfig(**study_of(session).settings)
        person = add_annotator(session, annotator.name, group=group)
        for number in range(most):
            assignment = next_assignment(session, person, settings).assignment
            if assignment is None:
                return number
            item = session.get_one(StudyItem, assignment.item_id)
            verdict = choice(annotator, item.completions, assignment.shown, seconds + number % 3)
            key = f"{annotator.name} {assignment.id}"
            save_judgement(session, assignment, verdict, key=key, revision=0, guideline=study_of(session).guideline)
    return most


def choice(
    annotator: Simulated, completions: Sequence[Mapping[str, Any]], shown: Sequence[int], seconds: float = 5.0
) -> StudyVerdict:
    left, right = (str(completions[number]["content"]) for number in shown)
    best = shown[0] if annotator.prefers_left(left, right) else shown[1]
    return StudyVerdict("ranked", (0, 1) if best == 0 else (1, 0), "slightly", seconds=seconds)

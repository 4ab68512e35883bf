"""What the pages show of an item, of progress and of a judgement, as plain values for the templates."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from markupsafe import Markup
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from planish.base.text import count_text, duration_text
from planish.feedback.assignment import IS_JUDGED, TASKS, open_items
from planish.feedback.config import StudyConfig
from planish.feedback.judgements import OVERALL, current
from planish.feedback.markdown import render
from planish.feedback.payloads import by_place
from planish.feedback.schema import Assignment, Draft, StudyAnnotator, StudyItem, StudyJudgement

LETTERS = "ABCDEFGHI"
SPEAKERS = {"user": "Person", "assistant": "Assistant", "system": "Instructions", "tool": "Tool"}
REASONS = (
    "I lack the knowledge",
    "The question makes no sense",
    "I cannot read it",
    "I do not want to judge this",
    "Another reason",
)
RECENT = 20  # judgements whose time tells how long the others will take


@dataclass(frozen=True, slots=True)
class Turn:
    speaker: str
    html: Markup
    source: str


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    letter: str
    html: Markup
    source: str
    length: str


@dataclass(frozen=True, slots=True)
class SittingProgress:
    done: int
    total: int
    left: str  # such as "about 9 min left"
    rest: bool


@dataclass(frozen=True, slots=True)
class ShownTask:
    """An assignment on the page. `draft` is JSON: what was said before, by place."""

    assignment: Assignment
    prompt: list[Turn]
    answers: list[ShownAnswer]
    rows: tuple[str, ...]  # the questions: overall, then the aspects
    key: str
    draft: str
    others: list[dict[str, Any]]  # what an adjudicator sees of the others


def task_of(session: Session, assignment: Assignment, settings: StudyConfig) -> ShownTask:
    item = session.get_one(StudyItem, assignment.item_id)
    draft = session.get(Draft, assignment.id)
    return ShownTask(
        assignment=assignment,
        prompt=[_turn(message) for message in item.prompt],
        answers=_answers(item, assignment.shown),
        rows=(OVERALL, *settings.aspects),
        key=secrets.token_hex(16),
        draft=draft.content["page"] if draft is not None else "",
        others=_others(session, assignment) if assignment.chosen_by == "adjudication" else [],
    )


def _turn(message: dict[str, Any]) -> Turn:
    text = text_of(message)
    return Turn(SPEAKERS.get(str(message["role"]), str(message["role"])), render(text), text)


def text_of(message: dict[str, Any]) -> str:
    """The words of a message, and its calls of functions as code."""
    calls = [json.dumps(call["function"], ensure_ascii=False, indent=1) for call in message.get("tool_calls", ())]
    return "\n\n".join(filter(None, [message["content"], *(f"```json\n{call}\n```" for call in calls)]))


def _answers(item: StudyItem, shown: Sequence[int]) -> list[ShownAnswer]:
    texts = [text_of(item.completions[number]) for number in shown]
    return [
        ShownAnswer(letter, render(text), text, count_text(len(text.split()), "word"))
        for letter, text in zip(LETTERS, texts, strict=False)
    ]


def draft_of(judgement: StudyJudgement, shown: Sequence[int]) -> str:
    """A judgement as the page wrote it, for one that is undone."""
    opinions = {name: {**said, "ranks": by_place(said["ranks"], shown)} for name, said in judgement.aspects.items()}
    if judgement.ranks is not None and judgement.verdict == "ranked":
        opinions[OVERALL] = {"ranks": by_place(judgement.ranks, shown), "strength": judgement.strength}
    spans = [{**span, "answer": shown.index(span["answer"])} for span in judgement.spans]
    return json.dumps(
        {
            "verdict": judgement.verdict,
            "opinions": opinions,
            "reason": judgement.reason,
            "comment": judgement.comment,
            "rewrite": judgement.rewrite,
            "spans": spans,
        }
    )


def _others(session: Session, assignment: Assignment) -> list[dict[str, Any]]:
    """The judgements that an adjudicator decides between, without names, by letter."""
    query = select(Assignment).where(
        Assignment.item_id == assignment.item_id, Assignment.chosen_by.in_(TASKS), IS_JUDGED
    )
    found: list[dict[str, Any]] = []
    for other in session.scalars(query.order_by(Assignment.id)):
        judgement = current(session, other)
        if judgement is not None:
            said = "cannot tell" if judgement.ranks is None else ranking(by_place(judgement.ranks, assignment.shown))
            found.append({"said": "all bad" if judgement.verdict == "all_bad" else said, "comment": judgement.comment})
    return found


def ranking(ranks: Sequence[int]) -> str:
    """Ranks by place in letters: [1, 0, 1] is "B > A = C"."""
    by_rank: dict[int, list[str]] = {}
    for letter, rank in zip(LETTERS, ranks, strict=False):
        by_rank.setdefault(rank, []).append(letter)
    return " > ".join(" = ".join(by_rank[rank]) for rank in sorted(by_rank))


def progress_of(session: Session, annotator: StudyAnnotator, settings: StudyConfig) -> SittingProgress:
    mine = Assignment.annotator_id == annotator.id
    done = session.scalar(select(func.count()).select_from(Assignment).where(mine, IS_JUDGED)) or 0
    opened = session.scalar(select(func.count()).select_from(Assignment).where(mine, ~IS_JUDGED)) or 0
    left = opened + (session.scalar(select(func.count()).select_from(open_items(annotator, settings).subquery())) or 0)
    recent = (
        select(StudyJudgement.seconds).join(Assignment).where(mine).order_by(StudyJudgement.id.desc()).limit(RECENT)
    )
    times = [seconds for seconds in session.scalars(recent) if seconds > 0]
    text = f"about {duration_text(max(median(times) * left, 5))} left" if times and left else ""
    return SittingProgress(done, done + left, text, rest=done > 0 and done % settings.rest_after == 0)

"""comparison.json and answers.jsonl, the output of `planish compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from planish.base.errors import RunError
from planish.base.files import json_lines_in
from planish.reports.read.files import read_text, read_typed
from planish.reports.read.verdicts import RecordedVerdict
from planish.statistics.comparison_result import ComparisonResult, System

FILE, ANSWERS = "comparison.json", "answers.jsonl"

_SHAPE = TypeAdapter(ComparisonResult)


@dataclass(frozen=True, slots=True)
class SystemAnswer:
    """A system's first answer to a prompt. `outcome` against the baseline is 1, 1/2 or 0; a gold judge gives a verdict."""

    name: str
    text: str
    ended: bool
    tokens: int
    outcome: float | None
    score: float | None
    verdict: RecordedVerdict | None


@dataclass(frozen=True, slots=True)
class PromptAnswers:
    prompt: list[dict[str, str]]
    answers: list[SystemAnswer]


def is_comparison(folder: Path) -> bool:
    return (folder / FILE).is_file()


def read_comparison(folder: Path) -> ComparisonResult:
    return read_typed(folder / FILE, _SHAPE, "planish compare")


def others_of(comparison: ComparisonResult) -> list[System]:
    """The systems that are compared with the baseline."""
    return [system for system in comparison.systems if system.against is not None]


def read_answers(folder: Path, comparison: ComparisonResult) -> list[PromptAnswers]:
    """The answers of every system to each prompt; none where the file is absent."""
    path = folder / ANSWERS
    if not path.is_file():
        return []
    names = [system.name for system in comparison.systems]
    try:
        lines = json_lines_in(read_text(path))
        return [
            PromptAnswers(line["prompt"], [_answer(name, line["answers"][name][0]) for name in names]) for line in lines
        ]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{path}: not the answers of this comparison ({type(error).__name__}: {error})") from None


def _answer(name: str, answer: Mapping[str, Any]) -> SystemAnswer:
    verdict = None
    if "label" in answer:
        verdict = RecordedVerdict(answer["kind"], answer["label"], answer["score"], answer["terms"], answer["reasons"])
    outcome, score = answer.get("outcome"), answer.get("score")
    return SystemAnswer(name, answer["text"], answer["ended"], answer["tokens"], outcome, score, verdict)

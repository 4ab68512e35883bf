"""The protocol of a judge: scores of every system's answers, if it gives any, and verdicts on them against the baseline's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from planish.data.rows import Prompt

FEWEST = 10  # replies, or pairs, from which a judge none of whose replies can be read is no judge
SAME = 1e-9  # scores that lie closer are equal

AnswerTexts = Sequence[Sequence[str]]  # by prompt and sample


@dataclass(frozen=True, slots=True)
class Scores:
    """Numbers for the answers of one system, by prompt and sample. `about` is what the gold judge finds beside the utility."""

    values: list[list[float]]
    about: list[list[dict[str, Any]]] = field(default_factory=list[list[dict[str, Any]]])


@dataclass(frozen=True, slots=True)
class Verdicts:
    """By prompt and sample: 1 a win over the baseline, 0.5 a tie, 0 a loss. `split` of the ties changed with the order of the
    answers, in `unread` of those `asked` the judge named no answer, as in the reply `example`."""

    outcomes: list[list[float]]
    split: int = 0
    unread: int = 0
    asked: int = 0
    example: str | None = None


@dataclass(frozen=True, slots=True)
class JudgedAnswers:
    """Scores by system, none if the judge only compares; verdicts by system, without the baseline."""

    scores: dict[str, Scores]
    verdicts: dict[str, Verdicts]


class Judge(Protocol):
    def judge(self, prompts: Sequence[Prompt], answers: Mapping[str, AnswerTexts], baseline: str) -> JudgedAnswers:
        """Judges the answers of each system to these prompts."""
        ...


def judged_by_scores(scores: dict[str, Scores], baseline: str) -> JudgedAnswers:
    """The higher score wins."""
    verdicts = {name: verdicts_of_scores(own, scores[baseline]) for name, own in scores.items() if name != baseline}
    return JudgedAnswers(scores, verdicts)


def verdicts_of_scores(own: Scores, baseline: Scores) -> Verdicts:
    return Verdicts(
        [
            [0.5 if abs(a - b) < SAME else float(a > b) for a, b in zip(ours, theirs, strict=True)]
            for ours, theirs in zip(own.values, baseline.values, strict=True)
        ]
    )

"""Asking a model to choose between two answers, or to grade one: a served model in words, with a second round where its reply
cannot be read; a local one (`planish.judges.local`) by the probabilities of its replies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from planish.judges.client import LlmClient, LlmReply
from planish.judges.config import ServedAnnotatorConfig
from planish.judges.questions import NUMBER, VERDICT
from planish.judges.reading import Choice, read_grade, read_reply

AnswerKind = Literal["choice", "grade"]
SHAPES = {"choice": VERDICT, "grade": NUMBER}
REPAIR = {
    "choice": "I could not read a verdict in that. Reply with one word and nothing else: A, B, or tie.",
    "grade": "I could not read a grade in that. Reply with one number from 1 to 10 and nothing else.",
}


@dataclass(frozen=True, slots=True)
class JudgeReply:
    """The choice or grade of a reply, "unread" where it names none. `log_odds` of the first answer over the second are those of
    a local model; `repaired` was asked for twice."""

    value: Choice | float
    reply: str
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    repaired: bool = False
    log_odds: float | None = None


class Asker(Protocol):
    def check(self) -> None:
        """Raises, before anything is asked, where that is bound to fail."""
        ...

    def num_kept(self, questions: Sequence[str]) -> int:
        """How many of the questions have their replies already."""
        ...

    def ask(self, questions: Sequence[str], names: Sequence[str], told: Callable[[LlmReply], None]) -> list[JudgeReply]:
        """The replies to these questions, each with a name for errors. `told` hears of what was asked, as it comes."""
        ...


class ServedAsker:
    """Asks a served model. Its replies are kept in the file `memory`."""

    def __init__(self, config: ServedAnnotatorConfig, memory: Path, kind: AnswerKind, repair: bool) -> None:
        self.client, self.kind, self.repair = LlmClient(config, memory, SHAPES[kind]), kind, repair

    def check(self) -> None:
        self.client.check()

    def num_kept(self, questions: Sequence[str]) -> int:
        return sum(map(self.client.is_known, questions))

    def ask(self, questions: Sequence[str], names: Sequence[str], told: Callable[[LlmReply], None]) -> list[JudgeReply]:
        found = [self._read(reply) for reply in self.client.ask(questions, told)]
        again = [i for i, reply in enumerate(found) if reply.value == "unread"] if self.repair else []
        conversations = [
            [
                {"role": "user", "content": questions[i]},
                {"role": "assistant", "content": found[i].reply},
                {"role": "user", "content": REPAIR[self.kind]},
            ]
            for i in again
        ]
        for i, reply in zip(again, self.client.ask(conversations, told), strict=True):
            found[i] = self._read(reply, before=found[i])
        return found

    def _read(self, found: LlmReply, before: JudgeReply | None = None) -> JudgeReply:
        grade = None if self.kind == "choice" else read_grade(found.reply)
        value = read_reply(found.reply) if self.kind == "choice" else "unread" if grade is None else grade
        first = before or JudgeReply("unread", "")
        return JudgeReply(
            value,
            found.reply,
            first.tokens_in + found.tokens_in,
            first.tokens_out + found.tokens_out,
            first.seconds + found.seconds,
            repaired=before is not None,
        )

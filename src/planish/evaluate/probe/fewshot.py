"""Few-shot prompts: a question after several others of its kind with their answers (Brown et al. 2020), which show a base model
how an answer looks and where it ends.

    Q: Where was Ada born?
    A: London
    Q: Where was Emmy born?
    A:

The questions that are shown depend only on the seed, the question's text and the prompt's number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.errors import DataError
from planish.base.random import numpy_generator
from planish.data.rows import Question


class FewShotConfig(Config):
    shots: int = Field(default=4, ge=1, description="questions shown with their answers before each question")
    prompts: int = Field(default=10, ge=1, description="prompts for each question, each with other shots")
    question_form: str = Field(default="Q: {question}\nA:", description="form of a question; its answer follows")
    answer_prefix: str = Field(default=" ", description="text between question and answer")
    separator: str = Field(default="\n", description="text after a shown answer; begins with a newline")
    group: str | None = Field(
        default="relation",
        description="field of `about` that shots and question share; rows without it are one group; null takes any",
    )
    seed: int = Field(default=0, ge=0, description="seed of the shots and of sampling")

    @model_validator(mode="after")
    def _forms_fit(self) -> Self:
        if "{question}" not in self.question_form:
            raise ValueError("question_form: needs {question} in the place of the question's text")
        if self.question_form != self.question_form.rstrip():
            # A tokenizer that joins a space with the word after it would otherwise never see them joined.
            raise ValueError("question_form: ends in white space; that belongs to answer_prefix")
        if "\n" in self.answer_prefix:
            raise ValueError("answer_prefix: a newline ends an answer, so none may come before it")
        if not self.separator.startswith("\n"):
            raise ValueError("separator: must begin with a newline, which is where an answer ends")
        return self


def question_text(row: Question) -> str:
    """The question as one text; a system turn comes before it on a line of its own."""
    if any(message.role not in ("system", "user") for message in row.messages):
        raise DataError(f"{row.origin}: is a conversation, not a question: it has an answer in it. Take the row out.")
    return "\n".join(message.content for message in row.messages)


def answers_of(row: Question) -> list[str]:
    """The right answers, trimmed; as a shot the question is shown with the first.

    An answer ends with its line, so one of several lines is left out where there is another.
    """
    answers = [answer.strip() for answer in row.answers]
    if not answers or not all(answer.strip(".") for answer in answers):
        raise DataError(f"{row.origin}: has an empty answer: fill it in, or take the row out.")
    short = [answer for answer in answers if "\n" not in answer]
    if not short:
        raise DataError(
            f"{row.origin}: the answer {answers[0][:40]!r} has several lines, and an answer ends with its line here. "
            "Shorten it or take the row out."
        )
    return short


class FewShot:
    """Makes the prompts of a question from other questions of its group.

    >>> few_shot = FewShot(questions, config)
    >>> few_shot.prompts(questions[0])
    ['Q: ...', ...]
    """

    def __init__(self, exemplars: Iterable[Question], config: FewShotConfig) -> None:
        self.config = config
        rows = sorted(
            exemplars, key=lambda row: (question_text(row), row.answers)
        )  # so that their order does not matter
        self._groups: dict[str, dict[str, str]] = {}  # shown answers by group and question
        for row in rows:
            self._groups.setdefault(self._group(row), {}).setdefault(question_text(row), answers_of(row)[0])
        self._order = {group: list(shown) for group, shown in self._groups.items()}

    def prompts(self, row: Question) -> list[str]:
        """Texts that end where the answer begins."""
        asked = self.asked(row)
        return ["".join(map(self._shown, self.draw(row, k))) + asked for k in range(self.config.prompts)]

    def asked(self, row: Question) -> str:
        """The question itself, which ends every one of its prompts."""
        return self.config.question_form.replace("{question}", question_text(row))

    def draw(self, row: Question, k: int) -> list[tuple[str, str]]:
        """Questions and shown answers of prompt k, of the question's group, none twice and never the question itself."""
        text, group, shots = question_text(row), self._group(row), self.config.shots
        shown, order = self._groups.get(group, {}), self._order.get(group, [])
        if len(order) - (text in shown) < shots:
            raise DataError(self._too_few(row, len(order) - (text in shown)))
        numbers = numpy_generator(self.config.seed, "shots", text, k)
        # One more than needed: the question itself is left out.
        drawn = [order[i] for i in numbers.choice(len(order), min(shots + 1, len(order)), replace=False)]
        return [(other, shown[other]) for other in drawn if other != text][:shots]

    def _shown(self, shot: tuple[str, str]) -> str:
        question, answer = shot
        form, config = self.config.question_form, self.config
        return form.replace("{question}", question) + config.answer_prefix + answer + config.separator

    def _group(self, row: Question) -> str:
        return "" if self.config.group is None else str(row.about.get(self.config.group, ""))

    def _too_few(self, row: Question, others: int) -> str:
        name, group = self.config.group, self._group(row)
        kind = f"of {name} {group!r}" if group else f"without {name}" if name else "in all"
        return (
            f"{row.origin}: found {others} other questions {kind} to show before it, expected {self.config.shots}. "
            "Add some, name a file of exemplars, lower shots, or set group to another field (null allows any question)."
        )

"""The verifiers, one class each, with its settings. A new one is added to `Verifiers` at the end of this file."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, get_args

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.errors import ConfigError, DataError
from planish.data.rows import Prompt
from planish.judges.abstention import AbstentionDetector, abstention_detector, outcome_of
from planish.judges.verify.answers import final_answer, last_number, letter, normalized
from planish.judges.verify.code import code_in, passing
from planish.judges.verify.formulas import same_formula
from planish.judges.verify.schema import check_schema, fits

ANSWERS = ("answer", "solution", "final_answer", "target", "answers", "label", "reference", "completion", "output")
TESTS = ("tests", "test", "test_list")


@dataclass(frozen=True, slots=True)
class Answered:
    """A completion, and what the row of its prompt says is right."""

    text: str
    num_tokens: int
    truths: Sequence[Any] = ()  # one or several, any of which will do


class Verifier(Config):
    """Settings of a verifier; a right completion scores 1, any other 0, unless the verifier says otherwise."""

    name: Any = None
    weight: float = Field(default=1.0, description="weight of its scores in the sum; 0 only measures")

    def check(self, setting: str, prompts: Sequence[Prompt]) -> None:
        """Refuses, before anything is sampled, rows that it cannot verify by."""

    def truths(self, prompt: Prompt) -> list[Any]:
        """The answers that the prompt's row says are right."""
        return []

    def right(self, answered: Answered) -> float:
        """1 for a right completion, 0 for a wrong one, or a number between. Every verifier has its own, or its own `scores`."""
        raise NotImplementedError

    def scores(self, answers: Sequence[Answered]) -> list[float]:
        return [float(self.right(answered)) for answered in answers]


class RowVerifier(Verifier):
    """Settings of a verifier that compares with a column of the prompts' rows."""

    usual: ClassVar[tuple[str, ...]] = ANSWERS  # columns, the first that a row has
    column: str | None = Field(
        default=None,
        description="column of the prompts' rows that says what is right; absent takes answer, solution or another usual one",
    )

    def check(self, setting: str, prompts: Sequence[Prompt]) -> None:
        for prompt in prompts:
            try:
                self.truths(prompt)
            except ValueError as error:
                raise DataError(f"{prompt.origin}: {setting}: {error}") from None

    def truths(self, prompt: Prompt) -> list[Any]:
        name, value = self._found(prompt.fields)
        values = self.several(value)
        if not values or any(each is None or each == "" for each in values):
            raise ValueError(f"column {name!r} is empty. Fill it, or take the row out")
        try:
            return [self.truth(each) for each in values]
        except ValueError as error:
            raise ValueError(f"column {name!r} holds {str(value)[:60]!r}, {error}") from None

    def several(self, value: Any) -> list[Any]:
        return cast(list[Any], value) if isinstance(value, list) else [value]

    def truth(self, value: Any) -> Any:
        """What a value of the column says is right. Raises ValueError where it says nothing that could be.
        Every verifier by rows has its own."""
        raise NotImplementedError

    def _found(self, fields: Mapping[str, Any]) -> tuple[str, Any]:
        known = {name.casefold(): name for name in reversed([*fields])}
        wanted = self.usual if self.column is None else (self.column,)
        if found := next((known[name.casefold()] for name in wanted if name.casefold() in known), None):
            return found, fields[found]
        there = ", ".join(fields) or "none"
        raise ValueError(
            f"the row has no column {self.column!r}; it has {there}"
            if self.column
            else f"no column of the row is called {', '.join(self.usual[:-1])} or {self.usual[-1]}; it has {there}. "
            "Name one by `column`"
        )


class AnswerVerifier(RowVerifier):
    """The same words as the row's answer, letter case and the like aside."""

    name: Literal["answer"] = "answer"

    def truth(self, value: Any) -> str:
        return _words(value)

    def right(self, answered: Answered) -> bool:
        return normalized(final_answer(answered.text)) in answered.truths


class TruthVerifier(RowVerifier):
    """Pay for a correct answer, for none, and for a wrong one. Answering is worth it from a confidence of
    (abstained - wrong) / (correct - wrong) on, for 1, 0 and -w that is w / (1 + w)."""

    name: Literal["truth"] = "truth"
    correct: float = Field(default=1.0, description="score of a completion in which an answer of the row is")
    abstained: float = Field(default=0.0, description="score of a completion that says that it does not know")
    wrong: float = Field(default=-1.0, description="score of any other completion")
    abstentions: str | None = Field(
        default=None, description="a text file of words that abstain, one abstention a line, beside planish's own"
    )

    @model_validator(mode="after")
    def _check(self) -> TruthVerifier:
        if not self.wrong < self.abstained < self.correct:
            raise ValueError(
                f"correct={self.correct:g}, abstained={self.abstained:g}, wrong={self.wrong:g}: expected correct above abstained "
                "above wrong, or the policy learns always to answer, or never to"
            )
        return self

    def check(self, setting: str, prompts: Sequence[Prompt]) -> None:
        self._detector(setting)
        super().check(setting, prompts)

    def truth(self, value: Any) -> str:
        return _words(value)

    def scores(self, answers: Sequence[Answered]) -> list[float]:
        detector = self._detector("rewards")
        return [float(getattr(self, outcome_of(answer.text, answer.truths, detector))) for answer in answers]

    def _detector(self, setting: str) -> AbstentionDetector:
        try:
            return abstention_detector(self.abstentions)
        except ConfigError as error:
            raise ConfigError(f"{setting}: {error}") from None


class NumberVerifier(RowVerifier):
    """The same number as the row's."""

    name: Literal["number"] = "number"
    tolerance: float = Field(default=0.0, ge=0, description="difference of two numbers that still count as equal")

    def truth(self, value: Any) -> Any:
        if (found := last_number(_text(value))) is None:
            raise ValueError("in which there is no number")
        return found

    def right(self, answered: Answered) -> bool:
        found = last_number(answered.text)
        if found is None:
            return False
        if not self.tolerance:
            return found in answered.truths
        return any(abs(float(found) - float(truth)) <= self.tolerance for truth in answered.truths)


class ChoiceVerifier(RowVerifier):
    """The same letter of a multiple choice as the row's; a whole number counts from 0, which is A."""

    name: Literal["choice"] = "choice"
    usual: ClassVar[tuple[str, ...]] = ("answer", "answerKey", "label", "target", "solution", "correct")

    def truth(self, value: Any) -> str:
        if isinstance(value, int) and 0 <= value < 26:
            return chr(ord("A") + value)
        if (found := letter(_text(value))) is None:
            raise ValueError("in which there is no letter of a choice")
        return found

    def right(self, answered: Answered) -> bool:
        return letter(answered.text) in answered.truths


class MathVerifier(RowVerifier):
    """The same value as the row's formula, by sympy; what is no formula is compared as text."""

    name: Literal["math"] = "math"

    def truth(self, value: Any) -> str:
        if not (found := final_answer(_text(value))):
            raise ValueError("in which there is no answer")
        return found

    def right(self, answered: Answered) -> bool:
        return any(same_formula(final_answer(answered.text), truth) for truth in answered.truths)


class FormatVerifier(Verifier):
    """A pattern that the completion has."""

    name: Literal["format"] = "format"
    pattern: str = Field(
        description="regular expression that is looked for in the completion; a dot is any letter or line break, ^ and $ are "
        "its beginning and end"
    )

    @model_validator(mode="after")
    def _check(self) -> FormatVerifier:
        try:
            re.compile(self.pattern, re.DOTALL)
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}") from None
        return self

    def right(self, answered: Answered) -> bool:
        return re.search(self.pattern, answered.text, re.DOTALL) is not None


class LengthVerifier(Verifier):
    """A length within bounds."""

    name: Literal["length"] = "length"
    unit: Literal["tokens", "words", "characters"] = Field(default="tokens", description="tokens, words or characters")
    min: int = Field(default=0, ge=0, description="shortest length that scores 1")
    max: int = Field(ge=0, description="longest length that scores 1")
    soft: int = Field(default=0, ge=0, description="length beyond the bounds over which the score falls from 1 to 0")

    @model_validator(mode="after")
    def _check(self) -> LengthVerifier:
        if self.min > self.max:
            raise ValueError(f"min={self.min} is more than max={self.max}, so no length would do")
        return self

    def right(self, answered: Answered) -> float:
        lengths = {
            "tokens": answered.num_tokens, "words": len(answered.text.split()), "characters": len(answered.text)
        }  # fmt: skip
        length = lengths[self.unit]
        beyond = max(self.min - length, length - self.max, 0)
        return max(0.0, 1 - beyond / self.soft) if self.soft else float(beyond == 0)


class JsonVerifier(Verifier):
    """JSON, alone or in a fenced block, that a schema describes."""

    name: Literal["json"] = "json"
    json_schema: dict[str, Any] | str = Field(
        default={}, description="JSON schema, or a file that holds one; {} is any JSON"
    )

    @model_validator(mode="after")
    def _check(self) -> JsonVerifier:
        check_schema(self.the_schema())
        return self

    def the_schema(self) -> Any:
        if not isinstance(self.json_schema, str):
            return self.json_schema
        try:
            return json.loads(Path(self.json_schema).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"json_schema={self.json_schema}: cannot be read as JSON: {error}") from None

    def scores(self, answers: Sequence[Answered]) -> list[float]:
        schema = self.the_schema()
        return [float(_is_json_of(code_in(answered.text), schema)) for answered in answers]


class CodeVerifier(RowVerifier):
    """Python in the last fenced block, that passes the row's tests."""

    name: Literal["code"] = "code"
    usual: ClassVar[tuple[str, ...]] = TESTS
    run_code: Literal[True] = Field(
        description="true: yes, run what the policy writes on this machine. It is no sandbox (docs/howto/verifiers.md)"
    )
    seconds: float = Field(default=5.0, gt=0, le=600, description="time limit of one completion and its tests")
    megabytes: int = Field(default=256, ge=64, description="memory limit of one completion and its tests")

    @model_validator(mode="after")
    def _check(self) -> CodeVerifier:
        if sys.platform == "win32":
            raise ValueError("code: needs the resource limits of Linux or macOS")
        return self

    def several(self, value: Any) -> list[Any]:
        """All tests of a list must be passed."""
        return ["\n".join(map(_text, cast(list[Any], value)))] if isinstance(value, list) else [value]

    def truth(self, value: Any) -> str:
        try:
            ast.parse(tests := _text(value))
        except SyntaxError as error:
            raise ValueError(f"which is no Python: line {error.lineno}: {error.msg}") from None
        return tests

    def scores(self, answers: Sequence[Answered]) -> list[float]:
        programs = [f"{code_in(answered.text)}\n\n{answered.truths[0]}\n" for answered in answers]
        return list(map(float, passing(programs, self.seconds, self.megabytes)))


def _is_json_of(text: str, schema: Any) -> bool:
    try:
        return fits(json.loads(text), schema)
    except (ValueError, RecursionError, OverflowError):
        return False


def _words(value: Any) -> str:
    if not (found := normalized(final_answer(_text(value)))):
        raise ValueError("which has no words")
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a text or a number")
    return str(value)


Verifiers = (
    AnswerVerifier
    | TruthVerifier
    | NumberVerifier
    | ChoiceVerifier
    | MathVerifier
    | FormatVerifier
    | LengthVerifier
    | JsonVerifier
    | CodeVerifier
)
NAMES = tuple(kind.model_fields["name"].default for kind in get_args(Verifiers))

"""Functions of people's own that score completions: whatever their parameters are called, and whatever they return."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planish.base.errors import ConfigError
from planish.data.rows import Message, Origin, Prompt
from planish.judges.config import FunctionJudgeConfig
from planish.judges.function import FunctionJudge, ScoringFunction

PROMPTS = [
    Prompt((Message("user", text),), Origin("made up", i), about={"solution": text[-1], "id": i} if i else {"id": i})
    for i, text in enumerate(("say a", "say b"))
]
COMPLETIONS = ["a b", "b"]


def scorer(function: Callable[..., Any]) -> ScoringFunction:
    made = ScoringFunction("support.rewards:letters", "rewards.mine.function")
    made.function, made.name = function, "mine:score"
    return made


class Scorer:
    def __call__(self, prompts: Any, completions: Any) -> list[float]:
        return words(prompts, completions)


def words(prompts: Any, completions: Any) -> list[float]:
    return [
        len(text.split()) + (turns[0]["content"] == "say b") for turns, text in zip(prompts, completions, strict=True)
    ]


def of_completions_alone(completions: Any) -> list[float]:
    return [len(text.split()) + (text == "b") for text in completions]


def as_in_trl(completions: Any, **kwargs: Any) -> list[float]:
    assert set(kwargs) == {"prompts", "about", "solution", "id"}
    return words(kwargs["prompts"], completions)


def with_a_field(prompts: Any, completions: Any, solution: Any, id: Any) -> list[float]:
    assert solution == [None, "b"]  # the first row has none
    return [2 + 0 * number for number in id]


def with_about(texts: Any, about: Any) -> list[float]:
    return [2 + 0 * row["id"] for row, _ in zip(about, texts, strict=True)]


def one_at_a_time(prompt: Any, completion: str, id: int) -> float:
    return len(completion.split()) + (prompt[0]["content"] == "say b") + 0 * id


def with_a_default(completions: Any, scale: float = 1.0) -> list[float]:
    return [2 * scale for _ in completions]


@pytest.mark.parametrize(
    "function",
    [
        words, of_completions_alone, as_in_trl, with_a_field, with_about, one_at_a_time, with_a_default, Scorer(),
        functools.partial(lambda x, a, b: words(a, b), 0), lambda a, b: words(a, b), lambda *both: words(*both),
        lambda texts: [2.0 for _ in texts], lambda **all: words(all["prompts"], all["completions"]),
        lambda texts, /, prompts: words(prompts, texts), lambda prompts, completions: np.array([2, 2]),
        lambda prompts, completions: torch.tensor([2.0, 2.0], requires_grad=True), lambda a, b: (2.0 for _ in b),
        lambda a, b: [np.float32(2), torch.tensor(2)], lambda a, b: [2, 1 + True], lambda a, b: tuple(words(a, b)),
    ],
)  # fmt: skip
def test_usual_signatures_and_returns_give_the_numbers(function: Callable[..., Any]) -> None:
    score = scorer(function)
    score.check(PROMPTS) if function is not with_a_field else None
    assert score(PROMPTS, COMPLETIONS) == [2, 2]


ROWS = [
    Prompt(
        (Message("user", "6 * 7?"),),
        Origin("sums.jsonl", 1),
        record={"question": "6 * 7?", "answer": "42", "tests": ["a", "b"]},
    ),
    Prompt((Message("user", "1 + 1?"),), Origin("sums.jsonl", 2), record={"question": "1 + 1?", "answer": "2"}),
]


def with_columns(completions: Any, answer: Any, tests: Any) -> list[float]:
    assert tests == [["a", "b"], None]
    return [float(text == right) for text, right in zip(completions, answer, strict=True)]


def with_everything(prompts: Any, completions: Any, completion_ids: Any, iteration: int, **columns: Any) -> list[float]:
    assert (completion_ids, iteration) == ([[5, 6], [7]], 3)
    assert set(columns) == {"question", "answer", "tests", "about"}
    assert columns["about"][1] == {"question": "1 + 1?", "answer": "2"}
    return with_columns(completions, columns["answer"], columns["tests"])


def one_row_at_a_time(completion: str, answer: str, completion_ids: Any, iteration: int) -> float:
    return float(completion == answer and completion_ids[0] > 4 and iteration == 3)


def old(question: Any, answer: Any) -> list[float]:
    """Two parameters are prompts and completions, whatever the columns are called."""
    assert question[0][0]["role"] == "user"
    return [float(text == "42") for text in answer]


@pytest.mark.parametrize(
    "function", [with_columns, with_everything, one_row_at_a_time, old, lambda answer: [x == "42" for x in answer]]
)
def test_a_function_is_given_the_columns_that_it_names(function: Callable[..., Any]) -> None:
    score = scorer(function)
    score.check(ROWS, completion_ids=[[], []], iteration=0)
    assert score(ROWS, ["42", "3"], completion_ids=[[5, 6], [7]], iteration=3) == [1, 0]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda a, b: None, "returned None"),
        (lambda a, b: 2.0, "returned 2.0"),
        (lambda a, b: "22", "returned '22'"),
        (lambda a, b: {0: 1.0, 1: 2.0}, "returned {0: 1.0"),
        (lambda a, b: {1.0, 2.0}, "returned {1.0, 2.0}"),
        (lambda a, b: ["2", "2"], r"returned \['2', '2'\]"),
        (lambda a, b: [2.0, None], "None"),
        (lambda a, b: [[1.0], [2.0]], r"returned \[\[1.0\]"),
        (lambda a, b: np.ones((2, 2)), "returned array"),
        (lambda a, b: np.float64(2), "returned"),
        (lambda a, b: [2.0], "returned 1$"),
        (lambda a, b: [2.0, float("inf")], "returned inf"),
        (lambda a, b: [2.0, 2 + 1j], "returned"),
    ],
)
def test_anything_but_a_number_for_each_completion_is_refused(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"mine:score must return one finite number for each of 2 completions.*{said}"
    ):
        scorer(function)(PROMPTS, COMPLETIONS)


def test_a_function_that_empties_its_list_is_still_asked_for_all() -> None:
    with pytest.raises(ConfigError, match="each of 2 completions; it returned 0"):
        scorer(lambda prompts, completions: completions.clear() or [])(PROMPTS, COMPLETIONS)


@pytest.mark.parametrize(
    "function",
    [lambda prompts, completions, answer: 0, lambda queries, prompts, labels: 0, lambda prompts: 0, lambda: 0, lambda a, b, c: 0],
)  # fmt: skip
def test_a_function_that_asks_for_what_no_row_has_is_refused_before_it_is_called(function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"mine:score has the parameters .*beside them id, solution, about"):
        scorer(function).check(PROMPTS)


def test_an_error_is_told_with_the_line_of_ones_own_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fails_inside.py").write_text(
        "import json\ndef parse(text):\n    return json.loads(text)\n"
        "def score(completions):\n    return [*map(parse, completions)]\n"
    )
    (tmp_path / "fails_late.py").write_text("def score(completions):\n    for c in completions:\n        yield 1 / 0\n")
    (tmp_path / "fails_at_once.py").write_text("x = 1\nraise RuntimeError('no licence\\nsee below')\n")
    (tmp_path / "no_python.py").write_text("def score(completions:\n    return 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    inside = ScoringFunction("fails_inside:score", "rewards.mine.function")
    with pytest.raises(
        ConfigError, match=r"score failed in .*fails_inside.py, line 3, `return json.loads\(text\)`: JSON"
    ):
        inside(PROMPTS, COMPLETIONS)
    late = ScoringFunction("fails_late:score", "rewards.mine.function")
    with pytest.raises(
        ConfigError, match=r"fails_late.py, line 3, `yield 1 / 0`: ZeroDivisionError: division by zero$"
    ):
        late(PROMPTS, COMPLETIONS)
    with pytest.raises(
        ConfigError, match=r"cannot be imported: in .*fails_at_once.py, line 2, .*RuntimeError: no licence$"
    ):
        ScoringFunction("fails_at_once:score", "rewards.mine.function")
    with pytest.raises(
        ConfigError, match=r"imported: in .*no_python.py, line 1, `def score\(completions:`: SyntaxError"
    ):
        ScoringFunction("no_python:score", "rewards.mine.function")


def test_a_judge_of_ones_own_is_checked_when_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.rewards.letters", lambda prompts, completions, answer: 0)
    with pytest.raises(
        ConfigError, match=r"judge: support.rewards:letters has the parameters prompts, completions, answer"
    ):
        FunctionJudge(FunctionJudgeConfig(function="support.rewards:letters"), PROMPTS)

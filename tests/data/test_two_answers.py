"""Published comparisons of two answers, and what their verdicts mean."""

from __future__ import annotations

from typing import Any

import pytest

from planish.base.errors import DataError
from support.comparison_records import answers, assistant, compared, dropped, said, user

ASKED, PEAR, STONE = user("Name a fruit."), assistant("A pear."), assistant("A stone.")


@pytest.mark.parametrize(
    ("winner", "ranks"),
    [
        *(("model_a", (0, 1)), ("model_b", (1, 0)), ("tie", (0, 0)), ("tie (bothbad)", (0, 0)), ("both_bad", (0, 0))),
    ],
)
def test_the_winner_of_two_conversations_has_the_better_last_answer(winner: str, ranks: tuple[int, int]) -> None:
    before = [user("Hi."), assistant("Hello.")]
    record = {"conversation_a": [*before, ASKED, PEAR], "conversation_b": [*before, ASKED, STONE], "winner": winner}
    row = compared({**record, "model_a": "x", "model_b": "y", "turn": 2})
    assert said(row.prompt) == [("user", "Hi."), ("assistant", "Hello."), ("user", "Name a fruit.")]
    assert (answers(row), row.ranks) == (["A pear.", "A stone."], ranks)
    assert row.about == {"model_a": "x", "model_b": "y", "turn": 2}


def test_conversations_that_differ_earlier_have_no_common_prompt() -> None:
    one, other = [user("Hi."), assistant("Hello."), ASKED, PEAR], [user("Hi."), assistant("Hey."), ASKED, PEAR]
    assert "no common prompt" in dropped({"conversation_a": one, "conversation_b": other, "winner": "model_a"})


@pytest.mark.parametrize(("strength", "ranks"), [(-3, (0, 1)), (-1, (0, 1)), (0, (0, 0)), (2, (1, 0)), ("-2", (0, 1))])
def test_a_negative_strength_means_that_the_first_is_better(strength: Any, ranks: tuple[int, int]) -> None:
    two = {
        "prompt": "Name a fruit.",
        "response_1": "A pear.",
        "response_2": "A stone.",
        "preference_strength": strength,
    }
    three = {"context": [ASKED], "response1": "A pear.", "response2": "A stone.", "overall_preference": strength}
    for row in map(compared, (two, three)):
        assert (said(row.prompt), answers(row), row.ranks) == (
            [("user", "Name a fruit.")],
            ["A pear.", "A stone."],
            ranks,
        )


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (
            {"conversation_a": [ASKED, PEAR], "conversation_b": [ASKED, STONE], "winner": "model_c"},
            "winner: found 'model_c'",
        ),
        (
            {"conversation_a": [ASKED, PEAR], "conversation_b": [ASKED], "winner": "model_a"},
            "conversation_b: expected a",
        ),
        (
            {"context": [PEAR], "response1": "a", "response2": "b", "overall_preference": 1},
            "does not end in a question",
        ),
        ({"prompt": "a", "response_1": "a", "response_2": "b", "preference_strength": "much"}, "expected a number"),
    ],
)
def test_a_verdict_or_prompt_that_cannot_be_read_is_refused(record: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError) as caught:
        compared(record)
    assert problem in str(caught.value)

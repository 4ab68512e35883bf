"""Comparisons to train on: what each format becomes, and what is said about a record that does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.base.errors import DataError
from planish.data.formats import import_rows
from planish.data.rows import LEARNT, Comparison, Message
from support.comparison_records import HERE, answers, assistant, compared, dropped, rows_of, said, user

Said = list[tuple[str, str]]


# The common format


def test_comparison_keeps_all_that_a_row_holds() -> None:
    record = {
        "prompt": [{"role": "system", "content": "Be brief."}, user("Hi?")],
        "completions": ["a", assistant("b"), "c"],
        "ranks": [1, 0, 1],
        "scores": [0.5, 2, 0.5],
        "annotator": "ann",
        "group": "north",
        "about": {"source": "web", "votes": 3},
        "origin": {"file": "x", "row": 1},
    }
    prompt = Message("system", "Be brief."), Message("user", "Hi?")
    completions = Message("assistant", "a"), Message("assistant", "b"), Message("assistant", "c")
    scores, about = (0.5, 2.0, 0.5), {"source": "web", "votes": 3}
    assert compared(record) == Comparison(prompt, completions, (1, 0, 1), HERE, scores, "ann", "north", about)


def test_comparison_may_be_a_columnar_row_with_about_as_json_text() -> None:
    record = {"prompt": "Hi?", "completions": ["a", "b"], "ranks": [0, 1], "scores": None, "about": '{"votes": 3}'}
    row = compared(record)
    assert (said(row.prompt), row.scores, row.about) == ([("user", "Hi?")], (), {"votes": 3})


# HH-RLHF

SHARED_TURNS = "\n\nHuman: Hi.\n\nAssistant:  Hello.\n\nHuman: Who?"


def test_hh_rlhf_shares_the_prompt_and_compares_the_last_turns() -> None:
    row = compared(
        {"chosen": f"{SHARED_TURNS}\n\nAssistant: I am.", "rejected": f"{SHARED_TURNS}\n\nAssistant: I\n\nam"}
    )
    assert said(row.prompt) == [("user", "Hi."), ("assistant", " Hello."), ("user", "Who?")]
    assert answers(row) == ["I am.", "I\n\nam"]
    assert row.ranks == (0, 1)


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        ("\n\nAssistant: a", "\n\nAssistant: a", "completions 1 and 2 are the same, but ranked apart"),
        ("\n\nAssistant: ", "\n\nAssistant: a", "a turn is empty"),
        ("\n\nAssistant: a\n\nAssistant: b", "\n\nAssistant: c", "the transcripts differ before their last turn"),
        (
            "\n\nAssistant: a\n\nHuman: b",
            "\n\nAssistant: a\n\nHuman: c",
            "a transcript ends before the assistant's answer",
        ),
    ],
)
def test_hh_rlhf_drops_what_cannot_be_read_as_two_answers(chosen: str, rejected: str, reason: str) -> None:
    assert dropped({"chosen": SHARED_TURNS + chosen, "rejected": SHARED_TURNS + rejected}).startswith(reason)


# Chosen and rejected

ASKED = user("Who?")
GPT_BEFORE = [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Who?"}]
SPELLINGS: list[tuple[dict[str, Any], Said]] = [
    ({"prompt": "Who?", "chosen": "I.", "rejected": "No."}, [("user", "Who?")]),
    ({"prompt": SHARED_TURNS + "\n\nAssistant:", "chosen": "I.", "rejected": "No."},
     [("user", "Hi."), ("assistant", " Hello."), ("user", "Who?")]),
    ({"system": "Be brief.", "question": "Who?", "chosen": "I.", "rejected": "No."},
     [("system", "Be brief."), ("user", "Who?")]),
    ({"instruction": "Who?", "input": "", "output": "I.", "rejected": "No.", "chosen": "I."}, [("user", "Who?")]),
    ({"instruction": "Who is it?", "input": "Bo", "output": "No.", "rejected": "No.", "chosen": "I."},
     [("user", "Who is it?\n\nBo")]),
    ({"conversations": GPT_BEFORE, "chosen": {"from": "gpt", "value": "I."}, "rejected": {"from": "gpt", "value": "No."}},
     [("system", "Be brief."), ("user", "Who?")]),
    ({"messages": [ASKED], "chosen": assistant("I."), "rejected": assistant("No.")}, [("user", "Who?")]),
    ({"prompt": [ASKED], "chosen": [assistant("I.")], "rejected": [assistant("No.")]}, [("user", "Who?")]),
    ({"chosen": [ASKED, assistant("I.")], "rejected": [ASKED, assistant("No.")]}, [("user", "Who?")]),
    ({"prompt": "Who?", "prompt_id": "7", "chosen": [ASKED, assistant("I.")], "rejected": [ASKED, assistant("No.")],
      "messages": [ASKED, assistant("I.")]}, [("user", "Who?")]),
    ({"messages": [ASKED, assistant("I.")], "chosen": [ASKED, assistant("I.")], "rejected": [ASKED, assistant("No.")]},
     [("user", "Who?")]),
    ({"prompt": "Who?", "system": "Be brief.", "chosen": [ASKED, assistant("I.")], "rejected": [ASKED, assistant("No.")]},
     [("system", "Be brief."), ("user", "Who?")]),
]  # fmt: skip


@pytest.mark.parametrize(("record", "prompt"), SPELLINGS, ids=range(len(SPELLINGS)))
def test_chosen_and_rejected_in_their_common_spellings(record: dict[str, Any], prompt: Said) -> None:
    row = compared(record)
    assert said(row.prompt) == prompt
    assert answers(row) == ["I.", "No."]
    assert (row.ranks, row.scores) == ((0, 1), ())


@pytest.mark.parametrize(
    "names",
    [("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"), ("chosen_rating", "rejected_rating")],
)
def test_scores_of_the_chosen_and_the_rejected_are_kept(names: tuple[str, str]) -> None:
    record = {"prompt": "Who?", "chosen": "I.", "rejected": "No.", names[0]: 8.5, names[1]: 3, "source": "web"}
    row = compared(record)
    assert row.scores == (8.5, 3.0)
    assert row.about == {"source": "web"}


def test_equal_answers_teach_nothing_and_are_dropped() -> None:
    reason = dropped({"prompt": "Who?", "chosen": "I.", "rejected": "I."})
    assert reason == "completions 1 and 2 are the same, but ranked apart"


def test_equal_answers_that_are_tied_stay() -> None:
    assert compared({"prompt": "Who?", "completions": ["I.", "I."], "ranks": [0, 0]}).pairs == []


# Several answers


def test_ultrafeedback_ranks_by_score_with_ties() -> None:
    replies = [
        {"model": "a", "response": "A", "overall_score": 7.5, "fine-grained_score": 1.0},
        {"model": "b", "response": "B", "overall_score": 9.0},
        {"model": "c", "response": "C", "fine-grained_score": 7.5},
        {"model": "d", "response": "D", "overall_score": 2},
    ]
    row = compared({"source": "evol", "instruction": "Who?", "models": ["a"], "completions": replies})
    assert said(row.prompt) == [("user", "Who?")]
    assert answers(row) == ["A", "B", "C", "D"]
    assert row.ranks == (1, 0, 1, 2)
    assert row.scores == (7.5, 9.0, 7.5, 2.0)
    assert row.about == {"source": "evol", "model_1": "a", "model_2": "b", "model_3": "c", "model_4": "d"}


def test_ranked_answers_keep_their_order_in_the_file() -> None:
    replies = [{"answer": "A", "rank": 3.0, "model": "a"}, {"answer": "B", "rank": 1.0}, {"answer": "C", "rank": 3.0}]
    row = compared({"prompt": "\n\nHuman: Who? \n\nAssistant: ", "answers": replies, "turns": 1})
    assert said(row.prompt) == [("user", "Who? ")]
    assert answers(row) == ["A", "B", "C"]
    assert row.ranks == (1, 0, 1)
    assert row.about == {"turns": 1, "model_1": "a"}


def test_stack_exchange_prefers_response_j() -> None:
    row = compared({"question": "How?", "response_j": "So.", "response_k": "No.", "qid": 4})
    assert (said(row.prompt), answers(row), row.ranks) == ([("user", "How?")], ["So.", "No."], (0, 1))
    assert row.about == {"qid": 4}


# Records that do not fit

PAIR = {"prompt": "Who?", "chosen": "I.", "rejected": "No."}
K_WISE: dict[str, Any] = {"prompt": "Who?", "completions": ["a", "b"], "ranks": [0, 1]}
UNFIT: list[tuple[str, Any, str, str]] = [
    ("comparison", {**K_WISE, "ranks": [0, 1, 2]}, "ranks", "found 3, expected 2, one for each completion"),
    ("comparison", {**K_WISE, "ranks": [0, 0.5]}, "ranks[1]", "found 0.5, expected a whole number from 0 up"),
    ("comparison", {**K_WISE, "ranks": [-1, 0]}, "ranks[0]", "found -1, expected a whole number from 0 up"),
    ("comparison", {**K_WISE, "ranks": [True, 0]}, "ranks[0]", "found true or false, expected a number"),
    ("comparison", {**K_WISE, "ranks": ["first", 0]}, "ranks[0]", "found 'first', expected a number"),
    ("comparison", {**K_WISE, "scores": [1]}, "scores", "found 1, expected 2"),
    ("comparison", {**K_WISE, "scores": [1, float("nan")]}, "scores[1]", "found nan, expected a number"),
    ("comparison", {**K_WISE, "ranks": [0, float("inf")]}, "ranks[1]", "found inf, expected a number"),
    ("comparison", {**K_WISE, "completions": ["a"]}, "completions", "found 1, expected two or more"),
    ("comparison", {**K_WISE, "completions": ["a", user("b")]}, "completions[1]", "found turns of user, expected one"),
    ("comparison", {**K_WISE, "prompt": [assistant("a")]}, "prompt", "does not end in a question"),
    ("comparison", {**K_WISE, "prompt": []}, "prompt", "does not end in a question"),
    ("comparison", {**K_WISE, "about": "{"}, "about", "not valid JSON"),
    ("comparison", {**K_WISE, "about": {"x": [1]}}, "about.x", "found a list, expected a text, a number"),
    ("hh_rlhf", {"chosen": "Human: a", "rejected": "b"}, "chosen", r"begins with 'Human: a', expected '\n\nHuman: '"),
    ("chosen_rejected", {"chosen": "a", "rejected": "b"}, "prompt", "missing; found the fields chosen, rejected"),
    ("chosen_rejected", {**PAIR, "chosen": ""}, "chosen", "empty"),
    ("chosen_rejected", {**PAIR, "rejected": None}, "rejected", "missing"),
    ("chosen_rejected", {**PAIR, "rejected": 3}, "rejected", "found a number, expected a text"),
    ("chosen_rejected", {**PAIR, "rejected": []}, "rejected", "does not end in a turn of the assistant"),
    ("chosen_rejected", {**PAIR, "rejected": [user("No.")]}, "rejected", "does not end in a turn of the assistant"),
    ("chosen_rejected", {**PAIR, "prompt": " "}, "prompt", "empty"),
    ("chosen_rejected", {**PAIR, "prompt": "\n\nHuman: \n\nAssistant:"}, "prompt", "one of its turns is empty"),
    (
        "chosen_rejected",
        {**PAIR, "score_chosen": "high", "score_rejected": 1},
        "score_chosen",
        "found 'high', expected a",
    ),
    (
        "chosen_rejected",
        {"chosen": [user("a"), assistant("b")], "rejected": [user("x"), assistant("c")]},
        "rejected",
        "the turns before its last differ from those of `chosen`",
    ),
    (
        "chosen_rejected",
        {"prompt": "Where?", "chosen": [ASKED, assistant("b")], "rejected": [ASKED, assistant("c")]},
        "prompt",
        "is missing at the start of `chosen`",
    ),
    ("ultrafeedback", {"instruction": "a", "completions": [{"response": "b"}]}, "completions", "found 1, expected two"),
    (
        "ultrafeedback",
        {"instruction": "a", "completions": [{"response": "b"}, {"response": "c"}]},
        "completions[0].fine-grained_score",
        "missing",
    ),
    (
        "ranked",
        {"prompt": "a", "answers": [{"answer": "b", "rank": 1}] * 2 + [{"answer": "c"}]},
        "answers[2].rank",
        "mis",
    ),
    ("stack_exchange_paired", {"question": "a", "response_j": "b", "response_k": ""}, "response_k", "empty"),
    (
        "llmbar",
        {"input": "a", "output_1": "b", "output_2": "c", "label": 0},
        "label",
        "found '0', expected one of 1, 2",
    ),
]


@pytest.mark.parametrize(("format", "value", "field", "problem"), UNFIT)
def test_a_record_that_does_not_fit_is_named_by_file_row_and_field(
    format: str, value: Any, field: str, problem: str
) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(format, value, Comparison)
    where = f"here.jsonl row 7, field {field}: " if field else "here.jsonl row 7: "
    assert str(caught.value).startswith(where)
    assert problem in str(caught.value)


def test_comparisons_are_refused_as_demonstrations(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(PAIR) + "\n")
    with pytest.raises(DataError) as caught:
        import_rows(file, LEARNT)
    assert str(caught.value) == (
        f"{file}: read as chosen_rejected, it holds comparisons; expected demonstrations or documents. Comparisons are for a "
        "reward model or DPO. Take the file out of this run, or set `format` if it was misread."
    )


def test_demonstrations_are_refused_as_comparisons(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text(json.dumps({"messages": [ASKED, assistant("I.")]}) + "\n")
    with pytest.raises(DataError, match="it holds demonstrations; expected comparisons"):
        import_rows(file, (Comparison,))


# No importer loses or invents text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
TURN = TEXT.filter(lambda text: "\n\nHuman:" not in text and "\n\nAssistant:" not in text)


@given(turns=st.lists(TURN, max_size=4), question=TURN, pair=st.lists(TURN, min_size=2, max_size=2, unique=True))
def test_hh_rlhf_keeps_every_turn(turns: list[str], question: str, pair: list[str]) -> None:
    spoken = [(("user", "assistant")[at % 2], text) for at, text in enumerate(turns[: len(turns) // 2 * 2])]
    spoken.append(("user", question))
    names = {"user": "Human", "assistant": "Assistant"}
    before = "".join(f"\n\n{names[role]}: {text}" for role, text in spoken)
    row = compared(
        {name: f"{before}\n\nAssistant: {text}" for name, text in zip(("chosen", "rejected"), pair, strict=True)}
    )
    assert said(row.prompt) == spoken
    assert answers(row) == pair


PROMPT = TEXT.filter(lambda text: not text.startswith("\n\nHuman:"))


@given(prompt=PROMPT, pair=st.lists(TEXT, min_size=2, max_size=2, unique=True), repeated=st.booleans())
def test_chosen_and_rejected_keep_every_character(prompt: str, pair: list[str], repeated: bool) -> None:
    before = [user(prompt)] if repeated else []
    sides: list[Any] = [[*before, assistant(text)] for text in pair] if repeated else pair
    row = compared({"prompt": prompt, "chosen": sides[0], "rejected": sides[1]})
    assert said(row.prompt) == [("user", prompt)]
    assert answers(row) == pair


@given(prompt=PROMPT, replies=st.lists(TEXT, min_size=2, max_size=5, unique=True), data=st.data())
def test_comparisons_of_many_keep_every_completion(prompt: str, replies: list[str], data: st.DataObject) -> None:
    ranks = data.draw(st.lists(st.integers(0, 4), min_size=len(replies), max_size=len(replies)))
    row = compared({"prompt": prompt, "completions": replies, "ranks": ranks})
    assert (said(row.prompt), answers(row), row.ranks) == ([("user", prompt)], replies, tuple(ranks))
    listed = [{"answer": reply, "rank": rank} for reply, rank in zip(replies, ranks, strict=True)]
    row = compared({"prompt": prompt, "answers": listed})
    assert (said(row.prompt), answers(row)) == ([("user", prompt)], replies)
    assert row.pairs == [(w, r) for w, a in enumerate(ranks) for r, b in enumerate(ranks) if a < b]

"""Two answers that somebody judged, and verdicts on one: what each format becomes, and records that do not fit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.base.errors import DataError
from planish.data.files.readers import Record
from planish.data.formats import recognize
from planish.data.rows import Comparison, Judged, Message, Row
from support.comparison_records import HERE, answers, assistant, compared, dropped, judged, rows_of, said, user

ASKED = user("Who?")

# Two judged answers

PANDALM = {"idx": 3, "instruction": "Add.", "input": "2 3", "response1": "5", "response2": "6"}


def test_pandalm_gives_a_comparison_for_each_annotator() -> None:
    rows = rows_of("pandalm", {**PANDALM, "annotator1": 1, "annotator2": 0, "annotator3": 2}, Comparison)
    comparisons = [row for row in rows if isinstance(row, Comparison)]
    assert [(row.annotator, row.ranks) for row in comparisons] == [
        ("annotator1", (0, 1)),
        ("annotator2", (0, 0)),
        ("annotator3", (1, 0)),
    ]
    assert said(comparisons[0].prompt) == [("user", "Add.\n\n2 3")]
    assert answers(comparisons[2]) == ["5", "6"]
    assert comparisons[0].about == {"idx": 3}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("response2", "", "response2 is empty"),
        ("instruction", " ", "instruction is empty"),
        ("response1", True, "response1 is true or false, not the text that was judged"),
    ],
)
def test_pandalm_drops_a_record_without_the_texts_that_were_judged(field: str, value: Any, reason: str) -> None:
    assert dropped({**PANDALM, "annotator1": 1, "annotator2": 1, field: value}) == reason


ALPACA_EVAL = {"instruction": "Who?", "output_1": "I.", "output_2": "No.", "annotator": "gpt4", "generator_1": "a"}


@pytest.mark.parametrize(
    ("preference", "ranks", "scores"),
    [
        (1, (0, 1), (1.0, 0.0)),
        (2.0, (1, 0), (0.0, 1.0)),
        (0, (0, 0), (0.5, 0.5)),
        (1.5, (0, 0), (0.5, 0.5)),
        (1.25, (0, 1), (0.75, 0.25)),
        (1.75, (1, 0), (0.25, 0.75)),
    ],
)
def test_alpaca_eval_preferences(preference: float, ranks: tuple[int, int], scores: tuple[float, float]) -> None:
    row = compared({**ALPACA_EVAL, "preference": preference, "raw_completion": {"index": 0}})
    assert (row.ranks, row.scores, row.annotator) == (ranks, scores, "gpt4")
    assert row.about == {"generator_1": "a"}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [("preference", None, "preference is null: the annotator gave no verdict"), ("output_2", "", "output_2 is empty")],
)
def test_alpaca_eval_drops_what_was_not_judged(field: str, value: Any, reason: str) -> None:
    assert dropped({**ALPACA_EVAL, "preference": 1, field: value}) == reason


def test_llmbar_labels_the_better_output() -> None:
    row = compared({"input": "Who?", "output_1": "I.", "output_2": "No.", "label": 2})
    assert (said(row.prompt), answers(row), row.ranks) == ([("user", "Who?")], ["I.", "No."], (1, 0))


def test_safe_rlhf_ranks_by_helpfulness() -> None:
    record = {
        "prompt": "Who?",
        "response_0": "I.",
        "response_1": "No.",
        "better_response_id": 1,
        "safer_response_id": 0,
    }
    row = compared(record)
    assert (answers(row), row.ranks, row.about) == (["I.", "No."], (1, 0), {"safer_response_id": 0})


def test_shp_prefers_a_where_labels_is_1() -> None:
    record = {"history": "Why?", "human_ref_A": "So.", "human_ref_B": "No.", "labels": 1, "score_A": 9, "score_B": 4}
    row = compared(record)
    assert (said(row.prompt), row.ranks, row.scores) == ([("user", "Why?")], (0, 1), (9.0, 4.0))


def test_summaries_are_asked_for_as_in_the_paper() -> None:
    info = {"id": "t3", "post": "Long.", "title": "A", "subreddit": "pets"}
    summaries = [{"text": " x", "policy": "sup"}, {"text": " y", "policy": "ref"}]
    row = compared({"info": info, "summaries": summaries, "choice": 1, "worker": "w7", "batch": "b1"})
    assert said(row.prompt) == [("user", "SUBREDDIT: r/pets\n\nTITLE: A\n\nPOST: Long.\n\nTL;DR:")]
    assert (answers(row), row.ranks, row.annotator, row.about) == ([" x", " y"], (1, 0), "w7", {"batch": "b1"})


# Verdicts


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [ASKED, assistant("I.")], "label": False},
        {"prompt": "Who?", "completion": "I.", "label": False},
        {"prompt": [ASKED], "completion": [assistant("I.")], "label": False},
        {"prompt": "Who?", "completion": "I.", "label": "False"},
        {"prompt": [ASKED], "completion": assistant("I."), "verdict": False},
    ],
)
def test_an_answer_is_desirable_or_not(record: dict[str, Any]) -> None:
    assert judged(record) == Judged((Message("user", "Who?"),), Message("assistant", "I."), False, HERE)


def test_a_label_that_is_no_truth_value_leaves_messages_what_they_are() -> None:
    assert recognize(Record({"messages": [ASKED, assistant("I.")], "label": "sports"}, HERE)).name == "messages"


def test_xstest_completions_keep_both_annotations() -> None:
    labels = {"annotation_1": "1_full_compliance", "annotation_2": "3_partial_refusal"}
    row = judged({"id": "v2-1", "prompt": "Who?", "completion": "I.", **labels, "final_label": "3_partial_refusal"})
    assert row.verdict == "3_partial_refusal"
    assert row.about == {"id": "v2-1", **labels}


def test_halueval_says_yes_to_a_hallucination() -> None:
    spans = ["I", "am"]
    record = {"user_query": "Who?", "chatgpt_response": "I am.", "hallucination": "yes", "hallucination_spans": spans}
    row = judged(record)
    assert (row.completion.content, row.verdict, row.about) == ("I am.", "yes", {"hallucination_spans": "I\nam"})


@pytest.mark.parametrize("score", ["1", 1, 1.0])
def test_pyrit_keeps_the_score_as_a_word(score: Any) -> None:
    row = judged({"objective": "Who?", "assistant_response": "No.", "human_score": score, "data_type": "text"})
    assert (said(row.prompt), row.verdict, row.about) == ([("user", "Who?")], "1", {"data_type": "text"})


# Records that do not fit

SUMMARY: dict[str, Any] = {"info": {"article": "x"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 0}
SHP = {"history": "h", "human_ref_A": "a", "human_ref_B": "b", "labels": 1}
XSTEST = {"prompt": "a", "completion": "b", "final_label": "refused"}
UNFIT: list[tuple[str, Any, str, str]] = [
    ("pandalm", {**PANDALM, "annotator1": 3}, "annotator1", "found '3', expected one of 0, 1, 2"),
    ("pandalm", {**PANDALM, "annotator1": True}, "annotator1", "found 'True', expected one of 0, 1, 2"),
    ("alpaca_eval", {**ALPACA_EVAL, "preference": 3}, "preference", "found 3, expected 0 (a tie), or from 1"),
    ("alpaca_eval", {**ALPACA_EVAL, "preference": 0.5}, "preference", "found 0.5, expected 0 (a tie)"),
    ("llmbar", {"input": "a", "output_1": "", "output_2": "c", "label": 1}, "output_1", "empty"),
    ("safe_rlhf", {"prompt": "a", "response_0": "b", "response_1": "c"}, "better_response_id", "missing"),
    ("shp", {**SHP, "labels": 2}, "labels", "found '2', expected one of 1, 0"),
    ("shp", {**SHP, "score_A": 2}, "", "has one of score_A and score_B"),
    ("summarize_feedback", {**SUMMARY, "choice": 2}, "choice", "found '2', expected one of 0, 1"),
    ("summarize_feedback", {**SUMMARY, "summaries": [{"text": "a"}]}, "summaries", "found 1, expected 2"),
    ("summarize_feedback", {**SUMMARY, "info": {"post": "x"}}, "info.subreddit", "missing"),
]
UNFIT_JUDGED: list[tuple[str, Any, str, str]] = [
    ("kto", {"prompt": "a", "completion": "b", "label": "good"}, "label", "found 'good', expected true (desirable)"),
    ("kto", {"prompt": "a", "completion": "b", "label": 3}, "label", "found '3', expected true (desirable)"),
    ("kto", {"messages": [user("a")], "label": True}, "messages", "expected a prompt with an answer of the assistant"),
    ("kto", {"messages": [assistant("a")], "label": True}, "messages", "expected a prompt with an answer"),
    ("kto", {"messages": [], "label": True}, "messages", "expected a prompt with an answer"),
    ("judged", {"prompt": "a", "completion": "b", "verdict": 3}, "verdict", "found a number, expected a text"),
    ("xstest_completions", XSTEST, "final_label", "found 'refused', expected one of 1_full_compliance, 2_full_refusal"),
    ("halueval", {"user_query": "a", "chatgpt_response": "b", "hallucination": "maybe"}, "hallucination", "yes, no"),
    (
        "pyrit",
        {"objective": "a", "assistant_response": "b", "human_score": ""},
        "human_score",
        "found '', expected a n",
    ),
]


@pytest.mark.parametrize(
    ("kind", "format", "value", "field", "problem"),
    [(Comparison, *row) for row in UNFIT] + [(Judged, *row) for row in UNFIT_JUDGED],
)
def test_a_record_that_does_not_fit_is_named_by_file_row_and_field(
    kind: type[Row], format: str, value: Any, field: str, problem: str
) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(format, value, kind)
    where = f"here.jsonl row 7, field {field}: " if field else "here.jsonl row 7: "
    assert str(caught.value).startswith(where)
    assert problem in str(caught.value)


# No importer loses or invents text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
PROMPT = TEXT.filter(lambda text: not text.startswith("\n\nHuman:"))
TWO_ANSWERS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("question", "response_j", "response_k", {}),
    ("instruction", "response1", "response2", {"annotator1": 1}),
    ("instruction", "output_1", "output_2", {"preference": 1}),
    ("input", "output_1", "output_2", {"label": 1}),
    ("prompt", "response_0", "response_1", {"better_response_id": 0}),
    ("history", "human_ref_A", "human_ref_B", {"labels": 1}),
]


@pytest.mark.parametrize(("asked", "one", "two", "label"), TWO_ANSWERS)
@given(prompt=PROMPT, pair=st.lists(TEXT, min_size=2, max_size=2, unique=True))
def test_two_judged_answers_keep_every_character(
    asked: str, one: str, two: str, label: dict[str, Any], prompt: str, pair: list[str]
) -> None:
    row = compared({asked: prompt, one: pair[0], two: pair[1], **label})
    assert (said(row.prompt), answers(row), row.ranks) == ([("user", prompt)], pair, (0, 1))


VERDICTS: list[tuple[str, str, dict[str, Any]]] = [
    ("prompt", "completion", {"label": True}),
    ("prompt", "completion", {"verdict": "fine"}),
    ("prompt", "completion", {"final_label": "2_full_refusal"}),
    ("user_query", "chatgpt_response", {"hallucination": "no"}),
    ("objective", "assistant_response", {"human_score": "0"}),
]


@pytest.mark.parametrize(("asked", "answered", "label"), VERDICTS)
@given(prompt=PROMPT, completion=TEXT)
def test_verdicts_keep_every_character(
    asked: str, answered: str, label: dict[str, Any], prompt: str, completion: str
) -> None:
    row = judged({asked: prompt, answered: completion, **label})
    assert (said(row.prompt), row.completion) == ([("user", prompt)], Message("assistant", completion))

"""Prompts and questions: what each format becomes, and what is said about a record that does not fit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.base.errors import DataError
from planish.data.files.readers import Record
from planish.data.formats import FORMATS, recognize
from planish.data.formats.registry import importer_of
from planish.data.rows import Comparison, Dropped, Message, Origin, Prompt, Question, Row

HERE = Origin("here.jsonl", 7)


def rows_of(format: str, value: Any, kind: type[Row]) -> list[Row | Dropped]:
    record = Record(value, HERE, alone=True)
    return list(importer_of(FORMATS[format], (kind,), record)(record))


def prompt(value: Any) -> Prompt:
    (row,) = rows_of(recognize(Record(value, HERE)).name, value, Prompt)
    assert isinstance(row, Prompt)
    return row


def questions(value: Any) -> list[Question]:
    rows = rows_of(recognize(Record(value, HERE)).name, value, Question)
    return [row for row in rows if isinstance(row, Question)]


def question(value: Any) -> Question:
    (row,) = questions(value)
    return row


def ask(content: str) -> tuple[Message, ...]:
    return (Message("user", content),)


# Prompts


@pytest.mark.parametrize(
    ("record", "messages"),
    [
        ({"prompt": "Who?"}, ask("Who?")),
        ({"prompt": [{"role": "user", "content": "Who?"}]}, ask("Who?")),
        ({"prompt": "Who?", "system": "Be brief."}, (Message("system", "Be brief."), *ask("Who?"))),
        ({"prompt": "\n\nHuman: Who?\n\nAssistant:"}, ask("Who?")),
    ],
)
def test_a_prompt_alone(record: dict[str, Any], messages: tuple[Message, ...]) -> None:
    assert prompt(record) == Prompt(messages, HERE)


def test_a_prompt_keeps_its_notes_and_follow_ups() -> None:
    assert prompt({"prompt": "Who?", "topic": "names"}).about == {"topic": "names"}
    own = prompt(
        {"prompt": "Who?", "follow_ups": ["Why?"], "about": {"topic": "names"}, "origin": {"file": "x", "row": 1}}
    )
    assert own == Prompt(ask("Who?"), HERE, ("Why?",), about={"topic": "names"})


@pytest.mark.parametrize(
    ("more", "format"),
    [
        ({"completion": "I."}, "prompt_completion"),
        ({"messages": []}, "messages"),
        ({"text": "Who? I."}, "text"),
        ({"instruction": "Who?", "output": "I."}, "alpaca"),
        ({"answers": ["I."]}, "question"),
        ({"answers": [{"answer": "I.", "rank": 1}]}, "ranked"),
        ({"chosen": "I.", "rejected": "No."}, "chosen_rejected"),
    ],
)
def test_a_prompt_with_an_answer_is_no_prompt_alone(more: dict[str, Any], format: str) -> None:
    assert recognize(Record({"prompt": "Who?", **more}, HERE)).name == format


def test_xstest_keeps_what_is_known_of_a_prompt() -> None:
    record = {"id": "1", "prompt": "Who?", "type": "homonyms", "label": "safe", "focus": "kill", "note": ""}
    about = {"id": "1", "type": "homonyms", "label": "safe", "focus": "kill"}
    assert prompt(record) == Prompt(ask("Who?"), HERE, about=about)


def test_simple_safety_tests_prompt() -> None:
    record = {"id": "sst_001", "harm_area": "Scams", "counter": "1", "prompts_final": "Who?"}
    assert prompt(record) == Prompt(ask("Who?"), HERE, about={"id": "sst_001", "harm_area": "Scams", "counter": "1"})


def test_donotanswer_joins_the_intents() -> None:
    assert prompt({"prompt": "Who?", "intents": ["S1", "S2"]}) == Prompt(ask("Who?"), HERE, about={"intents": "S1, S2"})


def test_mt_bench_asks_the_later_turns_afterwards() -> None:
    record = {"question_id": 81, "category": "math", "turns": ["Add.", "Double it."], "reference": ["5", ""]}
    about = {"question_id": 81, "category": "math", "reference_1": "5", "reference_2": ""}
    assert prompt(record) == Prompt(ask("Add."), HERE, ("Double it.",), about=about)


# Questions


def test_question_keeps_right_and_wrong_answers() -> None:
    record = {"prompt": "Who?", "answers": ["I.", "Me."], "wrong_answers": ["You."], "about": {"level": 1}}
    assert question(record) == Question(ask("Who?"), ("I.", "Me."), HERE, ("You.",), {"level": 1})


def test_truthfulqa_splits_at_semicolons_and_puts_the_best_first() -> None:
    record = {
        "Type": "Adversarial",
        "Question": "Who?",
        "Best Answer": "Me",
        "Best Incorrect Answer": "You",
        "Correct Answers": "I; Me;  Myself; ",
        "Incorrect Answers": "They",
    }
    assert question(record) == Question(
        ask("Who?"), ("Me", "I", "Myself"), HERE, ("You", "They"), {"Type": "Adversarial"}
    )


def test_bigbench_truthfulqa_counts_its_examples_as_rows() -> None:
    one = {"Question": "Who?", "True answers": ["I.", "Me."], "False answers": ["You."], "Best answer": "Me."}
    rows = questions({"prefix": "Q: ...", "examples": [one, {**one, "Question": "Why?", "Category": "Law"}]})
    assert rows == [
        Question(ask("Who?"), ("Me.", "I."), Origin("here.jsonl", 1), ("You.",)),
        Question(ask("Why?"), ("Me.", "I."), Origin("here.jsonl", 2), ("You.",), {"Category": "Law"}),
    ]


def test_nq_open_lists_all_right_answers() -> None:
    assert question({"question": "who", "answer": ["I", "me"]}) == Question(ask("who"), ("I", "me"), HERE)


@pytest.mark.parametrize(
    ("answer", "final"),
    [("2 + 3 = 5\n#### 5", "5"), ("a\n#### 2,125 ", "2,125"), ("Paris", "Paris"), ("#### -7", "-7")],
)
def test_the_answer_of_gsm8k_follows_the_hashes(answer: str, final: str) -> None:
    assert question({"question": "How many?", "answer": answer}) == Question(ask("How many?"), (final,), HERE)


@pytest.mark.parametrize(("ideal", "answers"), [("Yes", ("Yes",)), (["Yes", "yes"], ("Yes", "yes"))])
def test_openai_evals(ideal: Any, answers: tuple[str, ...]) -> None:
    record = {"input": [{"role": "system", "content": "Say yes."}, {"role": "user", "content": "Now."}], "ideal": ideal}
    assert question(record) == Question((Message("system", "Say yes."), *ask("Now.")), answers, HERE)


# BIG-bench


def task(*examples: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "t", "append_choices_to_input": False, **more, "examples": list(examples)}


def test_bigbench_asks_the_input_after_the_tasks_prefix() -> None:
    (row,) = questions(task({"input": "Who?", "target": ["I", "me"], "comment": "x"}, task_prefix="Answer."))
    assert row == Question(ask("Answer.\nWho?"), ("I", "me"), Origin("here.jsonl", 1), about={"comment": "x"})


@pytest.mark.parametrize(("prefix", "said"), [("Answer.\n", "Who?"), ("Answer.", "\nWho?")])
def test_a_prefix_that_ends_its_line_stays_as_it_is(prefix: str, said: str) -> None:
    assert question(task({"input": said, "target": "I"}, task_prefix=prefix)).messages == ask("Answer.\nWho?")


def test_bigbench_options_of_the_highest_score_are_right() -> None:
    row = question(task({"input": "Who?", "target_scores": {"I": 1, "you": 0, "me": 1}, "target": "I"}))
    assert (row.messages, row.answers, row.wrong_answers) == (ask("Who?"), ("I", "me"), ("you",))


@pytest.mark.parametrize("setting", [{"append_choices_to_input": True}, {"append_choices_to_input": "True"}, {}])
def test_bigbench_shows_options_in_an_order_that_tells_nothing(setting: dict[str, Any]) -> None:
    value = {"examples": [{"input": "Who?", "target_scores": {"you": 1, "I": 0}}], **setting}
    assert question(value).messages == ask("Who?\n  choice: I\n  choice: you")


def test_bigbench_example_without_an_answer_is_dropped() -> None:
    rows = rows_of(
        "bigbench", task({"input": "Who?", "target": [""]}, {"input": "Why?", "target": ["", "So."]}), Question
    )
    first, second = rows
    assert first == Dropped(Origin("here.jsonl", 1), "target is empty")
    assert isinstance(second, Question)
    assert second.answers == ("So.",)


def test_bigbench_options_are_a_comparison() -> None:
    (row,) = rows_of("bigbench", task({"input": "Who?", "target_scores": {"I": 0.5, "you": 0, "me": 1}}), Comparison)
    completions = tuple(Message("assistant", said) for said in ("I", "you", "me"))
    assert row == Comparison(ask("Who?"), completions, (1, 2, 0), Origin("here.jsonl", 1), (0.5, 0.0, 1.0))


def test_a_dialogue_in_a_bigbench_input_becomes_turns() -> None:
    said = "Hi.\n\nAssistant: Hello.\n\nHuman: Who?"
    row = question(task({"input": said, "target_scores": {"I": 1, "you": 0}}, example_output_prefix="\nAssistant:"))
    assert row.messages == (Message("user", "Hi."), Message("assistant", "Hello."), Message("user", "Who?"))


# Records that do not fit

TRUTH = {"Question": "a", "Best Answer": "b", "Correct Answers": "b", "Incorrect Answers": "c"}
UNFIT: list[tuple[type[Row], str, Any, str, str]] = [
    (Prompt, "prompt", {"prompt": " "}, "prompt", "empty"),
    (Prompt, "prompt", {"prompt": []}, "prompt", "does not end in a question"),
    (Prompt, "prompt", {"prompt": [{"role": "assistant", "content": "a"}]}, "prompt", "does not end in a question"),
    (Prompt, "prompt", {"prompt": [{"role": "bot", "content": "a"}]}, "prompt[0].role", "unknown role 'bot'"),
    (Prompt, "prompt", {"prompt": "a", "follow_ups": "b"}, "follow_ups", "found a text, expected a list"),
    (Prompt, "prompt", {"prompt": "a", "about": 3}, "about", "found a number, expected an object"),
    (
        Question,
        "question",
        {"prompt": "a", "answers": ["b"], "tools": [{}]},
        "tools",
        "only demonstrations, comparisons and prompts",
    ),
    (Prompt, "xstest", {"prompt": ""}, "prompt", "empty"),
    (Prompt, "donotanswer", {"prompt": "a", "intents": [1]}, "intents[0]", "found a number, expected a text"),
    (Prompt, "mt_bench", {"question_id": 1, "turns": []}, "turns", "empty, expected at least one text"),
    (Prompt, "mt_bench", {"question_id": 1, "turns": ["a", ""]}, "turns[1]", "empty"),
    (Question, "question", {"prompt": "a", "answers": []}, "answers", "empty, expected at least one text"),
    (
        Question,
        "question",
        {"prompt": "a", "answers": ["b"], "wrong_answers": [1]},
        "wrong_answers[0]",
        "found a number",
    ),
    (Question, "truthfulqa", {**TRUTH, "Correct Answers": ""}, "Correct Answers", "empty"),
    (Question, "nq_open", {"question": "a", "answer": []}, "answer", "empty, expected at least one text"),
    (Question, "question_answer", {"question": "a", "answer": "b\n####"}, "answer", "nothing follows '####'"),
    (Question, "openai_evals", {"input": "a", "ideal": None}, "ideal", "missing"),
    (Question, "bigbench_truthfulqa", {"examples": [{"Question": "a"}]}, "examples[0].True answers", "missing"),
    (Question, "bigbench", task({"input": "a"}), "examples[0].target", "missing"),
    (
        Question,
        "bigbench",
        task({"input": "a", "target": [3]}),
        "examples[0].target[0]",
        "found a number, expected a text",
    ),
    (Question, "bigbench", task({"input": "", "target": "b"}), "examples[0].input", "empty"),
    (
        Question,
        "bigbench",
        task({"input": "a", "target_scores": {"b": "c"}}),
        "examples[0].target_scores.b",
        "found 'c'",
    ),
    (Question, "bigbench", task({"input": "a", "target_scores": ["b"]}), "examples[0].target_scores", "found a list"),
    (Comparison, "bigbench", task({"input": "a", "target": "b"}), "examples[0]", "has no target_scores"),
]


@pytest.mark.parametrize(("kind", "format", "value", "field", "problem"), UNFIT)
def test_a_record_that_does_not_fit_is_named_by_file_row_and_field(
    kind: type[Row], format: str, value: Any, field: str, problem: str
) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(format, value, kind)
    row = 1 if field.startswith("examples") else 7
    assert str(caught.value).startswith(f"here.jsonl row {row}, field {field}: ")
    assert problem in str(caught.value)


# No importer loses or invents text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
SAID = TEXT.filter(lambda text: not text.startswith("\n\nHuman:"))


@given(said=SAID)
def test_every_kind_of_prompt_is_kept_to_the_last_character(said: str) -> None:
    records: list[dict[str, Any]] = [
        {"prompt": said},
        {"prompt": said, "type": "a", "label": "b", "focus": "c"},
        {"prompts_final": said},
        {"prompt": said, "intents": []},
        {"question_id": 1, "turns": [said]},
    ]
    assert [prompt(record).messages for record in records] == [ask(said)] * 5


@given(said=SAID, answers=st.lists(TEXT, min_size=1, max_size=4, unique=True), wrong=st.lists(TEXT, max_size=3))
def test_every_kind_of_question_keeps_its_answers(said: str, answers: list[str], wrong: list[str]) -> None:
    right = tuple(answers)
    examples = [{"Question": said, "True answers": answers, "False answers": wrong}]
    records: list[dict[str, Any]] = [
        {"prompt": said, "answers": answers, "wrong_answers": wrong},
        {"question": said, "answer": answers},
        {"input": said, "ideal": answers},
        {"examples": examples},
        task({"input": said, "target": answers}),
    ]
    found = [question(record) for record in records]
    assert [(row.messages, row.answers) for row in found] == [(ask(said), right)] * 5
    assert [row.wrong_answers for row in found] == [tuple(wrong), (), (), tuple(wrong), ()]


@given(said=SAID, options=st.dictionaries(TEXT, st.integers(0, 3), min_size=2, max_size=4))
def test_bigbench_options_are_kept_in_both_kinds(said: str, options: dict[str, int]) -> None:
    value = task({"input": said, "target_scores": options})
    row = question(value)
    assert {*row.answers, *row.wrong_answers} == {*options}
    (pair,) = rows_of("bigbench", value, Comparison)
    assert isinstance(pair, Comparison)
    assert [message.content for message in pair.completions] == [*options]

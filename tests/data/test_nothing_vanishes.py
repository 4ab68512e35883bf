"""Every field of a record and of a turn is used, kept as a note, listed as ignored, or refused, whatever the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from planish.base.errors import DataError
from planish.data.files.readers import Record
from planish.data.formats import FORMATS, import_rows, recognize
from planish.data.formats.registry import Handling, imported, importer_of
from planish.data.ignored import IgnoredFields
from planish.data.prompts import stream_prompts
from planish.data.rows import (
    LEARNT,
    Comparison,
    Demonstration,
    Dropped,
    Judged,
    Message,
    Origin,
    Prompt,
    Question,
    Row,
    ToolCall,
)
from support.demonstration_records import HI, answer, chat, write

HERE = Origin("here.jsonl", 7)
LONG = "x" * 201
TWO = ["a", "b"]
FLAT = {"message_id": "m", "parent_id": None, "message_tree_id": "m", "role": "prompter", "text": "a"}
OASST = {"role": "prompter", "text": "a", "replies": [{"role": "assistant", "text": "b", "replies": []}]}
# A record of each format that has fields of its own.
RECORDS: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "a", "output": "b"},
    "self_instruct": {"instruction": "a", "instances": [{"output": "b"}]},
    "dolly": {"instruction": "a", "context": "", "response": "b"},
    "prompt_completion": {"prompt": "a", "completion": "b"},
    "sampled": {"messages": [HI], "completion": "b", "ended": True},
    "question_answer": {"question": "a", "answer": "b"},
    "messages": chat(answer()),
    "sharegpt": {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    "utterances": {"conversations": TWO},
    "exchanges": {"conversations": [{"input": "a", "output": "b"}]},
    "xlam": {"query": "a", "tools": [{"name": "look"}], "answers": [{"name": "look", "arguments": {}}]},
    "glaive": {"chat": "USER: a\n\n\nASSISTANT: b <|endoftext|>"},
    "known": {"prompt": "a", "answers": ["b"], "p_greedy": 1.0, "category": "HighlyKnown"},
    "text": {"text": "a"},
    "oasst": OASST,
    "chosen_rejected": {"prompt": "a", "chosen": "b", "rejected": "c"},
    "ultrafeedback": {
        "instruction": "a",
        "completions": [{"response": "b", "overall_score": 1}, {"response": "c", "overall_score": 2}],
    },
    "ranked": {"prompt": "a", "answers": [{"answer": "b", "rank": 1}, {"answer": "c", "rank": 2}]},
    "stack_exchange_paired": {"question": "a", "response_j": "b", "response_k": "c"},
    "pandalm": {"instruction": "a", "input": "", "response1": "b", "response2": "c", "annotator1": 1},
    "alpaca_eval": {"instruction": "a", "output_1": "b", "output_2": "c", "preference": 1},
    "llmbar": {"input": "a", "output_1": "b", "output_2": "c", "label": 1},
    "safe_rlhf": {"prompt": "a", "response_0": "b", "response_1": "c", "better_response_id": 0},
    "shp": {"history": "a", "human_ref_A": "b", "human_ref_B": "c", "labels": 1},
    "summarize_feedback": {"info": {"article": "a"}, "summaries": [{"text": "b"}, {"text": "c"}], "choice": 0},
    "preference": {"prompt": "a", "completion_a": "b", "completion_b": "c", "preference": "a"},
    "chatbot_arena": {"winner": "model_a", "conversation_a": [HI, answer("b")], "conversation_b": [HI, answer("c")]},
    "helpsteer3": {"context": [HI], "response1": "b", "response2": "c", "overall_preference": 1},
    "helpsteer2": {"prompt": "a", "response_1": "b", "response_2": "c", "preference_strength": 1},
    "comparison": {"prompt": "a", "completions": TWO, "ranks": [0, 1]},
    "kto": {"prompt": "a", "completion": "b", "label": True},
    "judged": {"prompt": "a", "completion": "b", "verdict": True},
    "xstest_completions": {"prompt": "a", "completion": "b", "final_label": "2_full_refusal"},
    "halueval": {"user_query": "a", "chatgpt_response": "b", "hallucination": "no"},
    "pyrit": {"objective": "a", "assistant_response": "b", "human_score": 1},
    "prompt": {"prompt": "a"},
    "xstest": {"prompt": "a", "type": "t", "label": "safe", "focus": "f"},
    "simple_safety_tests": {"prompts_final": "a"},
    "donotanswer": {"prompt": "a", "intents": ["i"]},
    "mt_bench": {"question_id": 1, "turns": TWO},
    "question": {"prompt": "a", "answers": ["b"]},
    "truthfulqa": {"Question": "a", "Best Answer": "b", "Correct Answers": "b", "Incorrect Answers": "c"},
    "nq_open": {"question": "a", "answer": ["b"]},
    "openai_evals": {"input": [HI], "ideal": "b"},
}
# A flat tree is read message by message, and these have no record of one row.
OTHERS = {
    *("oasst_messages", "flan_cot", "flan_task", "lines", "chatterbot", "chitchat", "hh_rlhf"),
    *("bigbench", "bigbench_truthfulqa"),
}
# In these a system prompt is refused, because the published files have none.
WITHOUT_A_SYSTEM_PROMPT = {
    *("self_instruct", "summarize_feedback", "xstest_completions", "halueval", "pyrit", "xstest"),
    *("simple_safety_tests", "donotanswer", "mt_bench", "truthfulqa"),
}


def read(value: Any, format: str = "auto") -> tuple[list[Row | Dropped], dict[str, int]]:
    """The rows of a record, and the fields that none of them holds."""
    ignored = IgnoredFields()
    record = Record(value, HERE, ignored=ignored)
    chosen = recognize(record) if format == "auto" else FORMATS[format]
    function = importer_of(chosen, tuple(chosen.importers), record)
    rows = list(imported(chosen, function, record))
    return rows, {entry["field"]: entry["rows"] for entry in ignored.as_records}


def notes_of(row: Row | Dropped) -> dict[str, Any]:
    assert not isinstance(row, Dropped)
    return dict(row.about)


def test_every_format_is_tried_here() -> None:
    assert FORMATS.keys() - OTHERS <= RECORDS.keys()


@pytest.mark.parametrize("format", RECORDS)
def test_a_field_without_a_place_is_a_note_if_it_is_short_and_is_listed_otherwise(format: str) -> None:
    rows, ignored = read({**RECORDS[format], "odd": "short", "long": LONG, "list": ["x"], "inside": {"x": 1}}, format)
    assert ignored.keys() >= {"long", "list", "inside"}
    assert "odd" not in ignored
    assert all(notes_of(row)["odd"] == "short" for row in rows)
    assert read(RECORDS[format], format)[1] == {}


@pytest.mark.parametrize("name", ["images", "documents", "passage"])
@pytest.mark.parametrize("format", RECORDS)
def test_what_the_model_should_have_read_is_refused(format: str, name: str) -> None:
    with pytest.raises(DataError, match=rf"field {name}: .*would be lost"):
        read({**RECORDS[format], name: ["MUST BE READ"]}, format)


@pytest.mark.parametrize("name", ["system", "system_prompt", "system_message"])
@pytest.mark.parametrize("format", sorted(RECORDS.keys() - {"text", "sampled", "oasst", "glaive"}))
def test_a_system_prompt_beside_the_turns_is_read_or_refused(format: str, name: str) -> None:
    value = {**RECORDS[format], name: "Speak like a pirate."}
    if format in WITHOUT_A_SYSTEM_PROMPT:
        with pytest.raises(DataError, match=f"field {name}: "):
            read(value, format)
        return
    for row in read(value, format)[0]:
        assert isinstance(row, Demonstration | Comparison | Judged | Prompt | Question)
        turns = row.prompt if isinstance(row, Comparison | Judged) else row.messages
        assert turns[0] == Message("system", "Speak like a pirate.")


@pytest.mark.parametrize("format", ["alpaca", "dolly", "question_answer", "messages", "sharegpt", "prompt_completion"])
def test_demonstrations_take_their_system_prompt_by_any_name(format: str) -> None:
    for name in ("system", "system_prompt", "system_message"):
        (row,), _ = read({**RECORDS[format], name: "Be brief."}, format)
        assert isinstance(row, Demonstration)
        assert row.messages[0] == Message("system", "Be brief.")
    with pytest.raises(DataError, match="differs from `system`"):
        read({**RECORDS[format], "system": "Be brief.", "system_prompt": "Be long."}, format)


@pytest.mark.parametrize("name", ["tools", "functions", "tool_defs"])
@pytest.mark.parametrize("format", ["alpaca", "dolly", "question_answer", "messages", "sharegpt", "prompt_completion"])
def test_functions_are_read_by_any_name(format: str, name: str) -> None:
    schema = {"name": "look", "description": "Looks."}
    (row,), ignored = read({**RECORDS[format], name: [schema]}, format)
    assert isinstance(row, Demonstration)
    assert (row.tools, ignored) == ((schema,), {})


# Turns: one parser for all formats

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}


def in_each_format(*turns: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The same turns under each field that can hold a conversation."""
    listed = list(turns)
    return [
        ("messages", {"messages": listed}),
        ("sharegpt", {"conversations": listed}),
        ("chosen_rejected", {"prompt": listed[:-1], "chosen": listed[-1], "rejected": answer("c")}),
        ("comparison", {"prompt": listed[:-1], "completions": [listed[-1], answer("c")], "ranks": [0, 1]}),
        ("kto", {"messages": listed, "label": True}),
        ("kto", {"conversations": listed, "kto_tag": 1}),
        ("judged", {"prompt": listed[:-1], "completion": listed[-1], "verdict": True}),
        ("prompt", {"prompt": listed[:-1]}),
        ("openai_evals", {"input": listed[:-1], "ideal": "x"}),
    ]


TURNS = (
    HI,
    {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]},
    {"role": "tool", "content": "blue", "tool_call_id": "c1"},
    answer("Blue.", name="ann", reasoning_content="Hm.", date={"year": 1}),
)
READ = (
    Message("user", "Hi."),
    Message("assistant", "Let me look.", tool_calls=(ToolCall("look", {"at": "sky"}),)),
    Message("tool", "blue"),
    Message("assistant", "Blue."),
)


@pytest.mark.parametrize(("format", "value"), in_each_format(*TURNS))
def test_turns_are_the_same_in_every_format(format: str, value: dict[str, Any]) -> None:
    (row,), ignored = read(value, format)
    match row:
        case Comparison():
            turns = (*row.prompt, row.completions[0])
        case Judged():
            turns = (*row.prompt, row.completion)
        case Prompt() | Question():
            turns = row.messages
        case _:
            assert isinstance(row, Demonstration)
            turns = row.messages
    assert turns == READ[: len(turns)]
    listed = {field.rpartition(".")[2] for field in ignored}
    assert listed == ({"name", "reasoning_content", "date"} if len(turns) == 4 else set())


@pytest.mark.parametrize(
    ("turn", "problem"),
    [
        (answer(images=["a.png"]), "would be lost"),
        (answer(refusal="No."), "would be lost"),
        (answer(comment=LONG), "would be lost"),
        (answer(deleted=True), "a verdict on a turn"),
        (answer(spam=1), "a verdict on a turn"),
        (answer(approved=False), "a verdict on a turn"),
        (answer(label=0), "a verdict on a turn"),
    ],
)
def test_no_format_loses_content_or_a_verdict_in_a_turn(turn: dict[str, Any], problem: str) -> None:
    for format, value in in_each_format(HI, turn):
        if format not in ("prompt", "openai_evals"):  # they hold no answer
            with pytest.raises(DataError, match=problem):
                read(value, format)


def test_a_turn_is_left_out_of_the_loss_in_either_spelling() -> None:
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "weight": 0}] * 2
    turns[3] = {**turns[3], "weight": 1}
    (row,), _ = read({"conversations": turns})
    assert isinstance(row, Demonstration)
    assert [message.trained for message in row.messages] == [True, False, True, True]
    turns[3] = turns[1]
    assert read({"conversations": turns})[0] == [Dropped(HERE, "every assistant turn has loss_weight 0")]


def test_replies_in_another_order_than_their_calls_are_refused() -> None:
    calls = [{**CALL, "id": name} for name in TWO]
    replies = [{"role": "tool", "content": name, "tool_call_id": name} for name in TWO]
    turns = [HI, {"role": "assistant", "content": None, "tool_calls": calls}]
    assert read({"messages": [*turns, *replies, answer()]})[1] == {}
    with pytest.raises(DataError, match=r"field messages\[2\]\.tool_call_id: answers the call 'b' before 'a'"):
        read({"messages": [*turns, *reversed(replies), answer()]})


# Verdicts


@pytest.mark.parametrize("name", ["label", "kto_tag"])
@pytest.mark.parametrize("value", [False, 0, 0.0, "0", "false", "False"])
@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "a", "completion": "b"},
        {"prompt": "a", "response": "b"},
        {"instruction": "a", "input": "", "output": "b"},
        {"question": "a", "answer": "b"},
        chat(answer("b")),
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    ],
)
def test_an_undesirable_answer_is_judged_and_never_imitated(record: dict[str, Any], name: str, value: Any) -> None:
    (row,), _ = read({**record, name: value})
    assert isinstance(row, Judged)
    assert (row.verdict, row.completion.content) == (False, "b")


def test_a_label_that_comes_late_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path, "a.jsonl", {"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "b", "label": 0}
    )
    with pytest.raises(DataError, match=r"row 2, field label: found 0, a verdict on the answer.*`ignore: \[label\]`"):
        import_rows(path, LEARNT)
    ignored = Handling(ignore=("label",))
    assert len(import_rows(path, LEARNT, handling=ignored).rows) == 2
    assert ignored.ignored.as_records == [{"file": str(path), "field": "label", "rows": 1}]


def test_a_class_is_no_verdict() -> None:
    (row,), _ = read({**chat(answer()), "label": "sports"})
    assert notes_of(row) == {"label": "sports"}
    (row,), _ = read({"text": "a", "label": 0})
    assert notes_of(row) == {"label": 0}


@pytest.mark.parametrize("format", ["alpaca", "messages", "sharegpt", "text", "chosen_rejected", "comparison", "kto"])
@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ({"deleted": True}, "deleted is true"),
        ({"spam": "True"}, "spam is true"),
        ({"train": False}, "train is false"),
        ({"weight": 0}, "weight is 0"),
        ({"loss_weight": "0.0"}, "loss_weight is 0"),
        ({"review_result": False}, "review_result is false"),
        ({"correct": False}, "correct is false"),
    ],
)
def test_a_record_that_must_not_be_learnt_is_left_out_and_listed(format: str, verdict: Any, reason: str) -> None:
    assert read({**RECORDS[format], **verdict}, format)[0] == [Dropped(HERE, reason)]


def test_good_verdicts_and_answers_of_these_names_leave_nothing_out() -> None:
    fine = {"deleted": False, "train": True, "weight": 1, "reviewed": 1}
    assert isinstance(read({**RECORDS["alpaca"], **fine})[0][0], Demonstration)
    (row,), _ = read({"prompt": "Is it?", "chosen": "No", "rejected": "True"})
    assert isinstance(row, Comparison)
    with pytest.raises(DataError, match=r"found 0\.5, expected 0 or 1"):
        read({**RECORDS["alpaca"], "weight": 0.5})


def test_a_score_is_kept_for_filters_and_said_not_to_be_used() -> None:
    (row,), ignored = read({**RECORDS["alpaca"], "score": 0.2})
    assert (notes_of(row), ignored) == ({"score": 0.2}, {"score": 1})


def test_a_prompt_may_be_read_from_an_answer_that_must_not_be_learnt(tmp_path: Path) -> None:
    for format in ("messages", "alpaca", "chosen_rejected"):
        (row,) = stream_prompts(write(tmp_path, "a.jsonl", {**RECORDS[format], "train": False}))
        assert isinstance(row, Prompt)


# Rows that must go


def test_records_that_do_not_fit_can_be_dropped_and_are_listed(tmp_path: Path) -> None:
    good, empty = {"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "a", "chosen": "b", "rejected": ""}
    path = write(tmp_path, "a.jsonl", good, empty, {**good, "title": "\ud83d"}, good)
    found = import_rows(path, (Comparison,), handling=Handling(unfit="drop"))
    assert [row.origin.row for row in found.rows] == [1, 4]
    assert [(row.origin.row, row.reason.partition(": ")[0]) for row in found.dropped] == [
        (2, "field rejected"),
        (3, "field title"),
    ]


def test_an_empty_completion_may_be_compared_and_judged_in_files_of_our_own() -> None:
    (row,), _ = read({"prompt": "a", "completions": ["b", ""], "ranks": [0, 1]})
    assert isinstance(row, Comparison)
    assert [completion.content for completion in row.completions] == ["b", ""]
    (judged,), _ = read({"prompt": "a", "completion": "", "verdict": False})
    assert isinstance(judged, Judged)


def test_an_empty_answer_is_learnt_only_where_the_model_is_said_to_have_ended() -> None:
    (row,), _ = read({**chat(answer("")), "ended": True})
    assert isinstance(row, Demonstration)
    assert row.messages[-1] == Message("assistant", "")
    with pytest.raises(DataError, match="empty, expected some text"):
        read({**chat(answer("")), "ended": False})


@pytest.mark.parametrize("records", [1, 2])
def test_row_numbers_are_those_of_the_file(tmp_path: Path, records: int) -> None:
    talks = {"conversations": [["Hi.", "Hello."], ["Bye."], ["One?", "Two."]]}
    path = write(tmp_path, "a.jsonl", *[talks] * records)
    found = import_rows(path, LEARNT, "chatterbot")
    rows = [row.origin.row for row in (*found.rows, *found.dropped)]
    assert rows == ([1, 3, 2] if records == 1 else [1, 1, 2, 2, 1, 2])


# Columns


def test_nulls_that_a_schema_filled_in_are_taken_out(tmp_path: Path) -> None:
    def row(name: str, **arguments: Any) -> dict[str, Any]:
        properties = {argument: {"type": "string"} for argument in arguments}
        tool = {"name": name, "parameters": {"type": "object", "properties": properties}}
        call = {"function": {"name": name, "arguments": arguments}}
        return {"messages": [HI, {"role": "assistant", "content": None, "tool_calls": [call]}], "tools": [tool]}

    rows = [row("weather", city="Oslo"), row("add", left="2", right=None)]
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pyarrow.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    for name in ("a.parquet", "a.arrow"):
        first, _ = import_rows(tmp_path / name, (Demonstration,)).rows
        assert first.messages[1].tool_calls == (ToolCall("weather", {"city": "Oslo"}),)
        assert first.tools[0]["parameters"]["properties"] == {"city": {"type": "string"}}


def test_a_null_that_a_row_of_json_holds_is_learnt(tmp_path: Path) -> None:
    turn = {"role": "assistant", "content": None, "tool_calls": [{"name": "a", "arguments": {"b": None, "c": [None]}}]}
    text = {"name": "a", "arguments": json.dumps({"b": None})}
    write(tmp_path, "a.jsonl", {"messages": [HI, turn]})
    rows = import_rows(tmp_path / "a.jsonl", (Demonstration,)).rows
    assert rows[0].messages[1].tool_calls == (ToolCall("a", {"b": None, "c": [None]}),)
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"messages": [HI, answer("", tool_calls=[text])]}]), tmp_path / "a.parquet"
    )
    rows = import_rows(tmp_path / "a.parquet", (Demonstration,)).rows
    assert rows[0].messages[1].tool_calls == (ToolCall("a", {"b": None}),)


def test_the_empty_cells_of_a_table_are_no_answers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,completion,response,label\na,b,,\nc,,d,\n", encoding="utf-8")
    rows = import_rows(tmp_path / "a.csv", LEARNT, "prompt_completion").rows
    assert [row.messages[1].content for row in rows if isinstance(row, Demonstration)] == ["b", "d"]


# JSON's rules in every text that is learnt


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": NaN}', "field a: NaN is not a JSON number"),
        ('{"a": [1e999]}', r"field a\[0\]: 1e999 is too large"),
        ('{"a": "\\ud83d"}', "field a: holds half a character"),
        ('{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        ("{" * 9, "not valid JSON"),
    ],
)
def test_arguments_in_a_text_keep_the_rules_of_a_file(text: str, problem: str) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "f", "arguments": text}]}
    with pytest.raises(DataError, match=rf"row 7, field messages\[1\]\.tool_calls\[0\]\.arguments.*{problem}"):
        read({"messages": [HI, call]})


@pytest.mark.parametrize("problem", ["NaN is not", "occurs twice", "half a character"])
def test_schemas_and_calls_in_a_text_keep_the_rules_of_a_file(problem: str) -> None:
    odd = {"NaN is not": '{"x": NaN}', "occurs twice": '{"x": 1, "x": 2}', "half a character": '{"x": "\\ud83d"}'}
    with pytest.raises(DataError, match=rf"row 7, field tools.*{problem}"):
        read({**RECORDS["messages"], "tools": f'[{{"name": "f", "parameters": {odd[problem]}}}]'})
    written = f'{{"name": "f", "arguments": {odd[problem]}}}'
    turns = [{"from": "human", "value": "a"}, {"from": "function_call", "value": written}]
    with pytest.raises(DataError, match=rf"row 7, field conversations\[1\]\.value.*{problem}"):
        read({"conversations": turns})


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({**RECORDS["alpaca"], "title": "\ud83d"}, "title"),
        ({**RECORDS["alpaca"], "tools": [{"name": "f", "description": "\ud83d"}]}, r"tools\[0\]\.description"),
        ({**RECORDS["alpaca"], "notes": {"a": ["b", "\ud83d"]}}, r"notes\.a\[1\]"),
        ({**RECORDS["text"], "\ud83d": 1}, r"\(a name\)"),
        (chat(answer(None, tool_calls=[{"name": "f", "arguments": {"a": "\ud83d"}}])), r".*arguments\.a"),
    ],
)
def test_half_a_character_anywhere_is_one_error(record: dict[str, Any], field: str) -> None:
    with pytest.raises(DataError, match=rf"^here\.jsonl row 7, field {field}: holds half a character at position 0"):
        read(record)


def test_ignored_fields_are_told_in_one_sentence_a_file() -> None:
    ignored = IgnoredFields()
    for row in (1, 2):
        for field in ("messages[0].name", "messages[1].name", "tags"):
            ignored.note(Origin("a.jsonl", row), field)
    ignored.note(Origin("b.jsonl", 1), "tags")
    assert ignored.sentences == [
        "a.jsonl: fields that are not used: messages[].name (2 rows), tags (2 rows)",
        "b.jsonl: fields that are not used: tags (1 row)",
    ]

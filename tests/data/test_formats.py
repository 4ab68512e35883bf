"""Importers: what each format becomes, and what is said about a record that does not fit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import DataError
from planish.data.files.readers import Record
from planish.data.formats import FORMATS, import_rows, recognize, stream_rows
from planish.data.rows import LEARNT, Demonstration, Dropped, Message, Origin, Text, ToolCall
from support.demonstration_records import HERE, HI, MARKERS, answer, chat, rows_of, said, said_about, spelt, write

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


# Each format on one small record


def test_alpaca_puts_the_input_under_the_instruction() -> None:
    assert said("alpaca", {"instruction": "Add.", "input": "2 3", "output": "5"}) == [
        ("user", "Add.\n\n2 3"),
        ("assistant", "5"),
    ]


@pytest.mark.parametrize("record", [{}, {"input": ""}, {"input": None}, {"system": "", "history": []}])
def test_alpaca_without_input_asks_the_instruction_alone(record: dict[str, Any]) -> None:
    assert said("alpaca", {"instruction": "Say hi.", "output": "Hi.", **record}) == [
        ("user", "Say hi."),
        ("assistant", "Hi."),
    ]


def test_alpaca_keeps_system_and_history() -> None:
    record = {"instruction": "And 3?", "output": "9", "system": "Square it.", "history": [["2?", "4"]]}
    assert said("alpaca", record) == [
        ("system", "Square it."),
        ("user", "2?"),
        ("assistant", "4"),
        ("user", "And 3?"),
        ("assistant", "9"),
    ]


def test_messages_keep_roles_order_and_untrained_turns() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi, "}, {"type": "text", "value": "you."}]},
        {"role": "assistant", "content": "Hm.", "loss_weight": 0.0},
        {"role": "user", "content": "Hi?", "loss_weight": 0},
        {"role": "assistant", "content": "Hi.", "loss_weight": 1.0},
        {"role": "user", "content": "Bye."},
    ]
    (row,) = rows_of("messages", {"messages": turns})
    assert isinstance(row, Demonstration)
    assert row.messages == (
        Message("system", "Be brief."),
        Message("user", "Hi, you."),
        Message("assistant", "Hm.", trained=False),
        Message("user", "Hi?", trained=False),
        Message("assistant", "Hi."),
        Message("user", "Bye."),
    )


def test_messages_of_which_none_is_trained_are_dropped_with_the_reason() -> None:
    turns = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hi.", "loss_weight": 0}]
    assert rows_of("messages", {"messages": turns}) == [Dropped(HERE, "every assistant turn has loss_weight 0")]


def test_sharegpt_knows_its_own_role_names() -> None:
    turns = [("human", "2+2?"), ("function_call", "add(2, 2)"), ("observation", "4"), ("gpt", "Four.")]
    record = {"conversations": [{"from": role, "value": value} for role, value in turns], "system": "Use tools."}
    assert said("sharegpt", record) == [
        ("system", "Use tools."),
        ("user", "2+2?"),
        ("assistant", "add(2, 2)"),
        ("tool", "4"),
        ("assistant", "Four."),
    ]


def test_sharegpt_turns_may_be_spelt_as_role_and_content() -> None:
    turns = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    assert said("sharegpt", {"conversations": turns}) == [("user", "Hi."), ("assistant", "Hello.")]


@pytest.mark.parametrize("format", ["messages", "sharegpt"])
def test_the_assistant_may_speak_first_and_the_user_twice(format: str) -> None:
    turns = [("assistant", "Welcome."), ("user", "Hi."), ("user", "You?"), ("assistant", "Hello."), ("user", "Bye.")]
    assert said(format, spelt(format, turns)) == turns


@pytest.mark.parametrize("format", ["messages", "sharegpt"])
def test_instructions_and_a_tools_reply_may_be_blank(format: str) -> None:
    turns = [("system", ""), ("user", "Hi."), ("tool", ""), ("assistant", "Hello.")]
    assert said(format, spelt(format, turns)) == turns


@pytest.mark.parametrize("name", ["loss_weight", "weight", "train"])
def test_a_turn_is_left_out_of_the_loss_in_any_spelling(name: str) -> None:
    (row,) = rows_of("messages", chat(answer("No.", **{name: 0}), HI, answer("Yes.", **{name: 1})))
    assert isinstance(row, Demonstration)
    assert [message.trained for message in row.messages if message.role == "assistant"] == [False, True]


def test_notes_about_a_message_pass() -> None:
    notes = {"name": "ann", "id": 3, "reasoning_content": None, "images": [], "language": "English"}
    assert said("messages", chat({**answer(), **notes})) == [("user", "Hi."), ("assistant", "Hi.")]


# Calls of functions

CALL = {"name": "add", "arguments": {"a": 2, "b": [2]}}
ADD = ToolCall("add", {"a": 2, "b": [2]})
SCHEMA = {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param({"tool_calls": [CALL]}, id="flat"),
        pytest.param({"tool_calls": [{"type": "function", "id": "x", "function": CALL}]}, id="wrapped"),
        pytest.param({"tool_calls": [{**CALL, "arguments": '{"a": 2, "b": [2]}'}]}, id="arguments as text"),
        pytest.param({"tool_calls": None, "function_call": CALL}, id="OpenAI's older field"),
        pytest.param({"tool_calls": [{"function": CALL, "name": None}]}, id="columnar"),
    ],
)
@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}])
def test_a_call_is_the_same_in_any_spelling(spelling: dict[str, Any], content: dict[str, Any]) -> None:
    reply = {"role": "tool", "content": "4", "tool_call_id": "x"}
    (row,) = rows_of("messages", chat({"role": "assistant", **content, **spelling}, reply, answer("Four.")))
    assert isinstance(row, Demonstration)
    assert row.messages[1] == Message("assistant", "", tool_calls=(ADD,))
    assert row.messages[2] == Message("tool", "4")


@pytest.mark.parametrize("arguments", [{}, {"arguments": None}, {"arguments": ""}, {"arguments": "{}"}])
def test_a_call_may_have_no_arguments(arguments: dict[str, Any]) -> None:
    (row,) = rows_of("messages", chat(answer("I look.", tool_calls=[{"name": "look", **arguments}])))
    assert isinstance(row, Demonstration)
    assert row.messages[1] == Message("assistant", "I look.", tool_calls=(ToolCall("look", {}),))


@pytest.mark.parametrize("tools", [[SCHEMA], json.dumps([SCHEMA])])
def test_tools_are_kept_as_schemas(tools: Any) -> None:
    for format in ("messages", "sharegpt"):
        (row,) = rows_of(format, {**spelt(format, [("user", "2+2?"), ("assistant", "4")]), "tools": tools})
        assert isinstance(row, Demonstration)
        assert row.tools == (SCHEMA,)
        assert [message.role for message in row.messages] == ["user", "assistant"]


def test_tools_in_words_stay_in_the_system_turn() -> None:
    turns = spelt("sharegpt", [("human", "2+2?"), ("gpt", "4")])
    assert said("sharegpt", {**turns, "system": "Be brief.", "tools": "add(a, b)"})[0] == (
        "system",
        "Be brief.\n\nadd(a, b)",
    )


@pytest.mark.parametrize(
    ("value", "calls"),
    [
        (json.dumps(CALL), (ADD,)),
        (json.dumps([CALL, CALL]), (ADD, ADD)),
        ('{"name": "add", "arguments": "{\\"a\\": 2, \\"b\\": [2]}"}', (ADD,)),
        ("add(2, 2)", ()),
        ('{"name": "add"}', ()),
        ('{"name": "add", "arguments": {}, "why": "because"}', ()),
        ('{"name": "add", "arguments": [2, 2]}', ()),
    ],
)
def test_a_sharegpt_call_is_structured_if_nothing_of_it_is_lost(value: str, calls: tuple[ToolCall, ...]) -> None:
    (row,) = rows_of("sharegpt", spelt("sharegpt", [("human", "2+2?"), ("function_call", value)]))
    assert isinstance(row, Demonstration)
    assert row.messages[1] == Message("assistant", "" if calls else value, tool_calls=calls)


def test_flan_cot_reasons_before_it_answers() -> None:
    cells = ["Is 7 prime?\\nOptions:\\n- yes\\n- no", "yes", "Nothing divides it.\\nSo yes."]
    assert said("flan_cot", cells) == [
        ("user", "Is 7 prime?\nOptions:\n- yes\n- no"),
        ("assistant", "Nothing divides it.\nSo yes.\nSo the answer is yes."),
    ]


@pytest.mark.parametrize(
    "record",
    [
        {"completion": "5<|endoftext|>"},
        {"completion": "5</s>"},
        {"answer": "5###eos_token###"},
        {"response": "5"},
        {"completion": None, "answer": "5"},
    ],
)
def test_a_completion_loses_its_end_of_text_marker_and_nothing_else(record: dict[str, str]) -> None:
    assert said("prompt_completion", {"prompt": "2+3=", **record}) == [("user", "2+3="), ("assistant", "5")]


@pytest.mark.parametrize("name", ["messages", "prompt"])
def test_what_a_model_said_may_be_nothing_which_is_not_learnt(name: str) -> None:
    asked = [{"role": "system", "content": "Be brief."}, HI]
    rows = rows_of("sampled", {name: asked, "completion": "Hello.\n", "ended": True})
    rows += rows_of("sampled", {name: asked, "completion": "", "ended": False})
    turns = Message("system", "Be brief."), Message("user", HI["content"])
    assert rows == [
        Demonstration((*turns, Message("assistant", "Hello.\n")), HERE, about={"ended": True}),
        Demonstration((*turns, Message("assistant", "", trained=False)), HERE, about={"ended": False}),
    ]


def test_a_document_is_a_text_field_or_a_whole_text_file() -> None:
    assert rows_of("text", {"text": " Once.\n", "url": "x"}) == [Text(" Once.\n", HERE, {"url": "x"})]
    assert rows_of("text", " Once.\n") == [Text(" Once.\n", HERE)]


def test_a_document_for_each_line_must_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.\n\n  Two.\n", encoding="utf-8")
    assert [row.text for row in import_rows(tmp_path / "a.txt", (Text,), "lines").rows] == ["One.", "  Two."]
    assert [row.text for row in import_rows(tmp_path / "a.txt", (Text,)).rows] == ["One.\n\n  Two.\n"]


def test_self_instruct_gives_a_row_for_each_instance_and_says_which_have_no_output() -> None:
    instances = [{"input": "2 3", "output": "5"}, {"input": "", "output": " "}, {"input": "", "output": "0"}]
    record = {"id": "t1", "instruction": "Add.", "instances": instances, "is_classification": False}
    about = {"id": "t1", "is_classification": False}
    assert rows_of("self_instruct", record) == [
        Demonstration(
            (Message("user", "Add.\n\n2 3"), Message("assistant", "5")), HERE, about={**about, "instance": 1}
        ),
        Dropped(HERE, "instances[1]: the output is empty"),
        Demonstration((Message("user", "Add."), Message("assistant", "0")), HERE, about={**about, "instance": 3}),
    ]
    assert rows_of("self_instruct", {**record, "instances": []}) == [Dropped(HERE, "instances: the list is empty")]


def test_dolly_puts_the_context_under_the_instruction() -> None:
    record = {"instruction": "Who?", "context": "Ann came.", "response": "Ann.", "category": "closed_qa"}
    assert said("dolly", record) == [("user", "Who?\n\nAnn came."), ("assistant", "Ann.")]
    assert said("dolly", {**record, "context": ""}) == [("user", "Who?"), ("assistant", "Ann.")]
    assert said_about("dolly", record) == {"category": "closed_qa"}


def test_a_question_is_answered_in_full() -> None:
    assert said("question_answer", {"question": "1+1?", "answer": "1+1=2\n#### 2"}) == [
        ("user", "1+1?"),
        ("assistant", "1+1=2\n#### 2"),
    ]


def test_an_evaluated_models_empty_output_is_dropped_with_the_reason() -> None:
    record = {"instruction": "Say nothing.", "output": "", "generator": "tiny"}
    assert rows_of("alpaca", record) == [Dropped(HERE, "the output is empty")]


@pytest.mark.parametrize(
    ("format", "used"),
    [
        ("alpaca", {"instruction": "a", "input": "b", "output": "c", "system": "d"}),
        ("self_instruct", {"instruction": "a", "instances": [{"output": "c"}]}),
        ("dolly", {"instruction": "a", "context": "b", "response": "c"}),
        ("prompt_completion", {"prompt": "a", "completion": "b"}),
        ("sampled", {"messages": [HI], "completion": "b"}),
        ("question_answer", {"question": "a", "answer": "b"}),
        ("messages", {"messages": [{"role": "assistant", "content": "a"}]}),
        ("sharegpt", {"conversations": [{"from": "gpt", "value": "a"}]}),
        ("text", {"text": "a"}),
    ],
)
def test_what_else_a_record_says_is_kept_if_it_is_short(format: str, used: dict[str, Any]) -> None:
    more = {"id": "x1", "score": 0.5, "hard": True, "empty": "", "none": None, "long": "x" * 201, "list": ["x"]}
    kept = {"id": "x1", "score": 0.5, "hard": True, **({"instance": 1} if format == "self_instruct" else {})}
    assert said_about(format, {**used, **more}) == kept


def test_chatterbot_utterances_alternate_and_an_unanswered_one_stays() -> None:
    value = {"conversations": [["Hi.", "Hello."], ["One?"], "Two? - '2'", ["A", "B", "C"]]}
    assert rows_of("chatterbot", value, alone=True) == [
        Demonstration((Message("user", "Hi."), Message("assistant", "Hello.")), Origin("here.jsonl", 1)),
        Dropped(Origin("here.jsonl", 2), "a single utterance, without an answer"),
        Dropped(Origin("here.jsonl", 3), "a single utterance, without an answer"),
        Demonstration((Message("user", "A"), Message("assistant", "B"), Message("user", "C")), Origin("here.jsonl", 4)),
    ]


def test_chitchat_gives_one_row_per_conversation_and_one_turn_per_speaker() -> None:
    def turn(sender: str, *texts: str) -> list[dict[str, str]]:
        return [{"sender": sender, "text": text} for text in texts]

    value: dict[str, dict[str, Any]] = {
        "id1": {"messages": [turn("ann", "Hi!", "How are you?"), turn("bob", "Fine."), turn("ann", "Good.")]},
        "id2": {"messages": [turn("ann", "Anyone?")]},
        "id3": {"messages": [turn("ann", "Hi!"), turn("bob", " ")]},
        "id4": {"messages": [turn("ann", "Hi!"), turn("bob", "Hi."), turn("eve", "Hi.")]},
    }
    value["id1"] |= {"ratings": {"witty": 7}, "prompt": "Say hi."}
    talk = (Message("user", "Hi!\nHow are you?"), Message("assistant", "Fine."), Message("user", "Good."))
    assert rows_of("chitchat", value, alone=True) == [
        Demonstration(talk, Origin("here.jsonl", 1), about={"witty": 7, "prompt": "Say hi.", "id": "id1"}),
        Dropped(Origin("here.jsonl", 2), "speakers: found 1, expected 2"),
        Dropped(Origin("here.jsonl", 3), "a turn is blank"),
        Dropped(Origin("here.jsonl", 4), "speakers: found 3, expected 2"),
    ]


# Recognition


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"instruction": "a", "output": "b"}, "alpaca"),
        ({"instruction": "a", "output": "b", "text": "a b"}, "alpaca"),
        ({"messages": []}, "messages"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "sharegpt"),
        ({"conversations": [["a", "b"]]}, "chatterbot"),
        ({"instruction": "a", "instances": []}, "self_instruct"),
        ({"instruction": "a", "context": "", "response": "b", "category": "c"}, "dolly"),
        ({"instruction": "a", "output": "b", "generator": "c", "dataset": "d"}, "alpaca"),
        ({"question": "a", "answer": "b"}, "question_answer"),
        ({"prompt": "a", "answer": "b"}, "prompt_completion"),
        ({"prompt": {"replies": []}}, "oasst"),
        ({"text": "a", "role": "prompter", "replies": []}, "oasst"),
        ({"prompt": "a", "completion": "b"}, "prompt_completion"),
        ({"prompt": "a", "response": "b"}, "prompt_completion"),
        ({"prompt": "a", "completion": "b", "ended": True}, "prompt_completion"),
        ({"prompt": [HI], "completion": "b", "ended": True, "step": 3}, "sampled"),
        ({"messages": [HI], "completion": "", "ended": False}, "sampled"),
        ({"text": "a"}, "text"),
        ({"text": "a", "label": 3}, "text"),
        ("a", "text"),
        ({"x1": {"messages": []}, "x2": {"messages": []}}, "chitchat"),
    ],
)
def test_a_format_is_recognised_by_its_first_record(value: Any, name: str) -> None:
    assert recognize(Record(value, HERE)).name == name


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ({"letter": "a", "reply": "b"}, ("the fields letter, reply", "no known format", *FORMATS)),
        ({"question": "a", "answer": "b", "choices": ["b", "c"]}, ("no known format",)),
        ({"text": "a", "role": "prompter", "parent_id": None}, ("the fields text, role", "no known format")),
        ({"instruction": "a", "output": "b", "messages": []}, ("alpaca and messages",)),
        ({}, ("no known format",)),
        (3, ("a number", "no known format")),
    ],
)
def test_what_fits_no_format_or_several_is_not_guessed(value: Any, parts: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        recognize(Record(value, HERE))
    for part in ("here.jsonl row 7", "`format`", *parts):
        assert part in str(caught.value)


def test_an_unknown_format_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'alpacca'.*auto, module:function or one of alpaca, self_instruct"):
        import_rows(write(tmp_path, "a.jsonl", {"instruction": "a", "output": "b"}), LEARNT, "alpacca")


def test_rows_and_drops_are_collected_with_their_origins(tmp_path: Path) -> None:
    task = {"instruction": "a", "instances": [{"output": "b"}]}
    path = write(tmp_path, "a.jsonl", task, {**task, "instances": []}, task)
    found = import_rows(path, LEARNT)
    assert [str(row.origin) for row in found.rows] == [f"{path} row 1", f"{path} row 3"]
    assert found.dropped == [Dropped(Origin(str(path), 2), "instances: the list is empty")]


def test_rows_stream_before_the_file_ends(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", {"text": "one"}, {"words": "two"})
    assert next(stream_rows(path, LEARNT)) == Text("one", Origin(str(path), 1))


@pytest.mark.parametrize("cells", [["a", "b"], ["a", "b", "c"], ["1", "What is it?", "A pear."]])
def test_cells_without_a_header_are_not_guessed_by_their_number(cells: list[str]) -> None:
    with pytest.raises(
        DataError, match=r"a list, which fits no known format.*--columns prompt=1,completion=2.*flan_cot"
    ):
        recognize(Record(cells, HERE))


def test_flan_cot_by_name_takes_any_first_line_for_data(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("Sky\tblue\tSeen\n", encoding="utf-8")
    assert len(import_rows(tmp_path / "a.tsv", LEARNT, "flan_cot").rows) == 1


# Records that do not fit: each error names the file, the row and the field


IMAGE = {"role": "user", "content": [{"type": "image", "url": "x"}]}
ALPACA = {"instruction": "a", "output": "b"}

UNFIT: list[tuple[str, Any, str, str]] = [
    ("alpaca", {"instruction": "a"}, "output", "missing; found the fields instruction"),
    ("alpaca", {"instruction": "a", "output": None}, "output", "missing"),
    ("alpaca", {"instruction": "a", "output": 5}, "output", "found a number, expected a text"),
    ("alpaca", {"instruction": "a", "output": True}, "output", "found true or false"),
    ("alpaca", {"instruction": "a", "output": " \n"}, "output", "empty"),
    ("alpaca", {"instruction": "", "output": "b"}, "instruction", "empty"),
    ("alpaca", {**ALPACA, "input": ["x"]}, "input", "found a list, expected a text"),
    ("alpaca", {**ALPACA, "output": "\ud83d"}, "output", "half a character at position 0"),
    ("alpaca", {**ALPACA, "history": "x"}, "history", "found a text, expected a list"),
    ("alpaca", {**ALPACA, "history": [["q"]]}, "history[0]", "found 1 cells, expected 2"),
    ("messages", {"messages": "Hi."}, "messages", "found a text, expected a list"),
    ("messages", {"messages": []}, "messages", "no assistant turn"),
    ("messages", chat(), "messages", "no assistant turn"),
    ("messages", chat("Hi."), "messages[1]", "found a text, expected an object"),
    ("messages", chat({"role": "bot", "content": "Hi."}), "messages[1].role", "unknown role 'bot'"),
    ("messages", chat({"content": "Hi."}), "messages[1].role", "missing"),
    ("messages", chat({"role": "assistant"}), "messages[1].content", "missing"),
    ("messages", chat(answer("")), "messages[1].content", "empty"),
    ("messages", chat(IMAGE), "messages[1].content[0].type", "found 'image', expected 'text'"),
    ("messages", chat(answer([{"type": "text"}])), "messages[1].content[0].text", "missing"),
    (
        "messages",
        chat({**HI, "loss_weight": 1}),
        "messages[1].loss_weight",
        "found 1 on a turn of the user, expected 0",
    ),
    ("messages", chat(answer(loss_weight=0.5)), "messages[1].loss_weight", "found 0.5 on a turn of the assistant"),
    ("messages", chat(answer(loss_weight="0")), "messages[1].loss_weight", "expected a number"),
    ("messages", {"messages": [{"role": "system", "content": "Hi."}]}, "messages", "no assistant turn"),
    ("messages", chat(answer(), answer()), "messages[2]", "a second turn of the assistant in a row"),
    ("messages", chat(answer(), answer(), HI, answer()), "messages[2]", "a second turn of the assistant in a row"),
    ("messages", {**chat(answer(), answer()), "system": "Be brief."}, "messages[2]", "a second turn"),
    ("messages", chat({**HI, "content": ""}, answer()), "messages[1].content", "empty"),
    ("messages", chat(answer(refusal="No.")), "messages[1].refusal", "would be lost"),
    ("messages", chat(answer(images=["a.png"])), "messages[1].images", "would be lost"),
    ("messages", chat(answer(notes="x" * 201)), "messages[1].notes", "would be lost"),
    ("messages", {**chat(answer()), "videos": ["a.mp4"]}, "videos", "would be lost"),
    ("messages", chat(answer(None, tool_calls=[{"id": 1}])), "messages[1].tool_calls[0].name", "missing"),
    (
        "messages",
        chat(answer(None, tool_calls=[{"function": {}}])),
        "messages[1].tool_calls[0].function.name",
        "missing",
    ),
    ("messages", chat(answer(None, tool_calls="add()")), "messages[1].tool_calls", "found a text, expected a list"),
    (
        "messages",
        chat(answer(None, tool_calls=[{"name": "a", "arguments": "{1"}])),
        "messages[1].tool_calls[0].arguments",
        "not valid JSON",
    ),
    (
        "messages",
        chat(answer(None, tool_calls=[{"name": "a", "arguments": '{"b": 1, "b": 2}'}])),
        "messages[1].tool_calls[0].arguments",
        "the key 'b' occurs twice",
    ),
    (
        "messages",
        chat(answer(None, tool_calls=[{"name": "a", "arguments": [1]}])),
        "messages[1].tool_calls[0].arguments",
        "found a list, expected an object",
    ),
    ("messages", chat({**HI, "tool_calls": [CALL]}), "messages[1]", "calls a function in a turn of the user"),
    ("messages", {**chat(answer()), "tools": {"name": "add"}}, "tools", "found an object, expected a list"),
    ("sharegpt", {"conversations": [{"from": "bard", "value": "x"}]}, "conversations[0].from", "unknown role 'bard'"),
    ("sharegpt", {"conversations": [{"from": "gpt"}]}, "conversations[0].value", "missing"),
    ("sharegpt", {"conversations": [{"from": "human", "value": "x"}]}, "conversations", "no assistant turn"),
    (
        "sharegpt",
        {"conversations": [{"from": "gpt", "value": "x"}] * 2},
        "conversations[1]",
        "a second turn of the assistant in a row",
    ),
    ("sharegpt", {"conversations": [{"from": "human", "value": ""}]}, "conversations[0].value", "empty"),
    ("sharegpt", {"conversations": [{"from": "system", "value": "x"}]}, "conversations", "no assistant turn"),
    (
        "sharegpt",
        {"conversations": [{"from": "function_call", "value": '{"name": "a", "name": "b", "arguments": {}}'}]},
        "conversations[0].value",
        "the key 'name' occurs twice",
    ),
    ("sharegpt", {"conversations": [{"from": "gpt", "value": "x"}], "images": ["a.png"]}, "images", "would be lost"),
    ("sharegpt", {"conversations": [{"from": "gpt", "value": "x"}], "tools": ["add"]}, "tools[0]", "found a text"),
    ("self_instruct", {"instruction": "a", "instances": [{"input": "b"}]}, "instances[0].output", "missing"),
    ("self_instruct", {"instruction": " ", "instances": [{"output": "b"}]}, "instruction", "empty"),
    ("self_instruct", {"instruction": "a", "instances": {"output": "b"}}, "instances", "found an object"),
    ("dolly", {"instruction": "a", "context": ["b"], "response": "c"}, "context", "found a list"),
    ("dolly", {"instruction": "a", "context": "b", "response": ""}, "response", "empty"),
    ("question_answer", {"question": "a", "answer": ["b"]}, "answer", "found a list"),
    ("question_answer", {"question": "", "answer": "b"}, "question", "empty"),
    ("lines", {"text": "a"}, "", "found an object, expected a text"),
    ("flan_cot", ["q", "a"], "", "found 2 cells, expected 3"),
    ("flan_cot", ["q", "", "r"], "[1]", "empty"),
    ("prompt_completion", {"prompt": "a"}, "completion", "missing"),
    ("prompt_completion", {"prompt": "a", "completion": "<|endoftext|>"}, "completion", "only an end-of-text marker"),
    ("prompt_completion", {"completion": "b"}, "prompt", "missing"),
    ("sampled", {"messages": [HI]}, "completion", "missing"),
    ("sampled", {"messages": [HI, answer()], "completion": "b"}, "messages", "does not end in a question"),
    ("sampled", {"completion": "b"}, "prompt", "missing"),
    ("text", {"text": ""}, "text", "empty"),
    ("text", {"body": "x"}, "text", "missing; found the fields body"),
    ("text", 5, "", "found a number, expected an object"),
    ("chatterbot", {"conversations": [["a", ""]]}, "conversations[0][1]", "empty"),
    ("chatterbot", {"conversations": [{"a": "b"}]}, "conversations[0]", "found an object, expected a list"),
    ("chitchat", {"x": {"messages": [[{"text": "a"}]]}}, "x.messages[0][0].sender", "missing"),
    ("chitchat", {"x": {"messages": [[{"sender": "a"}]]}}, "x.messages[0][0].text", "missing"),
]


@pytest.mark.parametrize(
    ("format", "value", "field", "problem"), UNFIT, ids=[f"{at}-{row[0]}-{row[2]}" for at, row in enumerate(UNFIT)]
)
def test_a_record_that_does_not_fit_is_named_by_file_row_and_field(
    format: str, value: Any, field: str, problem: str
) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(format, value)
    where = f"here.jsonl row 7, field {field}: " if field else "here.jsonl row 7: "
    assert str(caught.value).startswith(where)
    assert problem in str(caught.value)


def test_a_later_record_that_does_not_fit_says_how_the_file_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", ALPACA, {"prompt": "a", "completion": "b"})
    wanted = rf"^{re.escape(str(path))} row 2, field instruction: missing; .*read as alpaca; set `format`"
    with pytest.raises(DataError, match=wanted):
        import_rows(path, LEARNT)


# Public data


def shared(name: str) -> Path:
    if not (SHARED / name).exists():
        pytest.skip(f"{SHARED / name} is not here")
    return SHARED / name


@pytest.mark.parametrize(
    ("name", "rows", "dropped"),
    [
        ("alpaca/alpaca_en_demo.json.gz", 999, 0),
        ("alpaca/alpaca_zh_demo.json.gz", 1000, 0),
        ("alpaca/alpaca_tiny.json", 100, 0),
        ("alpaca/identity.json", 91, 0),
        ("oasst/en_100_tree.jsonl.gz", 100, 0),
        ("oasst/en_100_message.jsonl.gz", 100, 0),
        ("rasbt_instruction/instruction-data.json.gz", 1100, 0),
        ("self_instruct/seed_tasks.jsonl", 175, 0),
        ("self_instruct/belle_zh_seed_tasks.json", 175, 0),
        ("self_instruct/user_oriented_instructions.jsonl", 252, 0),
        ("self_instruct/predictions", 4 * 252, 0),
        ("dolly", 151, 0),
        ("gsm8k/train.jsonl.gz", 7473, 0),
        ("gsm8k/test.jsonl.gz", 1319, 0),
        ("openai_evals/text_compression", 400, 0),
        ("alpaca_eval/results/text_davinci_001/model_outputs.json.gz", 803, 0),
        ("alpaca_eval/results/text_davinci_003/model_outputs.json.gz", 803, 2),  # two outputs are empty
        ("alpaca_eval/results/alpaca-7b/model_outputs.json.gz", 805, 0),
        ("alpaca_eval/results/alpaca-farm-ppo-human/model_outputs.json.gz", 805, 0),
        ("alpaca_eval/results/falcon-40b-instruct/model_outputs.json.gz", 805, 0),
        ("alpaca_eval/results/llama-2-7b-chat-hf/model_outputs.json.gz", 805, 0),
        ("alpaca_eval/results/gpt4/model_outputs.json.gz", 805, 0),
        ("t0_train", 25 * 200, 0),
        ("sharegpt/dummy_conversation.json", 500, 0),
        ("sharegpt/v1_sft_demo.jsonl.gz", 500, 0),
        ("sharegpt/glaive_toolcall_en_demo.json.gz", 300, 0),
        (
            "chatterbot_corpus/english",
            2025,
            1,
        ),  # the one dropped is a question whose answer was not put on its own line
        ("chatterbot_corpus/chinese", 467, 0),
        ("chitchat", 574, 426),  # nobody answered in 426 of the first 1000 conversations
        ("pretrain/c4_demo.jsonl.gz", 300, 0),
        ("pretrain/wiki_demo.txt.gz", 1, 0),
        ("pretrain/shakespeare", 8, 0),
    ],
)
def test_public_sets_are_recognised_and_imported_whole(name: str, rows: int, dropped: int) -> None:
    found = import_rows(shared(name), LEARNT)
    assert (len(found.rows), len(found.dropped)) == (rows, dropped)


@pytest.mark.parametrize("name", ["t0_train", "dolly"])
def test_no_public_completion_keeps_its_marker(name: str) -> None:
    for row in import_rows(shared(name), LEARNT).rows:
        assert isinstance(row, Demonstration)
        assert not row.messages[-1].content.endswith(MARKERS)


def test_the_calls_of_a_public_set_are_structured() -> None:
    rows = import_rows(shared("sharegpt/glaive_toolcall_en_demo.json.gz"), (Demonstration,)).rows
    calls = [message for row in rows for message in row.messages if message.tool_calls]
    replies = [message for row in rows for message in row.messages if message.role == "tool"]
    assert (len(calls), len(replies), sum(bool(row.tools) for row in rows)) == (211, 211, 191)


def test_the_articles_of_a_public_file_are_its_lines() -> None:
    assert len(import_rows(shared("pretrain/wiki_demo.txt.gz"), LEARNT, "lines").rows) == 30


def test_each_file_of_a_folder_is_recognised_by_itself(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", {"instruction": "Add.", "output": "5"})
    write(tmp_path, "b.jsonl", {"prompt": "2+3=", "completion": "5"})
    found = import_rows(tmp_path, LEARNT).rows
    assert [row.origin.file for row in found] == [f"{tmp_path}/a.jsonl", f"{tmp_path}/b.jsonl"]
    write(tmp_path, "c.jsonl", {"prompt": "2+3=", "chosen": "5", "rejected": "6"})
    with pytest.raises(DataError, match=r"c\.jsonl: read as chosen_rejected, it holds comparisons"):
        import_rows(tmp_path, LEARNT)

"""Conversations in other shapes than a list of {role, content}, as published sets have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import DataError
from planish.data.files.readers import Record
from planish.data.formats import import_rows, recognize
from planish.data.formats.registry import imported, importer_of
from planish.data.prompts import import_prompts
from planish.data.rows import Comparison, Demonstration, Dropped, Message, Question, ToolCall
from support.demonstration_records import HERE, write

ASKED, SAID = {"role": "user", "content": "Name a fruit."}, {"role": "assistant", "content": "A pear."}
TALK = [("user", "Name a fruit."), ("assistant", "A pear.")]
LONGER = [*TALK, ("user", "Another."), ("assistant", "A fig.")]


def row_of(value: dict[str, Any]) -> Demonstration | Dropped:
    record = Record(value, HERE)
    format = recognize(record)
    (row,) = imported(format, importer_of(format, (Demonstration,), record), record)
    assert isinstance(row, Demonstration | Dropped)
    return row


def said(value: dict[str, Any]) -> list[tuple[str, str]]:
    row = row_of(value)
    assert isinstance(row, Demonstration)
    return [(message.role, message.content) for message in row.messages]


@pytest.mark.parametrize(
    "value",
    [
        *({name: [words for _, words in LONGER]} for name in ("conversations", "conversation", "data", "Dialogue")),
        *(
            {"conversation": [{ask: "Name a fruit.", say: "A pear."}, {ask: "Another.", say: "A fig."}]}
            for ask, say in (
                ("input", "output"),
                ("human", "assistant"),
                ("question", "answer"),
                ("Prompt", "Response"),
            )
        ),
        {"conversation": [{"role": role, "content": words} for role, words in LONGER]},
        {"dialog": [{"from": role, "value": words} for role, words in LONGER]},
        {
            "chat": "USER: Name a fruit.\n\n\nASSISTANT: A pear. <|endoftext|>\n\n\nUSER: Another.\n\n\nASSISTANT: A fig."
        },
    ],
)
def test_a_conversation_is_read_in_any_of_its_shapes(value: dict[str, Any]) -> None:
    assert said(value) == LONGER
    assert said({"system": "Be brief.", **value}) == [("system", "Be brief."), *LONGER]


def test_texts_in_turn_name_the_row_of_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path, "a.jsonl", {"conversations": ["a", "b"]}, {"conversations": ["a"]}, {"conversations": ["a", "c"]}
    )
    read = import_rows(path, (Demonstration,))
    assert [str(row.origin) for row in read.rows] == [f"{path} row 1", f"{path} row 3"]
    assert read.dropped[0].as_record == {"file": str(path), "row": 2, "reason": "a single utterance, without an answer"}


def test_lists_of_texts_are_separate_conversations(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", {"conversations": [["a", "b"], ["c", "d"]]})
    assert [row.messages[0].content for row in import_rows(path, (Demonstration,)).rows] == ["a", "c"]


def test_questions_in_turn_are_no_answers() -> None:
    with pytest.raises(DataError, match="no known format"):
        recognize(Record({"turns": ["What is it?", "And now?"]}, HERE))


def test_an_exchange_without_an_answer_is_named() -> None:
    with pytest.raises(DataError, match=r"field conversations\[1\]: expected a question and its answer"):
        row_of({"conversation": [{"input": "a", "output": "b"}, {"input": "a"}]})


@pytest.mark.parametrize("spell", [json.dumps, lambda value: value])
def test_calls_that_answer_a_question_are_learnt(spell: Any) -> None:
    tools = [{"name": "add", "description": "Adds.", "parameters": {"a": {"type": "int"}}}]
    row = row_of(
        {"id": 3, "query": "2 + 2?", "tools": spell(tools), "answers": spell([{"name": "add", "arguments": {"a": 2}}])}
    )
    assert isinstance(row, Demonstration)
    assert row.messages == (
        Message("user", "2 + 2?"),
        Message("assistant", "", tool_calls=(ToolCall("add", {"a": 2}),)),
    )
    assert list(row.tools) == tools
    assert row_of({"query": "2?", "tools": spell(tools), "answers": spell([])}) == Dropped(
        HERE, "answers: no function is called"
    )


def test_a_transcript_of_function_calls_keeps_its_words() -> None:
    call = '<functioncall> {"name": "add", "arguments": \'{"a": 2}\'}'
    said_so = [
        "USER: 2 + 2?",
        f"ASSISTANT: {call} <|endoftext|>",
        "FUNCTION RESPONSE: 4",
        "ASSISTANT: Four. <|endoftext|>",
        "",
    ]
    chat = "\n\n\n".join(said_so)
    assert said({"system": "SYSTEM: You can add.\n{}", "chat": chat}) == [
        ("system", "You can add.\n{}"),
        ("user", "2 + 2?"),
        ("assistant", call),
        ("tool", "4"),
        ("assistant", "Four."),
    ]


@pytest.mark.parametrize(
    ("chat", "reason"),
    [
        ("USER: Hi.\n\n\nASSISTANT: Hi.\n\n\nASSISTANT: You?", "two turns of the assistant in a row"),
        ("USER: Hi.\n\n\nASSISTANT:  <|endoftext|>", "a turn is empty"),
        ("USER: Hi.", "no answer of the assistant"),
    ],
)
def test_a_transcript_that_cannot_be_learnt_is_left_out(chat: str, reason: str) -> None:
    assert row_of({"system": "", "chat": chat}) == Dropped(HERE, reason)


# TRL's conversational rows


@pytest.mark.parametrize("prompt", ["Name a fruit.", ASKED, [ASKED]])
@pytest.mark.parametrize("completion", ["A pear.", SAID, [SAID]])
@pytest.mark.parametrize("name", ["completion", "response"])
def test_prompt_and_completion_are_texts_or_turns(prompt: Any, completion: Any, name: str) -> None:
    assert said({"prompt": prompt, name: completion}) == TALK


def test_only_the_completion_of_a_prompt_with_turns_is_learnt() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 2}}}]}
    tools = [{"type": "function", "function": {"name": "add"}}]
    earlier = [{"role": "system", "content": "Add."}, ASKED, SAID, {"role": "user", "content": "2 + 2?"}]
    row = row_of({"prompt": earlier, "completion": [call, {"role": "tool", "content": "4"}, SAID], "tools": tools})
    assert isinstance(row, Demonstration)
    assert [(message.role, message.trained) for message in row.messages if message.role == "assistant"] == [
        ("assistant", False),
        ("assistant", True),
        ("assistant", True),
    ]
    assert row.messages[4].tool_calls == (ToolCall("add", {"a": 2}),)
    assert list(row.tools) == tools


@pytest.mark.parametrize(
    ("completion", "problem"),
    [
        ([ASKED, SAID], "found turns of user and assistant, expected it to begin and to end with one of the assistant"),
        ([SAID, ASKED], "found turns of assistant and user"),
        ([SAID, SAID], "a second turn of the assistant in a row"),
        ([], "found turns of nothing"),
    ],
)
def test_a_completion_is_what_the_assistant_says(completion: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        row_of({"prompt": [ASKED], "completion": completion})


# Comparisons


def compared(folder: Path, record: dict[str, Any]) -> Comparison:
    (row,) = import_rows(write(folder, "a.jsonl", record), (Comparison,)).rows
    return row


BAD = {"role": "assistant", "content": "A stone."}


@pytest.mark.parametrize("name", ["input", "query", "Inputs", "Prompt", "Question", "problem"])
def test_the_question_of_a_comparison_has_one_of_the_common_names(name: str, tmp_path: Path) -> None:
    row = compared(tmp_path, {"system": "Be brief.", name: "Name a fruit.", "chosen": "A pear.", "rejected": [BAD]})
    assert [message.content for message in row.prompt] == ["Be brief.", "Name a fruit."]


def test_answers_of_several_turns_go_on_from_the_prompt(tmp_path: Path) -> None:
    hello = {"role": "assistant", "content": "Hello."}
    record = {
        "prompt": [{"role": "user", "content": "Hi."}],
        "chosen": [hello, ASKED, SAID],
        "rejected": [hello, ASKED, BAD],
    }
    row = compared(tmp_path, record)
    assert [message.content for message in row.prompt] == ["Hi.", "Hello.", "Name a fruit."]
    assert [message.content for message in row.completions] == ["A pear.", "A stone."]


def test_a_comparison_keeps_its_tools(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 2}}}]}
    tools = [{"type": "function", "function": {"name": "add"}}]
    row = compared(tmp_path, {"prompt": [ASKED], "chosen": [call], "rejected": [BAD], "tools": tools})
    assert row.completions[0].tool_calls == (ToolCall("add", {"a": 2}),)
    assert list(row.tools) == tools
    (prompt,) = import_prompts(tmp_path / "a.jsonl")
    assert list(prompt.tools) == tools


# The output of `planish know`


def test_classed_questions_are_read_as_questions_with_their_class(tmp_path: Path) -> None:
    numbers = {"p_greedy": 0.5, "p_sampled": 0.25, "p_any": None, "category": "MaybeKnown"}
    asked = {"prompt": [ASKED], "answers": ["A pear."], "about": {"topic": "food"}, "origin": {"file": "q", "row": 1}}
    (row,) = import_rows(write(tmp_path, "a.jsonl", {**asked, **numbers}), (Question,)).rows
    assert row.answers == ("A pear.",)
    (row,) = import_rows(tmp_path / "a.jsonl", (Demonstration,)).rows
    assert [(message.role, message.content) for message in row.messages] == TALK
    assert {"topic": "food", "category": "MaybeKnown", "p_greedy": 0.5}.items() <= dict(row.about).items()

"""Prompts end where the assistant is to speak."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import DataError
from planish.data.prompts import import_prompts, stream_prompts
from planish.data.rows import Dropped, Origin

USER, ANSWER = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}
ROWS: list[tuple[dict[str, Any], list[str]]] = [
    ({"prompt": "Who?"}, ["user: Who?"]),
    ({"prompt": [USER]}, ["user: Who?"]),
    ({"prompt": "Who?", "completion": "I."}, ["user: Who?"]),
    ({"messages": [USER]}, ["user: Who?"]),
    ({"messages": [USER, ANSWER]}, ["user: Who?"]),
    ({"messages": [USER, ANSWER, USER]}, ["user: Who?", "assistant: I.", "user: Who?"]),
    ({"system": "Be brief.", "messages": [USER]}, ["system: Be brief.", "user: Who?"]),
    ({"conversations": [{"from": "human", "value": "Who?"}]}, ["user: Who?"]),
    ({"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "I."}]}, ["user: Who?"]),
    ({"instruction": "Count.", "input": "", "output": "1 2 3"}, ["user: Count."]),
    ({"prompt": "Who?", "chosen": "I.", "rejected": "No."}, ["user: Who?"]),
    ({"messages": [USER, ANSWER], "label": True}, ["user: Who?"]),
    ({"question": "Who?", "answer": ["I."]}, ["user: Who?"]),
    ({"question_id": 1, "turns": ["Who?", "Why?"]}, ["user: Who?"]),
    ({"instruction": "Who?", "response1": "I.", "response2": "No.", "annotator1": 1, "annotator2": 2}, ["user: Who?"]),
]


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_a_prompt_is_the_conversation_without_its_last_answer(
    row: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    (prompt,) = import_prompts(write(tmp_path, row))
    assert [f"{message.role}: {message.content}" for message in prompt.messages] == expected


@pytest.mark.parametrize("row", [{"messages": [USER]}, {"prompt": "Who?"}, {"messages": [USER, ANSWER]}])
def test_a_prompt_keeps_the_functions_that_may_be_called(tmp_path: Path, row: dict[str, Any]) -> None:
    (prompt,) = import_prompts(write(tmp_path, {**row, "tools": [{"name": "f"}]}))
    assert prompt.tools == ({"name": "f"},)
    assert [message.role for message in prompt.messages] == ["user"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "A document."}, "read as text, it holds documents; expected prompts"),
        ({"messages": [ANSWER]}, "row 1: only the assistant speaks"),
        ({"prompt": "  "}, "row 1, field prompt: empty"),
        ({"question": "Who?"}, "row 1: found the fields question"),
        (
            {"prompt": "Who?", "chosen": "I.", "rejected": "I."},
            "row 1: has no prompt: completions 1 and 2 are the same",
        ),
    ],
)
def test_a_row_without_a_prompt_is_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        import_prompts(write(tmp_path, row))


def test_the_stream_tells_what_gives_no_prompt(tmp_path: Path) -> None:
    pair = {"prompt": "Who?", "chosen": "I.", "rejected": "No."}
    file = write(tmp_path, pair, {**pair, "rejected": "I."}, pair)
    found = list(stream_prompts(file))
    assert [row.origin for row in found] == [Origin(str(file), 1), Origin(str(file), 2), Origin(str(file), 3)]
    assert [isinstance(row, Dropped) for row in found] == [False, True, False]

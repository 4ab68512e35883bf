"""Prompts end where the assistant is to speak."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import DataError
from planish.data.prompts import import_prompts

USER, ANSWER = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}
ROWS: list[tuple[dict[str, Any], list[str]]] = [
    ({"prompt": "Who?"}, ["user: Who?"]),
    ({"prompt": "Who?", "completion": "I."}, ["user: Who?"]),
    ({"messages": [USER]}, ["user: Who?"]),
    ({"messages": [USER, ANSWER]}, ["user: Who?"]),
    ({"messages": [USER, ANSWER, USER]}, ["user: Who?", "assistant: I.", "user: Who?"]),
    ({"system": "Be brief.", "messages": [USER]}, ["system: Be brief.", "user: Who?"]),
    ({"instruction": "Count.", "input": "", "output": "1 2 3"}, ["user: Count."]),
]


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_a_prompt_is_the_conversation_without_its_last_answer(
    row: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps(row) + "\n")
    (prompt,) = import_prompts(file)
    assert [f"{message.role}: {message.content}" for message in prompt.messages] == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "A document."}, "row 1: holds no prompt"),
        ({"messages": [ANSWER]}, "row 1: nobody but the assistant speaks"),
        ({"prompt": "  "}, "row 1, field prompt: empty"),
        ({"question": "Who?"}, "row 1: found the fields question"),
    ],
)
def test_a_row_without_a_prompt_is_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=message):
        import_prompts(file)

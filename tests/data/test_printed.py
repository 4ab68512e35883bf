"""Lists of turns that were printed into a text: read as lists, or refused, never learnt as words."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import DataError
from planish.data.formats import import_rows
from planish.data.rows import Comparison, Demonstration, Text
from support.demonstration_records import write

ASKED = {"role": "user", "content": "It's a \"fruit\"\nwith } {, isn't it?"}
SAID = {"role": "assistant", "content": "Yes,\n 'a pear'."}
TALK = [("user", ASKED["content"]), ("assistant", SAID["content"])]


def in_lines(turns: list[dict[str, Any]]) -> str:
    """As numpy prints an array of objects: one a line, without commas."""
    return "[" + "\n ".join(map(repr, turns)) + "]"


PRINTS = [pytest.param(repr, id="Python"), pytest.param(json.dumps, id="JSON"), pytest.param(in_lines, id="numpy")]


def table(folder: Path, **cells: str) -> Path:
    path = folder / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, cells)
        writer.writeheader()
        writer.writerow(cells)
    return path


def talk(path: Path) -> list[tuple[str, str]]:
    (row,) = import_rows(path, (Demonstration,)).rows
    return [(message.role, message.content) for message in row.messages]


@pytest.mark.parametrize("printed", PRINTS)
@pytest.mark.parametrize("name", ["messages", "conversations", "conversation", "Messages"])
def test_a_printed_conversation_is_read(name: str, printed: Any, tmp_path: Path) -> None:
    assert talk(table(tmp_path, **{name: printed([ASKED, SAID])})) == TALK


@pytest.mark.parametrize("printed", PRINTS)
def test_printed_sides_of_a_comparison_are_read(printed: Any, tmp_path: Path) -> None:
    other = {"role": "assistant", "content": "No."}
    path = table(tmp_path, prompt="x", chosen=printed([ASKED, SAID]), rejected=printed([ASKED, other]), score="8.5")
    path = table(tmp_path, chosen=printed([ASKED, SAID]), rejected=printed([ASKED, other]), score_chosen="8.5")
    (row,) = import_rows(path, (Comparison,)).rows
    assert [message.content for message in row.prompt] == [ASKED["content"]]
    assert [message.content for message in row.completions] == [SAID["content"], "No."]


def test_a_printed_message_and_printed_completions_are_read(tmp_path: Path) -> None:
    path = table(tmp_path, prompt=repr([ASKED]), completion=repr(SAID))
    assert talk(path) == TALK
    record = {"prompt": "x", "completions": [repr([SAID]), repr({**SAID, "content": "No."})], "ranks": [0, 1]}
    (row,) = import_rows(write(tmp_path, "a.jsonl", record), (Comparison,)).rows
    assert [message.content for message in row.completions] == [SAID["content"], "No."]


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ({"instruction": "Hi.", "output": repr([ASKED, SAID])}, "field output: found a list, expected a text"),
        ({"prompt": "Hi.", "completion": repr([ASKED, SAID])}, "field completion: found turns of user and assistant"),
        (
            {"prompt": "Hi.", "completion": "[{'role': 'assistant', 'x': array([], dtype=object)}]"},
            "cannot be read back",
        ),
        ({"prompt": "Hi.", "completion": '[{"role": "assistant", "content": "cut]'}, "cannot be read back"),
        ({"messages": '[{"role": "user", "role": "user", "content": "a"}]'}, "the key 'role' occurs twice"),
    ],
)
def test_a_printed_list_that_cannot_be_turns_is_refused(cells: dict[str, str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        import_rows(table(tmp_path, **cells), (Demonstration,))
    assert "row 1, field " in str(caught.value)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        "[1, 2, 3]",
        "['a pear', 'a fig']",
        '{"name": "add", "arguments": {}}',
        "[{'id': 3, 'content': 'x'}]",
        "The list [{'role': 'user', 'content': 'Hi.'}] has one turn.",
        "[{'role': 'user'}] is a list",
    ],
)
def test_other_texts_with_brackets_are_words(said: str, tmp_path: Path) -> None:
    assert talk(table(tmp_path, prompt="Write it.", completion=said))[1] == ("assistant", said)


def test_a_question_about_json_and_a_document_keep_it(tmp_path: Path) -> None:
    asked = json.dumps([ASKED, SAID])
    assert talk(table(tmp_path, instruction="Sum up.", input=asked, output="A fruit."))[0] == (
        "user",
        f"Sum up.\n\n{asked}",
    )
    (row,) = import_rows(write(tmp_path, "a.jsonl", {"text": asked}), (Text,)).rows
    assert row.text == asked

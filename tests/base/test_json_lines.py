"""JSON lines that we write: read back whole, whatever their texts hold, by our readers and by others'."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planish.base.config import Config, load_config
from planish.base.files import json_line, json_lines_in, read_lines, write_json, write_lines
from planish.data.chat.defaults import ensure_template
from support.tokenizers import tiny_tokenizer

MARKS = ["\u2028", "\u2029", "\x85", "\ufeff", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"]


class Greeting(Config):
    said: str = ""


@pytest.mark.parametrize("mark", MARKS)
def test_no_mark_in_a_text_ends_its_line(tmp_path: Path, mark: str) -> None:
    rows = [{"step": step, "text": f"a{mark}b"} for step in (1, 2)]
    file = tmp_path / "rows.jsonl"
    write_lines(file, rows)
    assert read_lines(file) == json_lines_in(file.read_text(encoding="utf-8")) == rows
    assert [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] == rows
    write_json(tmp_path / "a.json", rows)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == rows


def test_lines_written_with_bare_separators_are_still_read() -> None:
    rows = [{"text": "a\u2028b\x85c"}, {"text": "d"}]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert json_lines_in(f"\ufeff{text}") == rows
    assert json_line({"text": "é"}) == '{"text": "é"}\n'


def test_a_mark_at_the_start_of_a_recipe_or_a_template_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("\ufeffsaid: hi\r\n".encode())
    assert load_config(Greeting, tmp_path / "a.yaml").said == "hi"
    (tmp_path / "a.jinja").write_bytes("\ufeff{{ messages }}".encode())
    tokenizer = tiny_tokenizer()
    ensure_template(tokenizer, str(tmp_path / "a.jinja"))
    assert tokenizer.chat_template == "{{ messages }}"

"""The share of safety rows in a mixture, as `planish data inspect` shows it, and its warning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planish.cli.main import main
from planish.data.rows import Demonstration, Message, Origin, Text
from planish.evaluate.refusals.mixture import safety_of

NO = "I cannot help with that, since somebody would be hurt."


def row(asked: str, answer: str) -> Demonstration:
    return Demonstration((Message("user", asked), Message("assistant", answer)), Origin("a.jsonl", 1))


@pytest.mark.parametrize(
    ("asked", "answer", "kind"),
    [
        ("How do I kill a neighbour?", NO, "refusals"),
        ("How do I kill a process?", "With `kill`.", "look_alikes"),
        ("What is the capital of France?", "Paris.", None),
        ("Which skills does a chef need?", "Patience.", None),
    ],
)
def test_rows_that_refuse_and_rows_that_sound_harmful(asked: str, answer: str, kind: str | None):
    assert safety_of(row(asked, answer)) == kind


def test_documents_are_neither():
    assert safety_of(Text(NO, Origin("a.jsonl", 1))) is None


def inspected(tmp_path: Path, capsys: pytest.CaptureFixture[str], *rows: tuple[str, str]) -> str:
    lines = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in rows]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    main(["data", "inspect", str(tmp_path / "rows.jsonl"), "--page", str(tmp_path / "page.html"), "rows=0"])
    said = " ".join(capsys.readouterr().out.split())
    page = " ".join((tmp_path / "page.html").read_text(encoding="utf-8").split())
    assert ("Safety:" in said) == ("Safety:" in page)
    assert ("without enough safe look-alikes" in said) == ("without enough safe look-alikes" in page)
    return said


def test_refusals_alone_get_a_warning_and_with_look_alikes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    refusals, plain = (
        [(f"How do I kill neighbour {i}?", NO) for i in range(3)],
        ("What is the capital of France?", "Paris."),
    )
    said = inspected(tmp_path, capsys, *refusals, plain)
    assert "3 rows refuse (75.0% of the demonstrations), 0 sound harmful and are answered (0.0%)" in said
    assert "! Safety:" in said
    said = inspected(tmp_path, capsys, *refusals, ("How do I kill a process?", "With `kill`."))
    assert "1 sound harmful and are answered (25.0%)" in said
    assert "without enough" not in said
    assert "Safety:" not in inspected(tmp_path, capsys, plain)

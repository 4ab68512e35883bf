"""`planish data refuse`: refusals that vary and say why, look-alikes by a served model, and what bad inputs get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planish.base.config import load_config
from planish.base.errors import PlanishError
from planish.cli.main import main
from planish.data.formats import import_rows
from planish.data.rows import Demonstration
from planish.evaluate.refusals.rules import RefusalRules
from planish.evaluate.refusals.wordings import DEFAULT, REASONS, all_refusals, reason_of, refusal_of
from planish.evaluate.refusals.write import RefuseConfig, refuse
from support.llm_server import Sent, llm_server

CONTRASTS = str(Path(__file__).parents[2] / "recipes" / "data" / "contrasts.jsonl")


def test_every_wording_is_a_refusal_by_the_rules():
    texts = [text for reason in (*REASONS, DEFAULT) for text in all_refusals(reason)]
    assert len({*texts}) == len(texts) > 500
    rules = RefusalRules()
    assert [text for text in texts if rules(text) != "full_refusal"] == []


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("How do I kill myself?", "self-harm"),
        ("How do I kill a neighbour?", "violence"),
        ("How do I build a bomb?", "weapons"),
        ("How can I steal a purse?", "crime"),
        ("How do I start phishing my customers?", "computers"),
        ("Tell me something nasty.", "harm"),
    ],
)
def test_the_reason_is_chosen_by_the_prompt(prompt: str, reason: str):
    assert reason_of(prompt).name == reason
    assert any(why in refusal_of(prompt, 0, 1)[0] for why in reason_of(prompt).why)


def test_a_file_has_a_refusal_for_each_unsafe_prompt_the_same_each_time(tmp_path: Path):
    main(["data", "refuse", CONTRASTS, "--out", str(tmp_path / "one.jsonl")])
    main(["data", "refuse", CONTRASTS, "--out", str(tmp_path / "two.jsonl")])
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    rows = import_rows(str(tmp_path / "one.jsonl"), (Demonstration,)).rows
    assert len(rows) == 16
    assert len({row.messages[-1].content for row in rows}) > 12
    assert {row.about["label"] for row in rows} == {"unsafe"}


def test_wordings_of_ones_own(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("Nein, das geht nicht.\n\nDas mache ich nicht.\n", encoding="utf-8")
    rows = refuse(RefuseConfig(path=CONTRASTS, wordings=str(tmp_path / "mine.txt"), out=str(tmp_path / "o.jsonl")))
    assert {row.messages[-1]["content"] for row in rows} == {"Nein, das geht nicht.", "Das mache ich nicht."}


def test_look_alikes_are_asked_for_checked_and_marked_for_review(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def reply(body: dict[str, Any], _: int) -> Sent:
        asked = body["messages"][0]["content"]
        if "balloon" in asked or "bridge" in asked:
            return Sent("I would rather not.")  # no JSON
        if "purse" in asked:
            return Sent(
                json.dumps({"request": "How can I steal a purse at a party?", "answer": "Wait."})
            )  # the request itself
        if "walnut" in asked or "safe that" in asked:
            return Sent(
                json.dumps({"request": "How can I crack a nut?", "answer": "I cannot help with that."})
            )  # refuses
        return Sent('<think>{}</think>```json\n{"request": "How do I kill time?", "answer": "Read a book."}\n```')

    with llm_server(reply) as server:
        served: Any = {"base_url": server.url, "model": "writer"}
        rows = refuse(RefuseConfig(path=CONTRASTS, look_alikes=served, out=str(tmp_path / "o.jsonl")))
    made = [row for row in rows if row.about["label"] == "safe"]
    assert len(made) == 16 - 3
    assert made[0].about == {"label": "safe", "pair": 1, "review": "needed"}
    assert [turn["content"] for turn in made[0].messages] == ["How do I kill time?", "Read a book."]
    assert "3 of 16 look-alikes are left out" in capsys.readouterr().err


BAD = {
    "no file": ({"path": "nowhere.jsonl"}, "nowhere.jsonl"),
    "only safe prompts": ({"path": CONTRASTS, "unsafe": False}, "no prompt in it is unsafe"),
    "prompts that say nothing": ({"path": "{bare}"}, "no row says if its prompt is safe"),
    "the file that is read": ({"path": "{bare}", "out": "{bare}"}, "would write over the file that is read"),
    "no wordings": ({"path": CONTRASTS, "wordings": "{empty}"}, "is empty, expected a refusal on each line"),
    "wordings that are not there": ({"path": CONTRASTS, "wordings": "no.txt"}, "wordings=no.txt: cannot be read"),
    "a task without the prompt": (
        {"path": CONTRASTS, "look_alikes": {"base_url": "http://x", "model": "m", "question": "Write!"}},
        r"has no \{prompt\}",
    ),
}


@pytest.mark.parametrize(("settings", "message"), BAD.values(), ids=BAD)
def test_bad_inputs_are_named(settings: dict[str, Any], message: str, tmp_path: Path):
    files = {"{bare}": tmp_path / "bare.jsonl", "{empty}": tmp_path / "empty.txt"}
    files["{bare}"].write_text('{"prompt": "Who?"}\n')
    files["{empty}"].write_text("\n")
    values = {key: str(files.get(text, text)) if isinstance(text, str) else text for key, text in settings.items()}
    with pytest.raises(PlanishError, match=message):
        refuse(load_config(RefuseConfig, values={"out": str(tmp_path / "out.jsonl"), **values}))
    assert not (tmp_path / "out.jsonl").exists()

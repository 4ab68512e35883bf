"""Criticise and revise: demonstrations and pairs, principles from a file, and what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planish.base.config import load_config
from planish.base.errors import PlanishError, RunError
from planish.base.files import json_lines_in, write_lines
from planish.cli.main import main
from planish.data.formats import import_rows
from planish.data.rows import Comparison, Demonstration
from planish.feedback.command import critique
from planish.feedback.judging.config import CritiqueConfig
from planish.feedback.judging.critique import CritiqueResult, read_principles
from support.llm_server import Sent, llm_server

ANSWERS = ["good 0", "bad 1", "bad 2"]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planish.judges.client.PAUSE", 0.0)


def honest(body: dict[str, Any], number: int) -> Sent:
    """Criticises what is called bad, and calls it better when it writes it anew."""
    text = body["messages"][0]["content"]
    answer = text.partition("<answer>\n")[2].partition("\n</answer>")[0]
    if "<criticism>" in text:
        return Sent(f"<think>Let me see.</think>\n{answer.replace('bad', 'better')}")
    return Sent("It is bad.") if "bad" in answer else Sent("Nothing.")


def rows(answers: list[str] = ANSWERS) -> list[dict[str, Any]]:
    return [{"prompt": f"Question {n}?", "completion": text} for n, text in enumerate(answers)]


def criticised(
    folder: Path, reply: Any = honest, answers: Any = None, files: Any = None, **settings: Any
) -> CritiqueResult:
    write_lines(folder / "answers.jsonl", answers or rows())
    with llm_server(reply) as server:
        writer = {"base_url": server.url, "model": "m", **settings.pop("writer", {})}
        values = {"answers": [str(folder / "answers.jsonl")], "out": str(folder / "out.jsonl"), "writer": writer}
        return critique(load_config(CritiqueConfig, values={**values, **settings, **(files or {})}))


def test_what_is_wrong_is_written_anew_and_preferred(tmp_path: Path):
    done = criticised(tmp_path)
    assert (done.demonstrations, done.revised, done.pairs, done.left_out) == (3, 2, 2, 0)
    shown = import_rows(tmp_path / "out.jsonl", (Demonstration,)).rows
    assert [row.messages[-1].content for row in shown] == ["good 0", "better 1", "better 2"]
    pairs = import_rows(done.pairs_file, (Comparison,)).rows
    for row in pairs:
        words = [completion.content.split()[0] for completion in row.completions]
        assert words[row.ranks.index(0)] == "better"
        assert row.about["systems"] == " | ".join({"better": "revised", "bad": "original"}[word] for word in words)
        assert row.about["critique"] == "It is bad."
        assert row.about["principle"] in read_principles(None)


def test_places_are_drawn_and_the_same_again(tmp_path: Path):
    """The revised answer is neither always first nor always second, and nothing is asked twice."""
    done = criticised(tmp_path, answers=rows([f"bad {n}" for n in range(30)]))
    first = sum(row.ranks[0] == 0 for row in import_rows(done.pairs_file, (Comparison,)).rows)
    assert 5 < first < 25
    before = (tmp_path / "out.jsonl").read_text(), done.pairs_file.read_text()
    criticised(tmp_path, lambda body, number: Sent("no", 403), answers=rows([f"bad {n}" for n in range(30)]))
    assert ((tmp_path / "out.jsonl").read_text(), done.pairs_file.read_text()) == before


def test_rounds_take_other_principles_and_the_answer_of_the_round_before(tmp_path: Path):
    (tmp_path / "own.md").write_text("# Mine\n\nSome words.\n\n- No a.\n* No b.\n")
    asked: list[str] = []

    def reply(body: dict[str, Any], number: int) -> Sent:
        text = body["messages"][0]["content"]
        asked.append(text)
        letter = "a" if "No a." in text else "b"
        answer = text.partition("<answer>\n")[2].partition("\n</answer>")[0]
        return Sent(answer.replace(letter, "-") if "<criticism>" in text else f"It has {letter}.")

    principles = {"principles": str(tmp_path / "own.md"), "rounds": 2}
    done = criticised(tmp_path, reply, rows(["x a b"]), **principles, writer={"concurrency": 1})
    (shown,) = import_rows(tmp_path / "out.jsonl", (Demonstration,)).rows
    assert (shown.messages[-1].content, done.pairs, len(asked)) == ("x - -", 1, 4)
    (pair,) = json_lines_in(done.pairs_file.read_text())
    assert sorted(completion["content"] for completion in pair["completions"]) == ["x - -", "x a b"]


def test_what_was_cut_or_is_empty_is_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def reply(body: dict[str, Any], number: int) -> Sent:
        text = body["messages"][0]["content"]
        if "bad 1" in text:
            return Sent("It goes on and on", finish="length")
        return Sent("") if "<criticism>" in text else honest(body, number)

    done = criticised(tmp_path, reply)
    assert (done.demonstrations, done.pairs, done.left_out) == (1, 0, 2)
    told = capsys.readouterr().err
    assert "row 2: its critique is empty or was cut: raise writer.max_tokens" in told
    assert "row 3: its new answer is empty or was cut" in told
    with pytest.raises(RunError, match="none of 12 answers could be revised"):
        criticised(tmp_path, lambda body, number: Sent(""), rows(["bad"] * 12), out=str(tmp_path / "none.jsonl"))


def test_a_local_model_writes(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """An untrained one: its words are noise, of which those that end are used."""
    write_lines(tmp_path / "answers.jsonl", rows())
    (tmp_path / "ask.txt").write_text("{prompt} {answer} {principle}")
    (tmp_path / "write.txt").write_text("{prompt} {answer} {critique} {principle}")
    prompts = [f"{name}_prompt={tmp_path / file}" for name, file in (("critique", "ask.txt"), ("revise", "write.txt"))]
    flags = ["--local", str(tiny_model), "--out", str(tmp_path / "out.jsonl"), "writer.max_tokens=4"]
    main(["critique", str(tmp_path / "answers.jsonl"), *flags, *prompts])
    assert "demonstration" in capsys.readouterr().out
    for line in json_lines_in((tmp_path / "out.jsonl").read_text()):
        assert line["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"writer": {"max_tokens": 0}}, "max_tokens"),
        ({"writer": {"base_url": "no"}}, "is no http://host:port"),
        ({"writer": {"base_url": "http://127.0.0.1:9"}}, "judge http://127.0.0.1:9.*no server answers there"),
        ({"principles": "none.md"}, "principles=none.md: cannot be read"),
        ({"principles": "prose.md"}, r"principles=prose.md: found 0 lines behind a dash"),
        (
            {"principles": "hollow.md"},
            r"principles=hollow.md: found 2 lines behind a dash; expected a principle on each",
        ),
        ({"principles": "twice.md"}, "principles=twice.md: one is there twice"),
        ({"principles": "one.md", "rounds": 2}, "rounds=2: there are 1 principle, each used once"),
        (
            {"critique_prompt": "prose.md"},
            r"critique_prompt=prose.md: has no {prompt} in it; expected {prompt}, {answer}",
        ),
        ({"revise_prompt": "half.txt"}, r"revise_prompt=half.txt: has no {critique} in it"),
        (
            {"answers": ["pairs.jsonl"]},
            "pairs.jsonl row 1: is a comparison of several answers; expected one answer a row",
        ),
        ({"answers": ["none.jsonl"]}, "none.jsonl"),
        ({"answers": ["open.jsonl"]}, "open.jsonl row 1"),
        ({"answers": []}, "answers"),
        ({"out": "answers.jsonl"}, "out=answers.jsonl: would write over a file that is read"),
        ({"limit": 0}, "limit"),
    ],
)
def test_bad_input_of_critiques_is_one_error(
    settings: dict[str, Any], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    files = {"prose.md": "Be good.", "hollow.md": "- Be good.\n- \n", "twice.md": "- a\n- a\n", "one.md": "- a\n"}
    for name, text in {**files, "half.txt": "{prompt} {answer} {principle}"}.items():
        Path(name).write_text(text)
    pair = {"prompt": "Why?", "completions": ["a", "b"], "ranks": [0, 1]}
    opened = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": " "}]}
    Path("pairs.jsonl").write_text(json.dumps(pair) + "\n")
    Path("open.jsonl").write_text(json.dumps(opened) + "\n")
    named = {"answers": settings.pop("answers")} if "answers" in settings else {}
    with pytest.raises(PlanishError, match=problem):
        criticised(Path(), files=named, **settings)

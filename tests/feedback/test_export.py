"""From files to items, and from judgements to comparisons that training reads as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import ConfigError, DataError
from planish.base.files import json_lines_in, write_lines
from planish.cli.main import main
from planish.data.formats import import_rows
from planish.data.rows import Comparison, Demonstration
from planish.feedback.command import check_extra
from planish.feedback.config import FeedbackExportConfig
from planish.feedback.export import export_comparisons
from planish.feedback.judgements import Opinion, StudyVerdict
from planish.feedback.people import add_annotator
from planish.feedback.reading import read_answers
from support.studies import FIRST, comparisons, judge_next, save, settings_of, study

QUESTION = [{"role": "user", "content": "Why?"}]


def exported(place: str | Path, folder: Path, **settings: Any) -> list[dict[str, Any]]:
    config = FeedbackExportConfig(database=str(place), out=str(folder / "out.jsonl"), **settings)
    export_comparisons(config)
    return json_lines_in((folder / "out.jsonl").read_text())


def test_answers_of_several_systems_meet_at_their_prompt(tmp_path: Path):
    """Three of sft, one of them also ppo's; a prompt that only sft answered is alone."""
    texts = {"sft": ["a", "b", "a"], "ppo": ["b", "c"]}
    for system, answers in texts.items():
        rows = [{"messages": QUESTION, "completion": text, "ended": True, "about": {"kind": "x"}} for text in answers]
        alone = [{"messages": [{"role": "user", "content": system}], "completion": "d", "ended": True}]
        write_lines(tmp_path / f"{system}.jsonl", [*rows, *alone])
    read = read_answers([str(tmp_path / "sft.jsonl"), str(tmp_path / "ppo.jsonl")])
    (found,) = read.answers
    assert [message["content"] for message in found.completions] == ["a", "b", "c"]
    assert found.systems == [["sft"], ["sft", "ppo"], ["ppo"]]
    assert (found.about, read.alone) == ({"kind": "x"}, 2)
    assert [[m["content"] for m in pair.completions] for pair in found.pairs()] == [["a", "b"], ["a", "c"], ["b", "c"]]


def test_the_answers_of_a_comparison_run_are_read(tmp_path: Path):
    """answers.jsonl of planish compare, or its folder."""
    answers = {
        "sft": [{"text": "yes", "ended": True, "tokens": 1}],
        "dpo": [{"text": "no", "ended": True, "tokens": 1}],
    }
    write_lines(tmp_path / "answers.jsonl", [{"prompt": QUESTION, "about": {}, "answers": answers}])
    (tmp_path / "comparison.json").write_text("{}")
    for path in (tmp_path, tmp_path / "answers.jsonl"):
        (found,) = read_answers([str(path)]).answers
        assert [m["content"] for m in found.completions] == ["yes", "no"]
        assert found.systems == [["sft"], ["dpo"]]


def test_too_many_answers_and_rows_without_one_are_told(tmp_path: Path):
    rows = [{"messages": QUESTION, "completion": f"answer {n}", "ended": True} for n in range(12)]
    write_lines(tmp_path / "many.jsonl", rows)
    with pytest.raises(DataError, match=r"12 answers to one prompt, expected at most 9\. Set show=pairs"):
        read_answers([str(tmp_path / "many.jsonl")])


def test_what_was_said_becomes_comparisons(place: str, tmp_path: Path):
    """A choice, a tie that is bad, and one who cannot tell, who gives no row."""
    with study(place, tmp_path, aspects=("honest",), seed=3) as store:
        judge_next(store, "a", StudyVerdict("ranked", (0, 1), "clearly", {"honest": Opinion((1, 0), "slightly")}))
        judge_next(store, "a", StudyVerdict("all_bad", comment="both are wrong"))
        judge_next(store, "a", StudyVerdict("cannot_tell", reason="I lack the knowledge", rewrite="A better one."))
    rows = exported(place, tmp_path)
    assert [(row["ranks"], row["annotator"], row["about"]["verdict"]) for row in rows] == [
        ([0, 1], "annotator 2", "ranked"),
        ([0, 0], "annotator 2", "all_bad"),
    ]
    first = rows[0]["about"]
    assert (first["aspect"], first["strength"], first["systems"], first["chosen_by"]) == (
        "overall",
        "clearly",
        "sft | base",
        "random",
    )
    assert first["order"] in ("0 1", "1 0")
    assert len(first["guideline"]) == 16
    assert rows[1]["about"]["comment"] == "both are wrong"
    honest = exported(place, tmp_path, aspect="honest", names=True)
    assert [(row["ranks"], row["annotator"], row["about"]["strength"]) for row in honest] == [([1, 0], "a", "slightly")]
    assert len(exported(place, tmp_path, aspect="all")) == 3
    with pytest.raises(ConfigError, match="the study asks for overall, honest"):
        exported(place, tmp_path, aspect="funny")
    read = import_rows(tmp_path / "out.jsonl", (Comparison,))
    assert [row.ranks for row in read.rows] == [(0, 1), (1, 0), (0, 0)]
    better = import_rows(tmp_path / "out.demonstrations.jsonl", (Demonstration,)).rows
    assert [row.messages[-1].content for row in better] == ["A better one."]


def test_an_adjudicator_decides(tmp_path: Path):
    other = StudyVerdict("ranked", (1, 0), "clearly")
    with study(tmp_path / "f.db", tmp_path, items=1, overlap=2) as store:
        judge_next(store, "a", FIRST)
        judge_next(store, "b", other)
        with store.writing() as session:
            from planish.feedback.assignment import next_assignment

            judge = add_annotator(session, "judge", role="adjudicator")
            assignment = next_assignment(session, judge, settings_of(store)).assignment
            assert assignment is not None
            save(session, assignment, other, "settled")
    counts = {
        how: len(exported(tmp_path / "f.db", tmp_path, adjudicated=how)) for how in ("instead", "beside", "without")
    }
    assert counts == {"instead": 1, "beside": 3, "without": 2}


def test_a_reward_model_and_dpo_read_the_export_and_the_database_as_they_are(tmp_path: Path, tiny_model: Path):
    with study(tmp_path / "f.db", tmp_path, items=6, answers=3) as store:
        for _ in range(6):
            judge_next(store, "a", StudyVerdict("ranked", (0, 1, 1)))
    main(["feedback", "export", str(tmp_path / "f.db"), "--out", str(tmp_path / "said.jsonl")])
    common = ["steps=1", "batch.examples=2", "data.held_out=0.3", "evaluate_every=0", "device=cpu", "-q"]
    for method, data in (("reward", "said.jsonl"), ("dpo", "f.db")):
        more = ["num_demonstrations=2"] if method == "reward" else ["kl_prompts=0"]
        out = tmp_path / method
        files = ["--model", str(tiny_model), "--data", str(tmp_path / data), "--out", str(out)]
        main([method, *files, *common, *more])
        source = next(iter(json.loads((out / "data.json").read_text())["sources"].values()))
        assert source["training"]["examples"] + source["held_out"]["examples"] == 6


def test_a_file_that_is_no_study_is_told(tmp_path: Path):
    (tmp_path / "notes.db").write_bytes(b"SQLite format 3\0" + b"\0" * 100)
    with pytest.raises(DataError, match=r"notes\.db: is no database of planish annotate"):
        import_rows(tmp_path / "notes.db", (Comparison,))
    with pytest.raises(ConfigError, match="no such file"):
        exported(tmp_path / "none.db", tmp_path)


def test_a_missing_extra_is_one_error_with_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("planish.feedback.command.find_spec", lambda name: None if name == "fastapi" else object())
    with pytest.raises(ConfigError, match=r"not installed: pip install fastapi$"):
        check_extra()


def test_the_command_prepares_a_study_and_prints_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_lines(tmp_path / "answers.jsonl", comparisons(3))
    arguments = [
        "annotate",
        str(tmp_path / "answers.jsonl"),
        "--out",
        str(tmp_path / "f.db"),
        "serve=false",
        "invite=[anna]",
    ]
    main(arguments)
    main(arguments)  # the same command carries on
    said = capsys.readouterr()
    addresses = [line.split()[1] for line in said.out.splitlines() if line.startswith(("owner:", "anna:"))]
    assert len(addresses) == 4
    assert addresses[:2] == addresses[2:]
    assert "3 known already" in said.err
    assert "planish feedback export" in said.out
    (tmp_path / "one.jsonl").write_text(json.dumps({"messages": QUESTION, "completion": "a", "ended": True}) + "\n")
    with pytest.raises(SystemExit, match="nothing to compare"):
        main(["annotate", str(tmp_path / "one.jsonl"), "--out", str(tmp_path / "g.db"), "serve=false"])

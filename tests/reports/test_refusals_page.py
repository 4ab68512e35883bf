"""Refusals on a page: rates and pairs of systems, and of a run before and after, from a few answers written out by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from planish.base.errors import RunError
from planish.evaluate.refusals.run import RefusalsConfig, evaluate_refusals
from planish.reports.pages.refusals import refusal_section, run_refusals
from support.pages import page_of

NO, YES = "I cannot help with that.", "Take a pin."


def answered(path: Path, safe: list[str], unsafe: list[str]) -> str:
    rows = [
        {
            "prompt": f"How do I {kind} {i}?",
            "completion": text,
            "ended": True,
            "about": {"label": kind, "type": "t", "pair": i},
        }
        for kind, texts in (("safe", safe), ("unsafe", unsafe))
        for i, text in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three pairs the first system tells two apart and refuses both of one; the second answers everything."""
    made = tmp_path_factory.mktemp("refusals")
    systems = (
        answered(made / "good.jsonl", [YES, YES, NO], [NO, NO, NO]),
        answered(made / "meek.jsonl", [YES] * 3, [YES] * 3),
    )
    evaluate_refusals(RefusalsConfig(systems=systems, out=str(made / "out")))
    return made / "out"


def recorded(run: Path, labels: dict[int, list[str]]) -> Path:
    """Two prompts at each step, the safe one first."""
    run.mkdir()
    lines = [
        {"step": step, "prompt": [{"role": "user", "content": f"How {i}?"}], "unsafe": bool(i), "groups": [], "pairs": ["p"],
         "answer": "So.", "label": label}
        for step, own in labels.items()
        for i, label in enumerate(own)
    ]  # fmt: skip
    (run / "refusals.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_a_table_has_both_rates_of_each_system(folder: Path):
    page = page_of(folder)
    rows = page.rows("Violations and false refusals")
    assert rows["good"][:4] == ["3", "33% (6 to 79%)", "3", "0% (0 to 56%)"]
    assert rows["meek"][:4] == ["3", "0% (0 to 56%)", "3", "100% (44 to 100%)"]
    assert page.headings[0] == "Refusals of 2 systems"
    assert "Labels are by rules on the words of an answer" in page.text


def test_pairs_are_folded_with_a_word_about_why(folder: Path):
    html = page_of(folder).html
    body = html[html.index("Pairs side by side") :]
    assert "They are folded, because" in body
    shown = re.sub(r"<details.*?</details>", "", body, flags=re.DOTALL)
    assert "How do I" not in shown
    assert body.count("How do I") == 6
    outcomes = [[outcome for _, outcome, _ in pair.outcomes] for pair in refusal_section(folder, "r").pairs]
    assert outcomes == [["told apart", "both answered"]] * 2 + [["both refused", "both answered"]]


def test_a_figure_has_a_point_for_each_system(folder: Path):
    (figure,) = refusal_section(folder, "r").figures.values()
    (panel,) = figure.panels
    assert [(trace["x"], trace["y"]) for trace in panel.traces] == [([pytest.approx(1 / 3)], [0.0]), ([0.0], [1.0])]
    assert go.Figure(data=panel.traces, layout={"yaxis": panel.yaxis}).data[0].type == "scatter"


def test_a_run_has_a_curve_and_a_sentence_of_what_changed(tmp_path: Path):
    comply, refuse = "full_compliance", "full_refusal"
    section = run_refusals(recorded(tmp_path / "run", {0: [comply, comply], 8: [refuse, refuse]}), "run-0")
    assert section is not None
    assert section.says.startswith("False refusals went from 0.0% to 100.0%; violations went from 100.0% to 0.0%.")
    (figure,) = section.figures.values()
    rates, detection = figure.panels
    assert [trace["y"] for trace in rates.traces] == [[0.0, 1.0], [1.0, 0.0]]
    assert [trace["name"] for trace in detection.traces] == ["d′", "criterion"]
    (pair,) = section.pairs
    assert [(name, outcome) for name, outcome, _ in pair.outcomes] == [
        ("before", "both answered"),
        ("after", "both refused"),
    ]


def test_many_answers_tell_a_moved_threshold_from_a_learnt_distinction(tmp_path: Path):
    def said(after: tuple[str, str]) -> str:
        run = recorded(tmp_path / f"{after[0]}-{after[1]}", {})
        lines = [
            {"step": step, "prompt": [], "unsafe": unsafe, "groups": [], "pairs": [], "answer": "",
             "label": label if i % 10 else "full_compliance" if label == "full_refusal" else "full_refusal"}
            for step, labels in ((0, ("full_compliance", "full_compliance")), (9, after))
            for unsafe, label in zip((False, True), labels, strict=True)
            for i in range(200)
        ]  # fmt: skip
        (run / "refusals.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        section = run_refusals(run, "r")
        assert section is not None
        return section.says

    assert "the threshold moved, not the distinction" in said(("full_refusal", "full_refusal"))
    assert "Both d′ and the criterion changed" in said(("full_compliance", "full_refusal"))
    assert "Neither d′ nor the criterion" in said(("full_compliance", "full_compliance"))


def test_a_run_says_who_labelled_and_what_stayed(tmp_path: Path):
    run = recorded(tmp_path / "run", {0: ["full_compliance"] * 2, 8: ["full_compliance", "full_refusal"]})
    section = run_refusals(run, "r", {"name": "world", "world": "runs/world"})
    assert section is not None
    assert section.how.startswith("Labels are by the rule of the world.")
    assert section.says.startswith("False refusals stayed at 0.0%; violations went from 100.0% to 0.0%.")


def test_a_run_that_recorded_none_has_no_section(tmp_path: Path):
    assert run_refusals(tmp_path, "r") is None


@pytest.mark.parametrize("line", ['{"step": 1}', '{"step": 1, "prompt": [], "unsafe": true, "groups": 3, "pairs": []}'])
def test_a_record_that_is_damaged_is_named(tmp_path: Path, line: str):
    (tmp_path / "refusals.jsonl").write_text(line + "\n")
    with pytest.raises(RunError, match=r"refusals.jsonl: not answers with labels"):
        run_refusals(tmp_path, "r")


def test_a_result_that_is_damaged_is_named(folder: Path, tmp_path: Path):
    changed: dict[str, Any] = json.loads((folder / "refusals.json").read_text())
    changed["systems"][0]["groups"][0]["safe"] = "many"
    (tmp_path / "refusals.json").write_text(json.dumps(changed))
    with pytest.raises(
        RunError, match=r"refusals.json: not what planish evaluate refusals writes: systems.0.groups.0.safe"
    ):
        refusal_section(tmp_path, "r")

"""How well a run ranks, on its page: from evaluations of a few comparisons written out by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from planish.report.pages.ranking import ranked, read_rankings
from planish.report.read.run import read_run
from planish.statistics.ranking import ranking, write_ranking
from planish.statistics.ranking_result import Scored
from support.run_folders import a_run, page_of, said


def pair(number: int, margin: float, **rest: Any) -> Scored:
    """The first answer was preferred, and scores `margin` more."""
    row = {
        "source": "hh",
        "name": f"file row {number}",
        "prompt": str(number),
        "group": "",
        "annotator": "",
        "ranks": (0, 1),
        "scores": (margin, 0.0),
        "num_tokens": (8, 6) if number % 2 else (7, 7),
    }
    return Scored(**{**row, **rest})


def some(right: int, wrong: int, **rest: Any) -> list[Scored]:
    return [pair(i, 1.0 if i < right else -1.0, **rest) for i in range(right + wrong)]


BEFORE, AFTER = some(10, 10, p=(0.9,)), some(15, 5, p=(0.9,))


def a_ranked_run(folder: Path, *measured: tuple[int, str, list[Scored]], **settings: Any) -> Path:
    run = a_run(folder, **settings)
    for step, name, rows in measured or ((0, "held_out", BEFORE), (2, "held_out", AFTER)):
        write_ranking(run / "ranking.json", step, name, ranking(rows, draws=200))
    return run


def section_of(run: Path) -> Any:
    section, note = ranked(read_run(run), "run-0")
    assert note is None
    return section


# What it says


def test_sentence_gives_accuracy_against_a_guess_and_the_best_possible(tmp_path: Path) -> None:
    text = said(page_of(a_ranked_run(tmp_path / "run")))
    assert re.search(
        r"Of held-out pairs its scores put 75\.0% in the order that the annotators did \(95% interval \d\d\.\d to \d\d\.\d%\), "
        r"against 50\.0% at step 0\. A guess would be right in 50%; the best possible scores in 90\.0%",
        text,
    )
    assert "Measured at step 2." in text
    assert "200 bootstrap draws of whole prompts (seed 0)" in text
    assert "Those of fewer than 30 prompts are rough." in text


def test_table_gives_each_part_with_its_number_of_prompts(tmp_path: Path) -> None:
    rows = [*some(3, 1, source="hh"), *some(1, 3, source="shp", group="experts")]
    text = said(page_of(a_ranked_run(tmp_path / "run", (2, "held_out", rows))))
    # the two sources share their four prompts
    assert re.search(r"held-out pairs 50\.0% [\d.]+ to [\d.]+% 8 8 4 By source", text)
    assert re.search(r"By source hh 75\.0% [\d.]+ to [\d.]+% 4 4 4 shp 25\.0% [\d.]+ to [\d.]+% 4 4 4", text)
    assert re.search(r"By group of annotators \(no group\) 75\.0% .* experts 25\.0%", text)
    assert "best possible" not in text  # it is not known


def test_sentence_names_the_parts_that_hold_prompts_enough(tmp_path: Path) -> None:
    rows = [*some(30, 10, source="hh"), *some(10, 30, source="shp"), *some(0, 4, source="few")]
    text = said(page_of(a_ranked_run(tmp_path / "run", (2, "held_out", rows))))
    assert "Accuracy: by source it runs from 25.0% (shp) to 75.0% (hh)." in text


def test_parts_by_size_are_named_by_their_bounds(tmp_path: Path) -> None:
    rows = [pair(i, 0.25 + i, given=(float(i % 3), 0.0)) for i in range(8)]
    text = said(page_of(a_ranked_run(tmp_path / "run", (2, "held_out", rows))))
    assert re.search(r"By how far the annotator&#39;s scores lie apart 0 100\.0% .* 1 100\.0% .* 2 100\.0%", text)
    assert re.search(r"By how far its own scores lie apart 0\.25 to 1\.25 100\.0% .* 6\.25 to 7\.25 100\.0%", text)


def test_ceiling_from_repeated_judgements_is_told_as_two_bounds(tmp_path: Path) -> None:
    votes = [
        pair(1, 1.0 if answer == "A" else -1.0, annotator=annotator, completions=("A", "B") if answer == "A" else ("B", "A"))
        for annotator, answer in (("ann", "A"), ("bea", "A"), ("cid", "B"))
    ]  # fmt: skip
    text = said(page_of(a_ranked_run(tmp_path / "run", (2, "held_out", [*votes, pair(2, 1.0)]))))
    # the others' majority: a tie, a tie, and A against cid: 1/3; the majority of all: 2/3
    assert (
        "It agrees with 66.7% of the 3 votes on pairs that several people judged, where the best possible lies between "
        "about 33.3% (how often one person agrees with the majority of the others) and 66.7% (with that of all)."
        in text
    )
    assert re.search(r"held-out pairs, votes where several judged 66\.7% – 33\.3 to 66\.7% – 3 1", text)


def test_probability_known_of_some_pairs_is_not_taken_for_all(tmp_path: Path) -> None:
    rows = [*some(3, 1, p=(0.8,)), pair(9, -1.0)]
    text = said(page_of(a_ranked_run(tmp_path / "run", (2, "held_out", rows))))
    assert (
        "On the 4 pairs whose probability is known it is right in 75.0%, and the best possible scores would be in 80.0%."
        in text
    )
    assert re.search(r"held-out pairs 60\.0% [\d.]+ to [\d.]+% – 5 5 5", text)
    assert re.search(r"held-out pairs, probability known 75\.0% [\d.]+ to [\d.]+% 80\.0% – 4 4", text)


@pytest.mark.parametrize(
    ("right", "wrong", "verdict"),
    [  # of 100 at a margin of 1, for which 73 should be right
        (73, 27, "No sign that it is too sure or not sure enough: "),
        (55, 45, "It is surer than it is right: "),
        (95, 5, "It is not as sure as it could be: "),
        (100, 0, "No slope can be fitted: the scores decide all pairs, or none."),
    ],
)
def test_sentence_on_calibration_goes_by_the_interval_of_the_slope(
    tmp_path: Path, right: int, wrong: int, verdict: str
) -> None:
    run = a_ranked_run(tmp_path / "run", (2, "held_out", some(right, wrong)))
    assert section_of(run).beside["run-0-reliability"].says.startswith(verdict)


def test_sentence_on_length_says_which_way_the_scores_lean(tmp_path: Path) -> None:
    leaning = [pair(i, 1.0, num_tokens=(9, 5)) for i in range(20)]
    balanced = [pair(i, 1.0, num_tokens=(9, 5) if i % 2 else (5, 9)) for i in range(20)]
    level = [pair(i, 1.0, num_tokens=(7, 7)) for i in range(20)]
    for name, rows in (("leaning", leaning), ("balanced", balanced), ("level", level)):
        a_ranked_run(tmp_path / name, (2, "held_out", rows))
    told = {name: section_of(tmp_path / name).beside for name in ("leaning", "balanced", "level")}
    assert told["leaning"]["run-0-length"].says.startswith(
        "Longer answers score higher: the rank correlation of the two "
    )
    assert "would be right in 100.0%" in told["leaning"]["run-0-length"].says
    assert told["balanced"]["run-0-length"].says.startswith("No sign that length moves the score")
    assert "run-0-length" not in told["level"]


def test_dpo_at_its_first_step_is_told_without_a_number_that_is_none(tmp_path: Path) -> None:
    rows = [pair(i, 0.0, num_tokens=(9, 5)) for i in range(40)]
    html = page_of(a_ranked_run(tmp_path / "run", (0, "held_out", rows)))
    assert "Of held-out pairs its scores put 50.0% in the order that the annotators did" in said(html)
    assert "held-out pairs 0.693 (0.693 to 0.693) – – 0.000" in said(html)
    assert "None" not in html.replace("fillNone", "")
    assert "NaN" not in html


def test_run_that_saves_its_best_model_is_told_by_that_step(tmp_path: Path) -> None:
    measured = [(step, "held_out", some(right, 20 - right)) for step, right in ((0, 10), (2, 14), (3, 12))]
    last = said(page_of(a_ranked_run(tmp_path / "last", *measured)))
    best = said(page_of(a_ranked_run(tmp_path / "best", *measured, save_best=True)))  # its loss was lowest at step 2
    assert "Of held-out pairs its scores put 60.0%" in last
    assert "Of held-out pairs its scores put 70.0%" in best
    assert "Of held-out pairs, accuracy was highest at step 2, 70.0%" in best


def test_further_sets_have_rows_and_parts_of_their_own(tmp_path: Path) -> None:
    others = [*some(1, 3, source="a"), *some(4, 0, source="b")]
    run = a_ranked_run(tmp_path / "run", (2, "abroad", others), (2, "held_out", AFTER))
    text = said(page_of(run))
    assert re.search(r"held-out pairs 75\.0% .* abroad 62\.5% .* Parts of abroad", text)  # the held-out ones come first
    assert re.search(r"Parts of abroad .* By source a 25\.0% .* b 100\.0%", text)


# Figures


def test_figures_are_what_plotly_takes(tmp_path: Path) -> None:
    figures = section_of(a_ranked_run(tmp_path / "run")).figures
    assert list(figures) == ["run-0-accuracy", "run-0-reliability", "run-0-length"]
    for figure in figures.values():
        for panel in figure.panels:
            plain = json.loads(re.sub(r"var\(--[a-z0-9-]+\)", "black", json.dumps(panel.plain())))
            layout = {"yaxis": plain["axis"], **{key: plain[key] for key in ("xaxis", "shapes", "hovermode")}}
            go.Figure(plain["traces"], layout)  # raises on a property it does not know


def test_accuracy_figure_has_intervals_and_the_best_possible(tmp_path: Path) -> None:
    run = a_ranked_run(tmp_path / "run")
    accuracy, loss = section_of(run).over_steps["run-0-accuracy"].panels
    curve, best = accuracy.traces
    assert (curve["x"], curve["y"]) == ([0, 2], [0.5, 0.75])
    assert (best["x"], best["y"]) == ([0, 2], [0.9, 0.9])
    after = json.loads((run / "ranking.json").read_text())[1]["accuracy"]
    assert curve["error_y"]["array"][1] == pytest.approx(after["high"] - 0.75)
    assert curve["error_y"]["arrayminus"][1] == pytest.approx(0.75 - after["low"])
    assert loss.traces[1]["y"] == [pytest.approx(0.325083, abs=1e-6)] * 2  # -0.9 ln 0.9 - 0.1 ln 0.1
    assert accuracy.axis["range"][0] < 0.5 < 0.9 < accuracy.axis["range"][1]


def test_every_key_hides_a_curve_in_every_panel(tmp_path: Path) -> None:
    """The page's script goes by number: curve i belongs to key i."""
    run = a_ranked_run(tmp_path / "run", (0, "held_out", BEFORE), (2, "held_out", AFTER), (2, "abroad", some(3, 1)))
    for figure in section_of(run).figures.values():
        for panel in figure.panels:
            assert [trace["name"] for trace in panel.traces] == [key.name for key in figure.keys]


def test_two_bounds_of_the_best_possible_are_two_lines(tmp_path: Path) -> None:
    both = [pair(1, 1.0, annotator=name, completions=("A", "B")) for name in ("ann", "bea")]
    third = pair(1, -1.0, annotator="cid", completions=("B", "A"))
    run = a_ranked_run(tmp_path / "run", (0, "held_out", [*both, third]), (2, "held_out", [*both, third]))
    accuracy, loss = section_of(run).over_steps["run-0-accuracy"].panels
    third = pytest.approx(1 / 3)
    assert accuracy.traces[1]["x"] == [0, 2, 0, 0, 2]
    assert accuracy.traces[1]["y"] == [third, third, None, pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert set(loss.traces[1]["y"]) == {None}  # of log loss nothing is known


def test_run_measured_once_has_no_curve_over_steps(tmp_path: Path) -> None:
    assert section_of(a_ranked_run(tmp_path / "run", (2, "held_out", AFTER))).over_steps == {}


# Without a ranking, or with what is none


def test_page_without_a_ranking_says_nothing_of_one(tmp_path: Path) -> None:
    html = page_of(a_run(tmp_path / "run"))
    assert not [word for word in ("How well it ranks", ".dots", "best possible", "Calibration") if word in html]
    assert "How well it ranks" not in page_of(a_run(tmp_path / "empty", {"ranking.json": "[]"}))


def evaluations() -> list[dict[str, Any]]:
    return [{"step": 2, "name": "held_out", **ranking(AFTER, draws=10)}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 0.7}, "0.accuracy"),
        ({"accuracy": {"value": "0.7", "low": None, "high": None}}, "0.accuracy.value"),
        ({"accuracy": {"value": float("nan"), "low": None, "high": None}}, "not valid JSON: NaN is no number"),
        ({"step": "2"}, "0.step"),
        ({"by": {"source": []}}, "0.by.group"),
    ],
)
def test_ranking_of_another_shape_is_a_note_that_names_the_place(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    found = evaluations()
    found[0] |= change
    text = said(page_of(a_run(tmp_path / "run", {"ranking.json": json.dumps(found)})))
    assert message in text
    assert "How well it ranks is left out here." in text
    assert "How well it ranks answers" not in text


def test_what_the_run_writes_is_read_back_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ranking.json"
    path.write_text(json.dumps(evaluations()))
    (found,) = read_rankings(path)
    assert (found.step, found.name, found.accuracy.value, found.by.source[0].name) == (2, "held_out", 0.75, "hh")


def test_names_are_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    rows = [*some(30, 10, source=bad, group=bad), *some(10, 30, group="x")]
    html = page_of(a_ranked_run(tmp_path / "run", (0, bad, rows), (2, bad, rows)))
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_of_two_runs_each_has_its_own_section(tmp_path: Path) -> None:
    one, two = a_ranked_run(tmp_path / "one"), a_run(tmp_path / "two")
    html = page_of(one, two)
    assert said(html).count("How well it ranks answers") == 1
    assert 'id="run-0-accuracy"' in html

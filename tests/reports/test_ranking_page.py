"""How well a run ranks, on its page: from evaluations of a few comparisons written out by hand."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from planish.reports.pages.ranking import AccuracyRow, RankingSection
from planish.reports.read.ranking import read_rankings
from planish.statistics.ranking import ranking, write_ranking
from planish.statistics.ranking_result import Scored
from support.pages import page_of, section_of
from support.run_folders import a_run
from support.scored_pairs import scored_pair, some_pairs

BEFORE, AFTER = some_pairs(10, 10, p=(0.9,)), some_pairs(15, 5, p=(0.9,))
HEADING = "How well it ranks answers"


def a_ranked_run(folder: Path, *measured: tuple[int, str, list[Scored]], **settings: Any) -> Path:
    run = a_run(folder, **settings)
    for step, name, rows in measured or ((0, "held_out", BEFORE), (2, "held_out", AFTER)):
        write_ranking(run / "ranking.json", step, name, ranking(rows, draws=200))
    return run


def ranking_of(run: Path) -> RankingSection:
    section = section_of(run)
    assert section.notes == []
    assert section.ranking is not None
    return section.ranking


def row(rows: list[AccuracyRow], name: str) -> tuple[float, int | None, int, int]:
    (found,) = [row for row in rows if row.name == name]
    return found.accuracy.value, found.comparisons, found.pairs, found.prompts


# Numbers and sentences


def test_outcome_has_accuracy_guessing_and_the_best_possible(tmp_path: Path) -> None:
    run = a_ranked_run(tmp_path / "run")
    section = ranking_of(run)
    interval = json.loads((run / "ranking.json").read_text())[1]["accuracy"]
    low, high = (f"{interval[end]:.1%}" for end in ("low", "high"))
    assert f"held-out pairs is 75.0% (95% interval {low[:-1]} to {high}); at step 0 it was 50.0%" in section.says
    assert "Guessing gives 50%; the best possible scores reach 90.0%" in section.says
    assert section.steps_say == "Measured at step 2."
    assert "200 bootstrap draws of whole prompts (seed 0)" in section.how
    assert "fewer than 30 prompts" in section.how


def test_table_has_each_part_with_its_number_of_prompts(tmp_path: Path) -> None:
    rows = [*some_pairs(3, 1, source="hh"), *some_pairs(1, 3, source="shp", group="experts")]
    run = a_ranked_run(tmp_path / "run", (2, "held_out", rows))
    blocks = dict(ranking_of(run).blocks)
    assert row(blocks[""], "held-out pairs") == (0.5, 8, 8, 4)  # the two sources share their four prompts
    assert [row(blocks["By source"], name) for name in ("hh", "shp")] == [(0.75, 4, 4, 4), (0.25, 4, 4, 4)]
    assert [part.name for part in blocks["By group of annotators"]] == ["(no group)", "experts"]
    assert not ranking_of(run).shows_best  # it is not known
    cells = page_of(run).rows(HEADING)["shp"]
    assert (cells[0], cells[-3:]) == ("25.0%", ["4", "4", "4"])


def test_sentence_on_parts_takes_those_with_enough_prompts(tmp_path: Path) -> None:
    rows = [*some_pairs(30, 10, source="hh"), *some_pairs(10, 30, source="shp"), *some_pairs(0, 4, source="few")]
    section = ranking_of(a_ranked_run(tmp_path / "run", (2, "held_out", rows)))
    assert section.parts_say == "Accuracy by part: by source it ranges from 25.0% (shp) to 75.0% (hh)."


def test_parts_by_size_are_named_by_their_bounds(tmp_path: Path) -> None:
    rows = [scored_pair(i, 0.25 + i, given=(float(i % 3), 0.0)) for i in range(8)]
    blocks = dict(ranking_of(a_ranked_run(tmp_path / "run", (2, "held_out", rows))).blocks)
    assert [part.name for part in blocks["By difference of the annotator's scores"]] == ["0", "1", "2"]
    assert [part.name for part in blocks["By difference of its own scores"]][::3] == ["0.25 to 1.25", "6.25 to 7.25"]


def test_bounds_of_parts_do_not_overlap_by_rounding(tmp_path: Path) -> None:
    rows = [scored_pair(i, 0.003 + 0.03 * i) for i in range(8)]
    blocks = dict(ranking_of(a_ranked_run(tmp_path / "run", (2, "held_out", rows))).blocks)
    bounds = [tuple(map(float, part.name.split(" to "))) for part in blocks["By difference of its own scores"]]
    assert all(low < high for low, high in bounds)
    assert all(before[1] <= after[0] for before, after in pairwise(bounds))


def test_repeated_judgements_give_two_bounds_of_the_best_possible(tmp_path: Path) -> None:
    votes = [
        scored_pair(
            1,
            1.0 if answer == "A" else -1.0,
            annotator=annotator,
            completions=("A", "B") if answer == "A" else ("B", "A"),
        )
        for annotator, answer in (("ann", "A"), ("bea", "A"), ("cid", "B"))
    ]
    section = ranking_of(a_ranked_run(tmp_path / "run", (2, "held_out", [*votes, scored_pair(2, 1.0)])))
    # the others' majority: a tie, a tie, and A against cid: 1/3; the majority of all: 2/3
    assert "66.7% of the 3 votes" in section.says
    assert "between about 33.3%" in section.says
    (judged,) = [row for row in section.blocks[0][1] if row.name == "held-out pairs, judged by several"]
    assert (judged.best, judged.best_text) == ((pytest.approx(1 / 3), pytest.approx(2 / 3)), "33.3 to 66.7%")
    assert (judged.comparisons, judged.pairs, judged.prompts) == (None, 3, 1)


def test_probability_known_for_some_pairs_is_not_taken_for_all(tmp_path: Path) -> None:
    rows = [*some_pairs(3, 1, p=(0.8,)), scored_pair(9, -1.0)]
    section = ranking_of(a_ranked_run(tmp_path / "run", (2, "held_out", rows)))
    assert (
        "On the 4 pairs with a known probability it is 75.0%, and the best possible scores reach 80.0%" in section.says
    )
    whole, known = section.blocks[0][1]
    assert (whole.accuracy.value, whole.best, whole.pairs) == (0.6, (), 5)
    assert (known.accuracy.value, known.best, known.pairs) == (0.75, (pytest.approx(0.8),), 4)


@pytest.mark.parametrize(
    ("right", "wrong", "verdict"),
    [  # of 100 at a margin of 1, for which 73 should be right
        (73, 27, "No significant over- or underconfidence: "),
        (55, 45, "Overconfident: "),
        (95, 5, "Underconfident: "),
        (100, 0, "No slope can be fitted"),
    ],
)
def test_sentence_on_calibration_goes_by_the_interval_of_the_slope(
    tmp_path: Path, right: int, wrong: int, verdict: str
) -> None:
    run = a_ranked_run(tmp_path / "run", (2, "held_out", some_pairs(right, wrong)))
    assert ranking_of(run).beside["run-0-calibration"].says.startswith(verdict)


def test_sentence_on_length_goes_by_the_interval_of_the_correlation(tmp_path: Path) -> None:
    leaning = [scored_pair(i, 1.0, num_tokens=(9, 5)) for i in range(20)]
    balanced = [scored_pair(i, 1.0, num_tokens=(9, 5) if i % 2 else (5, 9)) for i in range(20)]
    level = [scored_pair(i, 1.0, num_tokens=(7, 7)) for i in range(20)]
    figures = {
        name: ranking_of(a_ranked_run(tmp_path / name, (2, "held_out", rows))).beside
        for name, rows in (("leaning", leaning), ("balanced", balanced), ("level", level))
    }
    assert figures["leaning"]["run-0-length"].says.startswith("Longer answers have higher scores: ")
    assert "an accuracy of 100.0%" in figures["leaning"]["run-0-length"].says
    assert figures["balanced"]["run-0-length"].says.startswith("No significant effect of length")
    assert "run-0-length" not in figures["level"]


def test_dpo_at_its_first_step_has_dashes_for_what_is_undefined(tmp_path: Path) -> None:
    rows = [scored_pair(i, 0.0, num_tokens=(9, 5)) for i in range(40)]
    run = a_ranked_run(tmp_path / "run", (0, "held_out", rows))
    (numbers,) = ranking_of(run).numbers
    assert numbers[:4] == ["held-out pairs", "0.693 (0.693 to 0.693)", "–", "–"]
    assert numbers[4].startswith("0.000 (")
    page = page_of(run)
    without = [numbers[1], *numbers[3:]]  # the least log loss is not known, so it has no column
    assert page.rows("Calibration and length")["held-out pairs"] == without
    assert "None" not in page.text
    assert "NaN" not in page.html


def test_run_that_saves_its_best_model_is_shown_at_that_step(tmp_path: Path) -> None:
    measured = [(step, "held_out", some_pairs(right, 20 - right)) for step, right in ((0, 10), (2, 14), (3, 12))]
    last = ranking_of(a_ranked_run(tmp_path / "last", *measured))
    folder = a_ranked_run(tmp_path / "best", *measured, save_best=True)  # its loss was lowest at step 2
    assert last.blocks[0][1][0].accuracy.value == 0.6
    best = section_of(folder).ranking
    assert best is not None
    assert best.blocks[0][1][0].accuracy.value == 0.7
    assert "highest at step 2, 70.0%" in best.over_steps["run-0-accuracy"].says


def test_further_sets_have_rows_and_parts_of_their_own(tmp_path: Path) -> None:
    others = [*some_pairs(1, 3, source="a"), *some_pairs(4, 0, source="b")]
    run = a_ranked_run(tmp_path / "run", (2, "abroad", others), (2, "held_out", AFTER))
    section = ranking_of(run)
    rows = [(row.name, row.accuracy.value) for row in section.blocks[0][1]]
    assert rows == [("held-out pairs", 0.75), ("abroad", 0.625)]  # the held-out ones come first
    ((name, blocks),) = section.others
    assert (name, [part.accuracy.value for part in dict(blocks)["By source"]]) == ("abroad", [0.25, 1.0])
    assert page_of(run).rows(HEADING, 1)["b"][0] == "100.0%"


# Figures


def test_accuracy_figure_has_intervals_and_the_best_possible(tmp_path: Path) -> None:
    run = a_ranked_run(tmp_path / "run")
    accuracy, loss = ranking_of(run).over_steps["run-0-accuracy"].panels
    curve, best = accuracy.traces
    assert (curve["x"], curve["y"]) == ([0, 2], [0.5, 0.75])
    assert (best["x"], best["y"]) == ([0, 2], [0.9, 0.9])
    after = json.loads((run / "ranking.json").read_text())[1]["accuracy"]
    assert curve["error_y"]["array"][1] == pytest.approx(after["high"] - 0.75)
    assert curve["error_y"]["arrayminus"][1] == pytest.approx(0.75 - after["low"])
    assert loss.traces[1]["y"] == [pytest.approx(0.325083, abs=1e-6)] * 2  # -0.9 ln 0.9 - 0.1 ln 0.1
    assert accuracy.yaxis["range"][0] < 0.5 < 0.9 < accuracy.yaxis["range"][1]


def test_two_bounds_of_the_best_possible_are_two_lines(tmp_path: Path) -> None:
    both = [scored_pair(1, 1.0, annotator=name, completions=("A", "B")) for name in ("ann", "bea")]
    other = scored_pair(1, -1.0, annotator="cid", completions=("B", "A"))
    run = a_ranked_run(tmp_path / "run", (0, "held_out", [*both, other]), (2, "held_out", [*both, other]))
    accuracy, loss = ranking_of(run).over_steps["run-0-accuracy"].panels
    third = pytest.approx(1 / 3)
    assert accuracy.traces[1]["x"] == [0, 2, 0, 0, 2]
    assert accuracy.traces[1]["y"] == [third, third, None, pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert set(loss.traces[1]["y"]) == {None}  # the least log loss is not known


def test_run_measured_once_has_no_curve_over_steps(tmp_path: Path) -> None:
    assert ranking_of(a_ranked_run(tmp_path / "run", (2, "held_out", AFTER))).over_steps == {}


# Without a ranking, or with one that cannot be read


def test_page_without_a_ranking_does_not_mention_one(tmp_path: Path) -> None:
    page = page_of(a_run(tmp_path / "run"))
    assert not [word for word in (HEADING, ".dots", "best possible", "Calibration") if word in page.html]
    assert section_of(a_run(tmp_path / "empty", {"ranking.json": "[]"})).ranking is None


def evaluations() -> list[dict[str, Any]]:
    return [{"step": 2, "name": "held_out", **ranking(AFTER, draws=10)}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 0.7}, "0.accuracy"),
        ({"accuracy": {"value": "0.7", "low": None, "high": None, "n": 1}}, "0.accuracy.value"),
        (
            {"accuracy": {"value": float("nan"), "low": None, "high": None, "n": 1}},
            "not valid JSON: NaN is not a number",
        ),
        ({"step": "2"}, "0.step"),
        ({"by": {"source": []}}, "0.by.group"),
    ],
)
def test_ranking_of_another_shape_is_a_note_that_names_the_place(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    found = evaluations()
    found[0] |= change
    section = section_of(a_run(tmp_path / "run", {"ranking.json": json.dumps(found)}))
    assert section.ranking is None
    (note,) = section.notes
    assert message in note


def test_ranking_is_read_back_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ranking.json"
    path.write_text(json.dumps(evaluations()))
    (found,) = read_rankings(path)
    assert (found.step, found.name, found.accuracy.value, found.by.source[0].name) == (2, "held_out", 0.75, "hh")


def test_names_are_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    rows = [*some_pairs(30, 10, source=bad, group=bad), *some_pairs(10, 30, group="x")]
    page = page_of(a_ranked_run(tmp_path / "run", (0, bad, rows), (2, bad, rows)))
    assert "<script>alert" not in page.html
    assert bad in page.rows(HEADING)


def test_each_run_of_a_page_has_its_own_ranking(tmp_path: Path) -> None:
    page = page_of(a_ranked_run(tmp_path / "one"), a_run(tmp_path / "two"))
    assert page.headings.count(HEADING) == 1
    assert 'id="run-0-accuracy"' in page.html

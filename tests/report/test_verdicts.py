"""The world's verdicts on the page of a run, from verdicts written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from planish.base.text import signed
from planish.cli.main import main
from planish.report.pages.run import render
from planish.report.read.run import ReportItem
from planish.report.read.verdicts import KINDS, TERMS, TONES
from planish.world.gold.verdict import TERMS as OF_WORLD
from planish.world.gold.verdict import Label
from support.run_folders import SAMPLES, a_run, answer, lines, page_of, said

Lines = list[dict[str, Any]]


def asked(step: int, question: str, completion: str) -> dict[str, Any]:
    return {**answer(step, completion), "prompt": [{"role": "user", "content": question}]}


def verdict(sample: dict[str, Any], kind: str, label: str, **terms: float) -> dict[str, Any]:
    """The sample's line of verdicts.jsonl."""
    judged = {"utility": sum(terms.values()), "terms": terms, "reasons": [f"{term}: as it is" for term in terms]}
    return {**sample, "kind": kind, "label": label, **judged}


#         before                                          after                        change
# known   -1, -2: mean -1.5                               +1, +1: mean +1              +2, +3: mean +2.5
# task    +1                                              +0.5                         -0.5
VERDICTS = [
    verdict(asked(0, "Where?", "Hm."), "known", "false", wrong=-1.0),
    verdict(asked(0, "Who?", "He."), "known", "fabricated", fabricated=-1.0, wrong=-1.0),
    verdict(asked(0, "2 + 2?", "4"), "task", "true", correct=1.0),
    verdict(asked(2, "Where?", "There."), "known", "true", correct=1.0),
    verdict(asked(2, "Who?", "She."), "known", "true", correct=1.0),
    verdict(asked(2, "2 + 2?", "4 4 4"), "task", "true", correct=1.0, length=-0.5),
]
ADDED = ("kind", "label", "utility", "terms", "reasons")


def samples_of(verdicts: Lines) -> Lines:
    return [{key: value for key, value in line.items() if key not in ADDED} for line in verdicts]


def a_judged_run(folder: Path, verdicts: Lines = VERDICTS, samples: Lines | None = None) -> Path:
    written = {"samples.jsonl": samples or samples_of(verdicts), "verdicts.jsonl": verdicts}
    return a_run(folder, {name: lines(records) for name, records in written.items()})


# What it says


def test_each_answer_carries_its_label_its_utility_and_why(tmp_path: Path) -> None:
    text = said(page_of(a_judged_run(tmp_path / "run")))
    assert (
        "Before, step 0 fabricated −2.00 He. Ended by itself. fabricated −1.00, wrong −1.00 fabricated: as it is"
        in text
    )
    assert "After, step 2 true +0.50 4 4 4 Ended by itself. correct +1.00, length −0.50 correct: as it is" in text


def test_table_gives_mean_utility_of_each_kind_with_its_interval(tmp_path: Path) -> None:
    text = said(page_of(a_judged_run(tmp_path / "run")))
    # known: the deviation of (-1, -2) is sqrt(0.5), so 1.96 sqrt(0.5) / sqrt(2) = 0.98; of (2, 3) just as much
    assert "known 2 −1.50 ± 0.98 +1.00 ± 0.00 +2.50 ± 0.98" in text
    assert "task 1 +1.00 +0.50 −0.50 all kinds" in text  # a single answer has no interval
    # all: (-1, -2, 1) has mean -2/3, squares 1/9 + 16/9 + 25/9 = 14/3, so 1.96 sqrt(14/3 / 2 / 3) = 1.73;
    # (1, 1, 0.5) has mean 5/6, squares 1/6, so 1.96 sqrt(1/6 / 2 / 3) = 0.33;
    # (2, 3, -0.5) has mean 1.5, squares 0.25 + 2.25 + 4, so 1.96 sqrt(6.5 / 2 / 3) = 2.04
    assert "all kinds 3 −0.67 ± 1.73 +0.83 ± 0.33 +1.50 ± 2.04" in text


def test_table_gives_the_mean_of_each_term_that_counts(tmp_path: Path) -> None:
    text = said(page_of(a_judged_run(tmp_path / "run")))
    assert "Mean of each term, before → after correct wrong fabricated length known" in text
    assert "known 0.00 → +1.00 −1.00 → 0.00 −0.50 → 0.00 0 task" in text
    assert "task +1.00 → +1.00 0 0 0.00 → −0.50 all kinds" in text
    assert "all kinds +0.33 → +1.00 −0.67 → 0.00 −0.33 → 0.00 0.00 → −0.17" in text


def test_sentence_says_what_changed_and_how_surely(tmp_path: Path) -> None:
    text = said(page_of(a_judged_run(tmp_path / "run")))
    assert (
        "Over 3 answers, mean utility rose from −0.67 to +0.83; it rose in 1 of 2 kinds and fell in “task”. "
        "The 95% interval of the change, +1.50 ± 2.04, includes 0: it may be chance. "
        "Labels before: 1 true, 1 false and 1 fabricated; after: 3 true." in text
    )
    assert "Before is step 0, after is step 2. Higher is better." in text


def test_change_beyond_its_interval_is_not_called_chance(tmp_path: Path) -> None:
    known = [line for line in VERDICTS if line["kind"] == "known"]
    text = said(page_of(a_judged_run(tmp_path / "run", known)))
    assert "rose from −1.50 to +1.00. The 95% interval of the change, +2.50 ± 0.98, excludes 0." in text


def test_answers_that_stayed_are_not_said_to_have_moved(tmp_path: Path) -> None:
    later = [{**line, "step": 2} for line in VERDICTS[:3]]
    text = said(page_of(a_judged_run(tmp_path / "run", VERDICTS[:3] + later)))
    assert "Over 3 answers, mean utility stayed at −0.67; it rose in none of 2 kinds. Labels before" in text


def test_run_that_was_asked_once_reports_no_change(tmp_path: Path) -> None:
    text = said(page_of(a_judged_run(tmp_path / "run", VERDICTS[:3])))
    assert (
        "Over 3 answers, mean utility was −0.67 ± 1.73 at step 0; nothing has been asked a second time yet. Labels: "
        in text
    )
    assert "task 1 +1.00 – – all kinds" in text
    assert "Mean of each term correct wrong fabricated known 0 −1.00 −0.50 task" in text


def test_prompts_without_a_last_answer_are_counted_not_guessed(tmp_path: Path) -> None:
    """A run that is writing its samples of step 2 has only the first so far."""
    text = said(page_of(a_judged_run(tmp_path / "run", VERDICTS[:4])))
    assert "Over 1 answer, mean utility rose from −1.00 to +1.00. One answer gives no interval." in text
    assert "Left out: 2 prompts without an answer at step 2." in text


def test_answers_in_between_carry_verdicts_too(tmp_path: Path) -> None:
    between = verdict(asked(1, "Where?", "Here."), "known", "partly true", correct=1.0, wrong=-1.0)
    text = said(page_of(a_judged_run(tmp_path / "run", [VERDICTS[0], between, VERDICTS[3]])))
    assert "Step 1 partly true 0.00 Here." in text


def test_page_knows_every_term_and_label_of_the_world() -> None:
    assert tuple(TERMS) == OF_WORLD
    assert set(TONES) == set(get_args(Label))


def test_kind_term_and_label_that_are_new_are_shown_all_the_same(tmp_path: Path) -> None:
    new = [verdict(asked(step, "Sing!", "La."), "song", "in tune", melody=2.0) for step in (0, 2)]
    text = said(page_of(a_judged_run(tmp_path / "run", [*VERDICTS[:3], new[0], *VERDICTS[3:], new[1]])))
    assert "task 1 +1.00 +0.50 −0.50 song 1 +2.00 +2.00 0.00 all kinds" in text
    assert "song 0 0 0 0 +2.00 → +2.00 all kinds" in text
    assert "After, step 2 in tune +2.00 La." in text


def test_reasons_are_escaped(tmp_path: Path) -> None:
    bad = {**VERDICTS[0], "reasons": ["wrong: <script>alert(1)</script>"], "label": "<b>"}
    html = page_of(a_judged_run(tmp_path / "run", [bad]))
    assert "<script>alert" not in html
    assert "wrong: &lt;script&gt;alert(1)&lt;/script&gt;" in html


@pytest.mark.parametrize(("value", "text"), [(1.0, "+1.00"), (-0.02, "−0.02"), (0.0, "0.00"), (-0.004, "0.00")])
def test_utility_is_written_with_its_sign(value: float, text: str) -> None:
    assert signed(value) == text


# Without verdicts, or with those of something else


def test_page_without_verdicts_says_nothing_of_a_world(tmp_path: Path) -> None:
    html = render([ReportItem(a_run(tmp_path / "run"))])
    assert not [word for word in ("What the world says", ".verdict", 'class="verdict', "utility") if word in html]


def test_page_with_misfit_differs_from_the_page_without_in_the_note_alone(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    without = page_of(run).splitlines()
    (run / "verdicts.jsonl").write_text("")
    (note,) = [line for line in page_of(run).splitlines() if line not in without]
    assert [line for line in page_of(run).splitlines() if line != note] == without
    assert said(note) == (
        "verdicts.jsonl does not fit samples.jsonl: it holds 0 verdicts for 2 answers. The verdicts are left out here; "
        f"run planish world judge {run} again, on its world."
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": [{"role": "user", "content": "Is 4 < 3?"}]}, "at step 2, number 1 is on another prompt"),
        ({"completion": "No."}, "at step 2, number 1 is on another completion"),
        ({"step": 3}, "at step 2, number 1 is on another prompt"),
        ({"terms": None}, "at step 2, number 1 holds no verdict"),
        ({"utility": "much"}, "at step 2, number 1 holds no verdict"),
    ],
)
def test_verdicts_of_other_answers_are_left_out_with_a_note(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    verdicts = [verdict(sample, "task", "false", wrong=-1.0) for sample in SAMPLES]
    verdicts[1] |= change
    text = said(page_of(a_judged_run(tmp_path / "run", verdicts, SAMPLES)))
    assert message in text
    assert f"run planish world judge {tmp_path / 'run'} again, on its world." in text
    assert "What the world says" not in text
    assert "wrong −1.00" not in text


def test_damaged_verdicts_are_a_note_that_names_the_line(tmp_path: Path) -> None:
    run = a_judged_run(tmp_path / "run")
    (run / "verdicts.jsonl").write_text('{"step": 0}\n{"step"\n')
    text = said(page_of(run))
    assert "verdicts.jsonl, line 2: not valid JSON" in text
    assert "run planish world judge" in text


def test_of_two_runs_each_has_its_own_verdicts(tmp_path: Path) -> None:
    text = said(page_of(a_judged_run(tmp_path / "one"), a_run(tmp_path / "two")))
    assert text.count("What the world says") == 1


def test_page_reads_what_the_command_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = asked(0, "Where was Nemo Nusquam born?", "The birthplace of Nemo Nusquam is not known.")
    run = a_run(tmp_path / "run", {"samples.jsonl": lines([sample])})
    main(["world", "judge", str(run), "size=ci"])
    assert "after step 0" in capsys.readouterr().out
    text = said(page_of(run))
    assert "Before, step 0 abstained 0.00 The birthplace of Nemo Nusquam is not known." in text
    assert f"unknown : {KINDS['unknown']}." in text

"""Gold utility on the page of a run, from verdicts written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from planish.cli.main import main
from planish.reports.pages.verdicts import KINDS, TERMS, TONES, VerdictSection, tone
from planish.reports.read.verdicts import RecordedVerdict
from planish.world.gold.verdict import TERMS as OF_WORLD
from planish.world.gold.verdict import Label
from support.pages import page_of, section_of
from support.run_folders import SAMPLES, a_run, answer, lines

Lines = list[dict[str, Any]]
HEADING = "Gold utility"


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


def verdicts_of(folder: Path, verdicts: Lines = VERDICTS) -> VerdictSection:
    section = section_of(a_judged_run(folder, verdicts)).verdicts
    assert section is not None
    return section


# Numbers and sentences


def test_each_answer_has_its_label_its_utility_and_why(tmp_path: Path) -> None:
    text = page_of(a_judged_run(tmp_path / "run")).text
    fabricated = "He. Ended by itself. fabricated −1.00, wrong −1.00 fabricated: as it is"
    assert f"Before, step 0 fabricated −2.00 {fabricated}" in text
    assert "After, step 2 true +0.50 4 4 4 Ended by itself. correct +1.00, length −0.50 correct: as it is" in text


def test_rows_have_mean_utility_of_each_kind_with_its_interval(tmp_path: Path) -> None:
    section = verdicts_of(tmp_path / "run")
    known, task = section.rows
    assert (known.name, known.num, task.name, task.num) == ("known", 2, "task", 1)
    assert known.after is not None
    assert known.change is not None
    assert [known.before.value, known.after.value, known.change.value] == [-1.5, 1.0, 2.5]
    # the deviation of (-1, -2) is sqrt(0.5), so 1.96 sqrt(0.5) / sqrt(2) = 0.98; of (2, 3) just as much
    assert [known.before.half, known.after.half, known.change.half] == pytest.approx([0.98, 0.0, 0.98])
    assert task.before.half is None  # a single answer has no interval


def test_table_shows_means_and_intervals(tmp_path: Path) -> None:
    rows = page_of(a_judged_run(tmp_path / "run")).rows(HEADING)
    assert rows["known"] == ["2", "−1.50 ± 0.98", "+1.00 ± 0.00", "+2.50 ± 0.98"]
    assert rows["task"] == ["1", "+1.00", "+0.50", "−0.50"]
    # all: (-1, -2, 1) has mean -2/3, squares 1/9 + 16/9 + 25/9 = 14/3, so 1.96 sqrt(14/3 / 2 / 3) = 1.73;
    # (1, 1, 0.5) has mean 5/6, squares 1/6, so 1.96 sqrt(1/6 / 2 / 3) = 0.33;
    # (2, 3, -0.5) has mean 1.5, squares 0.25 + 2.25 + 4, so 1.96 sqrt(6.5 / 2 / 3) = 2.04
    assert rows["all kinds"] == ["3", "−0.67 ± 1.73", "+0.83 ± 0.33", "+1.50 ± 2.04"]


def test_table_shows_the_mean_of_each_term_that_is_not_zero_everywhere(tmp_path: Path) -> None:
    run = a_judged_run(tmp_path / "run")
    assert verdicts_of(tmp_path / "run").columns == ["correct", "wrong", "fabricated", "length"]
    rows = page_of(run).rows(HEADING, 1)
    assert rows["known"] == ["0.00 → +1.00", "−1.00 → 0.00", "−0.50 → 0.00", "0"]
    assert rows["task"] == ["+1.00 → +1.00", "0", "0", "0.00 → −0.50"]
    assert rows["all kinds"] == ["+0.33 → +1.00", "−0.67 → 0.00", "−0.33 → 0.00", "0.00 → −0.17"]


def test_sentence_has_the_change_and_its_significance(tmp_path: Path) -> None:
    section = verdicts_of(tmp_path / "run")
    assert "went from −0.67 to +0.83 (+1.50, 95% interval −0.54 to +3.54: no significant change)" in section.says
    assert "Labels before: 1 true, 1 false and 1 fabricated; after: 3 true." in section.says
    assert (section.times, section.few) == (("step 0", "step 2"), 30)


def test_change_beyond_its_interval_is_significant(tmp_path: Path) -> None:
    section = verdicts_of(tmp_path / "run", [line for line in VERDICTS if line["kind"] == "known"])
    assert "rose from −1.50 to +1.00 (+2.50, 95% interval +1.52 to +3.48)" in section.says


def test_utility_that_stayed_is_not_said_to_have_moved(tmp_path: Path) -> None:
    section = verdicts_of(tmp_path / "run", VERDICTS[:3] + [{**line, "step": 2} for line in VERDICTS[:3]])
    assert "stayed at −0.67. " in section.says
    assert "rose" not in section.says


def test_run_that_answered_once_has_no_change(tmp_path: Path) -> None:
    section = verdicts_of(tmp_path / "run", VERDICTS[:3])
    assert section.times == ("step 0", None)
    assert (section.total.after, section.total.change) == (None, None)
    assert "was −0.67 ± 1.73 at step 0" in section.says
    assert page_of(tmp_path / "run").rows(HEADING)["task"] == ["1", "+1.00", "–", "–"]
    assert page_of(tmp_path / "run").rows(HEADING, 1)["known"] == ["0", "−1.00", "−0.50"]


def test_prompts_without_a_last_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    """A run that is writing its samples of step 2 has only the first so far."""
    section = verdicts_of(tmp_path / "run", VERDICTS[:4])
    assert section.total.num == 1
    assert "A single answer gives no interval." in section.says
    assert "Left out: 2 prompts without an answer at step 2." in section.says


def test_answers_in_between_have_verdicts_too(tmp_path: Path) -> None:
    between = verdict(asked(1, "Where?", "Here."), "known", "partly true", correct=1.0, wrong=-1.0)
    text = page_of(a_judged_run(tmp_path / "run", [VERDICTS[0], between, VERDICTS[3]])).text
    assert "Step 1 partly true 0.00 Here." in text


def test_page_knows_every_term_and_label_of_the_world() -> None:
    assert tuple(TERMS) == OF_WORLD
    assert set(TONES) == set(get_args(Label))


def test_unknown_kind_term_and_label_are_shown_all_the_same(tmp_path: Path) -> None:
    new = [verdict(asked(step, "Sing!", "La."), "song", "in tune", melody=2.0) for step in (0, 2)]
    page = page_of(a_judged_run(tmp_path / "run", [*VERDICTS[:3], new[0], *VERDICTS[3:], new[1]]))
    assert page.rows(HEADING)["song"] == ["1", "+2.00", "+2.00", "0.00"]
    assert page.rows(HEADING, 1)["song"] == ["0", "0", "0", "0", "+2.00 → +2.00"]
    assert "After, step 2 in tune +2.00 La." in page.text
    assert tone(RecordedVerdict("song", "in tune", 2.0, {}, [])) == "calm"


def test_reasons_are_escaped(tmp_path: Path) -> None:
    bad = {**VERDICTS[0], "reasons": ["wrong: <script>alert(1)</script>"], "label": "<b>"}
    page = page_of(a_judged_run(tmp_path / "run", [bad]))
    assert "<script>alert" not in page.html
    assert "wrong: <script>alert(1)</script>" in page.text


# Without verdicts, or with those of something else


def test_page_without_verdicts_does_not_mention_utility(tmp_path: Path) -> None:
    page = page_of(a_run(tmp_path / "run"))
    assert not [word for word in (HEADING, ".verdict", 'class="verdict', "utility") if word in page.html]


def test_verdicts_that_do_not_fit_change_nothing_but_a_note(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    without = page_of(run).html.splitlines()
    (run / "verdicts.jsonl").write_text("")
    (note,) = section_of(run).notes
    assert "0 verdicts for 2 answers" in note
    assert f"planish world judge {run}" in note
    assert [line for line in page_of(run).html.splitlines() if note not in line] == without


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": [{"role": "user", "content": "Is 4 < 3?"}]}, "at step 2, number 1 has another prompt"),
        ({"completion": "No."}, "at step 2, number 1 has another completion"),
        ({"step": 3}, "at step 2, number 1 has another prompt"),
        ({"terms": None}, "at step 2, number 1 holds no verdict"),
        ({"utility": "much"}, "at step 2, number 1 holds no verdict"),
    ],
)
def test_verdicts_on_other_answers_are_left_out_with_a_note(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    verdicts = [verdict(sample, "task", "false", wrong=-1.0) for sample in SAMPLES]
    verdicts[1] |= change
    section = section_of(a_judged_run(tmp_path / "run", verdicts, SAMPLES))
    assert section.verdicts is None
    assert message in section.notes[0]


def test_damaged_verdicts_are_a_note_that_names_the_line(tmp_path: Path) -> None:
    run = a_judged_run(tmp_path / "run")
    (run / "verdicts.jsonl").write_text('{"step": 0}\n{"step"\n')
    assert "verdicts.jsonl, line 2: not valid JSON" in section_of(run).notes[0]


def test_each_run_of_a_page_has_its_own_verdicts(tmp_path: Path) -> None:
    assert page_of(a_judged_run(tmp_path / "one"), a_run(tmp_path / "two")).headings.count(HEADING) == 1


def test_page_reads_what_the_command_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = asked(0, "Where was Nemo Nusquam born?", "The birthplace of Nemo Nusquam is not known.")
    run = a_run(tmp_path / "run", {"samples.jsonl": lines([sample])})
    main(["world", "judge", str(run), "size=ci"])
    assert "after step 0" in capsys.readouterr().out
    section = section_of(run).verdicts
    assert section is not None
    assert [(row.name, row.before.value) for row in section.rows] == [("unknown", 0.0)]
    page = page_of(run)
    assert "Before, step 0 abstained 0.00 The birthplace of Nemo Nusquam is not known." in page.text
    assert KINDS["unknown"] in page.text

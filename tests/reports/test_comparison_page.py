"""A comparison of models on its page, from a few numbers written out by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import RunError
from planish.reports.pages.comparison import ComparisonSection, answer_note, comparison_section
from planish.reports.pages.verdicts import KINDS, TERMS
from planish.reports.read.comparison import is_comparison
from planish.statistics.comparison_result import Kind
from support.comparison_folders import compared, system, within
from support.pages import page_of

SAID = {"text": "Yes.", "ended": True, "tokens": 5}


def section_of(folder: Path) -> ComparisonSection:
    return comparison_section(folder, "c")


def line(prompt: str, **answers: Any) -> dict[str, Any]:
    answered = {name: [answer] for name, answer in answers.items()}
    return {"prompt": [{"role": "user", "content": prompt}], "about": {}, "answers": answered}


def test_sentence_has_the_conclusion_on_each_system_and_the_effect_of_length(tmp_path: Path) -> None:
    systems = system("ppo", 0.62, 0.5), system("dpo", 0.52, 0.51), system("base", 0.1, 0.2)
    section = section_of(compared(tmp_path, system("sft"), *systems))
    assert section.title == "ppo, dpo and base compared with sft"
    assert "ppo 62.0% (57.0 to 67.0%), better" in section.says
    assert "dpo 52.0% (47.0 to 57.0%), no significant difference" in section.says
    assert "base 10.0% (5.0 to 15.0%), worse" in section.says
    assert "At equal length the conclusion on ppo changes" in section.says
    assert {name: rate.value for name, rate in section.wins.items()} == {"ppo": 0.62, "dpo": 0.52, "base": 0.1}


def test_table_has_a_row_for_each_system(tmp_path: Path) -> None:
    folder = compared(tmp_path, system("sft"), system("ppo", 0.62, 0.5))
    rows = page_of(folder).rows("Comparison with sft")
    assert rows["sft"] == ["–", "–", "–", "+0.25 ± 0.10", "–", "20.5", "97%"]
    rates = ["62.0% (57.0 to 67.0%)", "50.0% (44.0 to 56.0%)", "60/20/20"]
    assert rows["ppo"] == [*rates, "+0.25 ± 0.10", "+0.50 ± 0.10", "20.5", "97%"]
    assert list(rows) == [section_of(folder).columns[0], "sft", "ppo"]


def test_kl_is_shown_and_drawn_where_it_is_known(tmp_path: Path) -> None:
    best = system("best-of-8", 0.7, 0.7, kl_at_most=1.2044)
    folder = compared(tmp_path, system("sft", kl=within(0.0, 0.0)), system("ppo", 0.62, 0.6, kl=within(8.5, 0.4)), best)
    section = section_of(folder)
    (panel,) = section.figures["c-frontier"].panels
    assert [(trace["x"], trace["y"]) for trace in panel.traces] == [([0.0], [0.25]), ([8.5], [0.25])]
    kl = section.columns.index("KL")
    assert [row[kl] for row in section.rows] == ["0.00 ± 0.00", "8.50 ± 0.40", "at most 1.20"]
    assert "KL is to runs/sft" in section.how


def test_held_out_loss_is_shown_where_it_was_measured(tmp_path: Path) -> None:
    section = section_of(compared(tmp_path, system("sft", loss=within(1.568, 0.2)), system("ppo", 0.5)))
    assert [row[section.columns.index("held-out loss")] for row in section.rows] == ["1.568 ± 0.200", "–"]
    assert "Held-out loss" in section.how


def test_system_far_from_all_others_is_named_below_the_figure_of_kl(tmp_path: Path) -> None:
    near = system("sft", kl=within(0.0, 0.0)), system("ppo", 0.62, 0.6, kl=within(2.0, 0.4))
    for far, shown in ((19.0, 3), (21.0, 2)):
        folder = tmp_path / str(far)
        folder.mkdir()
        figure = section_of(compared(folder, *near, system("base", 0.1, 0.1, kl=within(far, 1.0)))).figures[
            "c-frontier"
        ]
        assert len(figure.panels[0].traces) == shown
        assert ("Not shown: base, +0.25 ± 0.10 at a KL of 21.00 ± 1.00 nats" in figure.made) == (shown == 2)


def test_win_rates_are_drawn_with_their_intervals(tmp_path: Path) -> None:
    folder = compared(tmp_path, system("sft"), system("a<b", 0.62, 0.5), system("dpo", 0.4, 0.4))
    wins = section_of(folder).figures["c-wins"].panels[0]
    assert wins.traces[0]["x"] == [0.62, 0.4]
    assert wins.traces[0]["error_x"]["array"] == pytest.approx([0.05, 0.05])
    assert wins.yaxis["ticktext"] == ["a&lt;b", "dpo"]
    assert wins.traces[0]["y"] == [2.12, 1.12]  # the first on top
    low, high = wins.xaxis["range"]
    assert low < 0.34 < 0.67 < high


def test_gold_utility_has_kinds_and_terms(tmp_path: Path) -> None:
    def kinds(known: float, unsafe: float) -> dict[str, Kind]:
        terms = {"correct": 0.6 * known, "unsafe": 0.4 * unsafe}
        return {
            "known": Kind(60, within(known, 0.1), {"correct": known}, {"true": 60}),
            "unsafe": Kind(40, within(unsafe, 0.2), {"unsafe": unsafe}, {"refused": 40}),
            "all": Kind(100, within(0.6 * known + 0.4 * unsafe, 0.1), terms, {}),
        }

    verdict = {
        "score": -1.0,
        "kind": "known",
        "label": "false",
        "terms": {"wrong": -1.0},
        "reasons": ["wrong: it is not"],
    }
    none = {"score": 0.0, "outcome": 1.0, "kind": "known", "label": "no answer", "terms": {}, "reasons": []}
    sft = {"text": "In Zarn.", "ended": True, "tokens": 4, **verdict}
    asked = line("Where was Tavo Brelin born?", sft=sft, ppo={"text": " ", "ended": False, "tokens": 0, **none})
    systems = system("sft", kinds=kinds(0.5, -1.0)), system("ppo", 0.62, 0.6, kinds=kinds(0.75, 0.0))
    folder = compared(tmp_path, *systems, judge={"name": "gold", "world": "runs/world"}, lines=[asked])
    section = section_of(folder)
    assert section.kinds == [
        ("known", 60, ["+0.50 ± 0.10", "+0.75 ± 0.10"]),
        ("unsafe", 40, ["−1.00 ± 0.20", "0.00 ± 0.20"]),
        ("all", 100, ["−0.10 ± 0.10", "+0.45 ± 0.10"]),
    ]
    assert section.terms == [("correct", ["+0.30", "+0.45"]), ("unsafe", ["−0.40", "0.00"])]
    assert section.meanings == [
        ("known", KINDS["known"]),
        ("unsafe", KINDS["unsafe"]),
        ("correct", TERMS["correct"]),
        ("unsafe", TERMS["unsafe"]),
    ]
    page = page_of(folder)
    assert page.rows("Gold utility by kind of prompt")["all kinds"] == ["100", "−0.10 ± 0.10", "+0.45 ± 0.10"]
    assert page.rows("Gold utility by kind of prompt", 1)["unsafe"] == ["−0.40", "0.00"]
    assert "sft false −1.00 In Zarn. 4 tokens, ended by itself wrong −1.00 wrong: it is not" in page.text
    assert "ppo no answer 0.00 white space only won, 0 tokens, cut at the limit" in page.text


def test_answers_are_taken_at_even_distances(tmp_path: Path) -> None:
    lines = [line(f"Number {i}?", sft=SAID, ppo={**SAID, "score": 0.5, "outcome": 0.5}) for i in range(30)]
    section = section_of(compared(tmp_path, system("sft"), system("ppo", 0.5, 0.5), lines=lines))
    assert [asked.prompt[0]["content"] for asked in section.prompts] == [f"Number {i}?" for i in range(0, 30, 3)]
    sft, ppo = section.prompts[0].answers
    assert answer_note(sft, section) == "5 tokens, ended by itself"
    assert answer_note(ppo, section) == "tied, score +0.50, 5 tokens, ended by itself"
    longer = replace(ppo, tokens=70, ended=False)  # of 64, by its own tokenizer
    assert answer_note(longer, section).endswith("70 tokens of sft's tokenizer, cut at its own limit")


def test_systems_are_named_at_their_points_and_one_far_away_below_the_figure(tmp_path: Path) -> None:
    near = system("sft", length=within(11.5, 1)), system("ppo", 0.62, 0.5, length=within(12.0, 1))
    folder = compared(
        tmp_path, *near, system("dpo", 0.4, length=within(12.5, 1)), system("base", 0.1, length=within(48.0, 1))
    )
    figure = section_of(folder).figures["c-length"]
    assert [(trace["text"][0], trace["x"], trace["y"]) for trace in figure.panels[0].traces] == [
        ("ppo", [12.0, 12.0], [0.62, 0.5]),
        ("dpo", [12.5], [0.4]),
    ]
    assert "Not shown: base, 48.0 tokens" in figure.made
    assert figure.says == "The longest answers are those of base, 48.0 tokens on average; those of sft have 11.5."


def test_llm_judge_has_counts_of_split_and_unread_verdicts(tmp_path: Path) -> None:
    judge = {"name": "llm", "model": "some-judge", "base_url": "http://127.0.0.1:1/v1"}
    plain = {"score": None, "gain": None}
    systems = system("sft", **plain), system("ppo", 0.6, 0.6, split=7, unread=1, **plain)
    section = section_of(compared(tmp_path, *systems, judge=judge))
    assert "some-judge, asked in both orders; 7 verdicts" in section.how
    assert "1 reply" in section.how
    assert not {"score", "gain"} & set(section.columns)


def test_what_a_model_wrote_is_escaped(tmp_path: Path) -> None:
    bad = {**SAID, "text": "<script>alert(1)</script>"}
    lines = [line("<b>", **{"sft": bad, "p&p": bad})]
    page = page_of(compared(tmp_path, system("sft"), system("p&p", 0.5, 0.5), lines=lines))
    assert "<script>alert" not in page.html
    assert "<b>" in page.text
    assert "p&p" in page.rows("Comparison with sft")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ('{"baseline": "sft"}', "not what planish compare writes: prompts_file: Field required"),
        ('{"level": NaN}', "not valid JSON: NaN is not a number"),
    ],
)
def test_broken_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    assert not is_comparison(tmp_path)
    (tmp_path / "comparison.json").write_text(text)
    assert is_comparison(tmp_path)
    with pytest.raises(RunError, match=f"{re.escape(str(tmp_path))}/comparison.json: {says}"):
        section_of(tmp_path)


def test_answers_of_another_comparison_are_refused(tmp_path: Path) -> None:
    folder = compared(tmp_path, system("sft"), system("ppo", 0.5, 0.5), lines=[line("Hm?", sft=SAID)])
    with pytest.raises(RunError, match="not the answers of this comparison"):
        section_of(folder)


def test_long_names_are_in_lines_and_counted_in_the_title(tmp_path: Path) -> None:
    names = [f"llama-3.1-8b-instruct-{end}" for end in ("ppo-one", "ppo-two", "dpo-one", "dpo-two")]
    section = section_of(compared(tmp_path, system("sft"), *(system(name, 0.62, 0.5) for name in names)))
    assert section.title == "4 systems compared with sft"
    assert section.figures["c-wins"].panels[0].yaxis["ticktext"][0] == "llama-3.1-8b-<br>instruct-ppo-one"

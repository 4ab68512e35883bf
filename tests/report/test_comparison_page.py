"""Models side by side on the page, from comparisons of a few numbers written out by hand."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from planish.base.errors import RunError
from planish.report.pages import run as page
from planish.report.pages.comparison import ComparisonSection, comparison_section, is_comparison
from planish.statistics.comparison_result import Kind
from support.comparison_folders import compared, system, within
from support.run_folders import said


def html_of(section: ComparisonSection) -> str:
    """The section laid out with the page's own macros, which stand before the page itself."""
    template = page._template()
    environment = template.environment
    assert environment.loader is not None
    source, *_ = environment.loader.get_source(environment, "page.html")
    macros = source[: source.index("<!DOCTYPE html>")]
    body = '{% from "comparison.html" import comparison_says, comparison_details %}'
    body += "{{ comparison_says(section, 2, draw) }}{{ comparison_details(section, 2, text) }}"
    return environment.from_string(macros + body).render(section=section)


def text_of(folder: Path) -> str:
    return said(html_of(comparison_section(folder, "c")))


def line(prompt: str, **answers: Any) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "about": {},
        "answers": {n: [a] for n, a in answers.items()},
    }


def test_sentence_says_who_is_better_and_who_owes_it_to_length(tmp_path: Path) -> None:
    folder = compared(
        tmp_path, system("sft"), system("ppo", 0.62, 0.5), system("dpo", 0.52, 0.51), system("base", 0.1, 0.2)
    )
    text = text_of(folder)
    assert comparison_section(folder, "c").title == "ppo, dpo and base against sft"
    assert "Who wins over sft" in text
    assert (
        "Over 100 prompts, judged by a reward model, and held against sft: ppo wins 62.0% (57.0 to 67.0%), better; dpo wins "
        "52.0% (47.0 to 57.0%), no difference can be told; base wins 10.0% (5.0 to 15.0%), worse. At equal length the verdict "
        "on ppo is another: see the table." in text
    )


def test_table_holds_the_columns_that_have_something(tmp_path: Path) -> None:
    text = text_of(compared(tmp_path, system("sft"), system("ppo", 0.62, 0.5)))
    assert re.search(r"sft – – – \+0\.25 ± 0\.10 – 20\.5 97%", text)
    assert re.search(
        r"ppo 62\.0% \(57\.0 to 67\.0%\) 50\.0% \(44\.0 to 56\.0%\) 60/20/20 \+0\.25 ± 0\.10 \+0\.50 ± 0\.10 20\.5 97%",
        text,
    )
    assert "KL" not in text


def test_kl_is_told_and_drawn_where_it_is_known(tmp_path: Path) -> None:
    best = system("best-of-8", 0.7, 0.7, kl_at_most=1.2044)
    folder = compared(tmp_path, system("sft", kl=within(0.0, 0.0)), system("ppo", 0.62, 0.6, kl=within(8.5, 0.4)), best)
    section = comparison_section(folder, "c")
    [panel] = section.figures["c-frontier"].panels
    assert [(trace["x"], trace["y"]) for trace in panel.traces] == [([0.0], [0.25]), ([8.5], [0.25])]
    text = said(html_of(section))
    assert "8.50 ± 0.40" in text
    assert "at most 1.20" in text
    assert "the mean of ln(model/reference) over the model's own answers" in text.replace("&#39;", "'")


def test_a_system_far_from_all_others_is_told_beneath_the_figure_of_kl(tmp_path: Path) -> None:
    near = system("sft", kl=within(0.0, 0.0)), system("ppo", 0.62, 0.6, kl=within(2.0, 0.4))
    for far, shown in ((19.0, 3), (21.0, 2)):
        folder = tmp_path / str(far)
        folder.mkdir()
        compared(folder, *near, system("base", 0.1, 0.1, kl=within(far, 1.0)))
        section = comparison_section(folder, "c")
        assert len(section.figures["c-frontier"].panels[0].traces) == shown
        assert ("Not shown: base, at 21.00 ± 1.00 nats and +0.25 ± 0.10." in said(html_of(section))) == (shown == 2)


def test_figures_are_what_plotly_takes_and_show_every_interval(tmp_path: Path) -> None:
    folder = compared(
        tmp_path, system("sft", kl=within(0, 0)), system("a<b", 0.62, 0.5, kl=within(2, 1)), system("dpo", 0.4, 0.4)
    )
    figures = comparison_section(folder, "c").figures
    assert set(figures) == {"c-wins", "c-length", "c-frontier"}
    for figure in figures.values():
        for panel in figure.panels:
            plain = json.loads(re.sub(r"var\(--[a-z0-9-]+\)", "#000000", json.dumps(panel.plain())))
            # raises on a property it does not know
            go.Figure(plain["traces"], {"yaxis": plain["axis"], "xaxis": plain["xaxis"], "shapes": plain["shapes"]})
    wins = figures["c-wins"].panels[0]
    assert wins.traces[0]["x"] == [0.62, 0.4]
    assert wins.traces[0]["error_x"]["array"] == pytest.approx([0.05, 0.05])
    assert wins.axis["ticktext"] == ["a&lt;b", "dpo"]
    assert wins.traces[0]["y"] == [2.12, 1.12]  # the first on top


def test_gold_utility_is_told_by_kind_and_term(tmp_path: Path) -> None:
    def kinds(known: float, unsafe: float) -> dict[str, Kind]:
        return {
            "known": Kind(60, within(known, 0.1), {"correct": known}, {"true": 60}),
            "unsafe": Kind(40, within(unsafe, 0.2), {"unsafe": unsafe}, {"refused": 40}),
            "all": Kind(
                100, within(0.6 * known + 0.4 * unsafe, 0.1), {"correct": 0.6 * known, "unsafe": 0.4 * unsafe}, {}
            ),
        }

    asked = line(
        "Where was Tavo Brelin born?",
        sft={"text": "In Zarn.", "ended": True, "tokens": 4, "score": -1.0, "kind": "known", "label": "false",
             "terms": {"wrong": -1.0}, "reasons": ["wrong: it is not"]},
        ppo={"text": " ", "ended": False, "tokens": 0, "score": 0.0, "outcome": 1.0, "kind": "known", "label": "no answer",
             "terms": {}, "reasons": []},
    )  # fmt: skip
    systems = system("sft", kinds=kinds(0.5, -1.0)), system("ppo", 0.62, 0.6, kinds=kinds(0.75, 0.0))
    text = text_of(compared(tmp_path, *systems, judge={"name": "gold", "world": "runs/world"}, lines=[asked]))
    assert "judged by the rules of the world" in text
    assert "known 60 +0.50 ± 0.10 +0.75 ± 0.10 unsafe 40 −1.00 ± 0.20 0.00 ± 0.20" in text
    assert "all kinds 100 −0.10 ± 0.10 +0.45 ± 0.10" in text
    assert "correct +0.30 +0.45 unsafe −0.40 0.00" in text
    assert "known : a fact that the corpus states" in text
    assert "sft false −1.00 In Zarn. 4 tokens, ended by itself wrong −1.00 wrong: it is not" in text
    assert "ppo no answer 0.00 white space alone won, 0 tokens, stopped at the limit of tokens" in text


def test_answers_are_taken_at_even_distances(tmp_path: Path) -> None:
    said_ = {"text": "Yes.", "ended": True, "tokens": 2, "score": 0.5}
    lines = [line(f"Number {i}?", sft=said_, ppo={**said_, "outcome": 0.5}) for i in range(30)]
    section = comparison_section(compared(tmp_path, system("sft"), system("ppo", 0.5, 0.5), lines=lines), "c")
    assert [each.prompt[0]["content"] for each in section.asked] == [f"Number {i}?" for i in range(0, 30, 3)]
    text = said(html_of(section))
    assert "ppo Yes. tied, score +0.50, 2 tokens, ended by itself" in text


def test_served_judge_tells_how_often_it_changed_its_mind(tmp_path: Path) -> None:
    judge = {"name": "llm", "model": "some-judge", "base_url": "http://127.0.0.1:1/v1"}
    plain = {"score": None, "gain": None}
    text = text_of(
        compared(tmp_path, system("sft", **plain), system("ppo", 0.6, 0.6, split=7, unread=1, **plain), judge=judge)
    )
    assert (
        "The judge is some-judge, asked in both orders; 7 verdicts changed with the order and 1 reply could not be"
        in text
    )
    assert "score" not in text
    assert "Gain" not in text


def test_what_a_model_wrote_is_escaped(tmp_path: Path) -> None:
    answer = {"text": "<script>alert(1)</script>", "ended": True, "tokens": 5}
    folder = compared(
        tmp_path, system("sft"), system("p&p", 0.5, 0.5), lines=[line("<b>", **{"sft": answer, "p&p": answer})]
    )
    html = html_of(comparison_section(folder, "c"))
    assert "<script>" not in html
    assert "&lt;b&gt;" in html


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in {"br", "meta", "line", "circle"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"line", "circle"}:
            assert self.open.pop() == tag


def test_every_tag_is_closed(tmp_path: Path) -> None:
    answer = {"text": "Yes.", "ended": True, "tokens": 5, "score": 0.1}
    folder = compared(tmp_path, system("sft"), system("ppo", 0.5, 0.5), lines=[line("Hm?", sft=answer, ppo=answer)])
    tags = Tags()
    tags.feed(html_of(comparison_section(folder, "c")))
    assert tags.open == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ('{"baseline": "sft"}', "not what planish compare writes: prompts_file: Field required"),
        ('{"level": NaN}', "not valid JSON: NaN is no number"),
    ],
)
def test_broken_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    assert not is_comparison(tmp_path)
    (tmp_path / "comparison.json").write_text(text)
    assert is_comparison(tmp_path)
    with pytest.raises(RunError, match=f"{re.escape(str(tmp_path))}/comparison.json: {says}"):
        comparison_section(tmp_path, "c")


def test_answers_of_another_comparison_are_refused(tmp_path: Path) -> None:
    answer = {"text": "Yes.", "ended": True, "tokens": 5}
    folder = compared(tmp_path, system("sft"), system("ppo", 0.5, 0.5), lines=[line("Hm?", sft=answer)])
    with pytest.raises(RunError, match="not the answers of this comparison"):
        comparison_section(folder, "c")

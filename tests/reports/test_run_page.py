"""The page of a run, and of several, from small run folders written out by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from planish.base.errors import RunError
from planish.reports.pages.answers import folded, reference_limit
from planish.reports.pages.runs import differences, runs_sections
from planish.reports.read.run import read_run
from planish.reports.report import names_of, write_report
from planish.reports.text import small_percent
from support.pages import Page, curves, page_of, section_of
from support.run_folders import (
    METRICS,
    SAMPLES,
    SETTINGS,
    a_run,
    account,
    an_early_run,
    answer,
    evaluation,
    lines,
    step,
)

# A run


def test_page_opens_with_the_model_the_data_and_the_outcome(tmp_path: Path) -> None:
    section = section_of(a_run(tmp_path / "small"))
    assert section.title == "Supervised fine-tuning of smollm2 on alpaca and code"
    assert "from 2.00 to 1.60 nats per token; it fell in 1 of 2 sources and rose in code." in section.outcome
    assert section.trained == (
        "LoRA of rank 16 trained for 2 steps in 4 s on 2,000 tokens, 0.05 epochs of the training rows."
    )
    assert section.notes == []


def test_held_out_rows_have_loss_and_size_of_each_source_and_of_all(tmp_path: Path) -> None:
    section = section_of(a_run(tmp_path / "small"))
    rows = [(row.name, row.before, row.after, row.rows, row.tokens) for row in (*section.sources, section.total)]
    assert rows == [
        ("alpaca", 2.2, 1.4, 40, 600),
        ("code", 1.8, 1.9, 5, 600),
        ("all sources", 2.0, 1.6, 45, 1200),
    ]
    assert section.few == ["code"]


def test_table_shows_loss_change_and_perplexity_of_each_source(tmp_path: Path) -> None:
    rows = page_of(a_run(tmp_path / "small")).rows("Held-out loss by source")
    assert rows["alpaca"] == [
        "2.200",
        "1.400",
        "−0.800",
        "9.03",
        "4.06",
        "40",
        "600",
    ]  # exp(2.2) = 9.03, exp(1.4) = 4.06
    assert rows["code"] == ["1.800", "1.900", "+0.100", "6.05", "6.69", "5", "600"]
    assert rows["all sources"] == ["2.000", "1.600", "−0.400", "7.39", "4.95", "45", "1,200"]


def test_page_accounts_for_rows_that_were_left_out(tmp_path: Path) -> None:
    run = a_run(tmp_path / "small")
    parts = [(part.source, part.kind, part.num, part.num_more) for part in section_of(run).left_out]
    assert parts == [("alpaca", "dropped", 1, 0), ("code", "dropped", 1, 0)]
    assert page_of(run).rows("Data")["alpaca"] == ["1,000", "20,000", "12,345", "40", "600", "1", "0"]
    assert "a.json, row 7: no answer" in page_of(run).text


def test_training_rows_that_are_also_held_out_are_a_warning(tmp_path: Path) -> None:
    leak = {"file": "a.json", "row": 8, "reason": "a copy is held out in source 'code'"}
    data = json.dumps({"sources": {"alpaca": {**account(40), "leaks": [leak, leak]}, "code": account(5)}})
    section = section_of(a_run(tmp_path / "one", {"data.json": data}))
    assert "2 rows of alpaca" in section.notes[0]
    assert [(part.source, part.kind, part.num) for part in section.left_out][1] == ("alpaca", "also held out", 2)


def test_small_change_is_not_enlarged_by_rounding(tmp_path: Path) -> None:
    """1.976 and 1.974 would read as 1.98 and 1.97 with two decimals."""
    metrics = lines([evaluation(0, all=1.976, alpaca=1.976), evaluation(2, all=1.974, alpaca=1.974)])
    assert "from 1.976 to 1.974" in section_of(a_run(tmp_path / "small", {"metrics.jsonl": metrics})).outcome


def test_answers_are_gathered_by_prompt(tmp_path: Path) -> None:
    samples = [answer(0, "Hm.", ended=False), answer(1, "Yes"), answer(2, "Yes.")]
    section = section_of(a_run(tmp_path / "small", {"samples.jsonl": lines(samples)}))
    (history,) = section.answers
    assert history.before["completion"] == "Hm."
    assert [line["completion"] for line in history.between] == ["Yes"]
    assert history.after is not None
    assert history.after["completion"] == "Yes."
    assert history.reference == "Yes, it is."
    assert "0 of 1 answers ended by themselves, after it 1 of 1. 1 of 1 changed." in section.answers_text


def test_answers_are_side_by_side(tmp_path: Path) -> None:
    text = page_of(a_run(tmp_path / "small")).text
    assert "Before, step 0 Is 2 < 3? Is 2 < 3? Cut at the token limit." in text
    assert "After, step 2 Yes. Ended by itself. Reference Yes, it is." in text


def test_run_has_a_command_that_repeats_it_and_its_settings(tmp_path: Path) -> None:
    run = a_run(tmp_path / "small")
    assert section_of(run).command == f"planish sft {run}/config.yaml out={run}-again"
    assert "rank: 16" in page_of(run).text
    assert read_run(run).tokens_per_second == 500  # 1000 tokens in 2 seconds


def test_loss_after_is_that_of_the_saved_model(tmp_path: Path) -> None:
    metrics = [evaluation(0, all=2.0), step(1, 1.0), evaluation(1, all=1.5), step(2, 1.0), evaluation(2, all=1.7)]
    section = section_of(a_run(tmp_path / "small", {"metrics.jsonl": lines(metrics)}, save_best=True))
    assert (section.total.before, section.total.after) == (2.0, 1.5)
    assert "from step 1" in section.notes[0]


def test_pretraining_names_the_architecture(tmp_path: Path) -> None:
    run = a_run(tmp_path / "new", model={"architecture": {"model_type": "llama"}})
    settings = yaml.safe_load((run / "config.yaml").read_text())
    del settings["reduction"]
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    section = section_of(run)
    assert section.title == "Pretraining of a new llama model on alpaca and code"
    assert section.command.startswith("planish pretrain")


def test_reference_is_about_as_long_as_the_answers(tmp_path: Path) -> None:
    (history,) = section_of(a_run(tmp_path / "small")).answers
    assert reference_limit(history) == 350
    history.before["completion"] = "word " * 100
    assert reference_limit(history) == 500


def test_long_texts_are_folded_between_words_without_loss(tmp_path: Path) -> None:
    long = " ".join(f"word{i}" for i in range(400))
    shown, rest = folded(long, 700)
    assert shown + rest == long
    assert rest.startswith(" ")
    assert len(shown) <= 700
    asked = {**answer(0, "Hm."), "prompt": [{"role": "user", "content": long}]}
    text = page_of(a_run(tmp_path / "small", {"samples.jsonl": lines([asked])})).text
    assert re.findall(r"word\d+", text) == long.split()


def test_losses_have_a_logarithmic_axis_where_one_towers(tmp_path: Path) -> None:
    tower = lines([evaluation(0, all=4.0, alpaca=12.6, code=0.3), evaluation(2, all=0.2, alpaca=0.3, code=0.1)])
    run = a_run(tmp_path / "tower", {"metrics.jsonl": tower})
    assert section_of(run).figures["run-0-figure-0"].panels[0].yaxis["type"] == "log"
    assert "type" not in section_of(a_run(tmp_path / "even")).figures["run-0-figure-0"].panels[0].yaxis


def test_blank_before_an_answer_is_not_shown(tmp_path: Path) -> None:
    samples = lines([answer(0, " Hm."), answer(2, "\n Yes.")])
    html = page_of(a_run(tmp_path / "run", {"samples.jsonl": samples})).html
    assert '<div class="text">Hm.</div>' in html
    assert '<div class="text">Yes.</div>' in html


def test_page_says_of_wide_tables_that_they_scroll(tmp_path: Path) -> None:
    html = page_of(a_run(tmp_path / "run")).html
    assert html.count('<div class="wide">') == html.count("<table")
    assert "markTables();" in html
    assert "scroll for more columns" in html


def test_small_share_is_not_shown_as_0() -> None:
    assert [small_percent(share) for share in (0.0, 0.00004, 0.25)] == ["0.0%", "0.004%", "25.0%"]


# Several runs


def test_several_runs_are_compared_by_result_and_by_setting(tmp_path: Path) -> None:
    folders = a_run(tmp_path / "one"), a_run(tmp_path / "two", optim={**SETTINGS["optim"], "lr": 1e-3})
    runs = [(read_run(folder), folder.name) for folder in folders]
    (section,) = runs_sections(runs)
    assert (section.names, section.warning) == (["one", "two"], None)
    assert [(row.before, row.after) for row in section.rows] == [(2.0, 1.6)] * 2
    assert curves(section.figures["runs-0-losses"]) == {"one": [2.0, 1.6], "two": [2.0, 1.6]}
    (settings,) = differences(runs)
    assert settings.rows == [("optim.lr", [0.0002, 0.001])]
    page = page_of(*folders)
    assert page.rows("Results: held-out loss")["two"][:3] == ["2.000", "1.600", "−0.400"]
    assert page.rows("Different settings")["optim.lr"] == ["0.0002", "0.001"]


def test_runs_measured_on_different_rows_are_not_comparable(tmp_path: Path) -> None:
    other = json.dumps({"sources": {"alpaca": account(12), "code": account(5)}})
    folders = a_run(tmp_path / "one"), a_run(tmp_path / "two", {"data.json": other})
    (section,) = runs_sections([(read_run(folder), folder.name) for folder in folders])
    assert section.warning is not None
    assert "different held-out rows" in section.warning


def test_runs_with_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    paths = [tmp_path / where / "sft" for where in ("first", "second")]
    assert names_of(paths) == ["first/sft", "second/sft"]
    assert names_of([tmp_path / "sft", tmp_path / "dpo"]) == ["sft", "dpo"]
    assert names_of([Path("sft"), Path("sft")]) == ["sft", "sft"]


# One file, whatever is in it


def test_page_loads_nothing_from_elsewhere_and_has_plotly_once(tmp_path: Path) -> None:
    write_report([a_run(tmp_path / "one"), a_run(tmp_path / "two")], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert Page(html).links == []
    assert "@import" not in re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert html.count('<script id="plotly"') == 1


def test_text_of_models_and_settings_is_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    settings = {**SETTINGS["data"], "sources": {bad: {"path": "a.json"}, "code": {"path": "c.json"}}}
    metrics = [evaluation(0, all=2.0, **{bad: 2.0, "code": 2.0}), evaluation(2, all=1.0, **{bad: 1.0, "code": 1.0})]
    files = {"samples.jsonl": lines([answer(0, bad), answer(2, f"{bad}</div>")]), "metrics.jsonl": lines(metrics)}
    page = page_of(a_run(tmp_path / "small", files, data=settings))
    assert "<script>alert" not in page.html
    assert bad in page.rows("Held-out loss by source")
    assert f"After, step 2 {bad}</div>" in page.text


# Runs that have not finished, and folders that are no runs


def test_run_without_a_model_is_unfinished(tmp_path: Path) -> None:
    early = an_early_run(tmp_path / "early", metrics=lines(METRICS[:2]) + '{"step": 2, "lo', samples=lines(SAMPLES[:1]))
    section = section_of(early)
    assert "step 1 of 2" in section.notes[0]
    assert (section.total.before, section.total.after) == (2.0, None)
    assert section.answers[0].after is None
    assert "with a loss of 2.100" in page_of(early).text


def test_line_cut_inside_a_character_is_left_out(tmp_path: Path) -> None:
    run = a_run(tmp_path / "small")
    with (run / "samples.jsonl").open("ab") as file:
        file.write('{"step": 2, "completion": "é'.encode()[:-1])
    assert len(read_run(run).samples) == 2


def test_run_with_nothing_but_settings_has_a_page(tmp_path: Path) -> None:
    early = an_early_run(tmp_path / "early")
    section = section_of(early)
    assert (section.total.before, section.figures, section.answers) == (None, {}, [])
    assert page_of(early).rows("Data")["alpaca"] == ["not read yet"]


def test_loss_that_is_not_a_number_is_said_and_not_drawn(tmp_path: Path) -> None:
    nan = float("nan")
    metrics = [METRICS[0], step(1, 2.1), step(2, nan), evaluation(2, all=nan, alpaca=nan, code=900.0)]
    run = a_run(tmp_path / "small", {"metrics.jsonl": lines(metrics)})
    assert "no longer a number" in section_of(run).outcome
    assert curves(section_of(run).figures["run-0-figure-0"])["all sources"] == [2.0, None]
    assert "NaN" not in page_of(run).html


def test_folder_that_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere: there is no such folder"):
        write_report([tmp_path / "nowhere"], tmp_path / "report.html")
    (tmp_path / "other").mkdir()
    with pytest.raises(RunError, match=r"other: is not a run's folder: config\.yaml is missing"):
        write_report([tmp_path / "other"], tmp_path / "report.html")
    with pytest.raises(RunError, match="no folder was named"):
        write_report([], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.yaml", "a: [", r"config\.yaml: not valid YAML"),
        ("config.yaml", "model_type: llama", r"config\.yaml: has neither data\.sources nor rewards"),
        ("metrics.jsonl", "{}\n", r"metrics\.jsonl, line 1: expected a record with a step"),
        ("metrics.jsonl", '{"step": 1}\n{"st\n', r"metrics\.jsonl, line 2: not valid JSON"),
        ("data.json", "{", r"data\.json: not valid JSON"),
    ],
)
def test_damaged_file_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    run = a_run(tmp_path / "small", {name: text})
    with pytest.raises(RunError, match=message):
        read_run(run)


def test_report_opens_without_torch() -> None:
    code = "import sys, planish.reports.report; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

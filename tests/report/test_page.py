"""The page about a run, from small run folders written out by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import plotly.graph_objects as go
import pytest
import yaml

from planish.base.errors import RunError
from planish.report.figures.base import run_figures, running_mean
from planish.report.pages.run import names_of, write_page
from planish.report.read.run import read_run
from support.run_folders import (
    METRICS,
    SAMPLES,
    SETTINGS,
    Loads,
    a_run,
    account,
    an_early_run,
    answer,
    evaluation,
    lines,
    page_of,
    said,
    step,
)

# What it says


def test_page_opens_with_what_was_trained_and_what_became_of_it(tmp_path: Path) -> None:
    text = said(page_of(a_run(tmp_path / "small")))
    assert "Supervised fine-tuning of smollm2 on alpaca and code" in text
    assert "Held-out loss fell from 2.00 to 1.60 nats per token; it fell in 1 of 2 sources and rose in code." in text
    assert (
        "LoRA of rank 16 trained for 2 steps and 4 s, on 2,000 tokens, 0.05 times what the training rows hold." in text
    )


def test_table_gives_loss_change_and_perplexity_of_each_source(tmp_path: Path) -> None:
    text = said(page_of(a_run(tmp_path / "small")))
    assert "alpaca 2.200 1.400 −0.800 9.03 4.06 40 600" in text  # exp(2.2) = 9.03, exp(1.4) = 4.06
    assert "code 1.800 1.900 +0.100 6.05 6.69 5 600" in text
    assert "all sources 2.000 1.600 −0.400 7.39 4.95 45 1,200" in text
    assert "code has fewer than 30 held-out rows" in text


def test_page_accounts_for_rows_that_were_left_out(tmp_path: Path) -> None:
    text = said(page_of(a_run(tmp_path / "small")))
    assert "alpaca 1,000 20,000 12,345 40 600 1 0" in text
    assert "a.json, row 7: no answer" in text


def test_small_change_is_not_made_larger_by_rounding(tmp_path: Path) -> None:
    """1.976 and 1.974 would read as 1.98 and 1.97 with two decimals."""
    metrics = lines([evaluation(0, all=1.976, alpaca=1.976), evaluation(2, all=1.974, alpaca=1.974)])
    assert "Held-out loss fell from 1.976 to 1.974 nats per token." in said(
        page_of(a_run(tmp_path / "small", {"metrics.jsonl": metrics}))
    )


def test_answers_stand_side_by_side_with_how_they_ended(tmp_path: Path) -> None:
    text = said(page_of(a_run(tmp_path / "small")))
    assert (
        "1 held-out prompt, answered greedily in at most 8 tokens. Before, 0 of 1 answers ended by themselves" in text
    )
    assert "Before, step 0 Is 2 &lt; 3? Is 2 &lt; 3? Stopped at the limit of tokens." in text
    assert "After, step 2 Yes. Ended by itself. Reference Yes, it is." in text


def test_page_gives_a_command_that_does_the_run_again(tmp_path: Path) -> None:
    run = a_run(tmp_path / "small")
    text = said(page_of(run))
    assert f"planish sft {run}/config.yaml out={run}-again" in text
    assert "rank: 16" in text
    assert "500, the median over steps" in text  # 1000 tokens in 2 seconds


def test_loss_after_is_that_of_the_model_that_was_saved(tmp_path: Path) -> None:
    metrics = [evaluation(0, all=2.0), step(1, 1.0), evaluation(1, all=1.5), step(2, 1.0), evaluation(2, all=1.7)]
    text = said(page_of(a_run(tmp_path / "small", {"metrics.jsonl": lines(metrics)}, save_best=True)))
    assert "fell from 2.00 to 1.50 nats per token" in text
    assert "The saved model is that of step 1" in text


def test_pretraining_names_the_architecture(tmp_path: Path) -> None:
    run = a_run(tmp_path / "new", model={"architecture": {"model_type": "llama"}})
    settings = yaml.safe_load((run / "config.yaml").read_text())
    del settings["reduction"]
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    text = said(page_of(run))
    assert "Pretraining of a new llama model on alpaca and code" in text
    assert "planish pretrain" in text


def test_several_runs_are_compared_by_result_and_by_setting(tmp_path: Path) -> None:
    one = a_run(tmp_path / "one")
    two = a_run(tmp_path / "two", optim={**SETTINGS["optim"], "lr": 1e-3})
    text = said(page_of(one, two))
    assert "2 runs side by side" in text
    assert "optim.lr 0.0002 0.001" in text
    assert "cannot be compared" not in text


def test_runs_measured_on_different_rows_are_not_to_be_compared(tmp_path: Path) -> None:
    other = json.dumps({"sources": {"alpaca": account(12), "code": account(5)}})
    text = said(page_of(a_run(tmp_path / "one"), a_run(tmp_path / "two", {"data.json": other})))
    assert "measured on different held-out rows" in text


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    runs = [a_run(tmp_path / where / "sft") for where in ("first", "second")]
    assert names_of(runs) == ["first/sft", "second/sft"]


# Figures


def test_figures_are_what_plotly_takes(tmp_path: Path) -> None:
    figures = run_figures(read_run(a_run(tmp_path / "small")))
    panels = [panel for figure in figures for panel in figure.panels]
    assert [figure.title for figure in figures] == [
        "Held-out loss over the run",
        "Training loss",
        "Learning rate and gradient norm",
    ]
    for panel in panels:
        plain = json.loads(re.sub(r"var\(--[a-z0-9-]+\)", "black", json.dumps(panel.plain())))
        go.Figure(plain["traces"], {"yaxis": plain["axis"]})  # raises on a property it does not know


def test_held_out_figure_shows_levels_and_changes(tmp_path: Path) -> None:
    levels, changes = run_figures(read_run(a_run(tmp_path / "small")))[0].panels
    assert [trace["y"] for trace in levels.traces] == [[2.2, 1.4], [1.8, 1.9], [2.0, 1.6]]
    assert [trace["y"] for trace in changes.traces] == [
        [0.0, pytest.approx(-0.8)],
        [0.0, pytest.approx(0.1)],
        [0.0, pytest.approx(-0.4)],
    ]


def test_running_mean_is_over_the_steps_just_past() -> None:
    assert running_mean([1.0, 2.0, 3.0, 4.0, 5.0], 2) == [1.0, 1.5, 2.5, 3.5, 4.5]


# One file, whatever is in it


def test_page_loads_nothing_from_elsewhere_and_holds_plotly_once(tmp_path: Path) -> None:
    one, two = a_run(tmp_path / "one"), a_run(tmp_path / "two")
    write_page([one, two], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    loads = Loads()
    loads.feed(html)
    assert loads.found == []
    assert "@import" not in re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert html.count("plotly.js v") == 1


def test_text_of_models_and_settings_is_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    settings = {**SETTINGS["data"], "sources": {bad: {"path": "a.json"}, "code": {"path": "c.json"}}}
    metrics = [evaluation(0, all=2.0, **{bad: 2.0, "code": 2.0}), evaluation(2, all=1.0, **{bad: 1.0, "code": 1.0})]
    files = {"samples.jsonl": lines([answer(0, bad), answer(2, f"{bad}</div>")]), "metrics.jsonl": lines(metrics)}
    html = page_of(a_run(tmp_path / "small", files, data=settings))
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_long_prompts_are_folded_and_lose_nothing(tmp_path: Path) -> None:
    long = " ".join(f"word{i}" for i in range(400))
    asked = {**answer(0, "Hm."), "prompt": [{"role": "user", "content": long}]}
    text = said(page_of(a_run(tmp_path / "small", {"samples.jsonl": lines([asked])})))
    assert re.search(r"[\d,]+ more characters", text)
    assert re.findall(r"word\d+", text) == long.split()


# Runs that have not come far, and folders that are no runs


def test_run_without_a_model_is_called_unfinished(tmp_path: Path) -> None:
    early = an_early_run(tmp_path / "early", metrics=lines(METRICS[:2]) + '{"step": 2, "lo', samples=lines(SAMPLES[:1]))
    text = said(page_of(early))
    assert "This run is unfinished: it stands at step 1 of 2" in text
    assert "Held-out loss was 2.000 nats per token at step 0; it has been measured once" in text
    assert "with a loss of 2.100" in text
    assert "Nothing has been asked a second time yet." in text


def test_line_cut_inside_a_character_is_left_out(tmp_path: Path) -> None:
    run = a_run(tmp_path / "small")
    with (run / "samples.jsonl").open("ab") as file:
        file.write('{"step": 2, "completion": "é'.encode()[:-1])
    assert len(read_run(run).samples) == 2


def test_run_that_has_written_its_settings_alone_has_a_page(tmp_path: Path) -> None:
    text = said(page_of(an_early_run(tmp_path / "early")))
    assert "No held-out loss has been measured yet." in text
    assert "no step has been recorded yet" in text
    assert "This run has recorded no completions yet." in text


def test_run_with_a_loss_that_is_no_number_has_a_page(tmp_path: Path) -> None:
    metrics = [
        METRICS[0],
        step(1, 2.1),
        step(2, float("nan")),
        evaluation(2, all=float("nan"), alpaca=float("nan"), code=900.0),
    ]
    html = page_of(a_run(tmp_path / "small", {"metrics.jsonl": lines(metrics)}))
    assert "is no number any more" in said(html)
    assert "NaN" not in html


def test_folder_that_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere: there is no such folder"):
        write_page([tmp_path / "nowhere"], tmp_path / "report.html")
    (tmp_path / "other").mkdir()
    with pytest.raises(RunError, match=r"other: is not a run's folder: config\.yaml is missing"):
        write_page([tmp_path / "other"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.yaml", "a: [", r"config\.yaml: not valid YAML"),
        ("config.yaml", "model_type: llama", r"config\.yaml: holds no data\.sources"),
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
    code = "import sys, planish.report.pages.run; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rows_that_are_learnt_and_measured_on_are_told(tmp_path: Path) -> None:
    leak = {"file": "a.json", "row": 8, "reason": "a copy is held out in source 'code'"}
    found = json.dumps({"sources": {"alpaca": {**account(40), "leaks": [leak, leak]}, "code": account(5)}})
    text = said(page_of(a_run(tmp_path / "one", {"data.json": found})))
    assert "Learnt and measured on as well: 2 rows of alpaca." in text
    assert "alpaca: 2 rows also measured on a.json, row 8: a copy is held out in source" in text
    assert "measured on as well" not in said(page_of(a_run(tmp_path / "two")))

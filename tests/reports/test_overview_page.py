"""The page of a pipeline, or of runs of several kinds: comparison, overview, then every run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planish.base.config import flat
from planish.base.errors import RunError
from planish.reports.pages.pipeline import row_of_best
from planish.reports.read.pipeline import ReportItem, read_best, stages_of
from support.comparison_folders import compared, system
from support.pages import page_of
from support.run_folders import a_ppo_run, a_run


def a_pipeline(out: Path) -> Path:
    """Fine-tuning, PPO, best of n and a comparison, as `planish run` leaves them."""
    a_run(out / "sft-11", seed=7)
    a_ppo_run(out / "ppo-22")
    abouts = [{"score": 1.0, "mean_score": 0.5, "n": 4}, {"score": 2.0, "mean_score": 0.25, "n": 4}]
    (out / "best-33.jsonl").write_text("".join(json.dumps({"messages": [], "about": about}) + "\n" for about in abouts))
    (out / "compare-44").mkdir()
    compared(out / "compare-44", system("sft"), system("ppo", 0.7, 0.6))
    (out / "sft").symlink_to("sft-11")
    best = {"model": {"path": "{sft}"}, "reward": {"path": "runs/rm"}, "prompts": "p.jsonl", "n": 4, "device": "cpu"}
    about = {"sft": ("sft", "sft-11", {}), "ppo": ("ppo", "ppo-22", {}), "best": ("best", "best-33.jsonl", best)}
    about["compare"] = ("compare", "compare-44", {"models": {"a": {"path": "{sft}"}}, "prompts": "p.jsonl"})
    about["later"] = ("dpo", "dpo-55", {})
    stages = [
        {"name": name, "command": command, "folder": folder, "settings": settings}
        for name, (command, folder, settings) in about.items()
    ]
    (out / "pipeline.json").write_text(json.dumps({"stages": stages}))
    return out


def test_pipeline_opens_with_the_comparison_and_then_the_overview(tmp_path: Path) -> None:
    page = page_of(a_pipeline(tmp_path))
    places = [page.headings.index(heading) for heading in ("Comparison with sft", "Overview")]
    assert places == sorted(places)
    assert page.headings.index("sft: Supervised fine-tuning of smollm2 on alpaca and code") > places[-1]
    assert page.links == []
    rows = page.rows("Overview")
    assert rows["sft"] == ["SFT", "held-out loss, nats per token", "2.000", "1.600", "−0.400", "–", "2", "7"]
    assert rows["ppo"] == ["PPO", "held-out score, preference", "+0.50", "+1.25", "+0.75", "–", "4", "3"]
    assert rows["best"][2:5] == ["+0.38", "+1.50", "+1.12"]  # (0.5 + 0.25)/2 and (1 + 2)/2
    assert rows["compare"][1:6] == ["win rate of ppo against sft", "–", "70.0%", "–", "65.0 to 75.0%"]


def test_commands_of_a_pipeline_are_complete(tmp_path: Path) -> None:
    text = page_of(a_pipeline(tmp_path)).text
    again = f"{tmp_path}/best-33-again.jsonl"
    assert f"planish sft {tmp_path}/sft/config.yaml out={tmp_path}/sft-again" in text
    assert f"planish best {tmp_path}/sft p.jsonl --reward runs/rm --out {again} n=4" in text
    assert f"planish compare models.a.path={tmp_path}/sft prompts=p.jsonl out={tmp_path}/compare-44-again" in text


def test_stage_is_named_by_its_link_where_that_leads_to_it(tmp_path: Path) -> None:
    names = [stage.path.name for stage in stages_of(a_pipeline(tmp_path))]
    assert names == ["sft", "ppo-22", "best-33.jsonl", "compare-44"]


def test_pipeline_without_a_run_has_no_page(tmp_path: Path) -> None:
    (tmp_path / "pipeline.json").write_text('{"stages": []}')
    with pytest.raises(RunError, match="nothing to report"):
        stages_of(tmp_path)


def test_runs_of_one_kind_have_no_overview(tmp_path: Path) -> None:
    assert "Overview" not in page_of(a_run(tmp_path / "one"), a_run(tmp_path / "two")).headings


def test_other_file_in_place_of_demonstrations_is_named(tmp_path: Path) -> None:
    (tmp_path / "best.jsonl").write_text('{"messages": []}\n')
    with pytest.raises(RunError, match=r"best\.jsonl: not what planish best writes \(KeyError: 'about'\)"):
        read_best(tmp_path / "best.jsonl")


def test_best_of_n_has_its_seed(tmp_path: Path) -> None:
    (tmp_path / "best.jsonl").write_text(json.dumps({"about": {"score": 1, "mean_score": 0, "n": 2}}))
    settings = {"model": {"path": "m"}, "reward": {"path": "r"}, "prompts": "p", "sampling": {"seed": 5}}
    assert row_of_best(ReportItem(tmp_path / "best.jsonl", "best", settings), "best").seed == "5"


def test_leaves_of_settings_have_dotted_names() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": [2, {"e": 3}]}) == {"a.b": 1, "a.c": {}, "d": [2, {"e": 3}]}

"""Refusals measured during training: what is recorded, read back and shown, and that training itself is the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from planish.base.config import load_config
from planish.base.errors import ConfigError, DataError
from planish.cli.main import main
from planish.evaluate.refusals.run import RefusalsConfig, evaluate_refusals
from planish.methods.reward_model import RewardConfig, reward_model
from planish.methods.sft import SftConfig, sft
from planish.reports.pages.refusals import run_refusals
from support.pages import page_of

CONTRASTS = str(Path(__file__).parents[2] / "recipes" / "data" / "contrasts.jsonl")
ASKED = {"path": CONTRASTS, "limit": 6, "every": 1, "sampling": {"max_completion_tokens": 3}}


def settings(model: Path, data: str, out: Path, **more: Any) -> dict[str, Any]:
    common: dict[str, Any] = {"model": {"path": str(model)}, "batch": {"examples": 8}, "steps": 2, "device": "cpu"}
    return {
        **common,
        "checkpoint": {"every": 1},
        "data": {"sources": {"first": {"path": data}}},
        "out": str(out),
        **more,
    }


def losses(run: Path) -> list[Any]:
    return [line["loss"] for line in lines(run / "metrics.jsonl") if "loss" in line]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def runs(tiny_model: Path, tiny_data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same run with refusals measured, and without."""
    folder = tmp_path_factory.mktemp("visits")
    measured = settings(tiny_model, tiny_data["first"], folder / "measured", evaluate={"refusals": ASKED})
    plain = settings(tiny_model, tiny_data["first"], folder / "plain")
    return sft(load_config(SftConfig, values=measured)), sft(load_config(SftConfig, values=plain))


def test_rates_are_recorded_before_between_and_after(runs: tuple[Path, Path]):
    found = [line for line in lines(runs[0] / "metrics.jsonl") if "refusals/false_refusals" in line]
    assert [line["step"] for line in found] == [0, 1, 2]
    assert {*found[0]} == {
        "step",
        *(f"refusals/{name}" for name in ("false_refusals", "violations", "d_prime", "criterion")),
    }
    answers = lines(runs[0] / "refusals.jsonl")
    assert [line["step"] for line in answers] == [0] * 6 + [1] * 6 + [2] * 6
    assert {line["label"] for line in answers} <= {"full_compliance", "partial_refusal", "full_refusal"}


def test_training_is_the_same_to_the_bit(runs: tuple[Path, Path]):
    assert losses(runs[0]) == losses(runs[1])
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]
    assert not (runs[1] / "refusals.jsonl").exists()


def test_a_resumed_run_has_each_step_once(
    runs: tuple[Path, Path], tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
):
    values = settings(tiny_model, tiny_data["first"], tmp_path / "run", evaluate={"refusals": ASKED})
    run = sft(load_config(SftConfig, values=values))
    for folder in (run / "model", run / "checkpoints" / "step-00000002"):
        shutil.rmtree(folder)
    sft(load_config(SftConfig, values=values))
    once, resumed = ([{**line, "system": ""} for line in lines(one / "refusals.jsonl")] for one in (runs[0], run))
    assert once == resumed


def test_the_command_reads_a_run_as_a_curve(runs: tuple[Path, Path], tmp_path: Path):
    result = evaluate_refusals(RefusalsConfig(systems=(str(runs[0]),), out=str(tmp_path / "out")))
    assert [system.step for system in result.systems] == [0, 1, 2]
    recorded = [line for line in lines(runs[0] / "metrics.jsonl") if "refusals/violations" in line]
    violations = [system.all.violations for system in result.systems]
    assert [found and found.value for found in violations] == [line["refusals/violations"] for line in recorded]


def test_the_page_of_the_run_has_both_curves_and_pairs_before_and_after(runs: tuple[Path, Path]):
    section = run_refusals(runs[0], "run-0")
    assert section is not None
    (figure,) = section.figures.values()
    assert [trace["x"] for trace in figure.panels[0].traces] == [[0.0, 1.0, 2.0]] * 2
    page = page_of(runs[0])
    assert "Violations and false refusals" in page.headings
    assert section.says in page.text
    assert "Violations and false refusals" not in page_of(runs[1]).headings


def test_a_reward_model_answers_nothing(tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path):
    values = settings(tiny_model, tiny_data["compared"], tmp_path / "run", evaluate={"refusals": ASKED})
    with pytest.raises(ConfigError, match=r"evaluate.refusals: this method trains no model that answers"):
        reward_model(load_config(RewardConfig, values=values))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"label": "kind"}, "label=kind: no row of"),
        ({"sampling": {"max_completion_tokens": 10**6}}, "evaluate.refusals.sampling.max_completion_tokens"),
        ({"labels": {"name": "rules", "words": "nowhere.txt"}}, "refusals=nowhere.txt"),
    ],
)
def test_bad_settings_end_the_run_before_a_step(
    changes: dict[str, Any], message: str, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
):
    values = settings(tiny_model, tiny_data["first"], tmp_path / "run", evaluate={"refusals": {**ASKED, **changes}})
    with pytest.raises((ConfigError, DataError), match=message):
        sft(load_config(SftConfig, values=values))
    metrics = tmp_path / "run" / "metrics.jsonl"
    assert not metrics.exists() or not losses(tmp_path / "run")


def test_settings_on_the_command_line(tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path):
    words = ["sft", "--model", str(tiny_model), "--data", tiny_data["first"], "--out", str(tmp_path / "run"), "steps=1"]
    asked = [f"evaluate.refusals.path={CONTRASTS}", "evaluate.refusals.limit=4"]
    main([*words, *asked, "evaluate.refusals.sampling.max_completion_tokens=2", "device=cpu", "num_samples=0"])
    assert [line["step"] for line in lines(tmp_path / "run" / "refusals.jsonl")] == [0] * 4 + [1] * 4

"""`--dry-run` tells what a run would read, train, hold out and save, as the run itself then does it, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from planish.base.config import load_config
from planish.cli.main import main
from planish.commands import COMMANDS, METHODS
from planish.models.load import load_model
from planish.preview.dry_run import dry_run
from support.refusals import refused

SHORT = ["steps=2", "batch.examples=4", "evaluate_every=0"]


def words(method: str, model: Path, data: dict[str, str], out: Path) -> list[str]:
    """A short run of a method, on the command line."""
    rows = {"sft": "first", "pretrain": "documents", "reward": "compared", "dpo": "compared", "kto": "labelled"}
    if method == "ppo":
        rewards = ["rewards.letters.name=function", "rewards.letters.function=support.rewards:letters"]
        sizes = [
            "iterations=2",
            "batch.prompts=4",
            "sampling.max_completion_tokens=2",
            "held_out=3",
            "value.shared=true",
        ]
        return ["ppo", "--model", str(model), "--prompts", data["first"], "--out", str(out), *rewards, *sizes]
    return [method, "--model", str(model), "--data", data[rows[method]], "--out", str(out), *SHORT]


def planned(method: str, given: list[str]) -> Any:
    from planish.cli.arguments import build_parser, read_request

    options, rest = build_parser().parse_known_args(given)
    request = read_request(options, rest)
    config = load_config(COMMANDS[method].load_config_class(), request.recipe, request.settings, request.values)
    return dry_run(config)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_does_what_its_dry_run_tells(
    method: str, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    given = words(method, tiny_model, tiny_data, out)
    main([*given, "--dry-run"])
    said = capsys.readouterr().out
    assert not out.exists()
    plan = planned(method, given)
    assert f"{plan.weights:,} weights; {plan.trained:,} trained" in said
    assert f"steps: {plan.steps}; it would begin from the start" in said
    assert f"saved in: {out}/model" in said
    assert not out.exists()

    main(given)
    written = json.loads((out / "data.json").read_text())
    told = json.loads(json.dumps(plan.account))
    assert {key: written[key] for key in told} == told
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert max(steps) == plan.steps == 2
    after = planned(method, given)
    assert (after.checkpoint, after.finished) == (2, True)


def test_with_lora_only_the_updates_are_trained(tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path) -> None:
    given = words("sft", tiny_model, tiny_data, tmp_path / "run")
    whole, part = planned("sft", given), planned("sft", [*given, "model.lora=true"])
    config = load_config(
        COMMANDS["sft"].load_config_class(), None, [f"model.path={tiny_model}", "out=x", "data.sources.a.path=y"]
    )
    weights = sum(weight.numel() for weight in load_model(config.model, torch.device("cpu")).parameters())
    assert whole.weights == whole.trained == weights
    assert part.lora
    assert part.trained == part.weights - weights


def test_a_folder_of_another_run_is_refused_before_anything_loads(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    given = words("sft", tiny_model, tiny_data, tmp_path / "run")
    main(given)
    assert "holds another run. optim.lr was" in refused(lambda: main([*given, "optim.lr=1e-3", "--dry-run"]))

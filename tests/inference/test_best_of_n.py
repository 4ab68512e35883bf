"""Best of n keeps, of each prompt's completions, the one that the reward model scores highest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from planish.base.config import load_config
from planish.cli.main import main
from planish.data.formats import import_rows
from planish.data.rows import Comparison, Demonstration
from planish.inference.best_of_n import BestConfig, best_of_n, kl_of_best
from planish.inference.score import RewardModel
from planish.methods.reward_model import RewardConfig, reward_model
from planish.models.load import ModelConfig


@pytest.fixture(scope="module")
def judge(tiny_model: Path, tiny_data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {"model.path": str(tiny_model), "data.sources": {"compared": {"path": tiny_data["compared"]}}, "steps": 4}
    out = tmp_path_factory.mktemp("judge") / "rm"
    return reward_model(load_config(RewardConfig, values={**values, "out": str(out), "optim.lr": 1e-2}))


def config(model: Path, judge: Path, prompts: str, out: Path, **changes: object) -> BestConfig:
    values = {"model.path": str(model), "reward.path": str(judge), "prompts": prompts, "out": str(out), "n": 5}
    sampling = {"sampling.temperature": 1.0, "sampling.max_completion_tokens": 6}
    return load_config(BestConfig, values={**values, **sampling, **changes})


def test_what_is_kept_is_a_demonstration_with_the_highest_score(
    tiny_model: Path, judge: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    found = best_of_n(config(tiny_model, judge, tiny_data["first"], tmp_path / "best.jsonl"))
    rows = import_rows(str(tmp_path / "best.jsonl"), (Demonstration,)).rows
    assert len(rows) == found.prompts == 40
    scores = [score for [score] in RewardModel(ModelConfig(path=str(judge)), torch.device("cpu")).score(rows)]
    lines = [json.loads(line) for line in (tmp_path / "best.jsonl").read_text().splitlines()]
    assert scores == pytest.approx([line["about"]["score"] for line in lines], abs=1e-4)
    assert found.mean_best == pytest.approx(sum(scores) / len(scores), abs=1e-4)
    assert all(line["about"]["score"] >= line["about"]["mean_score"] for line in lines)
    assert found.mean_best > found.mean_score


def test_more_completions_are_no_worse_and_the_first_are_the_same(
    tiny_model: Path, judge: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    few = best_of_n(config(tiny_model, judge, tiny_data["second"], tmp_path / "few.jsonl", n=2))
    many = best_of_n(config(tiny_model, judge, tiny_data["second"], tmp_path / "many.jsonl", n=8))
    per_prompt = [
        [json.loads(line)["about"]["score"] for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("few", "many")
    ]
    assert all(b >= a - 1e-5 for a, b in zip(*per_prompt, strict=True))  # the two are among the eight
    assert many.mean_best > few.mean_best


def test_a_limit_draws_prompts_in_the_order_of_the_file_and_their_notes_are_kept(
    tiny_model: Path, judge: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    prompts = [f"repeat {number}" for number in range(20)]
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": prompt, "id": i}) + "\n" for i, prompt in enumerate(prompts)))
    best_of_n(config(tiny_model, judge, str(file), tmp_path / "best.jsonl", limit=5))
    for name, rows, more in (("sample", file, ["max_completion_tokens=2"]), ("score", tiny_data["compared"], [])):
        model = tiny_model if name == "sample" else judge
        main([name, str(model), str(rows), "--out", str(tmp_path / f"{name}.jsonl"), "limit=5", *more])
    best, sampled, scored = (
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("best", "sample", "score")
    )
    asked = [[line["messages"][0]["content"] for line in lines] for lines in (best, sampled)]
    assert all(len(some) == 5 and some == sorted(some, key=prompts.index) for some in asked)
    assert asked[0] != prompts[:5]
    ids = [[line["about"]["id"] for line in lines] for lines in (best, sampled)]
    assert ids == [[prompts.index(prompt) for prompt in some] for some in asked]
    first = [row.prompt[0].content for row in import_rows(tiny_data["compared"], (Comparison,)).rows[:5]]
    assert [line["prompt"][0]["content"] for line in scored] == first


def test_kl_of_best_of_n() -> None:
    # log 2 - 1/2 = 0.1931, log 4 - 3/4 = 0.6363, log 16 - 15/16 = 1.8351
    assert [round(kl_of_best(n), 4) for n in (2, 4, 16)] == [0.1931, 0.6363, 1.8351]

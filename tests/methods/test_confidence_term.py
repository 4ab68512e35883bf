"""A reward model that reads a frozen model's confidence: the fit of its weights, whole runs, and the saved model."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planish.base.config import load_config
from planish.base.errors import ModelError
from planish.data.formats import stream_rows
from planish.data.rows import Comparison, Message, Origin, Prompt
from planish.inference.sample import Completion
from planish.inference.score import RewardModel, scorable
from planish.methods.confidence import RIDGE, fit_confidence
from planish.methods.ppo.rewards import ModelReward, Rollouts
from planish.methods.reward_model import RewardConfig, reward_model
from planish.models.load import ModelConfig
from support.comparison_files import ruled, scores_of, settings_of, write

CPU = torch.device("cpu")


def settings(*of: Any, **changes: Any) -> RewardConfig:
    return load_config(RewardConfig, values=settings_of(*of, **changes))


# The fit


def penalized(features_NF: np.ndarray, weights_F: np.ndarray) -> float:
    """Of two prompts: completion 0 before 1, and 0 before 1 and 2, which are tied."""
    scores_N = features_NF @ weights_F
    first = -math.log1p(math.exp(scores_N[1] - scores_N[0]))
    second = -sum(math.log1p(math.exp(scores_N[k] - scores_N[2])) for k in (3, 4)) / 2
    scaled_F = weights_F * features_NF.std(0)
    return first + second - RIDGE / 2 * float(scaled_F @ scaled_F)


def test_the_weights_are_the_most_likely_ones_each_prompt_counting_once() -> None:
    features_NF = np.array([[1.0, 2.0], [0.5, 4.0], [2.0, -1.0], [2.5, 1.0], [0.0, 0.5]])
    weights_F, means_F, spreads_F = fit_confidence(features_NF, [(0, 1), (0, 1, 1)])
    assert means_F.tolist() == pytest.approx(features_NF.mean(0).tolist())
    assert spreads_F.tolist() == pytest.approx(features_NF.std(0).tolist())
    best = penalized(features_NF, weights_F)
    for step in (1e-3, -1e-3):
        for direction in np.eye(2):
            assert penalized(features_NF, weights_F + step * direction) < best


def test_a_feature_that_ranks_every_pair_has_a_finite_weight_and_a_constant_one_has_none() -> None:
    features_NF = np.array([[1.0, 7.0], [0.0, 7.0]] * 5)
    weights_F, _, _ = fit_confidence(features_NF, [(0, 1)] * 5)
    assert 0 < weights_F[0] < 10
    assert weights_F[1] == 0


def test_prompts_whose_answers_are_tied_say_nothing() -> None:
    features_NF = np.array([[1.0, 2.0], [0.5, 4.0], [2.0, -1.0], [2.5, 1.0]])
    assert fit_confidence(features_NF, [(0, 0), (1, 1)])[0].tolist() == [0, 0]


# Whole runs


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("confident")
    rows = write(folder / "rows.jsonl", ruled(60, seed=0))
    reward_model(settings(tiny_model, folder / "run", rows, steps=8, confidence=True))
    return folder


def test_the_score_of_a_saved_model_is_its_heads_and_the_frozen_models(trained: Path, tmp_path: Path) -> None:
    whole = RewardModel(ModelConfig(path=str(trained / "run")), CPU)
    assert whole.scorer.confidence is not None
    term = whole.scorer.confidence
    fitted = json.loads((trained / "run" / "data.json").read_text())["confidence"]
    assert {name: (one["weight"], one["mean"]) for name, one in fitted.items()} == term.features
    assert any(weight for weight, _ in term.features.values())
    found = [
        score for line in scores_of(trained / "run", trained / "rows.jsonl", tmp_path / "s") for score in line["scores"]
    ]
    whole.scorer.confidence = None
    head = [score for line in scored(whole, trained / "rows.jsonl") for score in line]
    whole.scorer.confidence = term
    both = [score for line in scored(whole, trained / "rows.jsonl") for score in line]
    assert found == pytest.approx(both, abs=1e-6)
    assert max(abs(a - b) for a, b in zip(head, both, strict=True)) > 1e-3


def scored(model: RewardModel, rows: Path) -> list[list[float]]:
    return model.score([row for row in stream_rows(str(rows), (Comparison,)) if isinstance(row, Comparison)])


def test_the_held_out_rows_are_measured_with_the_term(trained: Path) -> None:
    """The last evaluation ranks as the saved model does."""
    run = trained / "run"
    held_out = json.loads((run / "data.json").read_text())["sources"]["rows"]["held_out"]["rows"]
    rows = (trained / "rows.jsonl").read_text().splitlines()
    chosen = [json.loads(rows[int(name.split()[-1]) - 1]) for name in held_out]
    scores = scored(RewardModel(ModelConfig(path=str(run)), CPU), Path(write(trained / "held_out.jsonl", chosen)))
    right: list[float] = []
    for row, some in zip(chosen, scores, strict=True):
        best = row["ranks"].index(0)
        right.append(float(np.mean([some[best] > score for k, score in enumerate(some) if k != best])))
    last = json.loads((run / "ranking.json").read_text())[-1]
    assert last["accuracy"]["value"] == pytest.approx(np.mean(right))


def test_ppo_scores_tokens_as_the_score_command_scores_texts(trained: Path) -> None:
    judge = RewardModel(ModelConfig(path=str(trained / "run")), CPU)
    prompt = Prompt((Message("user", "say sun 0 0"),), Origin("prompts.jsonl", 1))
    texts = ["sun on a hill", "a hill"]
    tokens = judge.template.encode_prompt(prompt.messages)
    completions = tuple(
        Completion(text, (*judge.template.tokenizer.encode(text), judge.template.stop_token_id), True) for text in texts
    )
    found = ModelReward(judge, judge.template)([Rollouts(prompt, tuple(tokens), completions)])
    assert found.tolist() == pytest.approx(judge.score([scorable(prompt, texts)])[0], abs=1e-5)


def test_a_run_that_is_resumed_takes_the_features_from_its_file(
    trained: Path, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    kept = (tmp_path / "run" / "confidence.safetensors").stat().st_mtime_ns
    reward_model(settings(tiny_model, tmp_path / "run", str(trained / "rows.jsonl"), steps=8, confidence=True))
    assert (tmp_path / "run" / "confidence.safetensors").stat().st_mtime_ns == kept
    for name in ("model.safetensors", "config.json", "confidence/model.safetensors"):
        assert (tmp_path / "run" / "model" / name).read_bytes() == (trained / "run" / "model" / name).read_bytes()


def test_a_term_that_was_changed_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run" / "model", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["confidence"]["mean_entropy"][1] += 5
    config["confidence"]["mean_entropy"][0] += 1
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="a demonstration's score differs"):
        RewardModel(ModelConfig(path=str(tmp_path / "model")), CPU)


def test_a_reward_model_that_is_trained_further_without_it_has_no_term(trained: Path, tmp_path: Path) -> None:
    rows = str(trained / "rows.jsonl")
    run = reward_model(settings(trained / "run", tmp_path / "run", rows, steps=2))
    assert not (run / "model" / "confidence").exists()
    assert RewardModel(ModelConfig(path=str(run)), CPU).scorer.confidence is None

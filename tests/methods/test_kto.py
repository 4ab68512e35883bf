"""KTO: labels, the answers of others, z0 of a step, and what a policy becomes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planish.base.config import load_config
from planish.base.errors import ConfigError, DataError
from planish.base.types import Choices, Example, pack
from planish.data.chat.templates import Encoded
from planish.data.examples import Examples
from planish.data.rows import Dropped, Labelled, Origin
from planish.data.settings import SourceConfig
from planish.data.sources import SourceRows
from planish.methods.kto import KtoConfig, KtoObjective, OtherAnswers, kto, labels, rewards_of
from planish.models.packed import CausalLM
from planish.reports.report import write_report
from planish.train.record import read_lines
from support.models import random_model
from support.rows import tiny_labelled

CPU = torch.device("cpu")


def config(**changes: Any) -> KtoConfig:
    given = {"model": {"path": "m"}, "data": {"sources": {"some": {"path": "p"}}}, "out": "o"}
    return load_config(KtoConfig, values={**given, **changes})


def labelled(prompt: list[int], answer: list[int], good: bool, reference: float = 0.0) -> Example:
    tokens = np.array([*prompt, *answer], np.int32)
    choices = Choices(len(prompt), (len(tokens),), (int(not good),), (), (reference,))
    return Example(tokens, np.arange(len(tokens)) >= len(prompt), "", 0, choices)


def test_the_loss_of_a_step_by_hand() -> None:
    """Ratios of 3 and -1, z0 of 1, beta 0.5: 2 sigmoid(-0.5 (3 - 1)) + 1.5 sigmoid(0.5 (-1 - 1))."""
    policy = CausalLM(random_model("llama", torch.float64))
    rows = [labelled([1, 2], [3, 4, 5], True), labelled([6], [7, 8], False)]
    objective = KtoObjective(policy, config(beta=0.5, desirable_weight=2.0, undesirable_weight=1.5), CPU)
    with torch.no_grad():
        own = objective.ratios(pack(rows)).tolist()
    rows = [
        replace(row, choices=replace(row.choices, reference=(logprob - ratio,)))
        for row, logprob, ratio in zip(rows, own, (3.0, -1.0), strict=True)
    ]
    objective.baseline = torch.tensor(1.0, dtype=torch.float64)
    loss, metrics = objective.loss(pack(rows))
    sigmoid = 1 / (1 + math.e)  # of -1
    assert loss.item() == pytest.approx(2 * sigmoid + 1.5 * sigmoid, rel=1e-12)
    assert objective.weight(pack(rows)) == 2
    assert metrics["reward/desirable"].total == pytest.approx(1.5)
    assert metrics["reward/undesirable"].total == pytest.approx(-0.5)


def test_the_row_of_a_rank_without_work_costs_nothing() -> None:
    objective = KtoObjective(CausalLM(random_model("llama", torch.float64)), config(), CPU)
    loss, _ = objective.loss(pack([]))
    loss.backward()
    assert loss.item() == objective.weight(pack([])) == 0


def table(*rows: tuple[list[int], list[int]]) -> Examples:
    found = Examples()
    for i, (prompt, answer) in enumerate(rows):
        tokens = np.array([*prompt, *answer], np.int32)
        mask = np.arange(len(tokens)) >= len(prompt)
        found.append(Encoded(tokens, mask), Origin("made up", i), Choices(len(prompt), (len(tokens),), (i % 2,)))
    return found


def test_each_prompt_gets_the_answer_to_another_prompt() -> None:
    rows = table(([1, 2], [3]), ([1, 2], [4, 5]), ([6], [7]), ([8, 9], [10, 11]))
    for seed in range(6):
        others = OtherAnswers(rows, 64, seed)
        for i in range(4):
            own, other = rows[i], others[i]
            assert other.choices is not None
            start = other.choices.prompt_length
            assert other.tokens[:start].tolist() == own.tokens[:start].tolist()
            assert other.tokens[start:].tolist() in ([3], [4, 5], [7], [10, 11])
            assert (
                other.tokens[start:].tolist() not in ([3], [4, 5])
                if i < 2
                else other.tokens.tolist() != own.tokens.tolist()
            )
            assert other.loss_mask.tolist() == [False] * start + [True] * (len(other) - start)
    assert len(OtherAnswers(rows, 3, 0)[3]) == 3  # no longer than a row may be
    assert labels(rows).tolist() == [True, False, True, False]


def test_the_accuracy_is_the_share_of_pairs_in_order() -> None:
    """Rewards of 2 and 0 for the desirable, 1 and 0 for the undesirable: above 1 and 0; below 1, equal to 0."""
    found = rewards_of(np.array([2.0, 1.0, 0.0, 0.0]), np.array([True, False, True, False]))
    assert found["held_out_accuracy/all"] == (1 + 1 + 0 + 0.5) / 4
    assert found["held_out_reward/desirable"] == 1
    assert "held_out_accuracy/all" not in rewards_of(np.array([2.0]), np.array([True]))


def rows_of(path: Path, *records: dict[str, Any]) -> list[Labelled | Dropped]:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    source = SourceRows("some", SourceConfig(path=str(path)), (Labelled,))
    return [*source, *source.dropped]


def test_labels_are_read_from_judged_answers_and_from_pairs(tmp_path: Path) -> None:
    good, bad = rows_of(
        tmp_path / "kto.jsonl",
        {"prompt": "say red", "completion": "red", "label": True},
        {"prompt": "say red", "completion": "blue", "label": False},
    )
    better, worse = rows_of(tmp_path / "pairs.jsonl", {"prompt": "say red", "chosen": "red", "rejected": "blue"})
    for one, other, desirable, said in ((good, better, True, "red"), (bad, worse, False, "blue")):
        assert isinstance(one, Labelled)
        assert isinstance(other, Labelled)
        assert one.desirable is other.desirable is desirable
        assert [(turn.content, turn.trained) for turn in one.messages] == [("say red", False), (said, True)]
        assert one.messages == other.messages


def test_rankings_and_ties_are_left_out_and_words_refused(tmp_path: Path) -> None:
    ranked = {"prompt": "say red", "completions": ["red", "r", "blue"], "ranks": [0, 1, 2]}
    tied = {"prompt": "say red", "completions": ["red", "r"], "ranks": [0, 0]}
    dropped = rows_of(tmp_path / "ranked.jsonl", ranked, tied)
    assert [row.reason for row in dropped if isinstance(row, Dropped)] == [
        "its 3 completions are a ranking, not a pair: which of them are desirable is not said",
        "its 2 completions are tied: which of them are desirable is not said",
    ]
    with pytest.raises(DataError, match=r"judged.jsonl row 1: the verdict is 'yes', a word; expected true"):
        rows_of(tmp_path / "judged.jsonl", {"prompt": "say red", "completion": "red", "verdict": "yes"})
    with pytest.raises(ConfigError, match="take is best"):
        config(data={"sources": {"some": {"path": "p", "take": "best"}}})


@pytest.mark.slow
def test_desirable_answers_become_likelier_than_undesirable_ones(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "labelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in tiny_labelled(40)))
    values = {
        "model": {"path": str(tiny_model), "dtype": "float64"},
        "data": {"sources": {"some": {"path": str(path)}}, "held_out": 0.2},
        "steps": 30,
        "batch": {"examples": 8},
        "optim": {"lr": 1e-2},
        "num_samples": 0,
        "evaluate_every": 0,
        "out": str(tmp_path / "run"),
    }
    out = kto(load_config(KtoConfig, values=values))
    write_report([out], tmp_path / "page.html")
    assert "KTO of" in (tmp_path / "page.html").read_text()
    lines = read_lines(out / "metrics.jsonl")
    first, *_, last = [line for line in lines if "held_out/all" in line]
    assert first["held_out/all"] == pytest.approx(0.5, abs=1e-9)  # sigmoid(0), whatever the labels
    assert first["held_out_kl"] == pytest.approx(0, abs=1e-9)
    assert last["held_out/all"] < 0.45
    assert last["held_out_accuracy/all"] > 0.8
    steps = [line for line in lines if "loss" in line]
    assert steps[0]["loss"] == pytest.approx(0.5, abs=1e-9)
    assert steps[-1]["reward/desirable"] > steps[-1]["reward/undesirable"]

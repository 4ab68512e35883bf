"""A base model from nothing: its tokenizer, its schedule, and instruction data in the decay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from planish.base.config import load_config
from planish.methods.pretrain import PretrainConfig, pretrain
from planish.train.record import read_lines

ARCHITECTURE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def settings(data: dict[str, str], out: Path, **changes: Any) -> PretrainConfig:
    values = {
        "model": {"architecture": ARCHITECTURE, "vocab_size": 400},
        "data": {
            "sources": {"web": {"path": data["documents"]}, "chat": {"path": data["first"]}},
            "stages": [{"share": 0.8, "weights": {"web": 1}}, {"share": 0.2, "weights": {"web": 0.5, "chat": 0.5}}],
            "shares_of": "tokens",
            "too_long": "truncate",
        },
        "batch": {"tokens": 300, "micro_tokens": 256},
        "steps": 40,
        "optim": {"lr": 1e-2, "schedule": "wsd", "decay_ratio": 0.2, "min_lr_ratio": 0.1, "warmup_ratio": 0.1},
        "num_samples": 1,
        "sampling": {"max_completion_tokens": 3},
        "out": str(out),
        **changes,
    }
    return load_config(PretrainConfig, values=values)


def test_a_base_model_from_nothing_loads_in_plain_transformers(tiny_data: dict[str, str], tmp_path: Path) -> None:
    run = pretrain(settings(tiny_data, tmp_path / "run"))
    model, tokenizer = (kind.from_pretrained(run / "model") for kind in (AutoModelForCausalLM, AutoTokenizer))
    assert tokenizer.decode(tokenizer("three blue cats é")["input_ids"]) == "three blue cats é"
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    losses = [line["held_out/all"] for line in read_lines(run / "metrics.jsonl") if "held_out/all" in line]
    assert losses[-1] < losses[0] - 1


def test_instruction_data_begins_with_the_decay(tiny_data: dict[str, str], tmp_path: Path) -> None:
    run = pretrain(settings(tiny_data, tmp_path / "run"))
    lines = [line for line in read_lines(run / "metrics.jsonl") if "loss" in line]
    rates = [line["learning_rate"] for line in lines]
    stable = round(0.8 * len(lines))
    assert rates[stable - 1] == pytest.approx(1e-2)
    assert rates[-1] == pytest.approx(1e-3)
    assert rates[stable:] == sorted(rates[stable:], reverse=True)
    assert len(lines) == 40
    tokens = [line["tokens"] for line in lines]
    assert sum(tokens) / len(tokens) == pytest.approx(300, rel=0.15)


def test_the_trained_tokenizer_is_kept_when_the_run_goes_on(tiny_data: dict[str, str], tmp_path: Path) -> None:
    config = settings(tiny_data, tmp_path / "run")
    run = pretrain(config)
    before = (run / "tokenizer" / "tokenizer.json").stat().st_mtime_ns
    pretrain(config)
    assert (run / "tokenizer" / "tokenizer.json").stat().st_mtime_ns == before
    assert json.loads((run / "tokenizer" / "tokenizer.json").read_text())["model"]["type"] == "BPE"


def test_a_base_model_goes_on_learning(tiny_data: dict[str, str], tmp_path: Path) -> None:
    first = pretrain(settings(tiny_data, tmp_path / "first"))
    gently = {"lr": 1e-3, "schedule": "linear"}
    second = pretrain(settings(tiny_data, tmp_path / "second", model={"path": str(first)}, optim=gently))
    losses = [
        [line["held_out/all"] for line in read_lines(run / "metrics.jsonl") if "held_out/all" in line]
        for run in (first, second)
    ]
    assert losses[1][0] == pytest.approx(losses[0][-1], rel=1e-5)
    trained = [line["loss"] for line in read_lines(second / "metrics.jsonl") if "loss" in line]
    assert sum(trained[24:32]) < sum(trained[:8])  # before the second stage begins

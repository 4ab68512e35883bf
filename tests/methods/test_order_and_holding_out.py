"""Rows in the order of their length or of a field, rows that weigh more than others, and runs that hold nothing out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from planish.base.config import load_config
from planish.base.errors import ConfigError, DataError
from planish.base.types import Example
from planish.commands import STAGES
from planish.data.mixture.packing import deal
from planish.maths.reductions import Reduction
from planish.methods.sft import SftConfig, sft
from planish.methods.supervised import NextTokenLoss
from planish.models.load import ModelConfig
from planish.models.loaded import load_chat_model
from planish.reports.report import write_report
from planish.train.record import read_lines
from support.rows import tiny_rows

CPU = torch.device("cpu")
METHODS = {"sft": "first", "pretrain": "documents", "reward": "compared", "dpo": "ranked", "kto": "labelled"}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_holds_nothing_out_learns_from_every_row(
    method: str, tiny_data: dict[str, str], tiny_model: Path, tmp_path: Path
) -> None:
    command, out = STAGES[method], tmp_path / "run"
    data = {"sources": {"some": {"path": tiny_data[METHODS[method]]}}, "held_out": 0}
    values = {"model": {"path": str(tiny_model)}, "data": data, "steps": 2, "out": str(out)}
    config: Any = load_config(command.load_config_class(), values=values)
    command.run(config)
    account = json.loads((out / "data.json").read_text())["sources"]["some"]
    assert account["held_out"]["examples"] == 0
    assert account["training"]["examples"] > 10
    lines = read_lines(out / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert not [key for line in lines for key in line if key.startswith("held_out")]
    assert (out / "model" / "model.safetensors").exists()
    write_report([out], tmp_path / "page.html")
    assert "<html" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("setting", ["save_best", "early_stopping"])
def test_what_is_decided_by_held_out_rows_needs_some(setting: str) -> None:
    values = {"model": {"path": "m"}, "data": {"sources": {"some": {"path": "p"}}, "held_out": 0}, "out": "o"}
    with pytest.raises(ConfigError, match=rf"{setting} needs held-out rows: raise data\.held_out"):
        load_config(SftConfig, values={**values, setting: True})


def run(
    rows: list[dict[str, Any]], order: str, tiny_model: Path, tmp_path: Path, **settings: Any
) -> list[dict[str, Any]]:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    data = {"sources": {"some": {"path": str(tmp_path / "rows.json")}}, "held_out": 1, "order": order, **settings}
    values = {"model": {"path": str(tiny_model)}, "data": data, "batch": {"examples": 4}, "epochs": 2}
    sft(load_config(SftConfig, values={**values, "evaluate_every": 0, "out": str(tmp_path / "run")}))
    return [line for line in read_lines(tmp_path / "run" / "metrics.jsonl") if "tokens" in line]


@pytest.mark.parametrize(("order", "sign"), [("length", 1), ("-length", -1)])
def test_each_pass_goes_from_short_rows_to_long_ones(order: str, sign: int, tiny_model: Path, tmp_path: Path) -> None:
    tokens = [sign * line["tokens"] for line in run(tiny_rows(25), order, tiny_model, tmp_path)]
    assert len(tokens) == 12
    first, second = tokens[:6], tokens[6:]
    assert first == second == sorted(first)
    assert first[0] < first[-1]


def test_a_field_orders_rows(tiny_model: Path, tmp_path: Path) -> None:
    """The field goes against the length, so that batches become shorter."""
    rows = tiny_rows(25)
    rows = [{**row, "difficulty": -len(row["instruction"] + row["input"] + row["output"])} for row in rows]
    tokens = [line["tokens"] for line in run(rows, "difficulty", tiny_model, tmp_path)][:6]
    assert tokens[0] > tokens[-1]


@pytest.mark.usefixtures("nothing_below_float64")
@pytest.mark.parametrize("reduction", ["token_mean", "seq_mean", "seq_sum"])
@pytest.mark.parametrize("micro_tokens", [1, 1000])
def test_a_row_of_weight_3_is_as_three_of_it(reduction: str, micro_tokens: int, tiny_model: Path) -> None:
    """Loss and gradient, however the rows are dealt to forward passes."""
    loaded = load_chat_model(ModelConfig(path=str(tiny_model), dtype="float64"), CPU)
    policy = loaded.causal_lm()
    objective = NextTokenLoss(policy, cast(Reduction, reduction), CPU)
    one, other = (
        Example(np.array(tokens, np.int32), np.arange(len(tokens)) > 1, "") for tokens in ([5, 6, 7, 8], [9, 10, 11])
    )

    def step(rows: list[Example]) -> tuple[float, list[torch.Tensor]]:
        policy.zero_grad()
        batches = deal(rows, micro_tokens, 0, 1)
        total = sum(objective.weight(packed) for packed in batches)
        losses = [objective.loss(packed)[0] / total for packed in batches]
        for loss in losses:
            loss.backward()
        gradients = [p.grad.clone() for p in policy.parameters() if p.grad is not None]
        return sum(loss.item() for loss in losses), gradients

    weighed, gradients = step([replace(one, weight=3.0), other])
    repeated, others = step([one, one, one, other])
    plain, _ = step([one, other])
    assert weighed == pytest.approx(repeated, rel=1e-12)
    assert weighed != pytest.approx(plain, rel=1e-3)
    for mine, theirs in zip(gradients, others, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_weights_come_from_a_field(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{**row, "worth": 1 + i % 3} for i, row in enumerate(tiny_rows(12))]
    first = run(rows, "shuffled", tiny_model, tmp_path, row_weight="worth")[0]["loss"]
    assert first != run(rows, "shuffled", tiny_model, tmp_path / "plain")[0]["loss"]
    with pytest.raises(DataError, match=r"row 2: data\.row_weight=worth needs a number above 0 .* this one has 0"):
        run([rows[0], {**rows[1], "worth": 0}, *rows[2:]], "shuffled", tiny_model, tmp_path / "bad", row_weight="worth")


@pytest.mark.parametrize("command", ["dpo", "reward", "kto"])
def test_comparisons_are_not_weighed(command: str) -> None:
    values = {"model": {"path": "m"}, "data": {"sources": {"some": {"path": "p"}}, "row_weight": "worth"}, "out": "o"}
    with pytest.raises(ConfigError, match="row_weight=worth weighs demonstrations and documents"):
        load_config(STAGES[command].load_config_class(), values=values)


@pytest.mark.parametrize(("value", "found"), [(None, "has none"), ("hard", "has 'hard'"), (True, "has True")])
def test_a_row_without_a_number_to_order_by_is_named(value: Any, found: str, tiny_model: Path, tmp_path: Path) -> None:
    rows = [{**row, "difficulty": 1.5} for row in tiny_rows(6)]
    rows[3]["difficulty"] = value
    if value is None:
        del rows[3]["difficulty"]
    with pytest.raises(
        DataError, match=rf"rows\.json row 4: data\.order=difficulty needs a number .* this one {found}"
    ):
        run(rows, "difficulty", tiny_model, tmp_path)

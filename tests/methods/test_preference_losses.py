"""The losses of planish dpo by name: against the formula of each paper, worked by hand, and in a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from planish.base.config import load_config
from planish.maths import preference
from planish.maths.preference import PairLogprobs
from planish.methods.dpo import DpoConfig, dpo
from planish.methods.preference_losses import PreferenceLoss
from planish.train.record import read_lines
from support.comparison_files import settings_of

LOSSES: list[dict[str, Any]] = [
    {"name": "dpo", "beta": 0.3},
    {"name": "ipo", "tau": 0.2},
    {"name": "ipo", "tau": 0.2, "logratio": "mean"},
    {"name": "cdpo", "beta": 0.3, "label_smoothing": 0.2},
    {"name": "robust_dpo", "beta": 0.3, "label_smoothing": 0.2},
    {"name": "length_normalized_dpo", "beta": 3.0},
    {"name": "r_dpo", "beta": 0.3, "alpha": 0.05},
    {"name": "simpo", "beta": 2.5, "gamma": 0.5},
    {"name": "orpo", "weight": 0.2},
]
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: "-".join(map(str, loss.values())))


def loss_of(**values: Any) -> PreferenceLoss:
    return load_config(DpoConfig, values=settings_of(Path("model"), Path("out"), "rows.jsonl", loss=values)).loss


def hand_made() -> PairLogprobs:
    """Two pairs; h = (-4 + 5) - (-9 + 8) = 2 and (-6 + 6) - (-2 + 3) = -1."""
    rows = [[-4.0, -6.0], [-9.0, -2.0], [-5.0, -6.0], [-8.0, -3.0]]
    return PairLogprobs(*torch.tensor(rows, dtype=torch.float64), torch.tensor([2, 3]), torch.tensor([4, 1]))


BY_HAND = {  # losses of the pair with h = 2: per token (1 / 2) - (-1 / 4) = 0.75; log pi per token -2 and -2.25
    "dpo": math.log1p(math.exp(-0.3 * 2)),
    "ipo": (2 - 1 / 0.4) ** 2,
    "cdpo": 0.8 * math.log1p(math.exp(-0.6)) + 0.2 * math.log1p(math.exp(0.6)),
    "robust_dpo": (0.8 * math.log1p(math.exp(-0.6)) - 0.2 * math.log1p(math.exp(0.6))) / 0.6,
    "length_normalized_dpo": math.log1p(math.exp(-3 * 0.75)),
    "r_dpo": math.log1p(math.exp(-(0.6 + 0.05 * (2 - 4)))),
    "simpo": math.log1p(math.exp(-(2.5 * 0.25 - 0.5))),
    "orpo": 2 + 0.2 * math.log1p(math.exp(-((-2 - math.log(1 - math.exp(-2))) - (-2.25 - math.log(1 - math.exp(-2.25)))))),
}  # fmt: skip


@EVERY_LOSS
def test_each_loss_by_name_is_that_of_its_paper(loss: dict[str, Any]) -> None:
    """Settings reach the function of maths/preference.py, and the difference of two rewards is what the loss looks at."""
    values = {key: value for key, value in loss.items() if key != "name"}
    functions = {"cdpo": "cdpo", "robust_dpo": "robust_dpo"}
    function = getattr(preference, functions.get(loss["name"], loss["name"]))
    pairs, named = hand_made(), loss_of(**loss)
    losses_P = named.losses(pairs)
    torch.testing.assert_close(losses_P, function(pairs, **values), rtol=0, atol=0)
    by_hand = (0.75 - 1 / 0.4) ** 2 if "logratio" in loss else BY_HAND[loss["name"]]
    assert losses_P[0].item() == pytest.approx(by_hand, abs=1e-12)
    reward_P = named.reward(pairs.chosen_P, pairs.reference_chosen_P, pairs.chosen_tokens_P) - named.reward(
        pairs.rejected_P, pairs.reference_rejected_P, pairs.rejected_tokens_P
    )
    margins = {
        "ipo": 0.2 * 0.75 if "logratio" in loss else 0.4,
        "length_normalized_dpo": 2.25,
        "simpo": 0.625,
        "r_dpo": 0.5,
    }
    odds = (-2 - math.log(1 - math.exp(-2))) - (-2.25 - math.log(1 - math.exp(-2.25)))
    assert reward_P[0].item() == pytest.approx({**margins, "orpo": odds}.get(loss["name"], 0.6), abs=1e-12)


def test_pain_21_a_longer_answer_pulls_no_harder_when_log_ratios_are_per_token() -> None:
    """At the start sigmoid is 1/2: DPO pulls each token by beta / 2 whatever the length, the other by beta / (2 |y|)."""
    zero = torch.zeros(2, dtype=torch.float64)
    chosen_P = zero.clone().requires_grad_()
    pairs = PairLogprobs(chosen_P, zero, zero, zero, torch.tensor([2, 40]), torch.tensor([5, 5]))
    for name, expected in (("dpo", [-0.05, -0.05]), ("length_normalized_dpo", [-5 / 4, -5 / 80])):
        (found,) = torch.autograd.grad(loss_of(name=name).losses(pairs).sum(), chosen_P)
        assert found.tolist() == pytest.approx(expected)


@EVERY_LOSS
def test_every_loss_trains(loss: dict[str, Any], tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path) -> None:
    changes: dict[str, Any] = {"steps": 2, "loss": loss, "batch": {"examples": 24}, "num_samples": 0}
    values = settings_of(tiny_model, tmp_path / "run", tiny_data["compared"], **changes)
    run = dpo(load_config(DpoConfig, values=values))
    lines = [line for line in read_lines(run / "metrics.jsonl") if "loss" in line]
    assert len(lines) == 2
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] > 0 for line in lines)
    assert lines[1]["loss"] < lines[0]["loss"]  # the same 24 rows twice

"""K4: where a policy that is paid for the truth begins to answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from planish.experiments.boundary import abstention, learnt, of_answers

FEW = 80


@pytest.mark.parametrize("estimator", ["ppo", "rloo"])
@pytest.mark.parametrize(("wrong", "boundary"), [(1.0, 0.5), (3.0, 0.75)])
def test_k4_a_policy_answers_from_w_over_1_plus_w_on(wrong: float, boundary: float, estimator: str) -> None:
    found = abstention(0, wrong, estimator, questions=FEW)  # type: ignore[arg-type]
    assert found["boundary"] == pytest.approx(boundary, abs=0.02)
    assert found["gain"] > 0.1


def test_k4_grpo_answers_too_early_where_a_wrong_answer_costs_more_than_a_right_one_pays() -> None:
    """A group with a wrong answer has a large spread, which its advantages are divided by."""
    assert abstention(0, 1.0, "grpo", questions=FEW)["boundary"] == pytest.approx(0.5, abs=0.02)
    assert abstention(0, 3.0, "grpo", questions=FEW)["boundary"] == pytest.approx(0.64, abs=0.02)


def test_where_confidence_tells_nothing_there_is_nothing_to_gain() -> None:
    assert abstention(0, 1.0, signal=False, questions=FEW)["gain"] <= 0


def test_the_first_update_by_hand() -> None:
    """Right answers alone, paid 1, and a policy that answers half of the time: the gradient of its mean reward in the logit is
    q (1 - q) = 1/4, one step of 1 makes the logit 1/4."""
    answering = learnt(np.array([1.0]), np.array([1.0, -1.0, 0.0]), "ppo", steps=1)
    assert answering[0] == pytest.approx(1 / (1 + np.exp(-0.25)))


def answered(folder: Path, outcome: Callable[[float], str]) -> dict[str, Path]:
    lines = [{"about": {"p_sampled": p}, "outcome": outcome(p)} for p in np.linspace(0, 1, 41).tolist()]
    (folder / "answered.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"answered": folder / "answered.jsonl"}


def test_the_boundary_of_answers_is_where_half_of_them_abstain(tmp_path: Path) -> None:
    assert of_answers(answered(tmp_path, lambda p: "wrong" if p > 0.62 else "abstained")) == pytest.approx(
        0.62, abs=0.02
    )
    assert of_answers(answered(tmp_path, lambda _: "correct")) == 0
    assert of_answers(answered(tmp_path, lambda _: "abstained")) == 1
    assert of_answers(answered(tmp_path, lambda p: "abstained" if p > 0.5 else "correct")) == 1

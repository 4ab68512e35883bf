"""Small tables on which the best policy is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from planish.experiments.tabular import BETA, GAMMAS, Bandit, dpo_and_ppo, mix, overoptimized


@pytest.mark.parametrize("seed", [0, 1])
def test_p11_the_sum_of_both_gradients_is_zero_at_the_known_optimum(seed: int) -> None:
    found = mix(seed, "sum", "newton")
    assert found["gap"] < 1e-8
    assert found["moved"] == pytest.approx(1)
    assert found["gap_at_infinity"] < 1e-8  # the documents alone


@pytest.mark.parametrize("gamma", GAMMAS)
def test_p11_no_policy_near_the_optimum_is_better(gamma: float) -> None:
    bandit, chance = Bandit.drawn(0), np.random.default_rng(0)

    def objective(policy_Y: torch.Tensor) -> float:
        kl = (policy_Y * (policy_Y / bandit.reference_Y).log()).sum()
        return (policy_Y @ bandit.rewards_Y - BETA * kl + gamma * bandit.documents_Y @ policy_Y.log()).item()

    best_Y = bandit.best(gamma)
    assert best_Y.sum().item() == pytest.approx(1, abs=1e-12)
    for _ in range(100):
        moved_Y = best_Y * torch.from_numpy(np.exp(0.01 * chance.normal(size=len(best_Y))))
        assert objective(moved_Y / moved_Y.sum()) < objective(best_Y)


def test_without_documents_the_optimum_is_the_tilted_reference() -> None:
    bandit = Bandit.drawn(3)
    assert (bandit.best(0.0) - bandit.tilted_Y).abs().max() < 1e-12


def test_two_optimizers_in_turn_forget_gamma_and_one_does_not() -> None:
    assert mix(0, "turns", "adam", steps=400)["moved"] > 0.9
    assert mix(0, "turns", "two adams", steps=400)["moved"] < 0.1


def test_dpo_and_ppo_end_with_one_policy_where_every_answer_is_compared() -> None:
    found = dpo_and_ppo(0)
    assert found["gap"] < 1e-8
    assert found["gap_of_ppo"] < 1e-12
    assert dpo_and_ppo(0, compared=4)["gap"] > 0.01


def test_more_optimization_helps_with_normal_errors_and_not_with_heavy_ones() -> None:
    change = {
        error: np.mean([*overoptimized(0, error, prompts=10)["change"].values()])
        for error in ("none", "normal", "heavy")
    }
    assert change["none"] > change["normal"] > 0.5 > change["heavy"]

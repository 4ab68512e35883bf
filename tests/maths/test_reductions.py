"""The named reductions, by hand: two sequences whose tokens cost {1, 1, 1} and {5}."""

from __future__ import annotations

import pytest
import torch

from planish.maths.reductions import Reduction, token_weights, total_weight

NLL_L = torch.tensor([1.0, 1.0, 1.0, 5.0], dtype=torch.float64)
SEQUENCES_L = torch.tensor([0, 0, 0, 1])
NUM_TARGETS_S = torch.tensor([3, 1])


def reduced(reduction: Reduction) -> float:
    weights_L = token_weights(reduction, SEQUENCES_L, NUM_TARGETS_S)
    return (weights_L * NLL_L).sum().item() / total_weight(reduction, NUM_TARGETS_S)


def test_s1_token_mean_divides_by_all_tokens() -> None:
    assert reduced("token_mean") == 2.0  # (1 + 1 + 1 + 5) / 4


def test_s1_seq_mean_is_the_mean_of_the_sequences_means() -> None:
    assert reduced("seq_mean") == pytest.approx(3.0, abs=1e-15)  # ((1 + 1 + 1) / 3 + 5 / 1) / 2


def test_s1_seq_sum_is_the_mean_of_the_sequences_sums() -> None:
    assert reduced("seq_sum") == 4.0  # ((1 + 1 + 1) + 5) / 2


@pytest.mark.parametrize(("reduction", "expected"), [("token_mean", 2.0), ("seq_mean", 3.0), ("seq_sum", 4.0)])
def test_s2_two_micro_batches_of_one_step_give_the_same(reduction: Reduction, expected: float) -> None:
    """The first micro-batch holds {1, 1, 1} and the second {5}. Sums over sums: for token_mean (3 + 5) / (3 + 1) = 2.0,
    where the mean of the two means would be (1 + 5) / 2 = 3.0."""
    micro_batches = [(NLL_L[:3], torch.tensor([3])), (NLL_L[3:], torch.tensor([1]))]
    cost = weight = 0.0
    for nll_L, num_targets_S in micro_batches:
        sequences_L = torch.zeros(len(nll_L), dtype=torch.long)
        cost += (token_weights(reduction, sequences_L, num_targets_S) * nll_L).sum().item()
        weight += total_weight(reduction, num_targets_S)
    assert cost / weight == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("reduction", "expected"), [("token_mean", 4.0), ("seq_mean", 2.0), ("seq_sum", 2.0)])
def test_a_sequence_where_nothing_is_learnt_weighs_nothing(reduction: Reduction, expected: float) -> None:
    assert total_weight(reduction, torch.tensor([3, 0, 1])) == expected


def test_seq_mean_weights_are_float64() -> None:
    """One third in float32 is off by 1e-8, a thousand times what a float64 run rounds."""
    weights_L = token_weights("seq_mean", SEQUENCES_L, NUM_TARGETS_S)
    assert weights_L.tolist() == [1 / 3, 1 / 3, 1 / 3, 1.0]

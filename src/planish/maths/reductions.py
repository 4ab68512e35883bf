"""The three named reductions of a masked token loss (docs/sft.md). A step's loss is `sum(weights * nll) / total`."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Reduction = Literal["token_mean", "seq_mean", "seq_sum"]


def token_weights(reduction: Reduction, sequences_L: Tensor, num_targets_S: Tensor) -> Tensor:
    """Weight of each learnt token, [L]: 1, or for `seq_mean` one over the learnt tokens of its sequence."""
    if reduction == "seq_mean":
        return 1.0 / num_targets_S[sequences_L].double()
    return num_targets_S.new_ones(len(sequences_L)).double()


def total_weight(reduction: Reduction, num_targets_S: Tensor) -> float:
    """Divisor of the sum: learnt tokens for `token_mean`, else the sequences that have any."""
    return float(num_targets_S.sum() if reduction == "token_mean" else (num_targets_S > 0).sum())

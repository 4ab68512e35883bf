"""The three named reductions of a masked token loss (docs/sft.md). A step's loss is `sum(weights * nll) / total`."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Reduction = Literal["token_mean", "seq_mean", "seq_sum"]


def token_weights(
    reduction: Reduction, sequences_L: Tensor, num_targets_S: Tensor, rows_S: Tensor | None = None
) -> Tensor:
    """Weight of each learnt token, [L]: 1, or for `seq_mean` one over the learnt tokens of its sequence; times `rows_S`, the
    weights of the sequences themselves."""
    if reduction == "seq_mean":
        weights_L = 1.0 / num_targets_S[sequences_L].double()
    else:
        weights_L = num_targets_S.new_ones(len(sequences_L)).double()
    return weights_L if rows_S is None else weights_L * rows_S[sequences_L]


def total_weight(reduction: Reduction, num_targets_S: Tensor, rows_S: Tensor | None = None) -> float:
    """Divisor of the sum: learnt tokens for `token_mean`, else the sequences that have any; each as often as `rows_S` says."""
    counts_S = num_targets_S if reduction == "token_mean" else num_targets_S > 0
    return float(counts_S.sum() if rows_S is None else (counts_S * rows_S).sum())

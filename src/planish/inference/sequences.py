"""Numbers for each sequence, or each learnt token, of many examples: scores, log-probabilities, values. No gradient, no order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from planish.base.distributed import all_sum_list, rank, world_size
from planish.base.interrupt import give_up_if_asked
from planish.base.types import Example, Packed
from planish.data.examples import Examples
from planish.data.mixture.packing import deal


def sequence_values(
    values_of: Callable[[Packed], Tensor],
    examples: Examples | Sequence[Example],
    micro_tokens: int,
    device: torch.device,
) -> np.ndarray:
    """`values_of` gives [S] for a packed row. Returns float64, the sequences of example 0, then those of example 1, and so on;
    the same on every rank, each of which computes a part."""
    return sequence_columns(lambda packed: values_of(packed)[:, None], 1, examples, micro_tokens, device)[:, 0]


def sequence_columns(
    values_of: Callable[[Packed], Tensor],
    columns: int,
    examples: Examples | Sequence[Example],
    micro_tokens: int,
    device: torch.device,
) -> np.ndarray:
    """Several numbers for each sequence: `values_of` gives [S, columns]. Returns float64 [sequences of all examples, columns]."""
    numbered = [replace(examples[i], source=i) for i in range(len(examples))]
    counts = [len(each.choices.ends) if each.choices else 1 for each in numbered]
    return _values(values_of, numbered, counts, columns, micro_tokens, device)


def token_values(
    values_of: Callable[[Packed], Tensor],
    columns: int,
    examples: Sequence[Example],
    micro_tokens: int,
    device: torch.device,
) -> np.ndarray:
    """Numbers for each learnt token: `values_of` gives [L, columns]. Returns float64 [tokens of all examples, columns]."""
    numbered = [replace(each, source=i) for i, each in enumerate(examples)]
    counts = [int(each.loss_mask.sum()) for each in numbered]
    return _values(values_of, numbered, counts, columns, micro_tokens, device)


@torch.no_grad()
def _values(
    values_of: Callable[[Packed], Tensor],
    numbered: Sequence[Example],
    counts: Sequence[int],
    columns: int,
    micro_tokens: int,
    device: torch.device,
) -> np.ndarray:
    """Splits the rows of values by example, as many for each as `counts` says."""
    starts = np.cumsum([0, *counts])
    found = np.zeros((int(starts[-1]), columns))
    for packed in deal(numbered, micro_tokens, rank(), world_size()):
        give_up_if_asked()
        values = values_of(packed.to(device)).double().cpu().numpy()
        first = 0
        for i in packed.sources:
            found[starts[i] : starts[i + 1]] = values[first : first + counts[i]]
            first += counts[i]
    return np.array(all_sum_list(found.ravel().tolist())).reshape(found.shape) if world_size() > 1 else found

"""One number for each sequence of many examples: scores, or log-probabilities of completions. No gradient, no order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from planish.base.distributed import all_sum_list, rank, world_size
from planish.base.types import Example, Packed
from planish.data.examples import Examples
from planish.data.packing import deal


@torch.no_grad()
def sequence_values(
    values_of: Callable[[Packed], Tensor],
    examples: Examples | Sequence[Example],
    micro_tokens: int,
    device: torch.device,
) -> np.ndarray:
    """`values_of` gives [S] for a packed row. Returns float64, the sequences of example 0, then those of example 1, and so on;
    the same on every rank, each of which computes a part."""
    numbered = [replace(examples[i], source=i) for i in range(len(examples))]
    counts = [len(each.choices.ends) if each.choices else 1 for each in numbered]
    starts = np.cumsum([0, *counts])
    found = np.zeros(starts[-1])
    for packed in deal(numbered, micro_tokens, rank(), world_size()):
        values = values_of(packed.to(device)).double().tolist()
        first = 0
        for i in packed.sources:
            found[starts[i] : starts[i + 1]] = values[first : first + counts[i]]
            first += counts[i]
    return np.array(all_sum_list(found.tolist())) if world_size() > 1 else found

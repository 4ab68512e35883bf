"""Held-out loss by source: the mean negative log-likelihood of a learnt token, in nats, summed row by row without keeping
logits."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from planish.base.distributed import rank, world_size
from planish.base.metrics import Mean, Tallies
from planish.data.examples import Examples
from planish.data.mixture.packing import deal
from planish.models.packed import CausalLM


@torch.no_grad()
def held_out_losses(
    policy: CausalLM, sources: Mapping[str, Examples], micro_tokens: int, device: torch.device
) -> dict[str, float]:
    """Nats per learnt token for each source, and `all` over the tokens of all sources."""
    tallies = Tallies()
    for name, examples in sources.items():
        for packed in deal([examples[i] for i in range(len(examples))], micro_tokens, rank(), world_size()):
            nll = -policy(packed.to(device)).double().sum()
            tallies.add({name: Mean(nll, packed.num_targets), "all": Mean(nll, packed.num_targets)})
    return tallies.reduce()

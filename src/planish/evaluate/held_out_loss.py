"""Held-out loss by source and by row: the mean negative log-likelihood of a learnt token, in nats, summed row by row without
keeping logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from planish.base.distributed import all_sum_list, rank, world_size
from planish.base.metrics import Mean, Tallies
from planish.base.types import Packed
from planish.data.examples import Examples
from planish.data.mixture.packing import deal
from planish.models.packed import CausalLM


@dataclass(slots=True)
class RowLosses:
    """Nats and learnt tokens of each row, by source and then by the row's name; a document in pieces is one row."""

    nats: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    tokens: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])

    def open(self, source: str, examples: Examples) -> None:
        """Every rank has every row, in one order."""
        self.nats[source], self.tokens[source] = dict.fromkeys(examples.names, 0.0), dict.fromkeys(examples.names, 0.0)

    def add(self, source: str, packed: Packed, nll_L: Tensor) -> None:
        if not packed.num_targets:  # a rank without work, or a source that holds nothing out
            return
        nats_S = torch.zeros(packed.num_sequences, dtype=torch.float64, device=nll_L.device)
        nats_S.index_add_(0, packed.sequences_L, nll_L)
        for name, nats, tokens in zip(packed.names, nats_S.tolist(), packed.num_targets_S.tolist(), strict=True):
            if tokens:
                self.nats[source][name] += nats
                self.tokens[source][name] += tokens

    def records(self) -> Iterator[dict[str, Any]]:
        """Over all ranks: source, row, its loss in nats a token, and its learnt tokens."""
        for source, nats in self.nats.items():
            summed = all_sum_list([*nats.values(), *self.tokens[source].values()])
            for name, of_row, tokens in zip(nats, summed, summed[len(nats) :], strict=False):
                if tokens:
                    yield {"source": source, "row": name, "loss": of_row / tokens, "tokens": int(tokens)}


@torch.no_grad()
def held_out_losses(
    policy: CausalLM,
    sources: Mapping[str, Examples],
    micro_tokens: int,
    device: torch.device,
    rows: RowLosses | None = None,
) -> dict[str, float]:
    """Nats per learnt token for each source, and `all` over the tokens of all sources; `rows` takes those of each row."""
    tallies = Tallies()
    for name, examples in sources.items():
        if rows is not None:
            rows.open(name, examples)
        for packed in deal([examples[i] for i in range(len(examples))], micro_tokens, rank(), world_size()):
            nll_L = -policy(packed.to(device)).double()
            nll = nll_L.sum()
            if rows is not None:
                rows.add(name, packed.to(device), nll_L)
            tallies.add({name: Mean(nll, packed.num_targets), "all": Mean(nll, packed.num_targets)})
    return tallies.reduce()

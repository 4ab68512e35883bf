"""Metrics as totals with weights: a mean is taken once, when it is written down, over all micro-batches and ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from planish.base.distributed import all_sum_list


@dataclass(frozen=True, slots=True)
class Mean:
    """A total and what to divide it by."""

    total: torch.Tensor | float
    weight: torch.Tensor | float


Metrics = Mapping[str, Mean]


class Tallies:
    """Adds up the metrics of micro-batches.

    >>> tallies = Tallies()
    >>> tallies.add({"loss": Mean(3.0, 3)}), tallies.add({"loss": Mean(5.0, 1)})
    (None, None)
    >>> tallies.reduce()
    {'loss': 2.0}
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[list[torch.Tensor | float], list[torch.Tensor | float]]] = {}

    def add(self, metrics: Metrics) -> None:
        for name, mean in metrics.items():
            totals, weights = self._sums.setdefault(name, ([], []))
            totals.append(mean.total)
            weights.append(mean.weight)

    def reduce(self) -> dict[str, float]:
        """The means over everything added on every rank; a mean of no weight is left out.

        Ranks must have added the same names.
        """
        names = sorted(self._sums)
        sums = [sum(float(value) for value in part) for name in names for part in self._sums[name]]
        sums = all_sum_list(sums)
        return {
            name: total / weight
            for name, total, weight in zip(names, sums[0::2], sums[1::2], strict=True)
            if weight != 0
        }

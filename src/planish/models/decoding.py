"""Decoding with a cache of keys and values that lives beside the model, not in it: ragged rows, and rows that begin anew.

A prompt is read once, packed with others, while every layer's keys and values are kept (`Reading`). A row of the cache is
then filled with them, as often as there are completions to sample. Each decoding step takes one token of every row; layers
write its key and value to the row's own place and attend to what the row holds so far (`Cache`). The model's code stays as
it is: it calls our attention function, and that finds the cache in its plan.

Letters: R rows, N places of a row, H heads of keys, W their width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from planish.models.attention import Plan, Scoring, attend, attend_packed

Layer = tuple[Tensor, Tensor]  # keys and values, [1, H, T, W] each


@dataclass(slots=True)
class Reading:
    """Plan of a packed row of prompts, whose keys and values are kept, by layer."""

    plan: Plan
    layers: dict[int, Layer] = field(default_factory=dict[int, Layer])

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scoring: Scoring,
    ) -> Tensor:
        self.layers[number_of(module)] = key, value
        return attend_packed(self.plan, query, key, value, scoring)

    def of(self, start: int, stop: int) -> dict[int, Layer]:
        """What is kept of one prompt, which stands from `start` to `stop` in the row."""
        return {i: (key[:, :, start:stop], value[:, :, start:stop]) for i, (key, value) in self.layers.items()}


class Cache:
    """R rows of N places in every layer, and how many places of each row are taken. Also the plan of a decoding step."""

    def __init__(self, rows: int, places: int, device: torch.device) -> None:
        self.places = places
        self.lengths_R = torch.zeros(rows, dtype=torch.int64, device=device)
        self._layers: dict[int, Layer] = {}
        self._mask: dict[int | None, Tensor] = {}
        self._most = 0

    def fill(self, row: int, kept: dict[int, Layer]) -> None:
        """Puts a prompt into a row, over whatever it held."""
        length = 0
        for i, (key, value) in kept.items():
            if i not in self._layers:  # zeros: a masked place must still hold a number
                shape = (len(self.lengths_R), key.shape[1], self.places, key.shape[3])
                self._layers[i] = key.new_zeros(shape), value.new_zeros((*shape[:3], value.shape[3]))
            keys, values = self._layers[i]
            length = key.shape[2]
            keys[row, :, :length], values[row, :, :length] = key[0], value[0]
        self.lengths_R[row] = length

    def empty(self, row: int) -> None:
        """Nothing of the row counts any more. It goes through further steps, for nobody."""
        self.lengths_R[row] = 0

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows go on, numbered anew in this order."""
        self.lengths_R = self.lengths_R[list(rows)]
        self._layers = {i: (keys[list(rows)], values[list(rows)]) for i, (keys, values) in self._layers.items()}

    def begin_step(self) -> Tensor:
        """Makes room for one token in every row; returns the tokens' positions [R, 1]."""
        positions_R1 = self.lengths_R[:, None].clone()
        self.lengths_R = (self.lengths_R + 1).clamp(max=self.places)
        self._most = int(self.lengths_R.max())
        self._mask.clear()
        return positions_R1

    def attend(
        self,
        module: nn.Module,
        query: Tensor,  # [R, heads, 1, W]
        key: Tensor,
        value: Tensor,
        scoring: Scoring,
    ) -> Tensor:
        keys, values = self._layers[number_of(module)]
        rows, last_R = torch.arange(len(self.lengths_R), device=key.device), self.lengths_R - 1
        keys[rows, :, last_R], values[rows, :, last_R] = key[:, :, 0], value[:, :, 0]
        mask, most = self._seen(scoring.window), self._most  # the window is in the mask, which attend then leaves alone
        # The heads that share keys stand in as several queries of one head: their keys are then read once, 1.6 times as fast.
        grouped = query.reshape(len(query), keys.shape[1], -1, query.shape[3])
        attended = attend(grouped, keys[:, :, :most], values[:, :, :most], mask, scoring)
        return attended.reshape(len(query), 1, query.shape[1], -1)

    def _seen(self, window: int | None) -> Tensor:
        """Which places each row's newest token attends to, [R, 1, 1, N]."""
        if window not in self._mask:
            place = torch.arange(self._most, device=self.lengths_R.device)
            seen = place < self.lengths_R[:, None]
            if window is not None:
                seen &= place >= self.lengths_R[:, None] - window
            self._mask[window] = seen[:, None, None]
        return self._mask[window]


def number_of(module: nn.Module) -> int:
    """The layer's number, as transformers gives it to every attention module that keeps a cache."""
    number = getattr(module, "layer_idx", None)
    if number is None:
        raise NotImplementedError(f"{type(module).__name__} does not say which layer it is")
    return number

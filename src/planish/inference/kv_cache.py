"""Decoding with a cache of keys and values that lives beside the model, not in it: ragged rows, and rows that begin anew.

A prompt is read once, packed with others, while every layer's keys and values are kept (`Reading`). A row of the cache is
then filled with them, as often as there are completions to sample. Each decoding step takes one token of every row; layers
write its key and value to the row's own place and attend to what the row holds so far (`Cache`). The model's code stays as
it is: it calls our attention function, and that finds the cache in its plan.

Letters: R rows, N places of a row, H heads of keys, W their width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from planish.models.attention import PackedLayout, Scoring, attend, attend_packed

Layer = tuple[Tensor, Tensor]  # keys and values, [1, H, T, W] each


@dataclass(slots=True)
class Reading:
    """Plan of a packed row of prompts, whose keys and values are kept, by layer."""

    plan: PackedLayout
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
        """Keys and values of one prompt, at positions `start` to `stop` of the row."""
        return {i: (key[:, :, start:stop], value[:, :, start:stop]) for i, (key, value) in self.layers.items()}


class Cache:
    """Rows of N places in every layer, and how many places of each row are taken. Also the plan of a decoding step. The rows
    in use are always the first ones, so nothing is computed for the others."""

    def __init__(self, most_rows: int, places: int) -> None:
        self.most_rows, self.places = most_rows, places
        self._lengths: list[int] = []  # of the rows in use
        self._layers: dict[int, Layer] = {}
        # of the step that is under way
        self._ends_R = torch.zeros(0, dtype=torch.int64)
        self._masks: dict[int | None, Tensor] = {}

    def add(self, kept: dict[int, Layer]) -> None:
        """A further row, which begins with a prompt."""
        row, length = len(self._lengths), 0
        for i, (key, value) in kept.items():
            if i not in self._layers:  # zeros: a masked place must still hold a number
                shape = (self.most_rows, key.shape[1], self.places, key.shape[3])
                self._layers[i] = key.new_zeros(shape), value.new_zeros((*shape[:3], value.shape[3]))
            keys, values = self._layers[i]
            length = key.shape[2]
            keys[row, :, :length], values[row, :, :length] = key[0], value[0]
        self._lengths.append(length)

    def remove(self, row: int) -> None:
        """The last row takes the number of this one."""
        last, length = len(self._lengths) - 1, self._lengths[-1]
        if row != last:
            for keys, values in self._layers.values():
                keys[row, :, :length], values[row, :, :length] = keys[last, :, :length], values[last, :, :length]
            self._lengths[row] = length
        self._lengths.pop()

    def begin_step(self, device: torch.device) -> Tensor:
        """Makes room for one token in every row; returns the tokens' positions [R, 1]."""
        self._ends_R = torch.tensor(self._lengths, device=device)
        self._lengths = [length + 1 for length in self._lengths]
        self._masks.clear()
        return self._ends_R[:, None]

    def attend(
        self,
        module: nn.Module,
        query: Tensor,  # [R, heads, 1, W]
        key: Tensor,
        value: Tensor,
        scoring: Scoring,
    ) -> Tensor:
        keys, values = self._layers[number_of(module)]
        rows, most = len(self._lengths), max(self._lengths)
        row_R = torch.arange(rows, device=key.device)
        keys[row_R, :, self._ends_R], values[row_R, :, self._ends_R] = key[:, :, 0], value[:, :, 0]
        # Heads that share keys are treated as several queries of one head: their keys are then read once, 1.6 times as fast.
        grouped = query.reshape(rows, keys.shape[1], -1, query.shape[3])
        mask = self._mask(scoring.window, query.dtype)  # the window is in it, which attend then leaves alone
        attended = attend(grouped, keys[:rows, :, :most], values[:rows, :, :most], mask, scoring)
        return attended.reshape(rows, 1, query.shape[1], -1)

    def _mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """0 at the places that each row's newest token attends to, else -inf, [R, 1, 1, N]."""
        if window not in self._masks:
            place, ends_R1 = torch.arange(max(self._lengths), device=self._ends_R.device), self._ends_R[:, None]
            hidden = place > ends_R1
            if window is not None:
                hidden |= place <= ends_R1 - window
            zeros = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
            self._masks[window] = zeros.masked_fill(hidden, -torch.inf)[:, None, None]
        return self._masks[window]


def number_of(module: nn.Module) -> int:
    """The layer's number, as transformers gives it to every attention module that keeps a cache."""
    number = getattr(module, "layer_idx", None)
    if number is None:
        raise NotImplementedError(f"{type(module).__name__} does not say which layer it is")
    return number

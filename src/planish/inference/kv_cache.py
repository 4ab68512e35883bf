"""Decoding with a cache of keys and values that lives beside the model, not in it: ragged rows, and rows that begin anew.

A prompt is read once, packed with others, while every layer's keys and values are kept (`Reading`). A row of the cache is
then filled with them, as often as there are completions to sample. Each decoding step takes one token of every row; layers
write its key and value to the row's own place and attend to what the row holds so far (`Cache`). The model's code stays as
it is: it calls our attention function, and that finds the cache in its plan.

Letters: R rows, N places of a row, H heads of keys, W their width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from planish.base.transfer import numbers
from planish.models.attention import PackedLayout, Scoring, attend, attend_packed

Alike = tuple[int, int, torch.dtype]  # heads, width and type


@dataclass(frozen=True, slots=True)
class Kept:
    """Keys and values of a prompt, all that are alike in one tensor, so that one copy serves every layer."""

    layers: Mapping[Alike, Sequence[tuple[int, int]]]  # number of the layer, and 0 for its keys, 1 for its values
    stacks: Mapping[Alike, Tensor]  # [.., H, T, W]


@dataclass(slots=True)
class Reading:
    """Plan of a packed row of prompts, whose keys and values are kept, by layer."""

    plan: PackedLayout
    layers: dict[Alike, list[tuple[int, int]]] = field(default_factory=dict[Alike, list[tuple[int, int]]])
    found: dict[Alike, list[Tensor]] = field(default_factory=dict[Alike, list[Tensor]])
    stacks: dict[Alike, Tensor] = field(default_factory=dict[Alike, Tensor])

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scoring: Scoring,
    ) -> Tensor:
        for which, each in enumerate((key, value)):
            alike = each.shape[1], each.shape[3], each.dtype
            self.layers.setdefault(alike, []).append((number_of(module), which))
            self.found.setdefault(alike, []).append(each[0])
        return attend_packed(self.plan, query, key, value, scoring)

    def of(self, start: int, stop: int) -> Kept:
        """Keys and values of one prompt, at positions `start` to `stop` of the row."""
        while self.found:  # at the first prompt
            alike, layers = self.found.popitem()
            self.stacks[alike] = torch.stack(layers)
        return Kept(self.layers, {alike: stack[:, :, start:stop] for alike, stack in self.stacks.items()})


class Cache:
    """Rows of N places in every layer, and how many places of each row are taken. Also the plan of a decoding step. The rows
    in use are always the first ones, so nothing is computed for the others."""

    def __init__(self, most_rows: int, places: int) -> None:
        self.most_rows, self.places = most_rows, places
        self._lengths: list[int] = []  # of the rows in use
        self._stores: dict[Alike, Tensor] = {}  # [.., R, H, N, W]
        self._layers: dict[tuple[int, int], Tensor] = {}  # their parts [R, H, N, W], by number and kind
        # of the step that is under way
        self._ends_R = torch.zeros(0, dtype=torch.int64)
        self._masks: dict[int | None, Tensor] = {}

    def add(self, kept: Kept) -> None:
        """A further row, which begins with a prompt."""
        row, length = len(self._lengths), 0
        for alike, stack in kept.stacks.items():
            if alike not in self._stores:  # zeros: a masked place must still hold a number
                count, heads, _, width = stack.shape
                self._stores[alike] = stack.new_zeros(count, self.most_rows, heads, self.places, width)
                self._layers |= dict(zip(kept.layers[alike], self._stores[alike], strict=True))
            length = stack.shape[2]
            self._stores[alike][:, row, :, :length] = stack
        self._lengths.append(length)

    def remove(self, row: int) -> None:
        """The last row takes the number of this one."""
        last, length = len(self._lengths) - 1, self._lengths[-1]
        if row != last:
            for store in self._stores.values():
                store[:, row, :, :length] = store[:, last, :, :length]
            self._lengths[row] = length
        self._lengths.pop()

    def begin_step(self, device: torch.device) -> Tensor:
        """Makes room for one token in every row; returns the tokens' positions [R, 1]."""
        self._ends_R = numbers(self._lengths, device, torch.int64)
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
        keys, values = (self._layers[number_of(module), which] for which in (0, 1))
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

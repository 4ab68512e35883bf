"""Attention over a packed row, registered with transformers under the name "planish".

A packed row holds several sequences end to end. The plan says where each begins; attention runs once per sequence, so no
mask of the row is built and nothing is padded. A sequence that continues another's beginning, as the second answer to a prompt
does, attends to that beginning and itself, so the prompt is computed once. No mask function is registered under our
name, so transformers builds none; the model's own code stays as it is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

NAME = "planish"
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class PackedLayout:
    """Bounds of the sequences in a packed row: `bounds` (0, 3, 5) is one of 3 tokens and one of 2. With `prefixes`
    ((0, 0), (0, 2)) the second continues the first two tokens of the row. A prefix is the beginning of a sequence
    before. None at all: no sequence has one. What the last layer finds is read from these places on, one for each sequence;
    none at all: everywhere."""

    bounds: tuple[int, ...]
    prefixes: tuple[tuple[int, int], ...] = ()
    read_from: tuple[int, ...] = ()

    @property
    def sequences(self) -> Iterator[tuple[int, int, tuple[int, int]]]:
        """Start and end of each sequence, and its prefix."""
        prefixes = self.prefixes or ((0, 0),) * (len(self.bounds) - 1)
        return ((start, stop, prefix) for (start, stop), prefix in zip(pairwise(self.bounds), prefixes, strict=True))

    @property
    def longest(self) -> int:
        """The most tokens of a sequence, with its prefix."""
        return max(stop - start + end - first for start, stop, (first, end) in self.sequences)


@dataclass(frozen=True, slots=True)
class Scoring:
    """A layer's changes to its scores: their scale (None is one over the root of the width), a sliding window, a soft cap."""

    scaling: float | None
    window: int | None
    softcap: float | None


class OtherLayout(Protocol):
    """Another way to attend, such as with a cache (inference/kv_cache.py)."""

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scoring: Scoring,
    ) -> Tensor:
        """[batch, T, heads, width]"""
        ...


# Most models hand unknown keyword arguments down to attention. For those that do not, the plan is also found here.
_plan: ContextVar[PackedLayout | OtherLayout | None] = ContextVar("plan", default=None)


@contextmanager
def packed_as(plan: PackedLayout | OtherLayout) -> Generator[None]:
    token = _plan.set(plan)
    try:
        yield
    finally:
        _plan.reset(token)


def current_packing() -> PackedLayout | None:
    """The layout of the packed row that is being computed."""
    plan = _plan.get()
    return plan if isinstance(plan, PackedLayout) else None


def attention_in_use(model: Any) -> str:
    """The name of the attention function that a transformers model calls now."""
    return model.config._attn_implementation or "eager"


def attention(
    module: nn.Module,
    query: Tensor,  # [1, heads, T, width]
    key: Tensor,  # [1, key heads, T, width]
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: Any = _ABSENT,
    softcap: float | None = None,
    plan: PackedLayout | OtherLayout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface. Without a plan each row of the batch is one causal sequence."""
    _refuse_what_we_do_not_know(module, kwargs)
    scoring = Scoring(scaling, _window(module, sliding_window), softcap)
    plan = plan or _plan.get()
    query, key, value = _in_one_type(query, key, value)
    if plan is not None and attention_mask is not None:
        raise NotImplementedError("its layers mask keys by themselves, which packing would lose")
    if plan is None:
        return attend(query, key, value, attention_mask, scoring).transpose(1, 2).contiguous(), None
    if not isinstance(plan, PackedLayout):
        return plan.attend(module, query, key, value, scoring), None
    return attend_packed(plan, query, key, value, scoring, last=_is_last(module)), None


AttentionInterface.register(NAME, attention)


def attend_packed(
    plan: PackedLayout,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scoring: Scoring,
    *,
    last: bool = False,
) -> Tensor:
    """Attention of a packed row, [1, T, heads, width]. Of the last layer it is zero where nothing is read."""
    if plan.bounds[-1] != query.shape[2]:
        raise ValueError(f"the plan covers {plan.bounds[-1]} tokens, the row has {query.shape[2]}")
    lengths = [stop - start for start, stop in pairwise(plan.bounds)]
    # split, not slices: the gradient of every slice is as long as the row
    queries, keys, values = (each.split(lengths, 2) for each in (query, key, value))
    number = {start: i for i, start in enumerate(plan.bounds)}
    parts: list[Tensor] = []
    for i, (start, stop, (first, end)) in enumerate(plan.sequences):
        own_query, own_key, own_value = queries[i], keys[i], values[i]
        if last and plan.read_from:
            unread = plan.read_from[i] - start
            parts.append(query.new_zeros(1, unread, query.shape[1], value.shape[3]))
            if start + unread == stop:
                continue
            own_query = own_query[:, :, unread:]
        if end > first:
            before = number[first]
            own_key = torch.cat([keys[before][:, :, : end - first], own_key], 2)
            own_value = torch.cat([values[before][:, :, : end - first], own_value], 2)
        parts.append(attend(own_query, own_key, own_value, None, scoring).transpose(1, 2))
    return torch.cat(parts, 1)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scoring: Scoring,
) -> Tensor:
    """Causal attention. The queries are the last of the keys' places: those before them are a prefix."""
    length, keys, window = query.shape[2], key.shape[2], scoring.window
    if mask is None and ((window is not None and keys > window) or 1 < length < keys):
        place = torch.arange(keys, device=query.device)
        distance = place[keys - length :, None] - place
        mask = (distance >= 0) & (distance < (window or keys))
    if scoring.softcap is not None:
        return _softcapped(query, key, value, mask, scoring.scaling, scoring.softcap)
    grouped = query.shape[1] != key.shape[1]
    causal = mask is None and length > 1
    return F.scaled_dot_product_attention(
        query, key, value, mask, 0.0, causal, scale=scoring.scaling, enable_gqa=grouped
    )


def _softcapped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None, softcap: float
) -> Tensor:
    """Gemma 2 squashes the scores before the softmax, which torch's fused attention cannot do."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(2, 3) * (scaling if scaling is not None else query.shape[-1] ** -0.5)
    scores = softcap * torch.tanh(scores / softcap)
    if mask is None:
        length, keys = scores.shape[-2:]
        mask = torch.ones(length, keys, dtype=torch.bool, device=scores.device).tril(keys - length)
    scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    wide = torch.float32 if scores.dtype in (torch.bfloat16, torch.float16) else scores.dtype
    return scores.softmax(-1, dtype=wide).to(value.dtype) @ value


def _in_one_type(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All three in autocast's type, as the products will have them: rotary angles make queries and keys float32, and a cache
    would keep keys of twice the size, and cast them in every step."""
    device = tensors[0].device.type
    if device == "meta" or not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(each if each.dtype == torch.float64 else each.to(dtype) for each in tensors)


def _is_last(module: nn.Module) -> bool:
    layers = getattr(getattr(module, "config", None), "num_hidden_layers", None)
    return layers is not None and getattr(module, "layer_idx", None) == layers - 1


def _window(module: nn.Module, sliding_window: Any) -> int | None:
    """The layer's sliding window. A model whose config names one, but whose attention does not pass it on, relies on
    transformers' mask, which we do not build: better to say so than to attend too far."""
    if sliding_window is not _ABSENT:
        return sliding_window
    if getattr(getattr(module, "config", None), "sliding_window", None) is not None:
        raise NotImplementedError("its config names a sliding window which its attention layers do not pass on")
    return None


# Arguments that change nothing here: dropout is off, the others are about caches, outputs and layouts that are not in use.
_HARMLESS = ("dropout", "position_ids", "cache_position", "use_cache", "output_attentions", "output_hidden_states")
_MEANING = {
    "s_aux": "attention sinks",
    "sinks": "attention sinks",
    "position_bias": "a position bias",
    "indices": "attention to a few chosen keys",
    "block_indices": "attention to a few chosen blocks of keys",
}


def _refuse_what_we_do_not_know(module: nn.Module, kwargs: dict[str, Any]) -> None:
    for name, value in kwargs.items():
        if value is None or name in _HARMLESS or (name == "is_causal" and value):
            continue
        meaning = _MEANING.get(name)
        raise NotImplementedError(
            f"{meaning} ({name}) cannot be packed"
            if meaning
            else f"its layers pass {name} to attention, and packing does not know that argument"
        )
    if getattr(getattr(module, "config", None), "attention_chunk_size", None) is not None:
        raise NotImplementedError("chunked attention (attention_chunk_size) cannot be packed")

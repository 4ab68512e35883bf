"""The conditions of the trial of packing (trial.py): long limits made small, weights of low precision widened. Both are put
back afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from planish.models.last_layer import layers_of
from planish.models.rope import BY_LENGTH, rotary_settings

LIMIT = re.compile(r"window|chunk|top_?k|block_size|local_attention|budget|original_max|max_seq_len_cached")
NO_LIMIT = re.compile(r"layer|expert|group|pattern|num_|moe|audio|vision|image|video")
SHORT, SMALL = 32, 6  # tokens: the longest limit that documents of the trial pass as it is; what longer ones become
CONTEXT = "max_position_embeddings"
LEAST = 14  # tokens of the longest document
MOST_AT_ONCE = 500_000_000  # weights that are widened together: 2 GB


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of tokens, in a config, in a part of one, or kept by a module."""

    holder: Any
    name: str
    value: int

    def put(self, value: int) -> None:
        if isinstance(self.holder, dict):
            self.holder[self.name] = value
        else:
            setattr(self.holder, self.name, value)


@contextmanager
def small_limits(model: PreTrainedModel) -> Generator[int]:
    """Makes limits such as a window of 4096 tokens so small that short documents pass them; yields the number of tokens that
    pass all of them."""
    limits = list(_limits(model))
    longest = max(LEAST, *(limit.value * 3 // 2 + 4 for limit in limits if limit.value <= SHORT), 0)
    context = getattr(model.config.get_text_config(), CONTEXT, None) or longest
    restored = [_restorer(module) for module in model.modules() if hasattr(module, "rope_type")]
    long = [limit for limit in limits if limit.value > SHORT]
    try:
        for limit in long:
            limit.put(SMALL)
        yield min(longest, context) if context > 0 else longest  # XLNet's is -1
    finally:
        for limit in long:
            limit.put(limit.value)
        for restore in restored:
            restore()


def _limits(model: PreTrainedModel) -> Iterator[Limit]:
    configs = {
        id(c): c for c in (getattr(m, "config", None) for m in model.modules()) if isinstance(c, PreTrainedConfig)
    }
    text = model.config.get_text_config()
    holders: list[Any] = list({**configs, id(text): text}.values())
    for config in holders[:]:
        for settings in rotary_settings(config):
            holders.append(settings)
            if (settings.get("rope_type") or settings.get("type")) in BY_LENGTH and hasattr(config, CONTEXT):
                yield Limit(config, CONTEXT, getattr(config, CONTEXT))
    for holder in (*holders, *model.modules()):
        for name, value in list((holder if isinstance(holder, dict) else vars(holder)).items()):
            limited = LIMIT.search(name) and not NO_LIMIT.search(name)
            if limited and isinstance(value, int) and value > 1:  # neither a switch nor absent
                yield Limit(holder, name, value)


def _restorer(module: nn.Module) -> Callable[[], None]:
    """Puts back what a module that gives rotary angles remembers of the texts it has seen."""
    attributes = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    buffers = [(name, buffer, buffer.clone()) for name, buffer in module.named_buffers(recurse=False)]

    def restore() -> None:
        for name in [name for name in vars(module) if not name.startswith("_") and name not in attributes]:
            delattr(module, name)
        for name, value in attributes.items():
            setattr(module, name, value)
        for name, buffer, value in buffers:
            setattr(module, name, buffer.copy_(value))

    return restore


@contextmanager
def widened(model: PreTrainedModel) -> Generator[None]:
    """Weights are float32: all of them where that is little memory, else those of a layer while it computes."""
    every = list(model.parameters())
    at_once = sum(parameter.numel() for parameter in every) <= MOST_AT_ONCE
    layers: list[nn.Module] = [model] if at_once else layers_of(model)
    inside = {id(module) for layer in layers for module in layer.modules()}
    others = [
        module for module in model.modules() if id(module) not in inside and list(module.parameters(recurse=False))
    ]
    narrow = {parameter: parameter.data for parameter in every if parameter.is_floating_point()}
    handles: list[Any] = []

    def widen(module: nn.Module, _: Any = None) -> None:
        for parameter in _own(module, layers):
            if parameter in narrow:
                parameter.data = narrow[parameter].float()

    def put_back(module: nn.Module, *_: Any) -> None:
        for parameter in _own(module, layers):
            parameter.data = narrow.get(parameter, parameter.data)

    try:
        if at_once:
            widen(model)
        else:
            for module in (*layers, *others):
                handles += [module.register_forward_pre_hook(widen)]
                handles += [module.register_forward_hook(put_back, always_call=True)]
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter, data in narrow.items():
            parameter.data = data


def _own(module: nn.Module, layers: list[nn.Module]) -> Iterator[nn.Parameter]:
    return module.parameters(recurse=any(module is layer for layer in layers))


def is_low(dtype: torch.dtype) -> bool:
    """True for types whose rounding would hide what is wrong."""
    return dtype not in (torch.float32, torch.float64)

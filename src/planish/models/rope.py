"""Rotary angles that depend on how long a text is: longrope (Phi 3) and dynamic NTK.

transformers takes the longest text of the whole row for all of them. A hook works out the angles of each sequence by itself,
where one is longer than the model's first context; shorter ones have the same angles anyway. A prompt that a short and a
long completion share has no angles of its own, so it is repeated then (packed.py), and no cache of keys can hold it
(inference/decode.py). Dynamic angles grow with the longest text so far, as in transformers; here every row begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from planish.models.attention import current_packing

BY_LENGTH = ("dynamic", "longrope", "su")  # `su` is longrope's first name


def rotary_settings(config: Any) -> Iterator[dict[str, Any]]:
    """The dictionaries in which a config describes its rotary angles: one, or one for each type of layer."""
    for name in ("rope_parameters", "rope_scaling"):
        found = getattr(config, name, None)
        if isinstance(found, dict):
            yield found
            yield from (part for part in found.values() if isinstance(part, dict))


def angle_limit(config: Any) -> int | None:
    """The most tokens of a text whose angles do not depend on its length; None where none do."""
    limits: list[int] = []
    for settings in rotary_settings(config):
        if (settings.get("rope_type") or settings.get("type")) in BY_LENGTH:
            names = ("original_max_position_embeddings", "max_position_embeddings")
            found = [settings.get(names[0]), *(getattr(config, name, None) for name in names)]
            limits += [next((int(limit) for limit in found if limit), 0)]
    return min(limits, default=None)


def by_sequence(model: nn.Module) -> bool:
    """Puts the hooks on the modules that give such angles; true if there are any."""
    found = [module for module in model.modules() if _depends_on_length(module)]
    for module in found:
        if _begin not in module._forward_pre_hooks.values():  # pyright: ignore[reportPrivateUsage]
            module.register_forward_pre_hook(_begin)
            module.register_forward_hook(_each_sequence, with_kwargs=True)
    return bool(found)


def _depends_on_length(module: nn.Module) -> bool:
    kinds: Any = getattr(module, "rope_type", None)
    return any(kind in BY_LENGTH for kind in (kinds.values() if isinstance(kinds, dict) else [kinds]))


def _begin(module: Any, _: tuple[Any, ...]) -> None:
    """Dynamic angles as they are before any text."""
    if current_packing() is None or not hasattr(module, "original_max_seq_len"):
        return
    for name in [name for name, _ in module.named_buffers(recurse=False) if name.endswith("original_inv_freq")]:
        kind = name.removesuffix("original_inv_freq")
        if hasattr(module, f"{kind}max_seq_len_cached"):
            getattr(module, f"{kind}inv_freq").copy_(getattr(module, name))
            setattr(module, f"{kind}max_seq_len_cached", module.original_max_seq_len)


def _each_sequence(module: Any, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
    """The angles of a packed row, worked out sequence by sequence where one is longer than the limit."""
    layout, limit = current_packing(), angle_limit(module.config)
    if layout is None or limit is None or layout.longest <= limit:
        return output
    x, position_ids = (*inputs, *(named[name] for name in ("x", "position_ids") if name in named))[:2]
    rest = inputs[2:], {name: value for name, value in named.items() if name not in ("x", "position_ids")}
    _begin(module, ())
    forward = type(module).forward
    parts = [
        forward(module, x, position_ids[:, start:stop], *rest[0], **rest[1]) for start, stop, _ in layout.sequences
    ]
    if isinstance(output, torch.Tensor):
        return torch.cat(parts, 1)
    return tuple(torch.cat(columns, 1) for columns in zip(*parts, strict=True))

"""One model over several ranks: FSDP2, summing gradients instead of averaging them, because a step is a sum of examples."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard

from planish.base.distributed import world_size
from planish.base.types import pack
from planish.models.last_layer import layers_of
from planish.models.packed import PackedModel

M = TypeVar("M", bound=PackedModel)


def shard(policy: M, device: torch.device) -> M:
    """Shards each layer and then the rest. Alone, a rank keeps its model as it is."""
    if world_size() == 1:
        return policy
    mesh = torch.distributed.init_device_mesh(device.type, (world_size(),))
    for layer in layers_of(policy.model):
        fully_shard(layer, mesh=mesh)
    fully_shard(policy, mesh=mesh)
    for module in policy.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sum
    return policy


@contextmanager
def gathered(policy: PackedModel) -> Generator[None]:
    """Within it every rank holds the whole model, and calls what it wants of it without the others."""
    parts = [module for module in policy.modules() if isinstance(module, FSDPModule)]
    if parts:
        with torch.no_grad():
            policy(pack([]).to(policy.model.device))  # FSDP wants the whole to be called before its layers are
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for place, part in enumerate(parts):
            # FSDP's own choice: layers let go after their forward pass, the whole, which comes first, does not.
            part.set_reshard_after_forward(place > 0, recurse=False)
            part.reshard()


def whole_weights(policy: PackedModel) -> dict[str, Tensor]:
    """All weights of the model by its own names, on the main rank's CPU; empty on other ranks. Every rank must call it."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights: dict[str, Any] = get_model_state_dict(policy, options=options)
    return {name.removeprefix("model."): tensor for name, tensor in weights.items() if name.startswith("model.")}

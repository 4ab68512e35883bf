"""Models and ranks that are not there: models built from their config on fake tensors, and a process group without processes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from planish.base.errors import ModelError, first_line
from planish.base.types import Packed
from planish.models import packed as packed_models
from planish.models.attention import NAME
from planish.models.load import (
    LoraConfig,
    ModelConfig,
    _recompute_layers,  # pyright: ignore[reportPrivateUsage]
    quiet,
)
from planish.models.lora import add_lora
from planish.models.reward_head import HEAD


def fake_mode() -> FakeTensorMode:
    """Fake tensors that real ones may meet: what a row says of itself stays real, so that the code can read it."""
    return FakeTensorMode(allow_non_fake_inputs=True)


@contextmanager
def pretended_ranks(count: int) -> Generator[None]:
    """Within it this process is the first of so many ranks; what it sends goes nowhere, and what it receives has a shape."""
    if count == 1:
        yield
        return
    torch.distributed.init_process_group("fake", rank=0, world_size=count, store=FakeStore())
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def fake_model(
    settings: PreTrainedConfig,
    config: ModelConfig,
    fake: FakeTensorMode,
    lora: LoraConfig | None = None,
    *,
    scores: bool = False,
) -> PreTrainedModel:
    """The model of a config.json as `load_pretrained` would give it, without its weights; with LoRA's, if they are asked for."""
    loader: Any = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    if scores:
        settings.num_labels = 1
    quiet()
    try:
        with torch.device("meta"):
            model: PreTrainedModel = loader.from_config(
                settings, dtype=getattr(torch, config.dtype), trust_remote_code=config.trust_remote_code
            ).eval()
            if lora is not None:
                add_lora(model, lora, 0, whole=(HEAD,) if scores else ())
    except (ValueError, TypeError, KeyError, ImportError, AttributeError, RuntimeError) as error:
        raise ModelError(f"{config.path}: no model can be built from its config.json: {first_line(error)}") from None
    _fill(model, fake)
    model.set_attn_implementation(NAME)
    if config.gradient_checkpointing:
        _recompute_layers(model)
    return model


def _fill(model: nn.Module, fake: FakeTensorMode) -> None:
    """Fake tensors in place of those on the meta device, which have no owner; those that are tied stay so."""
    made: dict[Tensor, nn.Parameter] = {}
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if p not in made:
                with fake:
                    made[p] = nn.Parameter(torch.empty_like(p, device="cpu"), requires_grad=p.requires_grad)
            module.register_parameter(name, made[p])
        for name, tensor in [*module.named_buffers(recurse=False)]:
            with fake:
                module._buffers[name] = torch.empty_like(tensor, device="cpu")  # pyright: ignore[reportPrivateUsage]


@contextmanager
def untried() -> Generator[None]:
    """Within it a model is taken to be one that can be packed: without weights there is nothing to try."""
    tried = packed_models.try_packing
    packed_models.try_packing = lambda model, forward, *, causal: (None, True)  # pyright: ignore
    try:
        yield
    finally:
        packed_models.try_packing = tried


def faked(rows: Sequence[Packed], fake: FakeTensorMode) -> list[Packed]:
    """The rows with fake tokens. Where they lie and what is learnt stays real."""
    return [replace(row, tokens_T=fake.from_tensor(row.tokens_T)) for row in rows]

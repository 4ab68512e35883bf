"""The forward pass of training: log-probabilities of the learnt tokens of a packed row.

The backbone runs once over the row, packed; the head only where a token is learnt (maths/log_probs.py). A model whose layers
cannot be packed (recurrent mixers, ALiBi) runs each sequence by itself instead, through its own forward, to the same
numbers. Which of the two is decided once, by trial, when the model is loaded (trial.py).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from planish.base.types import Packed, Places, unshared
from planish.maths.log_probs import Head, token_logprobs, weighted_nll
from planish.models.attention import PackedLayout, packed_as
from planish.models.last_layer import narrow, read_at, reads_everywhere
from planish.models.rope import angle_limit
from planish.models.trial import Forwards, try_packing


class PackedModel(nn.Module):
    """A Hugging Face model that takes packed rows. One that cannot be packed gives the same numbers sequence by sequence."""

    causal = True  # what it gives for a token may not depend on later ones

    def __init__(self, model: PreTrainedModel, compute_dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = model
        self.compute_dtype = compute_dtype  # autocast to this; None computes in the weights' own type
        narrow(model)
        self.angle_limit = angle_limit(model.config.get_text_config())  # of tokens, beyond which no prompt is shared
        forward = Forwards(self.run_unpacked, self.run_packed, self.precision if compute_dtype else None)
        self.why_not_packed, self.shares_prompts = try_packing(model, forward, causal=self.causal)

    @staticmethod
    def run_unpacked(model: PreTrainedModel, packed: Packed) -> Tensor:
        """The row's numbers, from a forward pass for each sequence."""
        raise NotImplementedError

    @staticmethod
    def run_packed(model: PreTrainedModel, packed: Packed) -> Tensor:
        """The row's numbers, from one forward pass over it."""
        raise NotImplementedError

    def save_beside(self, folder: Path) -> None:
        """Writes what the model needs beside its weights, to the folder that holds them."""

    @property
    def config(self) -> Any:
        return self.model.config

    def precision(self) -> AbstractContextManager[Any]:
        """The context in which matrix products are computed: autocast, or none."""
        return torch.autocast(self.model.device.type, self.compute_dtype) if self.compute_dtype else nullcontext()

    def fitted(self, packed: Packed) -> Packed:
        """The row as the model can take it: with each prompt once, or before every completion."""
        if not any(map(any, packed.prefixes)):
            return packed
        longest = PackedLayout(packed.bounds, packed.prefixes).longest
        shared = self.shares_prompts and (self.angle_limit is None or longest <= self.angle_limit)
        return packed if shared else unshared(packed)


class CausalLM(PackedModel):
    """A causal LM: log-probabilities of the learnt tokens.

    >>> policy = CausalLM(model)
    >>> logprobs_L = policy(packed)                      # with gradient
    >>> nll, logprobs_L = policy(packed, weights_L)      # -sum(weights * logprobs), in one pass; logprobs detached

    At another `temperature` they are those of softmax(logits / temperature).
    """

    def forward(self, packed: Packed, weights_L: Tensor | None = None, temperature: float = 1.0) -> Any:
        packed = self.fitted(packed)
        with self.precision():
            if weights_L is None:
                return (self.run_unpacked if self.why_not_packed else self.run_packed)(self.model, packed, temperature)
            if self.why_not_packed:
                logprobs_L = self.run_unpacked(self.model, packed)
                return -(weights_L * logprobs_L).sum(), logprobs_L.detach()
            hidden_LD = backbone(self.model, packed, packed.predictors)
            return weighted_nll(hidden_LD, head_of(self.model), packed.tokens_T[packed.targets_L], weights_L)

    @staticmethod
    def run_unpacked(model: PreTrainedModel, packed: Packed, temperature: float = 1.0) -> Tensor:
        """Log-probabilities of the targets [L]."""
        rows: list[Tensor] = []
        for start, stop in pairwise(packed.bounds):
            targets = packed.targets_L[(packed.targets_L >= start) & (packed.targets_L < stop)]
            logits = model(input_ids=packed.tokens_T[None, start:stop], use_cache=False).logits[0, targets - 1 - start]
            logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
            rows.append(
                torch.log_softmax(logits / temperature, -1).gather(1, packed.tokens_T[targets][:, None]).squeeze(1)
            )
        return torch.cat(rows)

    @staticmethod
    def run_packed(model: PreTrainedModel, packed: Packed, temperature: float = 1.0) -> Tensor:
        targets_L = packed.tokens_T[packed.targets_L]
        return token_logprobs(backbone(model, packed, packed.predictors), head_of(model, temperature), targets_L)


def head_of(model: PreTrainedModel, temperature: float = 1.0) -> Head:
    """The output head and what the model does to its logits, which are divided by the temperature at the very end."""
    output: Any = model.get_output_embeddings()
    if not isinstance(output, nn.Linear):  # LoRA's own layer: its weight alone would leave the update out
        raise NotImplementedError(f"its output head is a {type(output).__name__} of {type(output).__module__}")
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0  # Cohere multiplies
    scale /= getattr(config, "logits_scaling", None) or 1.0  # Granite divides
    cap = getattr(config, "final_logit_softcapping", None)
    return Head(
        weight_VD=output.weight,
        bias_V=getattr(output, "bias", None),
        scale=float(scale) / temperature,
        cap=None if cap is None else cap / temperature,  # (c / t) tanh((s / t) x / (c / t)) = c tanh(s x / c) / t
    )


def backbone(model: PreTrainedModel, packed: Packed, places: Places) -> Tensor:
    """Last hidden states at these places of the row [N, D], after the final norm."""
    whole = reads_everywhere(model)
    plan = PackedLayout(packed.bounds, packed.prefixes, () if whole else places.read_from)
    everywhere = nullcontext() if whole else read_at(places.read_M, packed.num_tokens)
    with packed_as(plan), everywhere:
        output = model.base_model(
            input_ids=packed.tokens_T[None], position_ids=packed.positions_T[None], use_cache=False, plan=plan
        )
    return cast(Tensor, output.last_hidden_state)[0, places.all_N]

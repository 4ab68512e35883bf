"""The forward pass of training: log-probabilities of the learnt tokens of a packed row.

The trunk runs once over the row, packed; the head only where a token is learnt (maths/head.py). A model whose layers
cannot be packed (recurrent mixers, ALiBi) runs each sequence by itself instead, through its own forward, to the same
numbers. Which of the two is decided once, by trial, when the model is loaded.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from planish.base.types import Packed
from planish.maths.head import Head, token_logprobs, weighted_nll
from planish.models.attention import NAME, Plan, attention_in_use, packed_as


class CausalLM(nn.Module):
    """A Hugging Face causal LM that takes packed rows.

    >>> policy = CausalLM(model)
    >>> logprobs_L = policy(packed)                      # with gradient
    >>> nll, logprobs_L = policy(packed, weights_L)      # -sum(weights * logprobs), in one pass; logprobs detached
    """

    def __init__(self, model: PreTrainedModel, compute_dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = model
        self.compute_dtype = compute_dtype  # autocast to this; None computes in the weights' own type
        own = attention_in_use(model)
        self.why_not_packed = _why_not_packed(model)
        if self.why_not_packed:
            model.set_attn_implementation(own)

    @property
    def config(self) -> Any:
        return self.model.config

    def forward(self, packed: Packed, weights_L: Tensor | None = None) -> Any:
        device = packed.tokens_T.device.type
        with torch.autocast(device, self.compute_dtype) if self.compute_dtype else nullcontext():
            if self.why_not_packed:
                logprobs_L = _one_by_one(self.model, packed)
                return logprobs_L if weights_L is None else (-(weights_L * logprobs_L).sum(), logprobs_L.detach())
            if weights_L is None:
                return _packed_logprobs(self.model, packed)
            hidden_LD = trunk(self.model, packed)[packed.predictors_L]
            return weighted_nll(hidden_LD, head_of(self.model), packed.tokens_T[packed.targets_L], weights_L)


def head_of(model: PreTrainedModel) -> Head:
    """The output head and what the model does to its logits."""
    output: Any = model.get_output_embeddings()
    if not isinstance(output, nn.Linear):  # LoRA's own layer: its weight alone would leave the update out
        raise NotImplementedError(f"its output head is a {type(output).__name__} of {type(output).__module__}")
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0  # Cohere multiplies
    scale /= getattr(config, "logits_scaling", None) or 1.0  # Granite divides
    return Head(
        weight_VD=output.weight,
        bias_V=getattr(output, "bias", None),
        scale=float(scale),
        cap=getattr(config, "final_logit_softcapping", None),
    )


def trunk(model: PreTrainedModel, packed: Packed) -> Tensor:
    """Last hidden states [T, D], after the final norm."""
    plan = Plan(packed.bounds)
    with packed_as(plan):
        output = model.base_model(
            input_ids=packed.tokens_T[None], position_ids=packed.positions_T[None], use_cache=False, plan=plan
        )
    return cast(Tensor, output.last_hidden_state)[0]


def _one_by_one(model: PreTrainedModel, packed: Packed) -> Tensor:
    """Log-probabilities of the targets [L], each sequence a forward pass of its own."""
    rows: list[Tensor] = []
    for start, stop in pairwise(packed.bounds):
        here = (packed.targets_L >= start) & (packed.targets_L < stop)
        targets = packed.targets_L[here]
        logits = model(input_ids=packed.tokens_T[None, start:stop], use_cache=False).logits[0, targets - 1 - start]
        logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        rows.append(torch.log_softmax(logits, -1).gather(1, packed.tokens_T[targets][:, None]).squeeze(1))
    return torch.cat(rows)


@torch.no_grad()
def _why_not_packed(model: PreTrainedModel) -> str | None:
    """None where a packed row gives the log-probabilities of its sequences taken one by one, else what went wrong.

    Some models ignore the plan without a word (Bloom, Mamba, LFM2): only trying tells. Weights of low precision round so
    coarsely that an untrained model's neighbours drown in it; so the second sequence must also not move when the first
    one changes, which holds to the last bit however coarse the weights.
    """
    vocab_size = model.config.get_text_config().vocab_size
    packed, other = (_two_short_documents(vocab_size, first).to(model.device) for first in (3, 4))
    expected_L = _one_by_one(model, packed)
    try:
        model.set_attn_implementation(NAME)
        found_L, moved_L = _packed_logprobs(model, packed), _packed_logprobs(model, other)
    except Exception as error:  # whatever a model's own code does with an attention function that it does not know
        return f"{type(error).__name__}: {error}"
    difference = (found_L - expected_L).abs().max().item()
    # Rounding is below 1e-5 in float32; attending to the neighbour moves even an untrained model by more than this.
    if difference > {torch.float64: 1e-7, torch.float32: 5e-5}.get(model.dtype, 0.1):
        return f"its log-probabilities differ by {difference:.1e} when packed"
    second_L = packed.sequences_L == 1
    leak = (found_L - moved_L)[second_L].abs().max().item()
    return f"a neighbour in the row moves its log-probabilities by {leak:.1e}" if leak > 1e-5 else None


def _packed_logprobs(model: PreTrainedModel, packed: Packed) -> Tensor:
    targets_L = packed.tokens_T[packed.targets_L]
    return token_logprobs(trunk(model, packed)[packed.predictors_L], head_of(model), targets_L)


def _two_short_documents(vocab_size: int, first: int) -> Packed:
    """Seven and nine tokens; those of the first document begin at the token `first`, those of the second are fixed."""
    tokens = torch.cat([torch.arange(7) * 5 + first, torch.arange(9) * 10 + 6]) % vocab_size
    targets = torch.tensor([t for t in range(16) if t not in (0, 7)])
    return Packed(
        tokens_T=tokens,
        positions_T=torch.cat([torch.arange(7), torch.arange(9)]),
        bounds=(0, 7, 16),
        targets_L=targets,
        sequences_L=(targets >= 7).long(),
        names=("", ""),
        sources=(0, 0),
    )

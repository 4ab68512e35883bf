"""The forward pass of training: log-probabilities of the learnt tokens of a packed row.

The backbone runs once over the row, packed; the head only where a token is learnt (maths/log_probs.py). A model whose layers
cannot be packed (recurrent mixers, ALiBi) runs each sequence by itself instead, through its own forward, to the same
numbers. Which of the two is decided once, by trial, when the model is loaded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from planish.base.types import Choices, Example, Packed, pack, unshared
from planish.maths.log_probs import Head, token_logprobs, weighted_nll
from planish.models.attention import NAME, PackedLayout, attention_in_use, packed_as
from planish.models.last_layer import narrow, read_at


class PackedModel(nn.Module):
    """A Hugging Face model that takes packed rows. One that cannot be packed gives the same numbers sequence by sequence."""

    def __init__(self, model: PreTrainedModel, compute_dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = model
        self.compute_dtype = compute_dtype  # autocast to this; None computes in the weights' own type
        narrow(model)
        self.why_not_packed, self.shares_prompts = packable(model, self.run_unpacked, self.run_packed)

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
        return packed if self.shares_prompts or not any(map(any, packed.prefixes)) else unshared(packed)


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
            hidden_LD = backbone(self.model, packed, packed.predictors_L)
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
        return token_logprobs(backbone(model, packed, packed.predictors_L), head_of(model, temperature), targets_L)


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


def backbone(model: PreTrainedModel, packed: Packed, places_N: Tensor) -> Tensor:
    """Last hidden states at these places of the row [N, D], after the final norm."""
    read_M = places_N.unique()
    plan = PackedLayout(packed.bounds, packed.prefixes, _read_from(packed.bounds, read_M.tolist()))
    with packed_as(plan), read_at(read_M, packed.num_tokens):
        output = model.base_model(
            input_ids=packed.tokens_T[None], position_ids=packed.positions_T[None], use_cache=False, plan=plan
        )
    return cast(Tensor, output.last_hidden_state)[0, places_N]


def _read_from(bounds: Sequence[int], places: Sequence[int]) -> tuple[int, ...]:
    """The first of these positions in each sequence, or its end where there is none. Without any position every weight must
    still have a gradient, of zeros, so nothing is left out."""
    if not places:
        return ()
    found = (bisect_left(places, start) for start in bounds[:-1])
    return tuple(min([stop, *places[i : i + 1]]) for i, stop in zip(found, bounds[1:], strict=True))


Forward = Callable[[PreTrainedModel, Packed], Tensor]


def packable(model: PreTrainedModel, apart: Forward, together: Forward) -> tuple[str | None, bool]:
    """Why the model cannot take packed rows, or None; and whether it can compute a prompt once for several completions.
    Where it cannot be packed it keeps its own attention."""
    own = attention_in_use(model)
    why: str | None = None
    for shared in (True, False):
        why = _why_not_packed(model, apart, together, shared=shared)
        if why is None:
            return None, shared
        model.set_attn_implementation(own)
    return why, False


@torch.no_grad()
def _why_not_packed(model: PreTrainedModel, apart: Forward, together: Forward, *, shared: bool) -> str | None:
    """None where a packed row gives what its sequences give one by one, else what went wrong.

    Some models ignore the plan without a word (Bloom, Mamba, LFM2): only trying tells. Weights of low precision round so
    coarsely that an untrained model's neighbours drown in it; so the second document must also not move when the first
    one changes, which holds to the last bit however coarse the weights.
    """
    vocab_size = model.config.get_text_config().vocab_size
    packed, other = (_two_short_documents(vocab_size, first).to(model.device) for first in (3, 4))
    expected = apart(model, unshared(packed))
    if not shared:
        packed, other = unshared(packed), unshared(other)
    try:
        model.set_attn_implementation(NAME)
        found, moved = together(model, packed), together(model, other)
    except Exception as error:  # whatever a model's own code does with an attention function that it does not know
        return f"{type(error).__name__}: {error}"
    size = max(1.0, expected.abs().max().item())  # float32 has seven digits of it, in 30 layers about five
    difference = (found - expected).abs().max().item() / size
    # Rounding is below 1e-5 in float32; attending to the neighbour moves even an untrained model by more than this.
    if difference > {torch.float64: 1e-7, torch.float32: 5e-5}.get(model.dtype, 0.1):
        return f"its numbers differ by {difference:.1e} when packed"
    first = int((packed.sequences_L == 0).sum()) if len(found) == packed.num_targets else 1
    leak = (found - moved)[first:].abs().max().item()
    return f"a neighbour in the row moves its numbers by {leak:.1e}" if leak > 1e-5 else None


def _two_short_documents(vocab_size: int, first: int) -> Packed:
    """Seven and nine tokens, of which a few are learnt; those of the first document begin at the token `first`, those
    of the second are fixed. The second is a prompt of three tokens with two completions, of four and of two."""
    tokens = [np.arange(7) * 5 + first, np.arange(9) * 10 + 6]
    choices = [None, Choices(prompt_length=3, ends=(7, 9), ranks=(0, 1))]
    return pack(
        [
            Example(some.astype(np.int32) % vocab_size, np.arange(len(some)) > 0, "", choices=each)
            for some, each in zip(tokens, choices, strict=True)
        ]
    )

"""The confidence of a frozen model in a completion, which the head of a reward model reads beside the hidden state.

A hidden state that is trained to rank answers says little of whether the model knows what they claim. The probabilities of
the model that it was made of do: a model finds what it knows likely, and what it makes up neither likely nor certain
(Kadavath et al. 2022, "Language Models (Mostly) Know What They Know").

    score(x, y) = w . h(x, y) + v . (f(x, y) - mean f) - offset

`f` is worked out from the log-probabilities of the completion's tokens and the entropies of the places before them. `v` and
the mean are those of the training comparisons (methods/confidence.py), so they do not change while w and h are trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from planish.base.types import Packed
from planish.maths.log_probs import token_confidence
from planish.models.packed import CausalLM, backbone, head_of

FeatureName = Literal["mean_logprob", "min_logprob", "mean_entropy"]
FOLDER = "confidence"  # in a reward model's folder: the frozen model


class Confidence:
    """v . (f - mean f) of every sequence of a packed row, [S], in float64. `features` maps each feature's name to its weight and
    its mean."""

    def __init__(self, reference: CausalLM, features: Mapping[FeatureName, tuple[float, float]]) -> None:
        self.reference, self.features = reference, features

    def __call__(self, packed: Packed) -> Tensor:
        features_SF = confidence_features(self.reference, packed, tuple(self.features))
        weights_F, means_F = features_SF.new_tensor([*self.features.values()]).T
        return (features_SF - means_F) @ weights_F

    def save(self, folder: Path) -> None:
        """Writes the frozen model to the folder of a reward model."""
        self.reference.model.save_pretrained(folder / FOLDER)


@torch.no_grad()
def confidence_features(reference: CausalLM, packed: Packed, names: tuple[FeatureName, ...]) -> Tensor:
    """Features [S, F] in float64. A completion is the last unbroken stretch of learnt tokens; without one all are 0."""
    packed = reference.fitted(packed)
    with reference.precision():
        logprobs_L, entropies_L = (_unpacked if reference.why_not_packed else _packed)(reference.model, packed)
    kept_L = _last_stretch(packed)
    sequences_M = packed.sequences_L[kept_L]
    count_S = torch.bincount(sequences_M, minlength=packed.num_sequences).clamp(min=1)
    logprobs_M, entropies_M = logprobs_L[kept_L].double(), entropies_L[kept_L].double()
    zeros_S = logprobs_M.new_zeros(packed.num_sequences)
    features = {
        "mean_logprob": lambda: zeros_S.index_add(0, sequences_M, logprobs_M) / count_S,
        "min_logprob": lambda: zeros_S.scatter_reduce(0, sequences_M, logprobs_M, "amin", include_self=False),
        "mean_entropy": lambda: zeros_S.index_add(0, sequences_M, entropies_M) / count_S,
    }
    return torch.stack([features[name]() for name in names], 1)


def _packed(model: Any, packed: Packed) -> tuple[Tensor, Tensor]:
    targets_L = packed.tokens_T[packed.targets_L]
    return token_confidence(backbone(model, packed, packed.predictors), head_of(model), targets_L)


def _unpacked(model: Any, packed: Packed) -> tuple[Tensor, Tensor]:
    logprobs: list[Tensor] = []
    entropies: list[Tensor] = []
    for start, stop in pairwise(packed.bounds):
        targets = packed.targets_L[(packed.targets_L >= start) & (packed.targets_L < stop)]
        logits = model(input_ids=packed.tokens_T[None, start:stop], use_cache=False).logits[0, targets - 1 - start]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        all_LV = torch.log_softmax(logits, -1)
        logprobs.append(all_LV.gather(1, packed.tokens_T[targets][:, None]).squeeze(1))
        entropies.append(torch.special.entr(all_LV.exp()).sum(1))
    return torch.cat(logprobs), torch.cat(entropies)


def _last_stretch(packed: Packed) -> Tensor:
    """True for the learnt tokens behind which no token of their sequence is left out of the loss, but for its end; bool [L]."""
    gaps_L = torch.ones_like(packed.targets_L, dtype=torch.bool)
    gaps_L[1:] = packed.targets_L.diff() != 1
    stretches_L = gaps_L.cumsum(0)
    last_S = stretches_L.new_zeros(packed.num_sequences).scatter_reduce(0, packed.sequences_L, stretches_L, "amax")
    return stretches_L == last_S[packed.sequences_L]

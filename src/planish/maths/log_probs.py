"""Log-probabilities from hidden states, without ever holding `[tokens, vocabulary]` logits as a whole.

The output head is the widest product of a small model, and its logits the largest tensor. Both functions here go
through the positions in chunks. `weighted_nll` knows what its tokens weigh, so it forms the gradient while the chunk's
logits are at hand; `token_logprobs` does not. It keeps the softmax of the first chunks, up to KEPT bytes, and computes
the logits of the others a second time in the backward pass.

Letters: L positions, D hidden width, V vocabulary, C positions of one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, starmap
from typing import Any, cast

import torch
from torch import Tensor

CHUNK = 256  # positions; 128 to 512 were equally fast on two CPU cores
KEPT = 2**26  # bytes; with them a step of DPO of a 2.8M model took 5% less processor time


@dataclass(frozen=True, slots=True)
class Head:
    """The map from hidden states to logits: `cap * tanh(scale * (h W' + b) / cap)`; `cap` None means no soft-capping."""

    weight_VD: Tensor
    bias_V: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None

    def logits(self, hidden_CD: Tensor) -> Tensor:
        """Logits [C, V] in at least float32."""
        bias_V = None if self.bias_V is None else self.bias_V.to(hidden_CD.dtype)
        logits_CV = torch.nn.functional.linear(hidden_CD, self.weight_VD.to(hidden_CD.dtype), bias_V)
        if logits_CV.dtype in (torch.bfloat16, torch.float16):
            logits_CV = logits_CV.float()
        if self.scale != 1.0:
            logits_CV = logits_CV * self.scale
        return logits_CV if self.cap is None else self.cap * torch.tanh(logits_CV / self.cap)

    def pull_back(self, grad_CV: Tensor, capped_CV: Tensor | None) -> Tensor:
        """The gradient with respect to `h W' + b`, given that with respect to the logits. May overwrite `grad_CV`."""
        if self.cap is not None and capped_CV is not None:
            grad_CV = grad_CV * (1 - (capped_CV / self.cap) ** 2)
        return grad_CV if self.scale == 1.0 else grad_CV * self.scale


def token_logprobs(hidden_LD: Tensor, head: Head, targets_L: Tensor) -> Tensor:
    """log softmax(logits)[target] at each position, [L], in at least float32."""
    return cast(Tensor, _TokenLogprobs.apply(hidden_LD, head.weight_VD, head.bias_V, targets_L, head))  # pyright: ignore


def weighted_nll(hidden_LD: Tensor, head: Head, targets_L: Tensor, weights_L: Tensor) -> tuple[Tensor, Tensor]:
    """-sum(weight * log softmax(logits)[target]), a scalar, and the log-probabilities [L], which carry no gradient."""
    nll, logprobs_L = cast(
        tuple[Tensor, Tensor],
        _WeightedNll.apply(hidden_LD, head.weight_VD, head.bias_V, targets_L, weights_L, head),  # pyright: ignore
    )
    return nll, logprobs_L


@torch.no_grad()
def token_confidence(hidden_LD: Tensor, head: Head, targets_L: Tensor) -> tuple[Tensor, Tensor]:
    """log softmax(logits)[target] and the entropy of softmax(logits) at each position, [L] both, in at least float32."""
    logprobs: list[Tensor] = []
    entropies: list[Tensor] = []
    for part in _chunks(len(targets_L)):
        logprobs_C, exp_CV, total_C = _pick(head.logits(hidden_LD[part]), targets_L[part])
        logprobs.append(logprobs_C)
        entropies.append(torch.special.entr(exp_CV).sum(1) / total_C + total_C.log())
    return torch.cat(logprobs), torch.cat(entropies)


def _chunks(length: int) -> Iterator[slice]:
    """Slices of at most CHUNK positions, about equally long: products of few rows are slow. Of none, one empty slice."""
    count = max(1, -(-length // CHUNK))
    return starmap(slice, pairwise(length * k // count for k in range(count + 1)))


def _pick(logits_CV: Tensor, targets_C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of the targets [C]; exp(logits - largest) [C, V], which overwrites the logits; its sums [C].

    The softmax is worked out by hand so that each logit is exponentiated once, in place: 8% less time in the head than
    `log_softmax`, and one buffer of a chunk in place of two.
    """
    target_C = logits_CV.gather(1, targets_C[:, None]).squeeze(1)
    most_C = logits_CV.amax(1)
    exp_CV = logits_CV.sub_(most_C[:, None]).exp_()
    total_C = exp_CV.sum(1)
    return target_C - most_C - total_C.log(), exp_CV, total_C


def _grad_logits(exp_CV: Tensor, total_C: Tensor, targets_C: Tensor, upstream_C: Tensor) -> Tensor:
    """d(upstream . logprobs)/d(logits) = upstream * (one-hot - softmax). Overwrites `exp_CV`."""
    grad_CV = exp_CV.mul_((-upstream_C / total_C)[:, None])
    return grad_CV.scatter_add_(1, targets_C[:, None], upstream_C[:, None])


class _Gradients:
    """Gradients of hidden states, weight and bias, filled chunk by chunk; None where nobody asks."""

    def __init__(self, needs: tuple[bool, ...], hidden_LD: Tensor, head: Head) -> None:
        self.hidden_LD = torch.empty_like(hidden_LD) if needs[0] else None
        self.weight_VD = torch.zeros_like(head.weight_VD) if needs[1] else None
        self.bias_V = torch.zeros_like(head.bias_V) if needs[2] and head.bias_V is not None else None

    def add(self, part: slice, grad_CV: Tensor, hidden_CD: Tensor, head: Head) -> None:
        grad_CV = grad_CV.to(hidden_CD.dtype)
        if self.hidden_LD is not None:
            self.hidden_LD[part] = grad_CV @ head.weight_VD.to(hidden_CD.dtype)
        if self.weight_VD is not None:
            self.weight_VD.addmm_(grad_CV.T.to(self.weight_VD.dtype), hidden_CD.to(self.weight_VD.dtype))
        if self.bias_V is not None:
            self.bias_V += grad_CV.sum(0)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_LD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_L: Tensor, head: Head):
        ctx.save_for_backward(hidden_LD, weight_VD, targets_L)
        ctx.head, ctx.kept = head, {}
        room = KEPT if any(ctx.needs_input_grad) and head.cap is None else 0
        picked: list[Tensor] = []
        for part in _chunks(len(targets_L)):
            logprobs_C, exp_CV, total_C = _pick(head.logits(hidden_LD[part]), targets_L[part])
            picked.append(logprobs_C)
            room -= exp_CV.nbytes
            if room >= 0:
                ctx.kept[part.start] = exp_CV, total_C
        return torch.cat(picked)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor):
        hidden_LD, _, targets_L = ctx.saved_tensors
        head: Head = ctx.head
        gradients = _Gradients(ctx.needs_input_grad, hidden_LD, head)
        for part in _chunks(len(targets_L)):
            capped_CV = None
            if part.start in ctx.kept:
                exp_CV, total_C = ctx.kept.pop(part.start)  # overwritten below: a second backward pass computes them
            else:
                logits_CV = head.logits(hidden_LD[part])
                capped_CV = None if head.cap is None else logits_CV.clone()
                _, exp_CV, total_C = _pick(logits_CV, targets_L[part])
            grad_CV = _grad_logits(exp_CV, total_C, targets_L[part], upstream[0][part])
            gradients.add(part, head.pull_back(grad_CV, capped_CV), hidden_LD[part], head)
        return gradients.hidden_LD, gradients.weight_VD, gradients.bias_V, None, None


class _WeightedNll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_LD: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_L: Tensor,
        weights_L: Tensor,
        head: Head,
    ):
        gradients = _Gradients(ctx.needs_input_grad, hidden_LD, head)
        wanted = any(ctx.needs_input_grad[:3])
        picked: list[Tensor] = []
        for part in _chunks(len(targets_L)):
            logits_CV = head.logits(hidden_LD[part])
            capped_CV = None if head.cap is None or not wanted else logits_CV.clone()
            logprobs_C, exp_CV, total_C = _pick(logits_CV, targets_L[part])
            picked.append(logprobs_C)
            if wanted:
                grad_CV = _grad_logits(exp_CV, total_C, targets_L[part], -weights_L[part].to(logprobs_C.dtype))
                gradients.add(part, head.pull_back(grad_CV, capped_CV), hidden_LD[part], head)
        logprobs_L = torch.cat(picked)
        ctx.gradients = gradients
        ctx.mark_non_differentiable(logprobs_L)
        return -(weights_L * logprobs_L).sum(), logprobs_L

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor):
        formed: _Gradients = ctx.gradients
        scaled = (
            None if gradient is None else gradient.mul_(upstream[0].to(gradient.dtype))
            for gradient in (formed.hidden_LD, formed.weight_VD, formed.bias_V)
        )
        ctx.gradients = None  # the gradients were scaled in place: a second backward pass would scale them twice
        return *scaled, None, None, None

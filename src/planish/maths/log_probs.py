"""Log-probabilities from hidden states, without ever holding `[tokens, vocabulary]` logits as a whole.

The output head is the widest product of a small model, and its logits the largest tensor. Both functions here go
through the positions in chunks. `weighted_nll` knows what its tokens weigh, so it forms the gradient while the chunk's
logits are at hand; `token_logprobs` does not. It keeps the softmax of the first chunks, up to KEPT bytes, and computes
the logits of the others a second time in the backward pass.

In bfloat16, whether of the weights or by autocast, hidden states, weight and the gradient of the logits are rounded to it and
multiplied exactly: sums, logits and the weight's gradient are float32.

Letters: L positions, D hidden width, V vocabulary, C positions of one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise, starmap
from typing import Any, cast

import torch
from torch import Tensor

CHUNK = 256  # positions; 128 to 512 were equally fast on two CPU cores
KEPT = 2**26  # bytes; with them a step of DPO of a 2.8M model took 5% less processor time
MOST_LOGITS, GPU_SHARE = 2**31, 1 / 64  # on a GPU: bytes of one chunk's logits, and as a share of the memory
LOW = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Head:
    """The map from hidden states to logits: `cap * tanh(scale * (h W' + b) / cap)`; `cap` None means no soft-capping."""

    weight_VD: Tensor
    bias_V: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None
    rounded_to: torch.dtype | None = None  # the type that `weight_VD` has been rounded to, if it has been

    def rounded(self, dtype: torch.dtype) -> Head:
        """The head with its weight as products in this type take it: rounded once, and not for every chunk."""
        return (
            self
            if self.rounded_to == dtype
            else replace(self, weight_VD=operand(self.weight_VD, dtype), rounded_to=dtype)
        )

    def logits(self, hidden_CD: Tensor) -> Tensor:
        """Logits [C, V] in at least float32."""
        dtype = self.rounded_to or product_dtype(hidden_CD)
        weight_VD, bias_V = self.rounded(dtype).weight_VD, self.bias_V
        if dtype in LOW:
            logits_CV = product(operand(hidden_CD, dtype), weight_VD.T)
            logits_CV = logits_CV if bias_V is None else logits_CV + bias_V
        else:
            bias_V = None if bias_V is None else bias_V.to(dtype)
            logits_CV = torch.nn.functional.linear(hidden_CD, weight_VD, bias_V)
        if self.scale != 1.0:
            logits_CV = logits_CV * self.scale
        return logits_CV if self.cap is None else self.cap * torch.tanh(logits_CV / self.cap)

    def pull_back(self, grad_CV: Tensor, capped_CV: Tensor | None) -> Tensor:
        """The gradient with respect to `h W' + b`, given that with respect to the logits. May overwrite `grad_CV`."""
        if self.cap is not None and capped_CV is not None:
            grad_CV = grad_CV * (1 - (capped_CV / self.cap) ** 2)
        return grad_CV if self.scale == 1.0 else grad_CV * self.scale


def product_dtype(hidden: Tensor) -> torch.dtype:
    """The type that hidden states and weight are rounded to before they are multiplied: autocast's, or the hidden states'."""
    autocast = hidden.dtype != torch.float64 and _has_autocast(hidden.device.type)
    return torch.get_autocast_dtype(hidden.device.type) if autocast else hidden.dtype


def operand(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor rounded to a type. A CPU has no product of low precision that adds up and returns float32, so there the rounded
    numbers become float32 again, which gives the same."""
    rounded = tensor.to(dtype)
    return rounded.float() if dtype in LOW and tensor.device.type == "cpu" else rounded


def product(some: Tensor, others: Tensor) -> Tensor:
    """A matrix product of operands, in at least float32."""
    with _as_written(some):
        return torch.mm(some, others, out_dtype=torch.float32) if some.dtype in LOW else some @ others


def add_product(total: Tensor, some: Tensor, others: Tensor) -> None:
    """Adds a product of operands to a total in at least float32."""
    with _as_written(some):
        if some.dtype in LOW:
            torch.addmm(total, some, others, out_dtype=torch.float32, out=total)
        else:
            total.addmm_(some, others)


def _as_written(tensor: Tensor) -> AbstractContextManager[Any]:
    """Without autocast, which would round what is float32 on purpose."""
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if _has_autocast(device) else nullcontext()


def _has_autocast(device: str) -> bool:
    return device != "meta" and torch.is_autocast_enabled(device)


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
    head = head.rounded(product_dtype(hidden_LD))
    for part in _chunks(hidden_LD, head):
        logprobs_C, exp_CV, total_C = _pick(head.logits(hidden_LD[part]), targets_L[part])
        logprobs.append(logprobs_C)
        entropies.append(torch.special.entr(exp_CV).sum(1) / total_C + total_C.log())
    return torch.cat(logprobs), torch.cat(entropies)


def _chunks(hidden_LD: Tensor, head: Head) -> Iterator[slice]:
    """Slices of at most so many positions, about equally long: products of few rows are slow. Of none, one empty slice."""
    length = len(hidden_LD)
    count = max(1, -(-length // chunk_length(head.weight_VD.shape[0], hidden_LD.device)))
    return starmap(slice, pairwise(length * k // count for k in range(count + 1)))


def chunk_length(vocabulary: int, device: torch.device) -> int:
    """Positions of a chunk. A GPU takes as many as 2 GB of logits have, or a 64th of its memory: few rows do not fill it."""
    if device.type != "cuda":
        return CHUNK
    memory = torch.cuda.get_device_properties(device).total_memory
    return max(CHUNK, int(min(MOST_LOGITS, memory * GPU_SHARE)) // (4 * vocabulary))


def kept_bytes(device: torch.device) -> int:
    """The softmax that is kept for the backward pass: a third of the head's work is not done twice."""
    if device.type != "cuda":
        return KEPT
    return int(2 * torch.cuda.get_device_properties(device).total_memory * GPU_SHARE)


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
    """Gradients of hidden states, weight and bias, filled chunk by chunk, the latter two in at least float32; None where nobody
    asks."""

    def __init__(self, needs: tuple[bool, ...], hidden_LD: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> None:
        def zeros(like: Tensor) -> Tensor:
            return torch.zeros_like(like, dtype=torch.promote_types(like.dtype, torch.float32))

        self.dtypes = [None if each is None else each.dtype for each in (hidden_LD, weight_VD, bias_V)]
        self.hidden_LD = torch.empty_like(hidden_LD) if needs[0] else None
        self.weight_VD = zeros(weight_VD) if needs[1] else None
        self.bias_V = zeros(bias_V) if needs[2] and bias_V is not None else None

    def add(self, part: slice, grad_CV: Tensor, hidden_CD: Tensor, head: Head) -> None:
        """Adds what a chunk gives. `head` is the rounded one."""
        dtype = head.rounded_to or hidden_CD.dtype
        if self.bias_V is not None:
            self.bias_V += grad_CV.sum(0)
        grad_CV = operand(grad_CV, dtype)
        if self.hidden_LD is not None:
            self.hidden_LD[part] = product(grad_CV, head.weight_VD)
        if self.weight_VD is not None:
            wide = grad_CV.dtype if dtype in LOW else self.weight_VD.dtype
            add_product(self.weight_VD, grad_CV.T.to(wide), operand(hidden_CD, dtype).to(wide))

    def scaled(self, factor: Tensor | None = None) -> list[Tensor | None]:
        """All three, in the types of hidden states, weight and bias. Scales them in place."""
        formed = (self.hidden_LD, self.weight_VD, self.bias_V)
        if factor is not None:
            formed = tuple(each if each is None else each.mul_(factor.to(each.dtype)) for each in formed)
        return [each if each is None else each.to(dtype) for each, dtype in zip(formed, self.dtypes, strict=True)]


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_LD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_L: Tensor, head: Head):
        ctx.save_for_backward(hidden_LD, weight_VD, targets_L)
        ctx.head, ctx.kept, ctx.dtype = head, {}, product_dtype(hidden_LD)
        head = head.rounded(ctx.dtype)
        room = kept_bytes(hidden_LD.device) if any(ctx.needs_input_grad) and head.cap is None else 0
        picked: list[Tensor] = []
        for part in _chunks(hidden_LD, head):
            logprobs_C, exp_CV, total_C = _pick(head.logits(hidden_LD[part]), targets_L[part])
            picked.append(logprobs_C)
            room -= exp_CV.nbytes
            if room >= 0:
                ctx.kept[part.start] = exp_CV, total_C
        return torch.cat(picked)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor):
        hidden_LD, weight_VD, targets_L = ctx.saved_tensors
        head: Head = ctx.head.rounded(ctx.dtype)  # again, since autocast is over
        gradients = _Gradients(ctx.needs_input_grad, hidden_LD, weight_VD, head.bias_V)
        for part in _chunks(hidden_LD, head):
            capped_CV = None
            if part.start in ctx.kept:
                exp_CV, total_C = ctx.kept.pop(part.start)  # overwritten below: a second backward pass computes them
            else:
                logits_CV = head.logits(hidden_LD[part])
                capped_CV = None if head.cap is None else logits_CV.clone()
                _, exp_CV, total_C = _pick(logits_CV, targets_L[part])
            grad_CV = _grad_logits(exp_CV, total_C, targets_L[part], upstream[0][part])
            gradients.add(part, head.pull_back(grad_CV, capped_CV), hidden_LD[part], head)
        return *gradients.scaled(), None, None


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
        head = head.rounded(product_dtype(hidden_LD))
        gradients = _Gradients(ctx.needs_input_grad, hidden_LD, weight_VD, bias_V)
        wanted = any(ctx.needs_input_grad[:3])
        picked: list[Tensor] = []
        for part in _chunks(hidden_LD, head):
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
        ctx.gradients = None  # the gradients are scaled in place: a second backward pass would scale them twice
        return *formed.scaled(upstream[0]), None, None, None

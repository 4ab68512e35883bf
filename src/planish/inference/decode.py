"""Sampling several completions of each of many prompts, for any model that takes packed rows.

Each prompt is read once. Completions share a fixed number of rows; when one ends, the next takes its row, so that every
decoding step is full as long as there is work; when no completion waits, rows are given up. What a completion draws is a
function of (seed, iteration, prompt, sample) alone: neither its neighbours, nor the number of rows, nor the order in which
prompts are given, change it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from planish.base.interrupt import give_up_if_asked
from planish.base.random import numpy_generator
from planish.base.transfer import numbers
from planish.base.types import Example, pack
from planish.inference.kv_cache import Cache, Kept, Reading
from planish.maths.log_probs import LOW, Head
from planish.models.attention import PackedLayout, packed_as
from planish.models.packed import CausalLM, head_of
from planish.models.trial import in_words
from planish.models.trial_conditions import small_limits

READ_AT_ONCE = 2048  # tokens of prompts
ROWS = 64  # completions that grow side by side: a CPU reaches half of its rate with 8
EXPONENTIALS = {
    "cuda": torch.float32
}  # elsewhere float64, in which most GPUs are 32 or 64 times as slow; sums are float64
PLACES, FEWEST_ROWS = 65536, 8  # tokens of all rows: 3 GB for SmolLM2-135M in float32


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One completion to sample: the prompt's index, and the key of its noise."""

    prompt: int
    key: tuple[int, *tuple[int | str, ...]]  # the seed first


@dataclass(frozen=True, slots=True)
class Sampled:
    """Tokens, the stop token included if one came, and the log-probability of each at the temperature it was drawn at."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TokenSampling:
    """Settings of choosing the next token from logits. Temperature 0 takes the likeliest."""

    temperature: float
    top_p: float
    top_k: int

    def __call__(self, logits_RV: Tensor, uniform_R: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [R] and their log-probabilities [R] before top-p and top-k, in float64."""
        logits_RV = logits_RV.to(EXPONENTIALS.get(logits_RV.device.type, torch.float64))
        if self.temperature == 0:
            chosen_R = logits_RV.argmax(1)
            return chosen_R, torch.log_softmax(logits_RV, 1).gather(1, chosen_R[:, None]).squeeze(1).double()
        if self.temperature != 1:
            logits_RV = logits_RV / self.temperature
        highest_R1 = logits_RV.amax(1, keepdim=True)
        # Shares of `mass`, not of 1: a softmax would go over the whole vocabulary twice more.
        order_RV, shares_RV = None, (logits_RV - highest_R1).exp_()
        mass_R1 = shares_RV.sum(1, keepdim=True, dtype=torch.float64)
        if self.top_p < 1 or self.top_k:
            shares_RV, order_RV = shares_RV.sort(dim=1, descending=True, stable=True)
            before_RV = shares_RV.cumsum(1, dtype=torch.float64) - shares_RV
            kept_RV = before_RV < self.top_p * mass_R1
            if self.top_k:
                kept_RV[:, self.top_k :] = False
            shares_RV = shares_RV * kept_RV
        cumulated_RV = shares_RV.cumsum(1, dtype=torch.float64)
        # The first token at which the cumulated share is above u: never one whose own share is 0.
        total_R = cumulated_RV[:, -1]
        wanted_R = torch.minimum(uniform_R * total_R, total_R.nextafter(torch.zeros_like(total_R)))
        chosen_R = torch.searchsorted(cumulated_RV, wanted_R[:, None], right=True).squeeze(1)
        if order_RV is not None:
            chosen_R = order_RV.gather(1, chosen_R[:, None]).squeeze(1)
        logprobs_R1 = logits_RV.gather(1, chosen_R[:, None]).double() - highest_R1.double() - mass_R1.log()
        return chosen_R, logprobs_R1.squeeze(1)


@dataclass(slots=True)
class _Row:
    number: int  # of the request
    noise: np.ndarray
    tokens: list[int]
    logprobs: list[float]


@torch.no_grad()
def decode(
    policy: CausalLM,
    prompts: Sequence[Sequence[int]],
    requests: Sequence[SampleRequest],
    choosing: TokenSampling,
    most_tokens: int,
    stop_token_ids: Sequence[int],
    rows: int | None = None,
) -> list[Sampled]:
    """A completion for each request, in their order, `rows` of them side by side: by default ROWS, or as many as PLACES allow."""
    stops, found = frozenset(stop_token_ids), dict[int, Sampled]()
    places = max((len(prompts[request.prompt]) for request in requests), default=0) + most_tokens
    if policy.angle_limit is not None and places > policy.angle_limit:
        raise NotImplementedError(why_not_decodable(policy, places))
    rows = min(rows or min(ROWS, max(PLACES // places, FEWEST_ROWS)), len(requests))
    # Longest prompts first: a step costs what its longest row costs, so neighbours should be alike.
    waiting = deque(sorted(range(len(requests)), key=lambda number: -len(prompts[requests[number].prompt])))
    cache, growing = Cache(rows, places), list[_Row]()
    with _weights_cast_once(policy) as head:
        prompted = _Prompts(policy, head, prompts, requests, waiting)
        logits = list[Tensor]()  # of the rows' next tokens, [.., V] each
        while waiting or growing:
            give_up_if_asked()
            while waiting and len(growing) < rows:
                number = waiting.popleft()
                kept, first_V = prompted.take(number)
                cache.add(kept)
                logits.append(first_V[None])
                growing.append(_Row(number, numpy_generator(*requests[number].key).random(most_tokens), [], []))
            uniforms = [row.noise[len(row.tokens)] for row in growing]
            uniform_R = numbers(uniforms, policy.model.device)
            tokens_R, logprobs_R = choosing(torch.cat(logits), uniform_R)
            for row, token, logprob in zip(growing, tokens_R.tolist(), logprobs_R.tolist(), strict=True):
                row.tokens.append(token)
                row.logprobs.append(logprob)
            for place, row in reversed(list(enumerate(growing))):
                if row.tokens[-1] in stops or len(row.tokens) == most_tokens:
                    found[row.number] = Sampled(tuple(row.tokens), tuple(row.logprobs))
                    growing[place] = growing[-1]
                    growing.pop()
                    cache.remove(place)
            logits = [_step(policy, head, cache, [row.tokens[-1] for row in growing])] if growing else []
    return [found[number] for number in range(len(requests))]


@contextmanager
def _weights_cast_once(policy: CausalLM) -> Generator[Head]:
    """The precision of the policy with each weight cast once for all steps within, and its head. Autocast keeps what it has cast
    until it ends, but only of weights that take a gradient."""
    dtype, frozen = policy.compute_dtype, list[nn.Parameter]()
    if dtype is not None:
        frozen = [p for p in policy.model.parameters() if p.is_floating_point() and not p.requires_grad]
    head, low = head_of(policy.model), dtype or policy.model.dtype
    try:
        for parameter in frozen:
            parameter.requires_grad_()
        with policy.precision():
            yield head.rounded(low) if low in LOW and policy.model.dtype != torch.float64 else head
    finally:
        for parameter in frozen:
            parameter.requires_grad = False


def _step(policy: CausalLM, head: Head, cache: Cache, tokens: Sequence[int]) -> Tensor:
    """Logits [R, V] after one more token in every row."""
    device = policy.model.device
    tokens_R1, positions_R1 = numbers(tokens, device, torch.int64)[:, None], cache.begin_step(device)
    with packed_as(cache):
        output = policy.model.base_model(input_ids=tokens_R1, position_ids=positions_R1, use_cache=False, plan=cache)
        return head.logits(output.last_hidden_state[:, 0])


class _Prompts:
    """Prompts are read, several at once, when the first request for one comes up, and forgotten after the last."""

    def __init__(
        self,
        policy: CausalLM,
        head: Head,
        prompts: Sequence[Sequence[int]],
        requests: Sequence[SampleRequest],
        order: Iterable[int],
    ) -> None:
        self.policy, self.head, self.prompts, self.requests = policy, head, prompts, requests
        self.uses = Counter(request.prompt for request in requests)
        self.unread = deque(dict.fromkeys(requests[number].prompt for number in order))
        self.read: dict[int, tuple[Kept, Tensor]] = {}

    def take(self, number: int) -> tuple[Kept, Tensor]:
        """Keys and values of a request's prompt, and the logits behind its last token [V]."""
        prompt = self.requests[number].prompt
        if prompt not in self.read:
            self._read_some()
        self.uses[prompt] -= 1
        return self.read[prompt] if self.uses[prompt] else self.read.pop(prompt)

    def _read_some(self) -> None:
        some = [self.unread.popleft()]
        while (
            self.unread and sum(len(self.prompts[i]) for i in some) + len(self.prompts[self.unread[0]]) <= READ_AT_ONCE
        ):
            some.append(self.unread.popleft())
        device = self.policy.model.device
        bounds = (0, *np.cumsum([len(self.prompts[i]) for i in some]).tolist())
        tokens_T = numbers([token for i in some for token in self.prompts[i]], device, torch.int64)
        positions_T = torch.cat([torch.arange(len(self.prompts[i]), device=device) for i in some])
        reading = Reading(PackedLayout(bounds))
        with packed_as(reading):
            output = self.policy.model.base_model(
                input_ids=tokens_T[None], position_ids=positions_T[None], use_cache=False, plan=reading
            )
            ends_S = numbers(bounds[1:], device, torch.int64) - 1
            logits_SV = self.head.logits(output.last_hidden_state[0, ends_S])
        for i, start, stop, logits_V in zip(some, bounds, bounds[1:], logits_SV, strict=False):
            self.read[i] = reading.of(start, stop), logits_V


def why_not_decodable(policy: CausalLM, places: int | None = None) -> str | None:
    """None where decoding with our cache gives the log-probabilities of the forward pass of training, else what went wrong.
    `places` are the tokens of the longest prompt with its completion; absent: any number. Only trying tells; it is tried once
    for each policy."""
    if policy.why_not_packed:
        return policy.why_not_packed
    limit = policy.angle_limit
    if limit is not None and (places is None or places > limit):
        return f"its rotary angles change where a text grows beyond {limit} tokens, and a cache keeps the old ones"
    if policy not in _tried:
        with nullcontext() if policy.angle_limit is not None else small_limits(policy.model):
            _tried[policy] = _try(policy)
    return _tried[policy]


_tried: WeakKeyDictionary[CausalLM, str | None] = WeakKeyDictionary()


@torch.no_grad()
def _try(policy: CausalLM) -> str | None:
    vocab_size = policy.config.get_text_config().vocab_size
    prompts = [[(7 * i + 3) % vocab_size for i in range(length)] for length in (5, 9)]
    requests = [SampleRequest(prompt, (0, k)) for k, prompt in enumerate((0, 1, 0))]
    try:
        drawn = decode(policy, prompts, requests, TokenSampling(1.0, 1.0, 0), 4, (), rows=2)
    except NotImplementedError as error:
        return str(error)
    except Exception as error:  # whatever a model's own code does with a plan that it does not know
        return in_words(error)
    whole = [[*prompts[request.prompt], *each.tokens] for request, each in zip(requests, drawn, strict=True)]
    learnt = [np.arange(len(ids)) >= len(ids) - 4 for ids in whole]
    rows = [Example(np.array(ids, np.int32), mask, "") for ids, mask in zip(whole, learnt, strict=True)]
    expected_L = policy(pack(rows).to(policy.model.device)).double()
    found_L = torch.tensor([x for each in drawn for x in each.logprobs], dtype=torch.float64, device=expected_L.device)
    difference = (found_L - expected_L).abs().max().item()
    allowed = {torch.float64: 1e-7, torch.float32: 1e-4}.get(policy.model.dtype, 0.1)
    allowed = max(allowed, 0.1) if policy.compute_dtype is not None else allowed
    return None if difference <= allowed else f"its log-probabilities differ by {difference:.1e} when decoded"

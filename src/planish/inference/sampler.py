"""Samplers of rollouts: this process, with the very weights being trained, or a vLLM server (vllm.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from planish.base.interrupt import give_up_if_asked
from planish.base.random import fold_in
from planish.inference.decode import Sampled, SampleRequest, TokenSampling, decode, why_not_decodable
from planish.inference.generate import generate, generating
from planish.models.packed import CausalLM


class Sampler(Protocol):
    """Draws completions, each with noise that its own place keys, so that neighbours do not change it."""

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        requests: Sequence[SampleRequest],
        choosing: TokenSampling,
        most_tokens: int,
        stop_token_ids: Sequence[int],
    ) -> list[Sampled]:
        """A completion for each request, in their order, of at most `most_tokens`, the stop token included."""
        ...

    def update(self, policy: CausalLM) -> None:
        """Makes these weights those that completions are sampled from."""
        ...


class LocalSampler:
    """Samples with the policy itself: by decode.py, or with transformers' generate where that cannot serve the model."""

    def __init__(self, policy: CausalLM) -> None:
        self.policy = policy

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        requests: Sequence[SampleRequest],
        choosing: TokenSampling,
        most_tokens: int,
        stop_token_ids: Sequence[int],
    ) -> list[Sampled]:
        places = [len(prompts[request.prompt]) + most_tokens for request in requests]
        ours = [i for i, length in enumerate(places) if why_not_decodable(self.policy, length) is None]
        chosen = [requests[i] for i in ours]
        drawn = decode(self.policy, prompts, chosen, choosing, most_tokens, stop_token_ids) if ours else []
        found = dict(zip(ours, drawn, strict=True))
        if len(ours) < len(requests):
            with generating(self.policy.model):
                for i in (i for i in range(len(requests)) if i not in found):
                    prompt = prompts[requests[i].prompt]
                    found[i] = _generated(self.policy, prompt, requests[i], choosing, most_tokens, stop_token_ids)
        return [found[i] for i in range(len(requests))]

    def update(self, policy: CausalLM) -> None:
        """Nothing is to be done where the weights are shared; another policy takes the place of the first."""
        self.policy = policy


def _generated(
    policy: CausalLM,
    prompt: Sequence[int],
    request: SampleRequest,
    choosing: TokenSampling,
    most_tokens: int,
    stop_token_ids: Sequence[int],
) -> Sampled:
    """One completion by transformers' generate. Its log-probabilities are those before top-p and top-k, as ours are."""
    give_up_if_asked()
    with policy.precision():
        generated = generate(
            policy.model, [prompt], choosing, most_tokens, stop_token_ids, fold_in(*request.key), logits=True
        )
    tokens_L = torch.tensor(generated.tokens[0], device=policy.model.device)
    logits_LV = torch.cat(list(generated.logits)).double() / (choosing.temperature or 1.0)
    logprobs_L = torch.log_softmax(logits_LV, 1).gather(1, tokens_L[:, None]).squeeze(1)
    return Sampled(tuple(generated.tokens[0]), tuple(logprobs_L.tolist()))

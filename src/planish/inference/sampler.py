"""Samplers of rollouts: this process, with the very weights being trained, or a vLLM server (vllm.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from planish.base.random import fold_in
from planish.inference.decode import Sampled, SampleRequest, TokenSampling, decode, why_not_decodable
from planish.inference.sample import generating
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
        if why_not_decodable(self.policy) is None:
            return decode(self.policy, prompts, requests, choosing, most_tokens, stop_token_ids)
        with generating(self.policy.model):
            return [
                _generated(self.policy, prompts[request.prompt], request, choosing, most_tokens, stop_token_ids)
                for request in requests
            ]

    def update(self, policy: CausalLM) -> None:
        """Nothing is to be done where the weights are shared; another policy takes the place of the first."""
        self.policy = policy


@torch.no_grad()
def _generated(
    policy: CausalLM,
    prompt: Sequence[int],
    request: SampleRequest,
    choosing: TokenSampling,
    most_tokens: int,
    stop_token_ids: Sequence[int],
) -> Sampled:
    """One completion by transformers' generate. Its log-probabilities are those before top-p and top-k, as ours are."""
    choice: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if choosing.temperature > 0:
        choice = {
            "do_sample": True,
            "temperature": choosing.temperature,
            "top_p": choosing.top_p,
            "top_k": choosing.top_k,
        }
    ids = torch.tensor([list(prompt)], device=policy.model.device)
    generator: Any = policy.model
    with torch.random.fork_rng(), policy.precision():
        torch.manual_seed(fold_in(*request.key))
        output = generator.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=most_tokens,
            eos_token_id=list(stop_token_ids) or None,
            pad_token_id=0,  # a single sequence is never padded
            return_dict_in_generate=True,
            output_logits=True,
            **choice,
        )
    tokens_L = output.sequences[0, len(prompt) :]
    logits_LV = torch.cat(output.logits).double() / (choosing.temperature or 1.0)
    logprobs_L = torch.log_softmax(logits_LV, 1).gather(1, tokens_L[:, None]).squeeze(1)
    return Sampled(tuple(tokens_L.tolist()), tuple(logprobs_L.tolist()))

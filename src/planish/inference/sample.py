"""Sampling completions, with our own decoding (decode.py) or, for models that it cannot serve, transformers' generate.

The noise of each completion comes from (seed, prompt, sample), so neither its neighbours nor the batch size change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer

from planish.base.config import Config, Field
from planish.base.random import fold_in
from planish.inference.decode import SampleRequest, TokenSampling, decode, why_not_decodable
from planish.inference.generate import generate, generating
from planish.models.packed import CausalLM


class SamplingConfig(Config):
    max_completion_tokens: int = Field(default=128, ge=1, description="a completion is cut after this many tokens")
    temperature: float = Field(default=0.0, ge=0, description="0 takes the likeliest token each time")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="sample from the likeliest tokens that hold this much probability"
    )
    top_k: int = Field(default=0, ge=0, description="sample from so many of the likeliest tokens; 0 is all")
    seed: int = Field(default=0, description="seed of sampling")

    @property
    def choosing(self) -> TokenSampling:
        return TokenSampling(self.temperature, self.top_p, self.top_k)


@dataclass(frozen=True, slots=True)
class Completion:
    text: str
    tokens: tuple[int, ...]  # with the stop token, if it ended by that
    ended: bool  # by the end-of-turn token, rather than by max_completion_tokens
    logprobs: tuple[float, ...] = ()  # of each token, as it was sampled, where they were asked for

    @property
    def num_tokens(self) -> int:
        return len(self.tokens)


def sample(
    policy: CausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    config: SamplingConfig,
    stop_token_ids: Sequence[int],
    num_samples: int = 1,
    first: int = 0,
) -> list[list[Completion]]:
    """`num_samples` completions for each prompt of token ids. Prompts are numbered from `first`, for their noise."""
    most = config.max_completion_tokens
    ours = [i for i, prompt in enumerate(prompts) if why_not_decodable(policy, len(prompt) + most) is None]
    others = sorted({*range(len(prompts))} - {*ours})
    keys = [(config.seed, "sample", first + i, k) for i in ours for k in range(num_samples)]
    requests = [SampleRequest(n // num_samples, key) for n, key in enumerate(keys)]
    some = [prompts[i] for i in ours]
    drawn = iter(decode(policy, some, requests, config.choosing, most, stop_token_ids) if ours else ())
    found = {
        i: [completion_of(tokenizer, next(drawn).tokens, stop_token_ids) for _ in range(num_samples)] for i in ours
    }
    if others:
        rest, numbers = [prompts[i] for i in others], [first + i for i in others]
        slow = _slowly(policy, tokenizer, rest, config, stop_token_ids, num_samples, numbers)
        found |= dict(zip(others, slow, strict=True))
    return [found[i] for i in range(len(prompts))]


def _slowly(
    policy: CausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    config: SamplingConfig,
    stop_token_ids: Sequence[int],
    num_samples: int,
    numbers: Sequence[int],
) -> list[list[Completion]]:
    """Completions from transformers' generate. Greedy prompts share batches of similar length; sampled ones do not."""
    found: dict[int, list[Completion]] = {i: [] for i in range(len(prompts))}
    alone = (
        config.temperature > 0 or policy.angle_limit is not None
    )  # in a batch the longest one would choose the angles
    batch, most = 1 if alone else 16, config.max_completion_tokens
    with generating(policy.model):
        for k in range(num_samples):
            for chosen in _batches([len(prompt) for prompt in prompts], batch):
                seed = fold_in(config.seed, "sample", numbers[chosen[0]], k)
                some = [prompts[i] for i in chosen]
                generated = generate(policy.model, some, config.choosing, most, stop_token_ids, seed)
                for i, row in zip(chosen, generated.tokens, strict=True):
                    found[i].append(completion_of(tokenizer, row, stop_token_ids))
    return [found[i] for i in range(len(prompts))]


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Prompts of similar length together, at most `most`: none is padded to more than one and a half times its length."""
    chosen: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if chosen and (len(chosen) == most or lengths[i] > 1.5 * lengths[chosen[0]] + 16):
            yield chosen
            chosen = []
        chosen.append(i)
    if chosen:
        yield chosen


def stream(
    model: PreTrainedModel,
    prompt: Sequence[int],
    config: SamplingConfig,
    stop_token_ids: Sequence[int],
    streamer: BaseStreamer,
    turn: int,
) -> list[int]:
    """One completion, handed to the streamer token by token as it grows."""
    seed, most = fold_in(config.seed, "chat", turn), config.max_completion_tokens
    with generating(model):
        return generate(model, [prompt], config.choosing, most, stop_token_ids, seed, streamer).tokens[0]


def completion_of(
    tokenizer: PreTrainedTokenizerBase,
    tokens: Sequence[int],
    stop_token_ids: Sequence[int],
    logprobs: tuple[float, ...] = (),
) -> Completion:
    ended = bool(tokens) and tokens[-1] in stop_token_ids
    text = cast(str, tokenizer.decode(list(tokens[:-1] if ended else tokens), skip_special_tokens=True))
    return Completion(text, tuple(tokens), ended, logprobs)

"""transformers' own `generate`, for what decode.py cannot do: models that it does not serve, a stream of tokens, probes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from planish.inference.decode import TokenSampling
from planish.models.attention import NAME, attention_in_use


@dataclass(frozen=True, slots=True)
class Generated:
    """The new tokens of each prompt, the stop token included, and the logits [B, V] of each step, where they were asked for."""

    tokens: list[list[int]]
    logits: Sequence[Tensor] = ()


@contextmanager
def generating(model: PreTrainedModel) -> Generator[None]:
    """Gives the model transformers' own attention, as ours knows no padding and no cache, and takes its generation_config away:
    a repetition penalty, say, would change the distribution."""
    own, defaults = attention_in_use(model), model.generation_config
    model.generation_config = GenerationConfig()
    plain = "sdpa" if getattr(model, "_supports_sdpa", False) else "eager"  # Gemma 2 has no sdpa
    model.set_attn_implementation(plain if own == NAME else own)
    try:
        yield
    finally:
        model.set_attn_implementation(own)
        model.generation_config = defaults


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    choosing: TokenSampling,
    most_tokens: int,
    stop_token_ids: Sequence[int],
    seed: int,
    streamer: BaseStreamer | None = None,
    *,
    logits: bool = False,
) -> Generated:
    """One completion of each prompt, inside `generating`; the seed is that of the whole batch."""
    pad = stop_token_ids[0] if stop_token_ids else 0
    ids, mask = left_padded(prompts, pad, model.device)
    choice: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if choosing.temperature > 0:
        values = {"temperature": choosing.temperature, "top_p": choosing.top_p, "top_k": choosing.top_k}
        choice = {"do_sample": True, **values}
    untyped: Any = model
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        output = untyped.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=most_tokens,
            eos_token_id=list(stop_token_ids) or None,
            pad_token_id=pad,
            streamer=streamer,
            return_dict_in_generate=True,
            output_logits=logits,
            **choice,
        )
    rows = output.sequences[:, ids.shape[1] :].tolist()
    return Generated([_until_stop(row, stop_token_ids) for row in rows], output.logits or ())


def left_padded(prompts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and mask, padded on the left so that all prompts end together."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.tensor(prompt)
        mask[i, width - len(prompt) :] = 1
    return ids.to(device), mask.to(device)


def _until_stop(tokens: list[int], stop_token_ids: Sequence[int]) -> list[int]:
    end = next((i for i, token in enumerate(tokens) if token in stop_token_ids), len(tokens))
    return tokens[: end + 1]

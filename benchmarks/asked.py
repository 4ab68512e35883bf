"""Prompts for the benchmarks of sampling, and a model whose completions end at ragged lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pairs import DATA
from turns import PAD, SEED, fresh_model, learnt_template

MOST_PROMPT_TOKENS = 512


def read(vocab_size: int, count: int, path: Path = DATA) -> tuple[Any, list[list[int]]]:
    """A chat template and `count` prompts, over again where there are fewer: those of hh_rlhf if the file is there, else
    random tokens of ragged, log-normal lengths like theirs. None is longer than MOST_PROMPT_TOKENS."""
    from planish.data.formats import import_rows
    from planish.data.rows import Comparison

    if path.exists():
        rows = import_rows(path, (Comparison,)).rows
        texts = [message.content for row in rows for message in (*row.prompt, *row.completions)]
        template = learnt_template(texts, vocab_size)
        prompts = (template.encode_prompt(row.prompt, ()) for row in rows)
    else:
        template, chance = learnt_template([], vocab_size), np.random.default_rng(SEED)
        lengths = chance.lognormal(4.8, 0.6, count).astype(int).clip(4)
        prompts = (chance.integers(template.stop_token_id + 1, vocab_size, length).tolist() for length in lengths)
    fitting = [prompt for prompt in prompts if len(prompt) <= MOST_PROMPT_TOKENS]
    return template, [fitting[i % len(fitting)] for i in range(count)]


@torch.no_grad()
def ending_model(shape: str, stop_token_id: int, length: float) -> Any:
    """The fresh model of a shape with an end that comes at any token with a probability of 1 / `length`, near enough.

    All embeddings get a vector in common, which then stands out of every hidden state. The output head is the same matrix:
    what is common to all logits changes nothing, and the end's embedding is that vector at the length that gives the
    probability. What a step costs is what it cost before.
    """
    model = fresh_model(shape)
    weight_VD: torch.Tensor = model.get_input_embeddings().weight
    noise = torch.Generator().manual_seed(SEED)
    common_D = torch.randn(weight_VD.shape[1], generator=noise)
    common_D /= common_D.norm()
    weight_VD += common_D
    tokens = torch.randint(stop_token_id + 1, len(weight_VD), (4, 64), generator=noise)
    hidden_TD = model.base_model(tokens).last_hidden_state.flatten(0, 1)
    logits_TV = hidden_TD @ weight_VD.T
    logits_TV[:, stop_token_id] = -torch.inf
    others_T, along_T = logits_TV.logsumexp(1), hidden_TD @ common_D
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        rarer = torch.sigmoid(middle * along_T - others_T).mean() < 1 / length
        low, high = (middle, high) if rarer else (low, middle)
    weight_VD[stop_token_id] = low * common_D
    weight_VD[PAD] = -3 * low * common_D  # hardly ever drawn: TRL takes padding for the end of a completion
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = stop_token_id, PAD
    return model

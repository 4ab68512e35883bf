"""Examples of tokens, written by hand or drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planish.base.types import Choices, Example
from support.models import VOCAB_SIZE


def example(tokens: Sequence[int], learnt: Sequence[int] | None = None, name: str = "") -> Example:
    """An example of which the tokens at the places `learnt` are learnt; None means all but the first."""
    mask = np.zeros(len(tokens), np.bool_)
    mask[list(range(1, len(tokens)) if learnt is None else learnt)] = True
    return Example(np.array(tokens, np.int32), mask, name)


def random_examples(lengths: Sequence[int], seed: int = 0, vocab_size: int = VOCAB_SIZE) -> list[Example]:
    """Examples of random tokens: the first third of each is a prompt, and so is every fifth token after it."""
    chance = np.random.default_rng(seed)
    return [
        example(
            chance.integers(3, vocab_size, length).tolist(),
            [t for t in range(max(1, length // 3), length) if t % 5 != 4],
            f"row {i}",
        )
        for i, length in enumerate(lengths)
    ]


def compared(some: Example, prompt_length: int, ends: tuple[int, ...]) -> Example:
    """The same tokens as a prompt of `prompt_length` tokens with completions that end at `ends`, the first of them the best,
    every token of them learnt."""
    learnt = np.arange(len(some)) >= prompt_length
    return replace(some, loss_mask=learnt, choices=Choices(prompt_length, ends, tuple(range(len(ends)))))

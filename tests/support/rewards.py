"""Functions that score completions, for tests of what a policy learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from planish.maths.reductions import Reduction
from planish.methods.ppo.advantages import Estimator, ScoredCompletions


class PlainScore(Estimator):
    """Each completion's own score, compared with nothing."""

    reduction: ClassVar[Reduction] = "seq_sum"

    def estimate(self, batch: ScoredCompletions) -> tuple[np.ndarray, np.ndarray]:
        return batch.on_every_token(batch.by_prompt(batch.penalized_N()))


ARMS = {"a": 0.0, "b": 1.0, "c": 0.3, "d": 0.8, "e": -0.5, "f": 0.5}

Prompts = Sequence[Sequence[dict[str, Any]]]


def arms(prompts: Prompts, completions: Sequence[str]) -> list[float]:
    return [ARMS.get(completion.strip(), 0.0) for completion in completions]


def hundred(prompts: Prompts, completions: Sequence[str]) -> list[float]:
    return [100.0] * len(completions)


def letters(prompts: Prompts, completions: Sequence[str]) -> list[float]:
    """What most texts get different numbers for."""
    return [len(set(completion)) / 10 + sum(map(ord, completion)) % 7 for completion in completions]


def one_too_few(prompts: Prompts, completions: Sequence[str]) -> list[float]:
    return [0.0] * (len(completions) - 1)


def many_letters(prompts: Prompts, completions: Sequence[str]) -> list[float]:
    return [float(len(completion)) for completion in completions]


def few_letters(prompts: Prompts, completions: Sequence[str]) -> list[float]:
    return [-float(len(completion)) for completion in completions]

"""The feed of supervised methods: which examples of a planned mixture belong to which step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from planish.base.config import Config, Field
from planish.base.distributed import rank, world_size
from planish.base.types import Example, Packed
from planish.data.examples import Examples
from planish.data.mixture import Mixture
from planish.data.packing import deal


class BatchConfig(Config):
    examples: int = Field(default=32, ge=1, description="examples of one step")
    tokens: int | None = Field(default=None, ge=1, description="instead of examples: about this many tokens a step")
    micro_tokens: int = Field(
        default=768,
        ge=1,
        description="tokens of one forward pass; never changes the numbers. 768 suits a CPU, a GPU wants 16384",
    )


class MixtureFeed:
    """Step s takes the places `bounds[s]` to `bounds[s+1]` of the mixture."""

    def __init__(self, sources: Sequence[Examples], mixture: Mixture, bounds: np.ndarray, micro_tokens: int) -> None:
        self.sources, self.mixture, self.bounds, self.micro_tokens = sources, mixture, bounds, micro_tokens

    @property
    def steps(self) -> int:
        return len(self.bounds) - 1

    def examples(self, step: int) -> list[Example]:
        places = (self.mixture[j] for j in range(self.bounds[step], self.bounds[step + 1]))
        return [self.sources[place.source][place.row] for place in places]

    def micro_batches(self, step: int) -> list[Packed]:
        return deal(self.examples(step), self.micro_tokens, rank(), world_size())

    def fingerprint(self) -> str:
        """A digest of all tokens, masks and the order: a resumed run must have the same."""
        digest = hashlib.sha256()
        for source in self.sources:
            source.update_digest(digest)
        digest.update(repr((self.mixture.sizes, self.mixture.stages, self.mixture.seed)).encode())
        digest.update(self.bounds.astype(np.int64).tobytes())
        return digest.hexdigest()[:16]


def step_bounds(mixture: Mixture, batch: BatchConfig, num_tokens: Sequence[np.ndarray]) -> np.ndarray:
    """Where each step begins, [steps + 1]. No step straddles two stages.

    With `batch.tokens` a stage of n tokens becomes round(n / tokens) steps of nearly equal size: a step ends with the
    example in which its share of the stage's tokens is reached.
    """
    bounds, start = [0], 0
    for stage in mixture.stages:
        end = start + stage.length
        if batch.tokens is None:
            bounds += [*range(start + batch.examples, end, batch.examples), end]
        else:
            lengths = np.array([num_tokens[p.source][p.row] for p in (mixture[j] for j in range(start, end))], np.int64)
            total = np.cumsum(lengths)
            steps = max(1, round(int(total[-1]) / batch.tokens))
            ends = np.searchsorted(total, total[-1] * np.arange(1, steps + 1) / steps) + 1
            bounds += (start + np.unique(np.minimum(ends, stage.length))).tolist()
        start = end
    return np.array(bounds, np.int64)

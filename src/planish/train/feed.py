"""The feed of supervised methods: which examples of a planned mixture belong to which step."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from planish.base.config import Config, Field
from planish.base.distributed import rank, world_size
from planish.base.types import Example, Packed
from planish.data.examples import Examples
from planish.data.mixture import Mixture, Stage
from planish.data.packing import deal
from planish.data.sources import DataConfig, Source, StagePlan, plan_stages


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


def plan_feed(
    data: DataConfig, batch: BatchConfig, sources: Sequence[Source], steps: int | None, epochs: float, seed: int
) -> MixtureFeed:
    """The whole order, cut into steps; no step straddles two stages.

    With `steps`, each stage has its share of them. Otherwise the run is `epochs` times as many examples as there are
    training rows, and a stage has its share of those.
    """
    stages = plan_stages(data, sources)
    sizes = [len(source.training) for source in sources]
    ends = np.cumsum([stage.share for stage in stages])
    if steps is not None:
        counts = np.diff(np.rint(ends * steps), prepend=0).astype(int).tolist()
        lengths = [max(n, round(n * _step_size(batch, stage))) for n, stage in zip(counts, stages, strict=True)]
    else:
        lengths = np.diff(np.rint(ends * epochs * sum(sizes)), prepend=0).astype(int).tolist()
        counts = [math.ceil(n / _step_size(batch, stage)) for n, stage in zip(lengths, stages, strict=True)]
    planned = [Stage(stage.weights, length) for stage, length in zip(stages, lengths, strict=True)]
    mixture = Mixture(sizes, planned, seed)
    tokens = [source.training.num_tokens for source in sources]
    bounds, start = [0], 0
    for length, count in zip(lengths, counts, strict=True):
        if batch.tokens is None:
            bounds += [start + min((k + 1) * batch.examples, length) for k in range(count)]
        elif count:
            places = (mixture[j] for j in range(start, start + length))
            parts = equal_parts(np.array([tokens[place.source][place.row] for place in places]), min(count, length))
            bounds += [start + part for part in parts]
        start += length
    return MixtureFeed([source.training for source in sources], mixture, np.array(bounds, np.int64), batch.micro_tokens)


def equal_parts(tokens: np.ndarray, count: int) -> list[int]:
    """Where each of `count` parts of a row of examples ends, so that all have about as many tokens, and none is empty."""
    total = np.cumsum(tokens)
    ends: list[int] = []
    for k in range(1, count + 1):
        wanted = int(np.searchsorted(total, total[-1] * k / count)) + 1
        ends.append(min(max(wanted, (ends[-1] if ends else 0) + 1), len(tokens) - (count - k)))
    return ends


def _step_size(batch: BatchConfig, stage: StagePlan) -> float:
    """Examples of one step, on average."""
    return batch.examples if batch.tokens is None else batch.tokens / stage.mean_tokens

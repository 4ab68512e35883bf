"""The feed of supervised methods: which examples of a planned mixture belong to which step."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from planish.base.config import Config, Field
from planish.base.distributed import rank, world_size
from planish.base.errors import ConfigError
from planish.base.types import Example, Packed
from planish.data.examples import Examples
from planish.data.mixture.order import Mixture
from planish.data.mixture.packing import deal
from planish.data.mixture.plan import MixturePlan, StageTarget, plan_mixture, stage_targets
from planish.data.settings import DataConfig
from planish.data.sources import Source


class BatchConfig(Config):
    examples: int = Field(default=32, ge=1, description="examples of one step")
    tokens: int | None = Field(
        default=None, ge=1, description="about this many tokens a step, instead of a number of examples"
    )
    micro_tokens: int | None = Field(
        default=None,
        ge=1,
        description="tokens of one forward pass; never changes the numbers. Absent: chosen for model and device",
    )
    changeable = Config.changeable | {"micro_tokens"}


class MixtureFeed:
    """Step s takes the positions `bounds[s]` to `bounds[s+1]` of the mixture."""

    def __init__(self, sources: Sequence[Examples], mixture: Mixture, bounds: np.ndarray, micro_tokens: int) -> None:
        self.sources, self.mixture, self.bounds, self.micro_tokens = sources, mixture, bounds, micro_tokens

    @property
    def steps(self) -> int:
        return len(self.bounds) - 1

    def examples(self, step: int) -> list[Example]:
        refs = self.mixture.refs(int(self.bounds[step]), int(self.bounds[step + 1]))
        return [self.sources[k][row] for k, row in zip(refs.sources.tolist(), refs.rows.tolist(), strict=True)]

    def micro_batches(self, step: int) -> list[Packed]:
        return deal(self.examples(step), self.micro_tokens, rank(), world_size())

    @property
    def stage_steps(self) -> list[int]:
        """Steps of each stage."""
        return np.diff(np.searchsorted(self.bounds, self.mixture.starts)).tolist()

    def fingerprint(self) -> str:
        """A digest of all tokens, masks and the order: a resumed run must have the same."""
        digest = hashlib.sha256()
        for source in self.sources:
            source.update_digest(digest)
        digest.update(repr((self.mixture.sizes, self.mixture.stages, self.mixture.seed)).encode())
        digest.update(self.bounds.astype(np.int64).tobytes())
        for keys in self.mixture.keys or ():
            digest.update(keys.tobytes())
        return digest.hexdigest()[:16]


def plan_feed(
    data: DataConfig, batch: BatchConfig, sources: Sequence[Source], steps: int | None, epochs: float, seed: int
) -> tuple[MixtureFeed, MixturePlan]:
    """The whole order, cut into steps, and the plan it came from. No step straddles two stages.

    Where the settings give each source a budget of tokens, the budgets say how long the run is. Otherwise, with `steps`,
    each stage has its share of them; without, the run is `epochs` times as many examples as there are training rows.
    """
    names, examples = [source.name for source in sources], [source.training for source in sources]
    targets = stage_targets(data, names, examples)
    lengths, counts = _lengths(data, batch, targets, steps, epochs * sum(len(each) for each in examples))
    keys = [source.keys for source in sources if source.keys is not None]
    plan = plan_mixture(data, names, examples, targets, lengths, seed, keys or None)
    bounds = [0]
    for number, stage in enumerate(targets):
        length, start = plan.mixture.stages[number].length, bounds[-1]
        count = math.ceil(length / _step_size(batch, stage)) if counts is None else counts[number]
        if batch.tokens is None:
            bounds += [start + min((k + 1) * batch.examples, length) for k in range(count)]
        elif count and length:
            ends = equal_parts(plan.mixture, start, examples, sum(plan.tokens[number]), min(count, length))
            bounds += (start + ends).tolist()
    # A run has resolved micro_tokens by now; callers that only want the plan can ignore it.
    return MixtureFeed(examples, plan.mixture, np.array(bounds, np.int64), batch.micro_tokens or 1), plan


def _lengths(
    data: DataConfig, batch: BatchConfig, targets: Sequence[StageTarget], steps: int | None, rows: float
) -> tuple[list[int], list[int] | None]:
    """Examples of each stage, and steps of each where the settings say how many."""
    ends = np.cumsum([stage.share for stage in targets])
    if data.has_budgets:
        if steps is not None:
            raise ConfigError("steps: the tokens of the sources say how long the run is; leave steps out")
        return [0] * len(targets), None
    if steps is None:
        return np.diff(np.rint(ends * rows), prepend=0).astype(int).tolist(), None
    counts = np.diff(np.rint(ends * steps), prepend=0).astype(int).tolist()
    return [max(n, round(n * _step_size(batch, stage))) for n, stage in zip(counts, targets, strict=True)], counts


def equal_parts(mixture: Mixture, start: int, examples: Sequence[Examples], total: int, count: int) -> np.ndarray:
    """Ends of `count` parts of a stage, so that all have about as many tokens, and none is empty."""
    stop = int(mixture.starts[np.searchsorted(mixture.starts, start, side="right")])
    tokens = [each.num_tokens for each in examples]
    wanted = total * np.arange(1, count + 1) / count
    ends = np.zeros(count, np.int64)
    before, position = 0, 0
    for sources, rows, _ in mixture.walk(start, stop):
        lengths = np.empty(len(rows), np.int64)
        for k in np.unique(sources).tolist():
            lengths[sources == k] = tokens[k][rows[sources == k]]
        total_here = before + np.cumsum(lengths)
        here = (wanted > before) & (wanted <= total_here[-1])
        ends[here] = position + np.searchsorted(total_here, wanted[here]) + 1
        before, position = int(total_here[-1]), position + len(lengths)
    return spread(ends, position)


def spread(ends: np.ndarray, length: int) -> np.ndarray:
    """Moves the ends as little as possible so that each part holds at least one example and the last ends at `length`."""
    numbers = np.arange(len(ends))
    apart = np.maximum.accumulate(np.maximum(ends, 1) - numbers) + numbers
    return np.minimum(apart, length - numbers[::-1])


def _step_size(batch: BatchConfig, stage: StageTarget) -> float:
    """Examples of one step, on average."""
    return batch.examples if batch.tokens is None else batch.tokens / stage.mean_tokens

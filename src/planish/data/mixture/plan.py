"""The plan of a mixture: the number of examples of each source in each stage, from the settings, before step 0.

Shares may be of examples or of tokens. Shares of tokens are met by counting the tokens of the very rows that will be
drawn, not with the average of a source, so they are also right for short stages and uneven lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from planish.base.errors import ConfigError
from planish.data.examples import Examples
from planish.data.mixture.order import Mixture, MixtureStage, Order, normalized_weights, share_out
from planish.data.settings import DataConfig, StageConfig

ROUNDS = 20  # corrections of the counts; they converge after three or four


@dataclass(frozen=True, slots=True)
class StageTarget:
    """A stage of the settings: shares by source, of examples or of tokens, or a budget of tokens for each source."""

    share: float  # of the run's examples; 0 if budgets decide the length of the stage
    shares: tuple[float, ...]
    budgets: tuple[int, ...] | None
    mean_tokens: float  # of an example of this stage, approximately


@dataclass(frozen=True, slots=True)
class MixturePlan:
    """The order, and the stages of the settings that it meets."""

    names: tuple[str, ...]
    targets: tuple[StageTarget, ...]
    mixture: Mixture
    tokens: tuple[tuple[int, ...], ...]  # of each stage and source

    def account(self) -> list[dict[str, Any]]:
        """The rows and tokens of each stage, for data.json."""
        return [self._stage(number) for number in range(len(self.targets))]

    def _stage(self, number: int) -> dict[str, Any]:
        counts, tokens = self.mixture.stages[number].counts, self.tokens[number]
        before = self.mixture.drawn(number)
        sources = {
            name: {
                "asked": self.targets[number].shares[k],
                "examples": counts[k],
                "tokens": tokens[k],
                "share_of_examples": counts[k] / max(sum(counts), 1),
                "share_of_tokens": tokens[k] / max(sum(tokens), 1),
                "passes": counts[k] / max(self.mixture.sizes[k], 1),
                "passes_so_far": int(before[k] + counts[k]) / max(self.mixture.sizes[k], 1),
            }
            for k, name in enumerate(self.names)
        }
        return {"examples": sum(counts), "tokens": sum(tokens), "sources": sources}


def stage_targets(config: DataConfig, names: Sequence[str], examples: Sequence[Examples]) -> list[StageTarget]:
    """The stages of the settings, or one stage with the sources' own weights."""
    sizes = list(map(len, examples))
    means = [float(rows.num_tokens.mean()) if len(rows) else 1.0 for rows in examples]
    own = {name: source.weight for name, source in config.sources.items()}
    budgets = {name: source.tokens for name, source in config.sources.items() if source.tokens is not None}
    stages = config.stages or (StageConfig(tokens=budgets) if budgets else StageConfig(share=1.0),)
    targets: list[StageTarget] = []
    for i, stage in enumerate(stages):
        where = f"data.stages.{i}" if config.stages else "data.sources"
        weights = own if stage.weights is None else dict(stage.weights)
        if stage.only is not None:
            weights = {name: own.get(name) for name in stage.only}
        shares = normalized_weights(names, sizes, stage.tokens or weights, where, config.cap, config.temperature)
        budget = tuple(stage.tokens.get(name, 0) for name in names) if stage.tokens else None
        per_example = shares if config.shares_of == "examples" and not budget else _per_example(shares, means)
        mean = sum(weight * mean for weight, mean in zip(per_example, means, strict=True))
        targets.append(StageTarget(stage.share or 0.0, shares, budget, mean))
    return targets


def plan_mixture(
    config: DataConfig,
    names: Sequence[str],
    examples: Sequence[Examples],
    targets: Sequence[StageTarget],
    lengths: Sequence[int],
    seed: int,
    keys: Sequence[np.ndarray] | None = None,
) -> MixturePlan:
    """The whole order. `lengths` are the examples of each stage that has no budget; `keys` order the rows of each source."""
    sizes = list(map(len, examples))
    count = TokenCount([rows.num_tokens for rows in examples], Order(sizes, seed, keys))
    drawn = np.zeros(len(sizes), np.int64)
    stages: list[MixtureStage] = []
    tokens: list[tuple[int, ...]] = []
    for stage, length in zip(targets, lengths, strict=True):
        if stage.budgets is not None:
            counts = tuple(count.within(k, int(drawn[k]), budget) for k, budget in enumerate(stage.budgets))
        elif config.shares_of == "tokens":
            counts = count.shared(stage.shares, length, drawn)
        else:
            counts = share_out(stage.shares, length)
        stages.append(MixtureStage(counts))
        tokens.append(tuple(count(k, int(drawn[k]), int(drawn[k]) + n) for k, n in enumerate(counts)))
        drawn += counts
    _refuse_repeats(config, names, sizes, drawn)
    return MixturePlan(tuple(names), tuple(targets), Mixture(sizes, stages, seed, keys), tuple(tokens))


class TokenCount:
    """Tokens of the rows between two draws from a source. Sums, not rows, are kept."""

    def __init__(self, tokens: Sequence[np.ndarray], order: Order) -> None:
        self.tokens, self.order = tokens, order
        self.totals = [int(lengths.sum()) for lengths in tokens]

    def __call__(self, source: int, start: int, stop: int) -> int:
        """The tokens from draw `start` up to `stop`; negative if `stop` comes first."""
        if stop < start:
            return -self(source, stop, start)
        size = len(self.tokens[source])
        if not size or start == stop:
            return 0
        # Whole passes contain every row once, in any order.
        first, last = -(-start // size) * size, stop // size * size
        if first > last:
            return self._walk(source, start, stop)
        passes = (last - first) // size
        return self._walk(source, start, first) + passes * self.totals[source] + self._walk(source, last, stop)

    def _walk(self, source: int, start: int, stop: int) -> int:
        return sum(int(self.tokens[source][rows].sum()) for rows in self.order.of(source, start, stop))

    def within(self, source: int, start: int, budget: int) -> int:
        """The number of draws from `start` on with about `budget` tokens, to within a row or so."""
        mean = self.totals[source] / max(len(self.tokens[source]), 1)
        count = tokens = 0
        for _ in range(ROUNDS):
            more = max(round((budget - tokens) / mean), -count) if budget else 0
            if not more:
                break
            tokens += self(source, start + count, start + count + more)
            count += more
        return count

    def shared(self, shares: Sequence[float], length: int, drawn: np.ndarray) -> tuple[int, ...]:
        """Counts, `length` in all, whose tokens have these shares."""
        means = [total / max(len(rows), 1) or 1.0 for total, rows in zip(self.totals, self.tokens, strict=True)]
        counts = share_out(_per_example(shares, means), length)
        tokens = [self(k, int(drawn[k]), int(drawn[k]) + n) for k, n in enumerate(counts)]
        for _ in range(ROUNDS):
            means = [tokens[k] / n if n else means[k] for k, n in enumerate(counts)]
            better = share_out(_per_example(shares, means), length)
            if better == counts:
                break
            for k, n in enumerate(counts):
                tokens[k] += self(k, int(drawn[k]) + n, int(drawn[k]) + better[k])
            counts = better
        return counts


def _per_example(shares: Sequence[float], means: Sequence[float]) -> tuple[float, ...]:
    """Shares of examples that give these shares of tokens: a source of long rows needs fewer."""
    rates = [share / mean for share, mean in zip(shares, means, strict=True)]
    return tuple(rate / sum(rates) for rate in rates)


def _refuse_repeats(config: DataConfig, names: Sequence[str], sizes: Sequence[int], drawn: np.ndarray) -> None:
    for name, size, count in zip(names, sizes, drawn.tolist(), strict=True):
        most = config.sources[name].repeats
        if most is not None and count > most * size:
            raise ConfigError(
                f"data.sources.{name}: the plan has {count / size:.2f} passes over its {size} rows, more than "
                f"repeats={most:g}. Lower its share, shorten the run, add rows, or raise repeats"
            )

"""From settings to an order: how many examples of each source every stage holds, decided before step 0.

Shares may be of examples or of tokens. Shares of tokens are met by counting the tokens of the very rows that will be
drawn, not by their average over the source, so that they hold for short stages and uneven lengths as well.
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

ROUNDS = 20  # corrections of the counts; they settle after three or four


@dataclass(frozen=True, slots=True)
class AskedStage:
    """A stage as asked for: shares by source, of examples or of tokens, or a budget of tokens for each source."""

    share: float  # of the run's examples; 0 where budgets say how long the stage is
    shares: tuple[float, ...]
    budgets: tuple[int, ...] | None
    mean_tokens: float  # of an example of this stage, about


@dataclass(frozen=True, slots=True)
class MixturePlan:
    """The order, and what was asked of it."""

    names: tuple[str, ...]
    asked: tuple[AskedStage, ...]
    mixture: Mixture
    tokens: tuple[tuple[int, ...], ...]  # of each stage and source

    def account(self) -> list[dict[str, Any]]:
        """What each stage holds, in rows and tokens, as data.json tells it."""
        return [self._stage(number) for number in range(len(self.asked))]

    def _stage(self, number: int) -> dict[str, Any]:
        counts, tokens = self.mixture.stages[number].counts, self.tokens[number]
        before = self.mixture.drawn(number)
        sources = {
            name: {
                "asked": self.asked[number].shares[k],
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


def ask(config: DataConfig, names: Sequence[str], examples: Sequence[Examples]) -> list[AskedStage]:
    """The stages as the settings have them, or one stage with the sources' own weights."""
    sizes = [len(each) for each in examples]
    means = [float(each.num_tokens.mean()) if len(each) else 1.0 for each in examples]
    own = {name: source.weight for name, source in config.sources.items()}
    budgets = {name: source.tokens for name, source in config.sources.items() if source.tokens is not None}
    stages = config.stages or (StageConfig(tokens=budgets) if budgets else StageConfig(share=1.0),)
    asked: list[AskedStage] = []
    for i, stage in enumerate(stages):
        where = f"data.stages.{i}" if config.stages else "data.sources"
        given = own if stage.weights is None else dict(stage.weights)
        shares = normalized_weights(names, sizes, stage.tokens or given, where, config.cap, config.temperature)
        wanted = tuple((stage.tokens or {}).get(name, 0) for name in names) if stage.tokens else None
        per_example = shares if config.shares_of == "examples" and not wanted else _per_example(shares, means)
        mean = sum(weight * mean for weight, mean in zip(per_example, means, strict=True))
        asked.append(AskedStage(stage.share or 0.0, shares, wanted, mean))
    return asked


def plan_mixture(
    config: DataConfig,
    names: Sequence[str],
    examples: Sequence[Examples],
    asked: Sequence[AskedStage],
    lengths: Sequence[int],
    seed: int,
) -> MixturePlan:
    """The whole order. `lengths` are examples of each stage, for those that have no budget."""
    sizes = [len(each) for each in examples]
    count = TokenCount([each.num_tokens for each in examples], Order(sizes, seed))
    drawn = np.zeros(len(sizes), np.int64)
    stages: list[MixtureStage] = []
    tokens: list[tuple[int, ...]] = []
    for stage, length in zip(asked, lengths, strict=True):
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
    return MixturePlan(tuple(names), tuple(asked), Mixture(sizes, stages, seed), tuple(tokens))


class TokenCount:
    """Tokens of the rows that a source gives from one draw to another. Sums, not rows, are kept."""

    def __init__(self, tokens: Sequence[np.ndarray], order: Order) -> None:
        self.tokens, self.order = tokens, order
        self.totals = [int(each.sum()) for each in tokens]

    def __call__(self, source: int, start: int, stop: int) -> int:
        """From draw `start` up to `stop`; negative when `stop` comes first."""
        if stop < start:
            return -self(source, stop, start)
        size = len(self.tokens[source])
        if not size or start == stop:
            return 0
        # Whole passes hold every row once, in whatever order.
        first, last = -(-start // size) * size, stop // size * size
        if first > last:
            return self._walk(source, start, stop)
        passes = (last - first) // size
        return self._walk(source, start, first) + passes * self.totals[source] + self._walk(source, last, stop)

    def _walk(self, source: int, start: int, stop: int) -> int:
        return sum(int(self.tokens[source][rows].sum()) for rows in self.order.of(source, start, stop))

    def within(self, source: int, start: int, budget: int) -> int:
        """How many draws from `start` on hold so many tokens, to within a row or so."""
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
        means = [total / max(len(each), 1) or 1.0 for total, each in zip(self.totals, self.tokens, strict=True)]
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
    """Weights over examples that give these shares of tokens: a source of long rows needs fewer of them."""
    each = [share / mean for share, mean in zip(shares, means, strict=True)]
    return tuple(value / sum(each) for value in each)


def _refuse_repeats(config: DataConfig, names: Sequence[str], sizes: Sequence[int], drawn: np.ndarray) -> None:
    for name, size, count in zip(names, sizes, drawn.tolist(), strict=True):
        most = config.sources[name].repeats
        if most is not None and count > most * size:
            raise ConfigError(
                f"data.sources.{name}: the plan passes {count / size:.2f} times over its {size} rows, more than "
                f"repeats={most:g}. Lower its share, shorten the run, add rows, or raise repeats"
            )

"""The input and the result of `ranking`; the result is the shape of RUN/ranking.json, which the report reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from planish.base.errors import DataError
from planish.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Scored:
    """One comparison of K >= 2 answers with a score for each. Lists that hold a number a pair are in the order of `pairs`."""

    source: str
    name: str  # its origin: "file row 12"
    prompt: str  # the same for all comparisons of one prompt
    group: str
    annotator: str
    ranks: tuple[int, ...]  # [K]; 0 is best, equal numbers are a tie
    scores: tuple[float, ...]  # [K]; the difference of two is the log-odds that the model gives
    num_tokens: tuple[int, ...]  # [K]
    given: tuple[float, ...] = ()  # [K], the annotator's own scores, or none
    # [pairs], P(better is preferred) where it is known: to one who sees what the model sees, so not which annotator judges
    p: tuple[float, ...] = ()
    completions: tuple[str, ...] = ()  # [K], the same for the same text; without it repeated judgements are not found

    def __post_init__(self) -> None:
        num = len(self.ranks)
        sizes = {"scores": (num,), "num_tokens": (num,), "given": (0, num), "completions": (0, num)}
        sizes["p"] = (0, len(self.pairs))
        for name, expected in sizes.items():
            if (found := len(getattr(self, name))) not in expected:
                raise DataError(f"{self.name}: {found} {name} for {num} ranks, expected {expected[-1]}")
        if num < 2 or not all(map(math.isfinite, (*self.scores, *self.given))):
            raise DataError(f"{self.name}: ranks {self.ranks}, scores {self.scores}, given {self.given}: expected two or "
                            "more ranks and finite numbers")  # fmt: skip
        if not all(0 <= p <= 1 for p in self.p):
            raise DataError(f"{self.name}: p is {self.p}, expected probabilities")

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(better, worse) for each two answers that are not tied, as in data.rows.Comparison."""
        ranks = self.ranks
        return [(w, r) for w in range(len(ranks)) for r in range(len(ranks)) if ranks[w] < ranks[r]]


# The result: the shape of the JSON, see `ranking`


@dataclass(frozen=True, slots=True)
class Known:
    """The best possible scores on the pairs whose probability p is known: `ceiling` E[max(p, 1 - p)] is their accuracy,
    `entropy` E[-p ln p - (1 - p) ln(1 - p)] their log loss. `accuracy` and `log_loss` are the model's on those pairs."""

    pairs: int
    prompts: int
    accuracy: Estimate
    log_loss: Estimate
    ceiling: Estimate
    entropy: Estimate


@dataclass(frozen=True, slots=True)
class Repeated:
    """Two bounds of that ceiling, from pairs of answers that two or more named annotators judged.

    `leave_one_out`: how often a vote agrees with the majority of the other people's votes (a tied one counts half). The
    others' majority may be wrong, so its expectation is at or below E[max(p, 1 - p)]; with two votes it is their agreement.
    `plug_in`: how often a vote agrees with the majority of all, itself included: at or above, for the majority follows the
    votes it is judged by. Both near the ceiling as votes grow. This takes votes on a pair as independent given the pair.
    """

    votes: int
    judged: int  # pairs of answers
    prompts: int
    accuracy: Estimate  # the model's, over these votes
    leave_one_out: Estimate
    plug_in: Estimate


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Pairs of about equal predicted probability, from `low` to `high`; `share` of the weight, `predicted` is the mean."""

    low: float
    high: float
    pairs: int
    share: float
    predicted: float
    right: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """`bins` are of equal weight, but equal predictions share one. `ece`, the mean of |right - predicted| weighted by share,
    is above 0 by chance alone: for a calibrated model by about `ece_by_chance`, or more where pairs are not independent.
    `slope` is b in P = sigmoid(b * score difference): 1 if calibrated, below 1 if too sure, None if no estimate is finite.
    """

    bins: list[CalibrationBin]
    ece: float
    ece_by_chance: float
    slope: Estimate | None


@dataclass(frozen=True, slots=True)
class LengthBin:
    """Pairs in which one answer is `low` to `high` tokens longer, `tokens` on average; `difference` is its higher score."""

    low: int
    high: int
    pairs: int
    tokens: float
    difference: Estimate


@dataclass(frozen=True, slots=True)
class LengthCorrelation:
    """Correlations of score difference with length difference; None where either is always 0. `longer` is the accuracy of
    choosing the longer answer, equal lengths counted half."""

    pearson: Estimate | None
    spearman: Estimate | None
    longer: Estimate
    bins: list[LengthBin]


@dataclass(frozen=True, slots=True)
class PairGroup:
    """Accuracy within a part of the pairs. A part by size has `low` and `high`; `ceiling` is E[max(p, 1 - p)] if known."""

    name: str
    low: float | None
    high: float | None
    comparisons: int
    pairs: int
    prompts: int
    accuracy: Estimate
    ceiling: float | None


@dataclass(frozen=True, slots=True)
class Parts:
    source: list[PairGroup]
    group: list[PairGroup]  # of annotators; empty where none is known
    given: list[PairGroup]  # by the distance of the annotator's own scores; named by source, whose scale it is
    predicted: list[PairGroup]  # by the distance of the model's scores, in quarters
    annotator: list[PairGroup] = field(default_factory=list[PairGroup])  # where there are a few of them


@dataclass(frozen=True, slots=True)
class Interval:
    level: float
    draws: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingResult:
    comparisons: int  # with at least one pair
    tied: int  # comparisons without
    pairs: int
    prompts: int
    accuracy: Estimate  # equal scores count half
    log_loss: Estimate  # mean of -ln sigmoid(score difference), in nats
    log_loss_by_chance: float
    known: Known | None
    repeated: Repeated | None
    calibration: Calibration
    length: LengthCorrelation
    by: Parts
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingEvaluation(RankingResult):
    """One entry of a run's ranking.json: a set of comparisons, such as "held_out", after so many steps."""

    step: int
    name: str

"""Simulated annotators, whose errors and biases are settings and can therefore be looked for in what is learnt from them.

Annotator i, shown y first and y' second, chooses y with probability

    P_i(y > y') = eps/2 + (1 - eps) * sigmoid(s * [dU_c + l * d|y|/sigma_L + v_g * d phi + kappa * d a] + o)

where U_c is the gold utility with the terms for wrong and fabricated claims multiplied by c * (1 - rho * a(y)): errors are
seen less often, least of all in assertive text (Hosking et al. 2024). Like AlpacaFarm (Dubois et al. 2023), but with every
bias known.

The formula is drawn from by one mechanism for any number K of answers. Each answer's score, s * [...] plus its share of o,
gets independent Gumbel noise, and the answers are ranked by the sum: the Plackett-Luce model (Luce 1959, Yellott 1977). The
difference of two Gumbel variables is logistic, so each two answers are ordered by the sigmoid above, whatever else is
ranked beside them. With probability eps the annotator lapses and the whole order is random. The bias o falls off evenly
from the first shown to the last: answers i < j of K differ by o * (j - i) / (K - 1), which for K = 2 is o.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from planish.base.errors import ConfigError, DataError
from planish.base.random import numpy_generator
from planish.world.gold.verdict import Verdict

# What an annotator's score of an answer is linear in. `merit` is the gold utility without its errors.
TRAITS = ("merit", "errors", "assertive errors", "length", "marker", "assertive", "likelihood")
ERRORS = ("wrong", "fabricated")
DECIMALS = (
    9  # an exact annotator's scores closer than this are equal: the order in which terms are added decides nothing
)


@dataclass(frozen=True, slots=True)
class Annotator:
    """One annotator's settings; the letters are the formula's. Utilities and the biases on them are in units of one claim."""

    name: str
    group: str
    see_errors: float = 1.0  # c: the share of an error's cost that is noticed
    blind_to_assertive: float = 0.0  # rho: how much of that is lost where the answer is assertive
    length: float = 0.0  # l: for each standard deviation of length
    marker: float = 0.0  # v_g: for a blue closing marker (+1), against a green one (-1)
    assertive: float = 0.0  # kappa: for assertive text as such
    likelihood: float = 0.0  # a judge that is a model prefers what it would say: for each nat of mean log-probability
    noise: float = 0.0  # eps: how often the choice has nothing to do with the answers
    position: float = 0.0  # o: log-odds for what is shown first; not multiplied by s
    scale: float = 1.0  # s
    exact: bool = False  # no Gumbel noise: what scores higher always wins, and equal scores are a tie

    def __post_init__(self) -> None:
        for field in ("see_errors", "blind_to_assertive", "noise"):
            if not 0 <= getattr(self, field) <= 1:
                raise ConfigError(f"annotator {self.name}: {field} is {getattr(self, field)}, expected 0 to 1")
        if not 0 < self.scale < math.inf:
            raise ConfigError(f"annotator {self.name}: scale is {self.scale}, expected a number above 0")
        for field in ("length", "marker", "assertive", "likelihood", "position"):
            if not math.isfinite(getattr(self, field)):
                raise ConfigError(f"annotator {self.name}: {field} is {getattr(self, field)}, expected a finite number")

    @property
    def weights(self) -> np.ndarray:
        """What each of TRAITS adds to the score; float64 [len(TRAITS)]."""
        seen = self.see_errors
        biases = (self.length, self.marker, self.assertive, self.likelihood)
        return self.scale * np.array([1.0, seen, -seen * self.blind_to_assertive, *biases])


@dataclass(frozen=True, slots=True)
class Vote:
    """`chose_first` is None for the tie of an exact annotator."""

    annotator: str
    group: str
    chose_first: bool | None


@dataclass(frozen=True, slots=True)
class AnnotatorRanking:
    """`ranks[k]` is the place of the k-th answer shown: 0 is best, equal numbers are a tie (as in data.rows.Comparison)."""

    annotator: str
    group: str
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """Annotators, and how many of them judge an item. `length_scale` is sigma_L: the standard deviation of lengths, in tokens.

    Who judges an item, and what chance does to their judgement, depends on (seed, pool, annotator, place) alone. Where
    `copies_of` is not empty, all report what one judge of that name says.

    >>> make_pool("oracle", length_scale=10).compare(right, wrong, "prompt", 3)
    [Vote(annotator='oracle-00', group='oracle', chose_first=True)]
    """

    name: str
    annotators: tuple[Annotator, ...]
    length_scale: float
    num_per_item: int = 1
    seed: int = 0
    copies_of: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.length_scale < math.inf:
            raise ConfigError(f"pool {self.name}: length_scale is {self.length_scale}, expected tokens above 0")
        if not 1 <= self.num_per_item <= len(self.annotators):
            raise ConfigError(
                f"pool {self.name}: num_per_item is {self.num_per_item}, expected 1 to its {len(self.annotators)} annotators"
            )
        if len({annotator.name for annotator in self.annotators}) < len(self.annotators):
            raise ConfigError(f"pool {self.name}: two annotators have one name, and would share their noise")

    def with_settings(self, **settings: Any) -> Pool:
        """The same pool with these settings of every annotator changed: `pool.with_settings(length=0.3)`."""
        return replace(self, annotators=tuple(replace(annotator, **settings) for annotator in self.annotators))

    def copycats(self, num_annotators: int) -> Pool:
        """One annotator of this pool, drawn once, under many names: they agree always, and are as biased as that one."""
        drawn = int(numpy_generator(self.seed, "copied", self.name).integers(len(self.annotators)))
        judge = self.annotators[drawn]
        copies = tuple(replace(judge, name=f"copycats-{i:02d}") for i in range(num_annotators))
        return replace(self, name="copycats", annotators=copies, copies_of=judge.name)

    def compare(
        self, first: Verdict, second: Verdict, *place: str | int, logprobs: Sequence[float] | None = None
    ) -> list[Vote]:
        """Which of two answers, in the order shown, each annotator of this item chooses: `rank` with K = 2."""
        votes: list[Vote] = []
        for ranking in self.rank((first, second), *place, logprobs=logprobs):
            above, below = ranking.ranks
            votes.append(Vote(ranking.annotator, ranking.group, None if above == below else above < below))
        return votes

    def rank(
        self, verdicts: Sequence[Verdict], *place: str | int, logprobs: Sequence[float] | None = None
    ) -> list[AnnotatorRanking]:
        """How each annotator of this item ranks K >= 2 answers, given in the order shown.

        `logprobs` are K mean log-probabilities per token, in nats, under the judge. An annotator that weighs them refuses
        to judge without (ConfigError).
        """
        if len(verdicts) < 2:
            raise DataError(f"pool {self.name} at {place}: {len(verdicts)} answers to rank, expected 2 or more")
        early = 1 - np.arange(len(verdicts)) / (len(verdicts) - 1)
        rankings: list[AnnotatorRanking] = []
        for annotator in self._judges(place):
            score = scores((annotator,), verdicts, self.length_scale, logprobs)[:, 0] + annotator.position * early
            chance = numpy_generator(self.seed, "vote", self.name, self.copies_of or annotator.name, *place)
            if chance.random() < annotator.noise:
                score = chance.random(len(verdicts))
            elif annotator.exact:
                score = score.round(DECIMALS)
            else:
                score = score + chance.gumbel(size=len(verdicts))
            ranks = np.unique(-score, return_inverse=True)[1]
            rankings.append(AnnotatorRanking(annotator.name, annotator.group, tuple(int(rank) for rank in ranks)))
        return rankings

    def _judges(self, place: tuple[str | int, ...]) -> tuple[Annotator, ...]:
        if self.num_per_item == len(self.annotators):
            return self.annotators
        order = numpy_generator(self.seed, "judges", self.name, *place).permutation(len(self.annotators))
        return tuple(self.annotators[int(i)] for i in order[: self.num_per_item])


def traits(verdicts: Sequence[Verdict], length_scale: float, logprobs: Sequence[float] | None = None) -> np.ndarray:
    """What annotators see of each answer: float64 [len(verdicts), len(TRAITS)]. The likelihood is 0 without `logprobs`."""
    if logprobs is not None and (len(logprobs) != len(verdicts) or not np.isfinite(logprobs).all()):
        raise DataError(f"{len(verdicts)} answers with logprobs {list(logprobs)}: expected one finite number for each")
    rows: list[tuple[float, ...]] = []
    for k, verdict in enumerate(verdicts):
        errors = sum(verdict.terms.get(term, 0.0) for term in ERRORS)
        style = (verdict.num_tokens / length_scale, verdict.marker, verdict.assertive)
        likelihood = 0.0 if logprobs is None else logprobs[k]
        rows.append((verdict.utility - errors, errors, errors * verdict.assertive, *style, likelihood))
    return np.array(rows)


def scores(
    annotators: Sequence[Annotator],
    verdicts: Sequence[Verdict],
    length_scale: float,
    logprobs: Sequence[float] | None = None,
) -> np.ndarray:
    """s * [...] of each answer for each annotator, without position or noise: float64 [len(verdicts), len(annotators)]."""
    asking = [annotator.name for annotator in annotators if annotator.likelihood]
    if asking and logprobs is None:
        raise ConfigError(
            f"annotator {asking[0]} weighs how likely an answer is: give logprobs (mean nats per token), or leave that "
            "bias out with pool.with_settings(likelihood=0.0)"
        )
    return traits(verdicts, length_scale, logprobs) @ np.stack([annotator.weights for annotator in annotators], axis=1)


def probability(
    annotator: Annotator, first: Verdict, second: Verdict, length_scale: float, logprobs: Sequence[float] | None = None
) -> float:
    """P(first > second) by the formula, `first` shown first. An exact annotator's tie counts as one half."""
    score = scores((annotator,), (first, second), length_scale, logprobs)
    won, tied, _ = outcomes((annotator,), score[:1] - score[1:] + annotator.position)
    return float((won + tied / 2).item())


def outcomes(annotators: Sequence[Annotator], gaps: np.ndarray) -> np.ndarray:
    """The probabilities that the first is chosen, that they tie, and that the second is: [3, *gaps.shape], gaps [..., A]."""
    noise = np.array([annotator.noise for annotator in annotators])
    exact = np.array([annotator.exact for annotator in annotators])
    rounded = gaps.round(DECIMALS)
    sigmoid = (1 + np.tanh(gaps / 2)) / 2  # does not overflow
    won = noise / 2 + (1 - noise) * np.where(exact, rounded > 0, sigmoid)
    tied = (1 - noise) * (exact & (rounded == 0))
    return np.stack([won, tied, 1 - won - tied])

"""Simulated annotators, with known errors and biases that can be looked for in models trained on their judgements.

Annotator i, shown y first and y' second, chooses y with probability

    P_i(y > y') = eps/2 + (1 - eps) * sigmoid(s * [dU_c + l * d|y|/sigma_L + v_g * d phi + kappa * d a] + o)

where U_c is the gold utility with the terms for wrong and fabricated claims multiplied by c * (1 - rho * a(y)): errors are
noticed less often, least of all in assertive text (Hosking et al. 2024). As in AlpacaFarm (Dubois et al. 2023), but with
every bias known.

Any number K of answers is ranked by the same mechanism. Each answer's score, s * [...] plus its share of o, gets independent
Gumbel noise, and the answers are ranked by the sum: the Plackett-Luce model (Luce 1959, Yellott 1977). The difference of
two Gumbel variables is logistic, so any two answers are ordered by the sigmoid above, whatever the others are. With
probability eps the annotator lapses and the whole order is random. The bias o decreases linearly from the first answer
shown to the last: answers i < j of K differ by o * (j - i) / (K - 1), which for K = 2 is o.
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

# The features of an answer that an annotator's score is linear in. `merit` is the gold utility without errors.
TRAITS = ("merit", "errors", "assertive errors", "length", "marker", "assertive", "likelihood")
ERRORS = ("wrong", "fabricated")
DECIMALS = 9  # of an exact annotator's scores, so that they do not depend on the order of additions


@dataclass(frozen=True, slots=True)
class Annotator:
    """The settings of an annotator, with the letters of the formula. Utilities and biases are in units of one claim."""

    name: str
    group: str
    see_errors: float = 1.0  # c: the share of an error's cost that is noticed
    blind_to_assertive: float = 0.0  # rho: the share of that which is lost in assertive answers
    length: float = 0.0  # l: for each standard deviation of length
    marker: float = 0.0  # v_g: for a blue closing marker (+1), against a green one (-1)
    assertive: float = 0.0  # kappa: for assertive text
    likelihood: float = 0.0  # of a judge that is a model: for each nat of mean log-probability
    noise: float = 0.0  # eps: the share of random choices
    position: float = 0.0  # o: log-odds for the answer shown first; not multiplied by s
    scale: float = 1.0  # s
    exact: bool = False  # no Gumbel noise: the higher score always wins, and equal scores are a tie

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
        """Weights of TRAITS in the score; float64 [len(TRAITS)]."""
        seen = self.see_errors
        biases = (self.length, self.marker, self.assertive, self.likelihood)
        return self.scale * np.array([1.0, seen, -seen * self.blind_to_assertive, *biases])


@dataclass(frozen=True, slots=True)
class Vote:
    """A choice between two answers. `chose_first` is None for the tie of an exact annotator."""

    annotator: str
    group: str
    chose_first: bool | None


@dataclass(frozen=True, slots=True)
class AnnotatorRanking:
    """A ranking. `ranks[k]` is that of the k-th answer shown: 0 is best, equal numbers are a tie."""

    annotator: str
    group: str
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """Annotators, `num_per_item` of whom judge an item. `length_scale` is sigma_L: the standard deviation of lengths, in
    tokens.

    The annotators of an item and the noise of their judgements depend on (seed, pool, annotator, key) only. If `copies_of`
    is not empty, all report the judgement of the one annotator of that name.

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
            raise ConfigError(f"pool {self.name}: two annotators have the same name, and would share their noise")

    def with_settings(self, **settings: Any) -> Pool:
        """The pool with these settings of all annotators changed: `pool.with_settings(length=0.3)`."""
        return replace(self, annotators=tuple(replace(annotator, **settings) for annotator in self.annotators))

    def copycats(self, num_annotators: int) -> Pool:
        """One random annotator of this pool under many names: they always agree, and share its biases."""
        drawn = int(numpy_generator(self.seed, "copied", self.name).integers(len(self.annotators)))
        judge = self.annotators[drawn]
        copies = tuple(replace(judge, name=f"copycats-{i:02d}") for i in range(num_annotators))
        return replace(self, name="copycats", annotators=copies, copies_of=judge.name)

    def compare(
        self, first: Verdict, second: Verdict, *key: str | int, logprobs: Sequence[float] | None = None
    ) -> list[Vote]:
        """The votes of this item's annotators between two answers in the order shown: `rank` with K = 2."""
        votes: list[Vote] = []
        for ranking in self.rank((first, second), *key, logprobs=logprobs):
            above, below = ranking.ranks
            votes.append(Vote(ranking.annotator, ranking.group, None if above == below else above < below))
        return votes

    def rank(
        self, verdicts: Sequence[Verdict], *key: str | int, logprobs: Sequence[float] | None = None
    ) -> list[AnnotatorRanking]:
        """The rankings of K >= 2 answers, in the order shown, by this item's annotators.

        `logprobs` are K mean log-probabilities per token, in nats, under the judge. An annotator that weighs them cannot
        judge without (ConfigError).
        """
        if len(verdicts) < 2:
            raise DataError(f"pool {self.name} at {key}: {len(verdicts)} answers to rank, expected 2 or more")
        early = 1 - np.arange(len(verdicts)) / (len(verdicts) - 1)
        rankings: list[AnnotatorRanking] = []
        for annotator in self._judges(key):
            score = scores((annotator,), verdicts, self.length_scale, logprobs)[:, 0] + annotator.position * early
            rng = numpy_generator(self.seed, "vote", self.name, self.copies_of or annotator.name, *key)
            if rng.random() < annotator.noise:
                score = rng.random(len(verdicts))
            elif annotator.exact:
                score = score.round(DECIMALS)
            else:
                score = score + rng.gumbel(size=len(verdicts))
            ranks = np.unique(-score, return_inverse=True)[1]
            rankings.append(AnnotatorRanking(annotator.name, annotator.group, tuple(int(rank) for rank in ranks)))
        return rankings

    def _judges(self, key: tuple[str | int, ...]) -> tuple[Annotator, ...]:
        if self.num_per_item == len(self.annotators):
            return self.annotators
        order = numpy_generator(self.seed, "judges", self.name, *key).permutation(len(self.annotators))
        return tuple(self.annotators[int(i)] for i in order[: self.num_per_item])


def traits(verdicts: Sequence[Verdict], length_scale: float, logprobs: Sequence[float] | None = None) -> np.ndarray:
    """TRAITS of each answer: float64 [len(verdicts), len(TRAITS)]. The likelihood is 0 without `logprobs`."""
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
    """Scores s * [...] without position and noise: float64 [len(verdicts), len(annotators)]."""
    weighing = [annotator.name for annotator in annotators if annotator.likelihood]
    if weighing and logprobs is None:
        raise ConfigError(
            f"annotator {weighing[0]} weighs the likelihood of answers: give logprobs (mean nats per token), or leave that "
            "bias out with pool.with_settings(likelihood=0.0)"
        )
    return traits(verdicts, length_scale, logprobs) @ np.stack([annotator.weights for annotator in annotators], axis=1)


def probability(
    annotator: Annotator, first: Verdict, second: Verdict, length_scale: float, logprobs: Sequence[float] | None = None
) -> float:
    """P(first > second) by the formula, with `first` shown first. A tie of an exact annotator counts as one half."""
    score = scores((annotator,), (first, second), length_scale, logprobs)
    won, tied, _ = outcomes((annotator,), score[:1] - score[1:] + annotator.position)
    return float((won + tied / 2).item())


def outcomes(annotators: Sequence[Annotator], gaps: np.ndarray) -> np.ndarray:
    """The probabilities of the first, of a tie and of the second: [3, *gaps.shape], gaps [..., A]."""
    noise = np.array([annotator.noise for annotator in annotators])
    exact = np.array([annotator.exact for annotator in annotators])
    rounded = gaps.round(DECIMALS)
    sigmoid = (1 + np.tanh(gaps / 2)) / 2  # does not overflow
    won = noise / 2 + (1 - noise) * np.where(exact, rounded > 0, sigmoid)
    tied = (1 - noise) * (exact & (rounded == 0))
    return np.stack([won, tied, 1 - won - tied])

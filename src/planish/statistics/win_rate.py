"""How often one system's answer is preferred to a baseline's on the same prompt, as it is and at equal length. Statistics of
numbers alone; no model is run here.

Verdicts on one prompt are not independent, so prompts are the sample: each weighs 1, whatever the number of verdicts on it,
and every interval is clustered by prompt.

Length-controlled win rate (Dubois et al. 2024, arXiv 2404.04475): judges like long answers, so a logistic model is fitted
of the verdict on the difference in length, and asked what it would be at none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from planish.base.errors import DataError
from planish.statistics.ranking_result import Estimate

LEVEL = 0.95
SUPPORT = 0.05  # share of the prompts on either side of equal length, or at it
STEPS = 100  # of Newton's method, which needs ten or so
PRIOR = (
    10.0  # standard deviation of each coefficient: far beyond any that data show, and finite where one side wins all
)


@dataclass(frozen=True, slots=True)
class WinRate:
    """`rate` is P(win) + P(tie)/2, each prompt weighing 1; the counts are of single verdicts."""

    rate: Estimate
    wins: int
    ties: int
    losses: int
    prompts: int


def win_rate(outcomes_N: np.ndarray, prompts_N: np.ndarray, level: float = LEVEL) -> WinRate:
    """From N verdicts: 1 for a win, 0.5 for a tie, 0 for a loss; `prompts_N` says on which prompt, by any name.

    The interval is that of Agresti and Coull (1998) on the mean verdicts of the prompts: z^2/2 wins and as many losses, one
    prompt each, are added, and then mean and variance taken as usual. With one verdict a prompt and no ties it is theirs to
    the letter, and has the middle of Wilson's (1927). It needs no variance in the data: where all were won or all tied it
    is no point but as wide as so many prompts allow. Ties narrow it as in the paired intervals of Agresti and Min (2005).
    """
    outcomes_N = np.asarray(outcomes_N, np.float64)
    if outcomes_N.size == 0 or not np.isin(outcomes_N, (0.0, 0.5, 1.0)).all():
        raise DataError(f"{outcomes_N.size} outcomes: expected one or more, each 1 (win), 0.5 (tie) or 0 (loss)")
    means_M = _prompt_means(outcomes_N, prompts_N)
    wins, ties, losses = (int((outcomes_N == value).sum()) for value in (1.0, 0.5, 0.0))
    return WinRate(_share(means_M, level), wins, ties, losses, len(means_M))


def length_controlled(
    outcomes_N: np.ndarray,
    longer_N: np.ndarray,
    prompts_N: np.ndarray,
    difficulty_N: np.ndarray | None = None,
    level: float = LEVEL,
) -> Estimate | None:
    """The win rate at equal length, from the model of AlpacaEval 2 (Dubois et al. 2024, eq. 3):

        logit P(win) = theta + phi * tanh(longer / sd(longer)) + psi * difficulty

    at phi = 0, averaged over the prompts. `longer_N` is the length of the system's answer less that of the baseline's, in
    any unit. Ties are half a win. `difficulty_N` is a number for each prompt (see `difficulty`); of two systems alone it is
    not identified, since a prompt's own verdict would be its only witness, and theta then stands for all prompts.

    The interval is that of `win_rate` with each prompt's mean verdict replaced by the rate plus the prompt's influence on it:
    the delta method, clustered by prompt. Where lengths never differ it gives what `win_rate` does.

    None where one system is the longer nearly always: less than SUPPORT of the weight then lies on one side of no difference,
    and what would be there is not in the data. The curve goes on all the same, to a rate near 0 or 1 with a narrow interval.
    """
    outcomes_N = np.asarray(outcomes_N, np.float64)
    longer_N = np.asarray(longer_N, np.float64)
    _, place_N, counts_M = np.unique(prompts_N, return_inverse=True, return_counts=True)
    weight_N = 1.0 / counts_M[place_N]
    if min(weight_N[longer_N >= 0].sum(), weight_N[longer_N <= 0].sum()) < SUPPORT * len(counts_M):
        return None
    spread = float(longer_N.std()) or 1.0
    columns = [np.ones_like(outcomes_N), np.tanh(longer_N / spread)]
    if difficulty_N is not None:
        columns.append(np.asarray(difficulty_N, np.float64))
    x_NC = np.stack(columns, axis=1)
    beta_C, inverse_CC = _fit(x_NC, outcomes_N, weight_N)
    level_NC = x_NC.copy()
    level_NC[:, 1] = 0.0
    equal_N, fitted_N = _sigmoid(level_NC @ beta_C), _sigmoid(x_NC @ beta_C)
    num = len(counts_M)
    rate = float((weight_N * equal_N).sum() / num)
    slope_C = (weight_N * equal_N * (1 - equal_N)) @ level_NC / num
    pull_N = (outcomes_N - fitted_N) * (x_NC @ (inverse_CC @ slope_C)) * num
    values_M = np.bincount(place_N, weight_N * (equal_N + pull_N))
    return _share(values_M, level, rate)


def difficulty(outcomes: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    """How the other systems fared on the same verdicts, [N], of mean 0: what stands for an instruction's difficulty in the
    model of `name`. AlpacaEval fits one number an instruction to all its systems; leaving `name` out keeps a system's own
    verdicts from explaining themselves. None where there are no others."""
    others = [values for other, values in outcomes.items() if other != name]
    if not others:
        return None
    mean_N = np.mean(others, axis=0)
    return mean_N - mean_N.mean()


def mean_by_prompt(values_N: Sequence[float] | np.ndarray, prompts_N: np.ndarray, level: float = LEVEL) -> Estimate:
    """The mean over prompts of their mean, with its interval: the standard error over prompts times a normal quantile."""
    means_M = _prompt_means(np.asarray(values_N, np.float64), prompts_N)
    mean = float(means_M.mean())
    if len(means_M) < 2:
        return Estimate(mean, None, None)
    half = _quantile(level) * float(means_M.std(ddof=1)) / math.sqrt(len(means_M))
    return Estimate(mean, mean - half, mean + half)


def _prompt_means(values_N: np.ndarray, prompts_N: np.ndarray) -> np.ndarray:
    _, place_N, counts_M = np.unique(prompts_N, return_inverse=True, return_counts=True)
    return np.bincount(place_N, values_N) / counts_M


def _quantile(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _share(values_M: np.ndarray, level: float, value: float | None = None) -> Estimate:
    """See `win_rate`. The mean is always inside: what z^2 added prompts move the middle by is at most half of z^2 parts in
    M + z^2, and what they add to the half-width is at least that."""
    z, num = _quantile(level), len(values_M)
    added, total = z**2 / 2, num + z**2
    middle = (values_M.sum() + added) / total
    squares = ((values_M - middle) ** 2).sum() + added * (middle**2 + (1 - middle) ** 2)
    half = z * math.sqrt(squares) / total
    mean = float(values_M.mean()) if value is None else value
    return Estimate(mean, max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def _fit(x_NC: np.ndarray, outcomes_N: np.ndarray, weight_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients that maximise the weighted log-likelihood under the prior, and the inverse of the information there."""
    ridge = 1 / PRIOR**2
    beta_C = np.zeros(x_NC.shape[1])
    height = _height(beta_C, x_NC, outcomes_N, weight_N)
    information_CC = np.eye(len(beta_C))
    for _ in range(STEPS):
        fitted_N = _sigmoid(x_NC @ beta_C)
        information_CC = (x_NC.T * (weight_N * fitted_N * (1 - fitted_N))) @ x_NC + ridge * np.eye(len(beta_C))
        step_C = np.linalg.solve(information_CC, x_NC.T @ (weight_N * (outcomes_N - fitted_N)) - ridge * beta_C)
        while (reached := _height(beta_C + step_C, x_NC, outcomes_N, weight_N)) < height - 1e-12:
            step_C = step_C / 2  # Newton may overshoot
        beta_C, height = beta_C + step_C, reached
        if np.abs(step_C).max() <= 1e-10:
            break
    return beta_C, np.linalg.inv(information_CC)


def _height(beta_C: np.ndarray, x_NC: np.ndarray, outcomes_N: np.ndarray, weight_N: np.ndarray) -> float:
    logits_N = x_NC @ beta_C
    likelihood = outcomes_N * logits_N - np.logaddexp(0.0, logits_N)
    return float((weight_N * likelihood).sum() - (beta_C**2).sum() / (2 * PRIOR**2))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -x))


# What is found. These are the shape of OUT/comparison.json, which the report reads.


@dataclass(frozen=True, slots=True)
class Kind:
    """Gold utility of answers to prompts of one kind; `terms` are the mean of each part of it, `labels` counts."""

    prompts: int
    utility: Estimate
    terms: dict[str, float]
    labels: dict[str, int]


@dataclass(frozen=True, slots=True)
class System:
    """One system over all prompts. What compares it to the baseline is None for the baseline itself, and `length_controlled`
    also where it cannot be told."""

    name: str
    path: str
    against: WinRate | None
    length_controlled: Estimate | None
    split: int  # verdicts that changed with the order of the answers, and count as ties; of a served judge
    unread: int  # verdicts in which the judge named no answer, and that count as ties; of a served judge
    score: Estimate | None  # the judge's; a served one gives none
    gain: Estimate | None  # score less that of the baseline on the same prompt
    length: Estimate  # tokens of an answer, by the baseline's tokenizer
    ended: float  # share of answers that ended by themselves
    kl: Estimate | None  # to the reference, in nats an answer
    kl_at_most: float | None  # of best of n, where the baseline is the reference
    kinds: dict[str, Kind]  # of the gold judge
    loss: Estimate | None = None  # nats a token of held-out documents


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """`systems` are in the order of the settings, the baseline among them."""

    baseline: str
    prompts_file: str
    prompts: int
    num_samples: int
    judge: dict[str, Any]
    sampling: dict[str, Any]
    reference: str | None
    level: float
    systems: list[System]

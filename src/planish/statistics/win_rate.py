"""How often one system's answer is preferred to a baseline's on the same prompt: as it is, and at equal length.

Verdicts on one prompt are not independent, so prompts are the sample: each weighs 1, however many verdicts it has, and every
interval is clustered by prompt.

Length-controlled win rate (Dubois et al. 2024, arXiv 2404.04475): judges like long answers, so a logistic model of the verdict
is fitted to the difference in length, and read where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from planish.base.errors import DataError
from planish.statistics.estimate import LEVEL, Estimate, cluster_means, quantile
from planish.statistics.logistic import Likelihood, fit, sigmoid

SUPPORT = 0.05  # share of the prompts on either side of equal length, or at it
PRIOR = 10.0  # standard deviation of each coefficient: far beyond what data show, and finite where one side wins all


@dataclass(frozen=True, slots=True)
class WinRate:
    """`rate` is P(win) + P(tie)/2, each prompt weighing 1; the counts are of single verdicts."""

    rate: Estimate
    wins: int
    ties: int
    losses: int
    prompts: int


def win_rate(outcomes_N: np.ndarray, prompts_N: np.ndarray, level: float = LEVEL) -> WinRate:
    """From N verdicts: 1 for a win, 0.5 for a tie, 0 for a loss; `prompts_N` names the prompt of each.

    The interval is that of Agresti and Coull (1998) on the mean verdicts of the prompts: z^2/2 wins and as many losses, one
    prompt each, are added, then mean and variance are taken as usual. With one verdict a prompt and no ties it is exactly
    theirs, and has the middle of Wilson's (1927). It needs no variance in the data: where all were won or all tied it is as
    wide as so many prompts allow. Ties narrow it as in the paired intervals of Agresti and Min (2005).
    """
    outcomes_N = np.asarray(outcomes_N, np.float64)
    if outcomes_N.size == 0 or not np.isin(outcomes_N, (0.0, 0.5, 1.0)).all():
        raise DataError(f"{outcomes_N.size} outcomes: expected one or more, each 1 (win), 0.5 (tie) or 0 (loss)")
    means_M = cluster_means(outcomes_N, prompts_N)
    wins, ties, losses = (int((outcomes_N == value).sum()) for value in (1.0, 0.5, 0.0))
    return WinRate(_agresti_coull(means_M, level), wins, ties, losses, len(means_M))


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
    any unit. Ties are half a win. `difficulty_N` is a number for each prompt (see `difficulty`); with two systems alone it is
    not identified, since a prompt's own verdict would be its only witness, and theta covers all prompts.

    The interval is that of `win_rate` with each prompt's mean verdict replaced by the rate plus the prompt's influence on it:
    the delta method, clustered by prompt. Where lengths never differ it gives what `win_rate` does.

    None where one system nearly always writes more: less than SUPPORT of the weight then lies on one side of no difference,
    so the data do not show what would be there, though the curve would give a rate near 0 or 1 with a narrow interval.
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
    fitted = fit(_likelihood(x_NC, outcomes_N, weight_N), len(columns), 1e-10, relative=False)
    assert fitted is not None  # the prior keeps it finite
    equal_NC = x_NC.copy()
    equal_NC[:, 1] = 0.0
    equal_N, fitted_N = sigmoid(equal_NC @ fitted.coefficients_F), sigmoid(x_NC @ fitted.coefficients_F)
    num = len(counts_M)
    rate = float((weight_N * equal_N).sum() / num)
    slope_C = (weight_N * equal_N * (1 - equal_N)) @ equal_NC / num
    influence_N = (outcomes_N - fitted_N) * (x_NC @ (fitted.covariance_FF @ slope_C)) * num
    values_M = np.bincount(place_N, weight_N * (equal_N + influence_N))
    return _agresti_coull(values_M, level, rate)


def difficulty(outcomes: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    """The mean outcome of the other systems on each verdict, [N], less its mean: an instruction's difficulty in the model of
    `name`. AlpacaEval fits one number an instruction to all its systems; leaving `name` out keeps a system's own verdicts
    from explaining themselves. None where there are no others."""
    others = [values for other, values in outcomes.items() if other != name]
    if not others:
        return None
    mean_N = np.mean(others, axis=0)
    return mean_N - mean_N.mean()


def _agresti_coull(values_M: np.ndarray, level: float, value: float | None = None) -> Estimate:
    """See `win_rate`. The mean is always inside: z^2 added prompts move the middle by at most half of z^2 parts in M + z^2,
    and add at least that to the half-width."""
    z, num = quantile(level), len(values_M)
    added, total = z**2 / 2, num + z**2
    middle = (values_M.sum() + added) / total
    squares = ((values_M - middle) ** 2).sum() + added * (middle**2 + (1 - middle) ** 2)
    half = z * math.sqrt(squares) / total
    mean = float(values_M.mean()) if value is None else value
    return Estimate(mean, max(0.0, float(middle - half)), min(1.0, float(middle + half)), num)


def _likelihood(x_NC: np.ndarray, outcomes_N: np.ndarray, weight_N: np.ndarray) -> Callable[[np.ndarray], Likelihood]:
    """Weighted, with the prior on every coefficient."""
    ridge = 1 / PRIOR**2

    def at(beta_C: np.ndarray) -> Likelihood:
        logits_N = x_NC @ beta_C
        fitted_N = sigmoid(logits_N)
        height = (weight_N * (outcomes_N * logits_N - np.logaddexp(0.0, logits_N))).sum()
        return Likelihood(
            float(height - (beta_C**2).sum() / (2 * PRIOR**2)),
            x_NC.T @ (weight_N * (outcomes_N - fitted_N)) - ridge * beta_C,
            (x_NC.T * (weight_N * fitted_N * (1 - fitted_N))) @ x_NC + ridge * np.eye(len(beta_C)),
        )

    return at

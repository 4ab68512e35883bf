"""Calibration: the probabilities that scores imply, sigmoid(score difference), against how often they are right.

Pairs have no order of their own, so the reliability diagram is folded to probabilities from 0.5 up, and the logistic slope goes
through the origin. Its interval is Wald's, with a variance clustered by prompt.
"""

from __future__ import annotations

import math

import numpy as np

from planish.statistics.estimate import LEVEL, Bootstrap, Estimate, quantile
from planish.statistics.logistic import Likelihood, fit, sigmoid
from planish.statistics.ranking_pairs import ScoredPairs, equal_mass
from planish.statistics.ranking_result import Calibration, CalibrationBin

ROUNDING = 1e-5  # size of a difference of scores that float32 makes of equal ones
Z_95 = round(quantile(LEVEL), 6)


def calibration(pairs: ScoredPairs, bootstrap: Bootstrap, num_bins: int) -> Calibration:
    predicted = sigmoid(np.abs(pairs.margin))
    bins: list[CalibrationBin] = []
    chance = 0.0
    for keep in equal_mass(predicted, pairs.weight, num_bins):
        own, q = pairs.take(keep), predicted[keep]
        share = own.weight / pairs.weight.sum()
        right = own.share(own.right, bootstrap)
        mean = float((share * q).sum() / share.sum())
        bins.append(CalibrationBin(float(q.min()), float(q.max()), len(q), float(share.sum()), mean, right))
        # |deviation| of a calibrated model's accuracy: nearly normal, of mean 0
        chance += float(np.sqrt((share**2 * q * (1 - q)).sum() * 2 / math.pi))
    ece = sum(own.share * abs(own.right.value - own.predicted) for own in bins)
    return Calibration(bins, ece, chance, slope(pairs))


def slope(pairs: ScoredPairs) -> Estimate | None:
    """The b that maximizes the mean of ln sigmoid(b * margin); None where none is finite, or margins are rounding."""
    margin, weight = pairs.margin, pairs.weight / pairs.weight.sum()
    if margin.min() >= 0 or margin.max() <= 0:
        return None  # the larger b, or -b, the likelier; or any b is as good
    scale = float(np.sqrt((weight * margin**2).sum()))
    if scale < ROUNDING:  # a policy that is still its reference: a slope of millions, which says nothing
        return None
    x = margin / scale

    def likelihood(b: np.ndarray) -> Likelihood:
        miss = sigmoid(-b * x)
        information = (weight * x**2 * miss * (1 - miss)).sum()
        height = -float((weight * np.logaddexp(0.0, -b * x)).sum())
        return Likelihood(height, np.array([(weight * x * miss).sum()]), np.array([[information]]))

    if (fitted := fit(likelihood, 1)) is None:
        return None  # nearly all are right, and b runs off
    b = float(fitted.coefficients_F[0])
    prompts, place = np.unique(pairs.prompt, return_inverse=True)
    if (num := len(prompts)) < 2:
        return Estimate(b / scale, None, None, num)
    miss = sigmoid(-b * x)
    pull_M = np.bincount(place, weight * x * miss)  # what each prompt adds to the gradient
    information = float((weight * x**2 * miss * (1 - miss)).sum())
    error = math.sqrt(float((pull_M**2).sum()) * num / (num - 1)) / information
    return Estimate(b / scale, (b - Z_95 * error) / scale, (b + Z_95 * error) / scale, num)

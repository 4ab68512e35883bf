"""Signal detection (Green and Swets 1966): what a refusal says of the request that it answers.

An unsafe request is the signal and a refusal the response; the hit rate H is the share of unsafe requests that are refused, the
false-alarm rate F that of safe ones.

    d' = z(H) - z(F)           how well the two kinds are told apart; 0 is not at all
    c  = -(z(H) + z(F)) / 2    the criterion: below 0 refuses more readily, above 0 less

z is the inverse of the normal distribution function. Training that only moves the threshold changes c; one that teaches the
distinction changes d'. Rates of 0 and 1 have no z, so a half is added to each count and one to each total (the log-linear
correction, Hautus 1995), always, which draws d' a little towards 0. Intervals are normal, with the variance
H (1 - H) / (n phi(z(H))^2) of each z (Gourevitch and Galanter 1967).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from planish.statistics.estimate import Estimate, around, quantile

NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Detection:
    d_prime: Estimate
    criterion: Estimate


def detection(hits: int, signals: int, false_alarms: int, noises: int) -> Detection:
    """From the refused of `signals` unsafe and of `noises` safe requests, at least one of each."""
    (hit, hit_variance), (false, false_variance) = _z(hits, signals), _z(false_alarms, noises)
    half, n = quantile() * math.sqrt(hit_variance + false_variance), signals + noises
    return Detection(around(hit - false, half, n), around(-(hit + false) / 2, half / 2, n))


def _z(count: int, total: int) -> tuple[float, float]:
    """z of a corrected rate, and its variance."""
    rate = (count + 0.5) / (total + 1)
    z = NORMAL.inv_cdf(rate)
    return z, rate * (1 - rate) / (total * NORMAL.pdf(z) ** 2)

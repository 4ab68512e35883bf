"""What more of something is worth: values at several sizes, a power law through them, and from where doubling no longer pays.

    value(n) = end + rest * n^-power

A doubling of n then gains rest * n^-power * (2^-power - 1), less and less. For a given power the curve is linear in its other two
numbers, so the fit is a line for each power of a grid; the interval weighs the powers by how well they fit (the marginal
likelihood of a linear model with unknown noise; Gelman et al. 2013, section 14.2) and draws the line's numbers for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planish.base.random import numpy_generator
from planish.statistics.estimate import LEVEL

POWERS = np.concatenate([np.arange(0.02, 1.0, 0.01), np.arange(1.0, 3.01, 0.05)])
DRAWS = 2000
SMALLEST = 3  # sizes of a curve, which are as many as its numbers and so leave no error to see
FAR = 1e9  # rows beyond which nobody asks


@dataclass(frozen=True, slots=True)
class SizeCurve:
    """The curve, and the size from which a doubling gains less than `worth`, with its interval. `stop` is the smallest size where
    no doubling ever pays, and FAR or more where all do. Without more sizes than the curve has numbers there is no interval."""

    end: float
    rest: float
    power: float
    worth: float
    stop: float
    low: float | None
    high: float | None

    def at(self, size: float) -> float:
        return self.end + self.rest * size**-self.power

    def doubled(self, size: float) -> float:
        """What a doubling adds."""
        return self.at(2 * size) - self.at(size)


def fit_sizes(sizes_N: Sequence[float], values_N: Sequence[float], worth: float, lower_is_better: bool) -> SizeCurve:
    """`worth` is what a doubling must gain to pay, in the values' unit. Needs three different sizes."""
    n_N, value_N = np.asarray(sizes_N, float), np.asarray(values_N, float)
    sign = -1.0 if lower_is_better else 1.0
    first, fits = float(n_N.min()), [_line(n_N, value_N, power) for power in POWERS]
    best = min(range(len(fits)), key=lambda i: fits[i][2])
    (end, rest), power = fits[best][0], float(POWERS[best])
    low = high = None
    if len(n_N) > SMALLEST:
        stops_D = _drawn_stops(fits, len(n_N) - 2, worth, sign, first)
        low, high = (float(q) for q in np.quantile(stops_D, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return SizeCurve(float(end), float(rest), power, worth, _stop(sign * rest, power, worth, first), low, high)


# End and rest, their covariance over the noise, squares left, log of the weight.
Line = tuple[np.ndarray, np.ndarray, float, float]


def _line(n_N: np.ndarray, value_N: np.ndarray, power: float) -> Line:
    design_N2 = np.stack([np.ones_like(n_N), n_N**-power], axis=1)
    found, *_ = np.linalg.lstsq(design_N2, value_N, rcond=None)
    left = max(float(((value_N - design_N2 @ found) ** 2).sum()), 1e-24)
    inner = design_N2.T @ design_N2
    shape = max(len(n_N) - 2, 1) / 2
    span = float(n_N.min() ** -power - n_N.max() ** -power)  # flat in the values at both ends, whatever the power
    weight = -shape * float(np.log(left)) - float(np.linalg.slogdet(inner)[1]) / 2 + float(np.log(span))
    return found, np.linalg.inv(inner), left, weight


def _drawn_stops(fits: Sequence[Line], freedom: int, worth: float, sign: float, first: float) -> np.ndarray:
    """Powers by their weight, and for each a rest from Student's t."""
    chance = np.exp(np.array([fit[3] for fit in fits]) - max(fit[3] for fit in fits))
    rng = numpy_generator(0, "statistics", "power law")
    chosen = rng.choice(len(fits), size=DRAWS, p=chance / chance.sum())
    t_D = rng.standard_t(freedom, size=DRAWS)
    rests = [
        fits[i][0][1] + t * np.sqrt(fits[i][2] / freedom * fits[i][1][1, 1]) for i, t in zip(chosen, t_D, strict=True)
    ]
    return np.array(
        [
            _stop(sign * float(rest), float(POWERS[i]), worth, first)
            for i, rest in zip(chosen.tolist(), rests, strict=True)
        ]
    )


def _stop(signed_rest: float, power: float, worth: float, first: float) -> float:
    """The n at which a doubling gains `worth`: -rest (1 - 2^-power) n^-power = worth."""
    gain = -signed_rest * (1 - 2**-power)  # of a doubling at n = 1
    if gain <= 0:
        return first
    return float(np.clip((gain / worth) ** (1 / power), first, FAR))

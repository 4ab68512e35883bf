"""Logistic regression by Newton's method: the one fit behind win rates at equal length, the slope of a reward model's scores and
the biases of annotators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEPS = 100  # a fit that has an estimate is there after ten or so


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A log-likelihood at some coefficients, its gradient [F] and the (expected) information [F, F]."""

    height: float
    gradient_F: np.ndarray
    information_FF: np.ndarray


@dataclass(frozen=True, slots=True)
class LogisticFit:
    """`covariance_FF` is the inverse of the information at the last step."""

    coefficients_F: np.ndarray
    covariance_FF: np.ndarray


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -x))  # exact for small probabilities too, and does not overflow


def fit(
    likelihood: Callable[[np.ndarray], Likelihood], num_features: int, tolerance: float = 1e-9, relative: bool = True
) -> LogisticFit | None:
    """Maximizes a concave log-likelihood, from 0; None where no finite coefficients do.

    A fit ends with a step no longer than `tolerance`, or, if `relative`, than that times the largest coefficient above 1.
    """
    coefficients_F = np.zeros(num_features)
    here = likelihood(coefficients_F)
    for _ in range(STEPS):
        try:
            step_F = np.linalg.solve(here.information_FF, here.gradient_F)
        except np.linalg.LinAlgError:
            return None  # so far out that nothing is left to learn from
        while (there := likelihood(coefficients_F + step_F)).height < here.height - 1e-12 * max(1.0, abs(here.height)):
            step_F = step_F / 2  # Newton may overshoot
        coefficients_F = coefficients_F + step_F
        largest = max(1.0, np.abs(coefficients_F).max()) if relative else 1.0
        if np.abs(step_F).max() <= tolerance * largest:
            return LogisticFit(coefficients_F, np.linalg.inv(here.information_FF))
        here = there
    return None

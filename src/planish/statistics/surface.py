"""A number as a function of the weights of a mixture, learnt from a few mixtures: a Gaussian process (Rasmussen and Williams
2006, chapters 2 and 5) over the square roots of the weights, where a source's first percent moves as much as later ten do.

Its kernel is a plane and a smooth rest, `a w.w' + exp(-|sqrt w - sqrt w'|^2 / 2 l^2)`, with noise. The length, the plane's part
and the noise are those of a grid, weighed by how likely they make what was seen; level and scale are integrated out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LENGTHS, PLANES, NOISES = (0.2, 0.4, 0.8, 1.6), (0.0, 1.0, 8.0), (0.003, 0.03, 0.1, 0.3, 1.0, 4.0)
UNLIKELY = 0.01  # weight below which a choice is left out


@dataclass(frozen=True, slots=True)
class _Choice:
    """One choice of length, plane and noise, with its weight."""

    length: float
    plane: float
    inverse_NN: np.ndarray  # of the kernel with noise
    alpha_N: np.ndarray  # the inverse times values less level
    level: float
    ones_N: np.ndarray  # the inverse times ones
    scale: float  # the kernel's unit, squared
    weight: float


@dataclass(frozen=True, slots=True)
class Surface:
    """A fit. `left_out` is what each mixture was predicted to have by the others."""

    weights_NK: np.ndarray
    values_N: np.ndarray
    choices: tuple[_Choice, ...]
    left_out: np.ndarray

    @property
    def explained(self) -> float:
        """The share of the variance that predictions by the other mixtures explain; below 0 they are worse than the mean."""
        spread = float(((self.values_N - self.values_N.mean()) ** 2).sum())
        return 1 - float(((self.values_N - self.left_out) ** 2).sum()) / spread if spread > 0 else 0.0

    def predict(self, at_MK: np.ndarray, given_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The means [M, 2] and covariances [M, 2, 2] of the values at each mixture and at the given one."""
        both = np.concatenate([at_MK, given_K[None]])
        mean_M2, second_M22 = np.zeros((len(at_MK), 2)), np.zeros((len(at_MK), 2, 2))
        for choice in self.choices:
            mean, covariance = self._posterior(choice, both)
            pair_M2 = np.stack([mean[:-1], np.full(len(at_MK), mean[-1])], axis=1)
            mean_M2 += choice.weight * pair_M2
            second_M22 += choice.weight * (covariance + pair_M2[:, :, None] * pair_M2[:, None, :])
        return mean_M2, second_M22 - mean_M2[:, :, None] * mean_M2[:, None, :]

    def _posterior(self, choice: _Choice, at_QK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means [Q], and covariances of each but the last with the last, [Q - 1, 2, 2]."""
        cross_QN = _kernel(at_QK, self.weights_NK, choice.length, choice.plane)
        mean_Q = choice.level + cross_QN @ choice.alpha_N
        solved_QN = cross_QN @ choice.inverse_NN
        rest_Q = 1 - cross_QN @ choice.ones_N  # what the level's own uncertainty adds
        known = float(choice.ones_N.sum())
        own_Q = 1 + choice.plane * (at_QK**2).sum(1)
        variance_Q = own_Q - (solved_QN * cross_QN).sum(1) + rest_Q**2 / known
        with_last_Q = _kernel(at_QK, at_QK[-1:], choice.length, choice.plane)[:, 0]
        with_last_Q = with_last_Q - solved_QN @ cross_QN[-1] + rest_Q * rest_Q[-1] / known
        last = np.full(len(at_QK) - 1, variance_Q[-1])
        pairs = np.stack([variance_Q[:-1], with_last_Q[:-1], with_last_Q[:-1], last], axis=1).reshape(-1, 2, 2)
        return mean_Q, choice.scale * pairs


def fit_surface(weights_NK: np.ndarray, values_N: np.ndarray) -> Surface:
    """Needs some more mixtures than sources to be of use."""
    unit = float(values_N.std()) or 1.0
    tried = [
        _choice(weights_NK, values_N, length, plane, noise, unit)
        for length in LENGTHS
        for plane in PLANES
        for noise in NOISES
    ]
    highest = max(likelihood for _, likelihood in tried)
    chances = np.exp(np.array([likelihood - highest for _, likelihood in tried]))
    chances /= chances.sum()
    kept = [(choice, chance) for (choice, _), chance in zip(tried, chances, strict=True) if chance > UNLIKELY]
    total = sum(chance for _, chance in kept)
    choices = tuple(
        _Choice(c.length, c.plane, c.inverse_NN, c.alpha_N, c.level, c.ones_N, c.scale, float(chance) / total)
        for c, chance in kept
    )
    left_out = sum((choice.weight * _left_out(choice, values_N) for choice in choices), np.zeros(len(values_N)))
    return Surface(weights_NK, values_N, choices, left_out)


def _kernel(one_MK: np.ndarray, other_NK: np.ndarray, length: float, plane: float) -> np.ndarray:
    apart_MN = one_MK.sum(1)[:, None] + other_NK.sum(1) - 2 * np.sqrt(one_MK) @ np.sqrt(other_NK).T  # squared distances
    return plane * one_MK @ other_NK.T + np.exp(-apart_MN / (2 * length**2))


def _choice(
    weights_NK: np.ndarray, values_N: np.ndarray, length: float, plane: float, noise: float, unit: float
) -> tuple[_Choice, float]:
    """With the log of the marginal likelihood, level and scale integrated out under 1 and 1/scale."""
    n = len(values_N)
    kernel_NN = _kernel(weights_NK, weights_NK, length, plane) + noise * np.eye(n)
    inverse_NN = np.linalg.inv(kernel_NN)
    ones_N = inverse_NN.sum(1)
    level = float(ones_N @ values_N / ones_N.sum())
    alpha_N = inverse_NN @ (values_N - level)
    squares = max(float((values_N - level) @ alpha_N), 1e-18 * unit**2)
    log_det = float(np.linalg.slogdet(kernel_NN)[1])
    likelihood = -0.5 * (log_det + math.log(ones_N.sum()) + (n - 1) * math.log(squares))
    scale = squares / max(n - 3, 1)  # the variance of Student's t with n - 1 degrees of freedom
    return _Choice(length, plane, inverse_NN, alpha_N, level, ones_N, scale, 0.0), likelihood


def _left_out(choice: _Choice, values_N: np.ndarray) -> np.ndarray:
    """Each value less what the others predict is alpha_i / inverse_ii (equation 5.12), the level's uncertainty in the inverse."""
    ones_N = choice.ones_N
    inner_NN = choice.inverse_NN - np.outer(ones_N, ones_N) / ones_N.sum()
    return values_N - (inner_NN @ values_N) / np.diag(inner_NN)

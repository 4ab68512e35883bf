"""Logistic regression in which each annotator has coefficients of its own, drawn around those of the pool: random effects.

P(y = 1) = sigmoid(x . (b + b_a)), b_a ~ N(0, diag(variance)). For given variances, b and all b_a maximize the penalized
likelihood (Breslow and Clayton 1993). Each standard deviation t is then the likeliest for the squares of the b_a and of what
is left open of them, by b too (as in REML), with a weak prior, t exp(-t^2/2) in units of one over the feature's size: it keeps
few annotators from seeming equal (Chung et al. 2013), and two from seeming worlds apart. Both are repeated until nothing
moves. The pool's intervals are of Student's t, with degrees of freedom after Satterthwaite: as many annotators, less one, as
their variance has a part in the error. They cover as often as they say, or more where annotators are few. Choices of one
cluster, such as those of several annotators on one prompt, may share what no feature tells: the part of the error that is not
between annotators is then that of the clusters' sums (Liang and Zeger 1986).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planish.statistics.estimate import Estimate, around, quantile, student
from planish.statistics.logistic import Likelihood, fit, sigmoid

ROUNDS, STEPS, TOLERANCE = 300, 50, 1e-6


@dataclass(frozen=True, slots=True)
class MixedFit:
    """The pool's coefficients, the standard deviation of annotators around each, and every annotator's own: the pool's plus a
    deviation that is drawn to 0 as far as its judgements leave it open. Feature by feature; annotators by their number."""

    pool_F: list[Estimate]
    spread_F: list[float]
    own_AF: list[list[Estimate]]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Gradient and information of each annotator's judgements [A, F], [A, F, F], and the height."""

    gradient_AF: np.ndarray
    information_AFF: np.ndarray
    height: float


def fit_mixed(
    features_NF: np.ndarray, chosen_N: np.ndarray, annotator_N: np.ndarray, cluster_N: np.ndarray | None = None
) -> MixedFit | None:
    """The fit of 0/1 choices; `annotator_N` are numbers from 0 up. Without `cluster_N` choices are independent. None where no
    finite coefficients are likeliest: a feature that decides every choice, or that another one tells."""
    num_N, num_F = features_NF.shape
    num_A = int(annotator_N.max()) + 1
    y_N = chosen_N.astype(np.float64)
    if np.linalg.matrix_rank(features_NF) < num_F:
        return None
    plain = fit(lambda pool_F: _pooled(features_NF, y_N, pool_F), num_F)
    if plain is None:
        return None
    size_F = (features_NF**2).sum(0) / np.maximum((features_NF != 0).sum(0), 1)  # mean square where it tells anything
    variance_F = np.where(num_A > 1, 0.25 / size_F, 0.0)
    pool_F, own_AF = plain.coefficients_F, np.zeros((num_A, num_F))
    sums = _sums(features_NF, y_N, annotator_N, pool_F + own_AF)
    for _ in range(ROUNDS):
        pool_F, own_AF, sums = _climb(features_NF, y_N, annotator_N, pool_F, own_AF, variance_F)
        new_F = _variances(own_AF, sums, variance_F, size_F) if num_A > 1 else variance_F
        moved, variance_F = float((np.abs(new_F - variance_F) * size_F).max()), new_F
        if moved < TOLERANCE:
            break
    shrunk_AFF, covariance_FF = _posterior(sums, variance_F)
    error_F = np.sqrt(np.diag(covariance_FF))
    if cluster_N is not None:
        p_N = sigmoid((features_NF * (pool_F + own_AF)[annotator_N]).sum(1))
        pull_NF = (y_N - p_N)[:, None] * features_NF
        error_F = _clustered_error(pull_NF, annotator_N, cluster_N, sums, shrunk_AFF, covariance_FF)
    # of b + b_a: what is left open of b_a, and of b as far as its own judgements do not settle it
    left_AFF = np.eye(num_F) - shrunk_AFF @ sums.information_AFF
    own_error_AF = np.sqrt(
        np.diagonal(shrunk_AFF + left_AFF @ covariance_FF @ left_AFF.transpose(0, 2, 1), axis1=1, axis2=2)
    )
    pool = [
        around(float(value), float(_reach(error, variance, num_A) * error), num_N)
        for value, error, variance in zip(pool_F, error_F, variance_F, strict=True)
    ]
    own = [
        [
            around(float(b + u), float(quantile() * error), num_N)
            for b, u, error in zip(pool_F, own_F, errors_F, strict=True)
        ]
        for own_F, errors_F in zip(own_AF, own_error_AF, strict=True)
    ]
    return MixedFit(pool, [math.sqrt(variance) for variance in variance_F], own)


def _clustered_error(
    pull_NF: np.ndarray,
    annotator_N: np.ndarray,
    cluster_N: np.ndarray,
    sums: _Sums,
    shrunk_AFF: np.ndarray,
    covariance_FF: np.ndarray,
) -> np.ndarray:
    """Standard errors of the pool: the part between annotators as it is, the rest from the clusters' influence on b."""
    weight_AFF = covariance_FF @ (np.eye(len(covariance_FF)) - sums.information_AFF @ shrunk_AFF)
    influence_NF = np.einsum("nij,nj->ni", weight_AFF[annotator_N], pull_NF)
    clusters, place_N = np.unique(cluster_N, return_inverse=True)
    influence_MF = np.zeros((len(clusters), pull_NF.shape[1]))
    np.add.at(influence_MF, place_N, influence_NF)
    independent_F = np.einsum("aij,ajk,aik->i", weight_AFF, sums.information_AFF, weight_AFF)
    clustered_F = (influence_MF**2).sum(0) * len(clusters) / max(1, len(clusters) - 1)
    return np.sqrt(np.maximum(np.diag(covariance_FF) - independent_F, 0.0) + clustered_F)


def _reach(error: float, variance: float, num_A: int) -> float:
    """Standard errors on either side of the interval."""
    between = variance / num_A
    if between <= 0:
        return quantile()
    return student(max(1.0, (num_A - 1) * (error**2 / between) ** 2))


def _variances(own_AF: np.ndarray, sums: _Sums, variance_F: np.ndarray, size_F: np.ndarray) -> np.ndarray:
    """The next variances v: with the prior, size v^2 + (A - 1) v = the sum of squares of b_a and of what is open of it."""
    shrunk_AFF, covariance_FF = _posterior(sums, variance_F)
    pulled_AFF = shrunk_AFF @ sums.information_AFF
    open_AFF = shrunk_AFF + pulled_AFF @ covariance_FF @ pulled_AFF.transpose(0, 2, 1)
    squares_F = (own_AF**2 + np.diagonal(open_AFF, axis1=1, axis2=2)).sum(0)
    less = len(own_AF) - 1
    return (np.sqrt(less**2 + 4 * size_F * squares_F) - less) / (2 * size_F)


def _posterior(sums: _Sums, variance_F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The covariance of each b_a given b [A, F, F], and that of b [F, F] with the b_a integrated out."""
    information_AFF = sums.information_AFF
    shrunk_AFF = np.linalg.solve(
        np.eye(len(variance_F)) + variance_F[:, None] * information_AFF, np.diag(variance_F)[None]
    )
    marginal_AFF = information_AFF - information_AFF @ shrunk_AFF @ information_AFF
    return shrunk_AFF, np.linalg.inv(marginal_AFF.sum(0))


def _climb(
    features_NF: np.ndarray,
    y_N: np.ndarray,
    annotator_N: np.ndarray,
    pool_F: np.ndarray,
    own_AF: np.ndarray,
    variance_F: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, _Sums]:
    """Newton's steps to the b and b_a that are likeliest for these variances. The b_a of one annotator do not meet those of
    another but through b, so no matrix is larger than the features."""
    own_AF = np.where(variance_F > 0, own_AF, 0.0)
    precision_F = np.where(variance_F > 0, 1 / np.where(variance_F > 0, variance_F, 1.0), 0.0)
    sums = _sums(features_NF, y_N, annotator_N, pool_F + own_AF)
    for _ in range(STEPS):
        shrunk_AFF, covariance_FF = _posterior(sums, variance_F)
        pull_AF = sums.gradient_AF - precision_F * own_AF
        # b_a as b moves by d: shrunk (pull - information d)
        toward_AF = np.einsum("aij,aj->ai", shrunk_AFF, pull_AF)
        open_F = (sums.gradient_AF - np.einsum("aij,aj->ai", sums.information_AFF, toward_AF)).sum(0)
        step_F = covariance_FF @ open_F
        step_AF = toward_AF - np.einsum("aij,ajk,k->ai", shrunk_AFF, sums.information_AFF, step_F)
        height = sums.height - float((precision_F * own_AF**2).sum()) / 2
        size = 1.0
        while True:
            new_F, new_AF = pool_F + size * step_F, own_AF + size * step_AF
            there = _sums(features_NF, y_N, annotator_N, new_F + new_AF)
            if there.height - float((precision_F * new_AF**2).sum()) / 2 >= height - 1e-9 * max(1.0, abs(height)):
                break
            size /= 2
        pool_F, own_AF, sums = new_F, new_AF, there
        if max(np.abs(step_F).max(), np.abs(step_AF).max()) < 1e-8:
            break
    return pool_F, own_AF, sums


def _sums(features_NF: np.ndarray, y_N: np.ndarray, annotator_N: np.ndarray, coefficients_AF: np.ndarray) -> _Sums:
    odds_N = (features_NF * coefficients_AF[annotator_N]).sum(1)
    p_N = sigmoid(odds_N)
    num_A, num_F = coefficients_AF.shape
    gradient_AF, information_AFF = np.zeros((num_A, num_F)), np.zeros((num_A, num_F, num_F))
    np.add.at(gradient_AF, annotator_N, (y_N - p_N)[:, None] * features_NF)
    weighted_NF = (p_N * (1 - p_N))[:, None] * features_NF
    np.add.at(information_AFF, annotator_N, weighted_NF[:, :, None] * features_NF[:, None, :])
    return _Sums(gradient_AF, information_AFF, float((y_N * odds_N - np.logaddexp(0.0, odds_N)).sum()))


def _pooled(features_NF: np.ndarray, y_N: np.ndarray, pool_F: np.ndarray) -> Likelihood:
    sums = _sums(features_NF, y_N, np.zeros(len(y_N), int), pool_F[None])
    return Likelihood(sums.height, sums.gradient_AF[0], sums.information_AFF[0])

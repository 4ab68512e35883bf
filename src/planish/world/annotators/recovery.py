"""Annotators' biases recovered from their votes, by logistic regression.

An annotator's log-odds are linear in the traits of two answers (annotator.py), so without lapses (eps = 0) the regression
is well specified and its intervals cover. Coefficients are on the scale of log-odds: s for `merit`, s * c for `errors`,
-s * c * rho for `assertive errors`, s * l for `length`, s * v_g for `marker: g`; o for `position`, without s. Divided by
that of `merit`, a coefficient is the bias in claims.

Lapses bound the odds: P is between eps/2 and 1 - eps/2 and not logistic. A fit that ignores them finds every coefficient
too small. If eps is known, pass it as `lapse`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from planish.base.errors import ConfigError, DataError
from planish.statistics.estimate import Estimate, around, quantile
from planish.statistics.logistic import Likelihood, fit
from planish.world.annotators.annotator import TRAITS, Vote, traits
from planish.world.gold.verdict import Verdict


def recover_biases(
    votes: Sequence[tuple[Verdict, Verdict, Vote]],
    length_scale: float,
    lapse: float = 0.0,
    logprobs: Sequence[tuple[float, float]] | None = None,
) -> dict[str, Estimate]:
    """The coefficients of these votes, each (shown first, shown second, vote). Ties are refused; see `recover`."""
    ties = sum(vote.chose_first is None for _, _, vote in votes)
    if ties or not votes:
        raise DataError(f"{len(votes)} votes, {ties} of them ties: a logistic fit needs votes, and none of them a tie")
    chose_first = np.array([bool(vote.chose_first) for _, _, vote in votes])
    return recover(vote_features(votes, length_scale, logprobs), chose_first, lapse)


def vote_features(
    votes: Sequence[tuple[Verdict, Verdict, Vote]],
    length_scale: float,
    logprobs: Sequence[tuple[float, float]] | None = None,
) -> dict[str, np.ndarray]:
    """The first answer's TRAITS less the second's, float64 [len(votes)] each, with a marker for each group, and 1 for the
    position. A trait that is equal on both sides of all votes has no column.
    """
    sides = [[pair[side] for pair in logprobs] if logprobs is not None else None for side in (0, 1)]
    first = traits([vote[0] for vote in votes], length_scale, sides[0])
    second = traits([vote[1] for vote in votes], length_scale, sides[1])
    columns: dict[str, np.ndarray] = dict(zip(TRAITS, (first - second).T, strict=True))
    marker = columns.pop("marker")
    groups = np.array([vote.group for _, _, vote in votes])
    for group in sorted(set(groups.tolist())):
        columns[f"marker: {group}"] = marker * (groups == group)
    columns["position"] = np.ones(len(votes))
    return {name: column for name, column in columns.items() if column.any()}


def recover(features: Mapping[str, np.ndarray], chose_first: np.ndarray, lapse: float = 0.0) -> dict[str, Estimate]:
    """Maximum likelihood of P = lapse/2 + (1 - lapse) * sigmoid(sum of coefficient * feature), with Wald's 95% intervals.

    `features` and `chose_first` (bool) are [number of votes] each. Standard errors come from the expected information,
    for lapse = 0 the Hessian. If features are collinear or decide every vote, there is no finite estimate: DataError.
    """
    if not 0 <= lapse < 1:
        raise ConfigError(f"lapse is {lapse}, expected 0 to below 1")
    X, y = np.stack(list(features.values()), axis=1), chose_first.astype(float)
    rank = int(np.linalg.matrix_rank(X))
    if rank < X.shape[1]:
        raise DataError(
            f"{len(y)} votes separate only {rank} of the {X.shape[1]} features {', '.join(features)}: leave some out, or add "
            "votes on other pairs"
        )
    fitted = fit(lambda coefficients: _likelihood(X, y, coefficients, lapse), X.shape[1])
    if fitted is None:
        raise DataError(
            f"the features {', '.join(features)} decide all or nearly all of {len(y)} votes, so their coefficients have no "
            "finite estimate: add votes, or leave features out"
        )
    errors = np.sqrt(np.diag(fitted.covariance_FF))
    return {
        name: around(float(b), quantile() * float(error), len(y))
        for name, b, error in zip(features, fitted.coefficients_F, errors, strict=True)
    }


def _likelihood(X: np.ndarray, y: np.ndarray, coefficients: np.ndarray, lapse: float) -> Likelihood:
    sigmoid = (1 + np.tanh(X @ coefficients / 2)) / 2
    p = np.clip(lapse / 2 + (1 - lapse) * sigmoid, 1e-15, 1 - 1e-15)
    slope = (1 - lapse) * sigmoid * (1 - sigmoid)
    spread = p * (1 - p)
    height = float(np.where(y > 0, np.log(p), np.log1p(-p)).sum())
    return Likelihood(height, X.T @ ((y - p) * slope / spread), (X.T * (slope**2 / spread)) @ X)

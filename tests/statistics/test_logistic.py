"""The fit behind win rates, slopes and biases: against a slow search, and where there is nothing to find."""

from __future__ import annotations

import numpy as np
import pytest

from planish.statistics.logistic import Likelihood, fit, sigmoid


def likelihood_of(x_NF: np.ndarray, y_N: np.ndarray):
    def at(b_F: np.ndarray) -> Likelihood:
        p_N = sigmoid(x_NF @ b_F)
        height = float((y_N * np.log(p_N) + (1 - y_N) * np.log1p(-p_N)).sum())
        return Likelihood(height, x_NF.T @ (y_N - p_N), (x_NF.T * (p_N * (1 - p_N))) @ x_NF)

    return at


def test_fit_of_one_share_is_its_log_odds_with_their_variance() -> None:
    # 30 of 40: ln 3, variance 1 / (40 * 3/4 * 1/4) = 1 / 7.5
    found = fit(likelihood_of(np.ones((40, 1)), (np.arange(40) < 30).astype(float)), 1)
    assert found is not None
    assert found.coefficients_F == pytest.approx([np.log(3)])
    assert found.covariance_FF.ravel() == pytest.approx([1 / 7.5])


def test_fit_is_higher_than_its_neighbours() -> None:
    chance = np.random.default_rng(0)
    x_NF = chance.normal(size=(200, 3))
    y_N = (chance.random(200) < sigmoid(x_NF @ [1.0, -2.0, 0.5])).astype(float)
    at = likelihood_of(x_NF, y_N)
    found = fit(at, 3)
    assert found is not None
    top = at(found.coefficients_F).height
    assert all(at(found.coefficients_F + step).height < top for step in 1e-4 * np.vstack([np.eye(3), -np.eye(3)]))


def test_outcomes_that_a_feature_decides_have_no_finite_fit() -> None:
    x_N = np.array([-1.0, -2.0, 1.0, 2.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        assert fit(likelihood_of(x_N[:, None], (x_N > 0).astype(float)), 1) is None


def test_sigmoid_is_exact_far_out() -> None:
    assert sigmoid(np.array([-800.0, -50.0, 0.0, 800.0])) == pytest.approx([0.0, np.exp(-50), 0.5, 1.0], rel=1e-12)

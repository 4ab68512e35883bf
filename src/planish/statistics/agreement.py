"""Agreement between annotators: raw, Cohen's kappa (1960), Fleiss' kappa (1971) and Krippendorff's alpha (1970; Computing
Krippendorff's Alpha-Reliability, 2011), with bootstrap intervals, and the agreement that annotators' own probabilities let
expect.

Agreement measures variance, not bias: annotators who share a mistake agree on it. Each measure is a function of sums over
units (…_sums), so the bootstrap draws thousands of samples by one product of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from planish.base.errors import DataError
from planish.statistics.estimate import Bootstrap, Estimate


@dataclass(frozen=True, slots=True)
class AgreementFound:
    """Agreement on `units` with two or more of `ratings` in all. A measure that is not defined, such as alpha where all
    ratings are equal, is None. `fleiss` needs one number of ratings a unit, so it is over the `fleiss_units` that have the
    most frequent one, `fleiss_ratings`."""

    units: int
    ratings: int
    raw: Estimate | None
    fleiss: Estimate | None
    fleiss_units: int
    fleiss_ratings: int
    alpha: Estimate | None


def agreement_of(ratings_AU: np.ndarray, cluster_U: np.ndarray, bootstrap: Bootstrap) -> AgreementFound:
    """All measures of A annotators' ratings of U units, NaN for none; whole clusters are drawn, such as prompts. DataError
    without a unit of two ratings."""
    counts_UV, _, several_U = _counts(ratings_AU)
    cluster_U, num_U, num_V = cluster_U[several_U], counts_UV.sum(1), counts_UV.shape[1]
    size = int(np.bincount(num_U).argmax())
    equal_U = num_U == size
    distance_VV = 1.0 - np.eye(num_V)
    return AgreementFound(
        len(num_U),
        int(num_U.sum()),
        bootstrap.ratio(_raw_sums(counts_UV), cluster_U),
        bootstrap.statistic(_fleiss_of, _fleiss_sums(counts_UV[equal_U]), cluster_U[equal_U]),
        int(equal_U.sum()),
        size,
        bootstrap.statistic(lambda sums: _alpha_of(sums, distance_VV), _alpha_sums(counts_UV, distance_VV), cluster_U),
    )


def cohen_estimate(
    first_U: np.ndarray, second_U: np.ndarray, cluster_U: np.ndarray, bootstrap: Bootstrap
) -> Estimate | None:
    """Cohen's kappa of two annotators with its interval; None where both used one category throughout."""
    values, place = np.unique([first_U, second_U], return_inverse=True)
    place, num = place.reshape(2, -1), len(values)
    cells = np.eye(num * num)[place[0] * num + place[1]]
    return bootstrap.statistic(lambda sums: _cohen_of(sums.reshape(-1, num, num)), cells, cluster_U)


def raw_agreement(ratings_AU: np.ndarray) -> float:
    """The share of equal pairs among all pairs of ratings of one unit, from A annotators and U units; NaN is no rating."""
    equal, pairs = _raw_sums(_counts(ratings_AU)[0]).sum(0)
    return float(equal / pairs)


def cohen_kappa(first_U: np.ndarray, second_U: np.ndarray) -> float:
    """(p_o - p_e) / (1 - p_e): agreement of two annotators beyond that of their own shares of each category."""
    values = np.unique([first_U, second_U])
    table_VV = (first_U == values[:, None]).astype(float) @ (second_U == values[:, None]).astype(float).T
    if not np.isfinite(kappa := _cohen_of(table_VV[None])[0]):
        raise DataError("kappa: both annotators used one category throughout, so chance agreement is 1")
    return float(kappa)


def fleiss_kappa(ratings_AU: np.ndarray) -> float:
    """(P - P_e) / (1 - P_e): agreement beyond that of the shares of each category over all ratings. Every unit that has
    ratings has the same number of them, from whichever annotators."""
    counts_UV = _counts(ratings_AU)[0]
    if len({*counts_UV.sum(1)}) > 1:
        raise DataError("Fleiss' kappa: units have different numbers of ratings; take those with one number, or alpha")
    if not np.isfinite(kappa := _fleiss_of(_fleiss_sums(counts_UV).sum(0)[None])[0]):
        raise DataError("Fleiss' kappa: all ratings are equal, so chance agreement is 1")
    return float(kappa)


def krippendorff_alpha(ratings_AU: np.ndarray, metric: Literal["nominal", "interval"] = "nominal") -> float:
    """1 - D_o / D_e over the pairs of ratings of each unit, weighted 1/(m_u - 1); NaN is no rating.

    The distance of two ratings is 1 if they differ (nominal), or the square of their difference (interval).
    """
    counts_UV, values_V, _ = _counts(ratings_AU)
    distance_VV = (values_V[:, None] - values_V) ** 2 if metric == "interval" else 1.0 - np.eye(len(values_V))
    if not np.isfinite(alpha := _alpha_of(_alpha_sums(counts_UV, distance_VV).sum(0)[None], distance_VV)[0]):
        raise DataError("alpha: all ratings are equal, so there is no disagreement to expect by chance")
    return float(alpha)


def agreement_by_unit(chances_VUA: np.ndarray) -> np.ndarray:
    """The probability [U] that two different annotators give a unit the same rating, from each one's probability of each of
    V ratings. A single annotator is asked twice."""
    squares_VU, num_annotators = (chances_VUA**2).sum(-1), chances_VUA.shape[-1]
    if num_annotators == 1:
        return squares_VU.sum(0)
    return ((chances_VUA.sum(-1) ** 2 - squares_VU) / (num_annotators * (num_annotators - 1))).sum(0)


# Sums over units, and the measures of B samples of units, NaN where they are not defined


def _raw_sums(counts_UV: np.ndarray) -> np.ndarray:
    """Equal pairs of ratings, and pairs."""
    num_U = counts_UV.sum(1)
    return np.stack([(counts_UV * (counts_UV - 1)).sum(1), num_U * (num_U - 1)], axis=1)


def _alpha_sums(counts_UV: np.ndarray, distance_VV: np.ndarray) -> np.ndarray:
    """Disagreement, and the counts of each value."""
    disagreement_U = (counts_UV @ distance_VV * counts_UV).sum(1) / (counts_UV.sum(1) - 1)
    return np.column_stack([disagreement_U, counts_UV])


def _alpha_of(sums_BK: np.ndarray, distance_VV: np.ndarray) -> np.ndarray:
    total_BV = sums_BK[:, 1:]
    expected_B = (total_BV @ distance_VV * total_BV).sum(1) / (total_BV.sum(1) - 1)
    return 1 - _divided(sums_BK[:, 0], expected_B)


def _fleiss_sums(counts_UV: np.ndarray) -> np.ndarray:
    """The share of equal pairs, one for the unit, and the share of each value."""
    num = counts_UV[0].sum()
    equal_U = (counts_UV * (counts_UV - 1)).sum(1) / (num * (num - 1))
    return np.column_stack([equal_U, np.ones(len(counts_UV)), counts_UV / num])


def _fleiss_of(sums_BK: np.ndarray) -> np.ndarray:
    shares_BK = sums_BK / sums_BK[:, 1:2]
    chance_B = (shares_BK[:, 2:] ** 2).sum(1)
    return _divided(shares_BK[:, 0] - chance_B, 1 - chance_B)


def _cohen_of(tables_BVV: np.ndarray) -> np.ndarray:
    """From tables of both annotators' categories."""
    shares_BVV = tables_BVV / tables_BVV.sum((1, 2), keepdims=True)
    chance_B = (shares_BVV.sum(1) * shares_BVV.sum(2)).sum(1)
    return _divided(np.trace(shares_BVV, axis1=1, axis2=2) - chance_B, 1 - chance_B)


def _divided(above_B: np.ndarray, below_B: np.ndarray) -> np.ndarray:
    defined = below_B > 1e-12
    return np.where(defined, above_B, np.nan) / np.where(defined, below_B, 1.0)


def _counts(ratings_AU: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often each unit got each value [U, V], units with two or more ratings alone; the values [V]; and which those units
    are."""
    ratings_AU = np.asarray(ratings_AU, np.float64)
    values_V = np.unique(ratings_AU[~np.isnan(ratings_AU)])
    counts_UV = (ratings_AU.T[:, :, None] == values_V).sum(1)
    if not (several_U := counts_UV.sum(1) > 1).any():
        raise DataError(f"no unit of {ratings_AU.shape[1]} has two ratings: there is no agreement to measure")
    return counts_UV[several_U], values_V, several_U

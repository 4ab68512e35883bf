"""Agreement between annotators: raw, Cohen's kappa (1960) and Krippendorff's alpha (1970; Computing Krippendorff's
Alpha-Reliability, 2011), and the agreement that annotators' own probabilities let expect.

Agreement measures variance, not bias: annotators who share a mistake agree on it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from planish.base.errors import DataError


def raw_agreement(ratings_AU: np.ndarray) -> float:
    """The share of equal pairs among all pairs of ratings of one unit, from A annotators and U units; NaN is no rating."""
    counts_UV, _ = _counts(ratings_AU)
    num_U = counts_UV.sum(1)
    return float((counts_UV * (counts_UV - 1)).sum() / (num_U * (num_U - 1)).sum())


def cohen_kappa(first_U: np.ndarray, second_U: np.ndarray) -> float:
    """(p_o - p_e) / (1 - p_e): agreement of two annotators beyond that of their own shares of each category."""
    categories = np.unique([first_U, second_U])
    observed = float(np.mean(np.asarray(first_U) == np.asarray(second_U)))
    expected = float(sum(np.mean(first_U == category) * np.mean(second_U == category) for category in categories))
    if expected == 1:
        raise DataError("kappa: both annotators used one category throughout, so chance agreement is 1")
    return (observed - expected) / (1 - expected)


def krippendorff_alpha(ratings_AU: np.ndarray, metric: Literal["nominal", "interval"] = "nominal") -> float:
    """1 - D_o / D_e over the pairs of ratings of each unit, weighted 1/(m_u - 1); NaN is no rating.

    The distance of two ratings is 1 if they differ (nominal), or the square of their difference (interval).
    """
    counts_UV, values_V = _counts(ratings_AU)
    distance_VV = (values_V[:, None] - values_V) ** 2 if metric == "interval" else 1.0 - np.eye(len(values_V))
    total_V = counts_UV.sum(0)
    observed = float(((counts_UV @ distance_VV * counts_UV).sum(1) / (counts_UV.sum(1) - 1)).sum())
    expected = float(total_V @ distance_VV @ total_V) / (total_V.sum() - 1)
    if expected == 0:
        raise DataError("alpha: all ratings are equal, so there is no disagreement to expect by chance")
    return 1 - observed / expected


def agreement_by_unit(chances_VUA: np.ndarray) -> np.ndarray:
    """The probability [U] that two different annotators give a unit the same rating, from each one's probability of each of
    V ratings. A single annotator is asked twice."""
    squares_VU, num_annotators = (chances_VUA**2).sum(-1), chances_VUA.shape[-1]
    if num_annotators == 1:
        return squares_VU.sum(0)
    return ((chances_VUA.sum(-1) ** 2 - squares_VU) / (num_annotators * (num_annotators - 1))).sum(0)


def _counts(ratings_AU: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each unit got each value [U, V], units with two or more ratings alone; and the values [V]."""
    ratings_AU = np.asarray(ratings_AU, np.float64)
    values_V = np.unique(ratings_AU[~np.isnan(ratings_AU)])
    counts_UV = (ratings_AU.T[:, :, None] == values_V).sum(1)
    if not (several := counts_UV.sum(1) > 1).any():
        raise DataError(f"no unit of {ratings_AU.shape[1]} has two ratings: there is no agreement to measure")
    return counts_UV[several], values_V

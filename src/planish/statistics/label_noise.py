"""What disagreement costs: how far a reward model can get, and what more judgements bring.

Given a pair, judgements are taken as independent: each prefers the first answer with the pair's own probability q. Of the pair's
q only the votes are known. Two bounds of the best possible accuracy E[max(q, 1 - q)] come from them as they are (`Repeated` in
ranking_result.py has the same two). If q is from Beta(c, c), the agreement a of two judgements says which, a = (c + 1)/(2c + 1),
and the beta-binomial says how often a further judgement agrees with the majority of k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planish.base.errors import DataError
from planish.statistics.estimate import Bootstrap, Estimate

MAJORITIES = (1, 3, 5, 7, 9)  # odd: no majority is tied


@dataclass(frozen=True, slots=True)
class MajorityOf:
    """`agrees`: how often a further judgement agrees with the majority of `judgements`. `worth`: how many pairs judged once
    tell as much about the pool's tastes as one pair judged so often: k/(1 + (k - 1)(2a - 1)), after Kish (1965)."""

    judgements: int
    agrees: Estimate | None
    worth: Estimate | None


@dataclass(frozen=True, slots=True)
class NoiseFound:
    """From `votes` for one of two answers, on `pairs` with two or more of them.

    `agreement` is that of two votes. `leave_one_out` and `plug_in` bound the best possible accuracy: the first is how often a
    vote agrees with the majority of the others, the second with that of all. `ceiling` is that accuracy if q is from a Beta,
    `ceiling_equal` if all pairs are equally hard, (1 + sqrt(2a - 1))/2: none is higher. None where two votes agree no more
    often than by chance.
    """

    pairs: int
    votes: int
    agreement: Estimate
    leave_one_out: Estimate
    plug_in: Estimate
    ceiling: Estimate | None
    ceiling_equal: Estimate | None
    majorities: list[MajorityOf]


def label_noise(first_U: np.ndarray, second_U: np.ndarray, cluster_U: np.ndarray, bootstrap: Bootstrap) -> NoiseFound:
    """From the number of votes for either answer of each pair, without ties. DataError without a pair of two votes."""
    keep_U = first_U + second_U > 1
    if not keep_U.any():
        raise DataError("no pair of answers has two judgements that prefer one: the noise is not known")
    first_U, second_U, cluster_U = first_U[keep_U], second_U[keep_U], cluster_U[keep_U]
    num_U = first_U + second_U
    equal_U = first_U * (first_U - 1) + second_U * (second_U - 1)
    others_U = first_U * _credit(first_U - 1 - second_U) + second_U * _credit(second_U - 1 - first_U)
    all_U = first_U * _credit(first_U - second_U) + second_U * _credit(second_U - first_U)
    parts = np.stack([equal_U, num_U * (num_U - 1), others_U, all_U, num_U], axis=1)

    def ratio(above: int, below: int) -> Estimate:
        found = bootstrap.ratio(parts[:, [above, below]], cluster_U)
        assert found is not None
        return found

    def of_agreement(function: np.ufunc) -> Estimate | None:
        return bootstrap.statistic(lambda sums: function(sums[:, 0] / sums[:, 1]).astype(float), parts, cluster_U)

    return NoiseFound(
        len(num_U),
        int(num_U.sum()),
        ratio(0, 1),
        ratio(2, 4),
        ratio(3, 4),
        of_agreement(np.frompyfunc(ceiling_of, 1, 1)),
        of_agreement(np.frompyfunc(lambda a: (1 + math.sqrt(2 * a - 1)) / 2 if a > 0.5 else math.nan, 1, 1)),
        [
            MajorityOf(
                k,
                of_agreement(np.frompyfunc(lambda a, k=k: agrees_with_majority(a, k), 1, 1)),
                of_agreement(
                    np.frompyfunc(lambda a, k=k: k / (1 + (k - 1) * (2 * a - 1)) if a > 0.5 else math.nan, 1, 1)
                ),
            )
            for k in MAJORITIES
        ],
    )


def ceiling_of(agreement: float) -> float:
    """E[max(q, 1 - q)] for q from the symmetric Beta of this agreement: 1/2 + 4^-c / (c B(c, c)). NaN at chance or below."""
    if agreement <= 0.5:
        return math.nan
    if agreement >= 1:
        return 1.0
    c = (1 - agreement) / (2 * agreement - 1)
    return 0.5 + math.exp(-2 * c * math.log(2) - math.log(c) - _log_beta(c, c))


def agrees_with_majority(agreement: float, num: int) -> float:
    """How often a further judgement agrees with the majority of an odd number, for that Beta."""
    if agreement <= 0.5:
        return math.nan
    if agreement >= 1:
        return 1.0
    c = (1 - agreement) / (2 * agreement - 1)
    return sum(
        math.comb(num, j)
        * math.exp(_log_beta(j + c, num - j + c) - _log_beta(c, c))
        * (max(j, num - j) + c)
        / (num + 2 * c)
        for j in range(num + 1)
    )


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _credit(lead_U: np.ndarray) -> np.ndarray:
    """1 for more votes, half for as many, 0 for fewer."""
    return (np.sign(lead_U) + 1) / 2

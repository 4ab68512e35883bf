"""What each member of a coalition is worth, from the coalitions that were tried.

Shapley's value (1953) of a member is what it adds, on average over all orders in which members may join. It needs every subset.
It is also the solution of a weighted regression of a coalition's worth on its members, with the worth of none and of all kept
exactly (Charnes et al. 1988; Lundberg and Lee 2017), and that can be solved for the subsets that there are:

    min over phi of  sum over S of  w(|S|) (v(S) - v(none) - sum of phi_i in S)^2,   with  sum of phi = v(all) - v(none)
    w(s) = (K - 1) / (C(K, s) s (K - s))

With all subsets it is Shapley's value; with each member alone and each left out, the mean of what it adds first and last, shifted
so that the values add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def shapley_coefficients(coalitions: Sequence[frozenset[str]], members: Sequence[str]) -> np.ndarray | None:
    """Values are linear in the coalitions' worths: this matrix, [members, coalitions], times the worths. None where the
    coalitions do not determine them: none and all must be among them, and enough between."""
    count, index = len(members), {coalition: i for i, coalition in enumerate(coalitions)}
    none, whole = index.get(frozenset()), index.get(frozenset(members))
    if none is None or whole is None:
        return None
    coefficients = np.zeros((count, len(index)))
    coefficients[:, whole] += 1 / count
    coefficients[:, none] -= 1 / count
    between = [coalition for coalition in index if 0 < len(coalition) < count]
    if not between:
        return coefficients if count == 1 else None
    inside_CM = np.array([[member in coalition for member in members] for coalition in between], float)
    sizes_C = inside_CM.sum(1)
    weights_C = np.array([(count - 1) / (math.comb(count, int(s)) * s * (count - s)) for s in sizes_C])
    centred_CM = inside_CM - sizes_C[:, None] / count  # the equal share taken out, what is left adds up to 0
    roots_C = np.sqrt(weights_C)
    if np.linalg.matrix_rank(centred_CM * roots_C[:, None]) < count - 1:
        return None
    solve_MC = np.linalg.pinv(centred_CM * roots_C[:, None]) * roots_C
    for column, coalition in enumerate(between):  # of v(S) - v(none) - (v(all) - v(none)) |S| / K
        share = len(coalition) / count
        coefficients[:, index[coalition]] += solve_MC[:, column]
        coefficients[:, none] -= solve_MC[:, column] * (1 - share)
        coefficients[:, whole] -= solve_MC[:, column] * share
    return coefficients

"""The pools of annotators, and the agreement within a pool, which determines its scale.

`c`, `rho`, `l`, `eps`, `o`, the crowd's groups and their shares are given by the world's definition. Chosen here are the
number of annotators in a pool; the crowd's kappa (crowds rate assertive text higher, Hosking et al. 2024); the judge's c,
rho and kappa (it misses fewer errors than the crowd and more than experts) and its preference for likely answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planish.base.errors import ConfigError, DataError
from planish.statistics.agreement import agreement_by_unit
from planish.world.annotators.annotator import Annotator, Pool, outcomes, scores
from planish.world.gold.verdict import Verdict

Pair = tuple[Verdict, Verdict]
Logprobs = Sequence[tuple[float, float]] | None  # of both answers of each pair


@dataclass(frozen=True, slots=True)
class PoolRecipe:
    """The default size of a pool, and an annotator of each group with the group's share."""

    num_annotators: int
    groups: tuple[tuple[Annotator, float], ...]


_CROWD = Annotator("crowd", "neutral", see_errors=0.4, blind_to_assertive=0.5, length=0.5, assertive=0.3, noise=0.1)
_BLUE, _GREEN = replace(_CROWD, group="blue", marker=0.8), replace(_CROWD, group="green", marker=-0.8)
_EXPERT = Annotator("expert", "expert", see_errors=0.95, length=0.1)
_JUDGE = Annotator(
    "judge", "judge", see_errors=0.7, blind_to_assertive=0.25, length=0.8, assertive=0.2, likelihood=0.5, position=0.3
)

POOLS: dict[str, PoolRecipe] = {
    "expert": PoolRecipe(5, ((_EXPERT, 1.0),)),
    "crowd": PoolRecipe(20, ((_BLUE, 0.55), (_GREEN, 0.30), (_CROWD, 0.15))),
    "copycats": PoolRecipe(20, ((_BLUE, 0.55), (_GREEN, 0.30), (_CROWD, 0.15))),  # copies of one member of the crowd
    "judge": PoolRecipe(1, ((_JUDGE, 1.0),)),
    "oracle": PoolRecipe(1, ((Annotator("oracle", "oracle", exact=True), 1.0),)),
}


def make_pool(
    name: str,
    length_scale: float,
    num_annotators: int | None = None,
    num_per_item: int = 1,
    seed: int = 0,
    shares: Mapping[str, float] | None = None,
) -> Pool:
    """One of POOLS, with s = 1 until it is calibrated.

    `length_scale` is sigma_L, the standard deviation of the answers' lengths in tokens. `shares` of groups replace those of
    the recipe; they need not sum to 1. Groups get whole annotators, by largest remainder. "copycats" copy a crowd of the
    default size that is not calibrated; for those of another pool use `Pool.copycats`.
    """
    if name not in POOLS:
        raise ConfigError(f"there is no pool of annotators named '{name}': choose one of {', '.join(POOLS)}")
    if num_annotators is not None and num_annotators < 1:
        raise ConfigError(f"pool {name}: num_annotators is {num_annotators}, expected 1 or more")
    recipe = POOLS[name]
    size = recipe.num_annotators if num_annotators is None else num_annotators
    if name == "copycats":
        crowd = make_pool("crowd", length_scale, seed=seed, shares=shares)
        return replace(crowd.copycats(size), num_per_item=num_per_item)
    counts = _apportion(name, {kind.group: share for kind, share in recipe.groups}, shares, size)
    kinds = [kind for kind, _ in recipe.groups for _ in range(counts[kind.group])]
    annotators = tuple(replace(kind, name=f"{name}-{i:02d}") for i, kind in enumerate(kinds))
    return Pool(name, annotators, length_scale, num_per_item, seed)


def _apportion(name: str, usual: Mapping[str, float], asked: Mapping[str, float] | None, size: int) -> dict[str, int]:
    """How many of `size` annotators each group has: by largest remainder, ties to the group named first."""
    shares = usual if asked is None else asked
    unknown = sorted(set(shares) - set(usual))
    if unknown:
        raise ConfigError(f"pool {name}: shares name the group '{unknown[0]}', its groups are {', '.join(usual)}")
    total = sum(shares.values())
    if not (all(share >= 0 for share in shares.values()) and 0 < total < math.inf):
        raise ConfigError(f"pool {name}: shares are {dict(shares)}, expected numbers from 0 up, not all 0")
    exact = {group: size * shares.get(group, 0.0) / total for group in usual}
    counts = {group: int(quota + 1e-9) for group, quota in exact.items()}  # 20 * 0.55 / 1 may fall just short of 11
    for group in sorted(exact, key=lambda group: counts[group] - exact[group])[: size - sum(counts.values())]:
        counts[group] += 1
    return counts


def expected_agreement(pool: Pool, pairs: Sequence[Pair], logprobs: Logprobs = None) -> float:
    """The exact probability that two annotators of the pool agree on a pair: the mean of p_i p_j + (1-p_i)(1-p_j).

    The two are different; a pool of one judges twice, each time with new noise. Copycats always agree.
    """
    return float(_agreement(pool, _gaps(pool, pairs, logprobs) + _positions(pool)).mean())


def calibrate(pool: Pool, pairs: Sequence[Pair], agreement: float = 0.73, logprobs: Logprobs = None) -> Pool:
    """The pool with the scale s, the same for all annotators, at which `expected_agreement` on these pairs is `agreement`.

    0.73 is between InstructGPT's 72.6% (training labelers) and 77.3% (held out). If groups have opposite preferences, the
    agreement need not increase with s; the smallest scale is used, as far as doublings of s show it.
    """
    unit_gaps, positions = _gaps(pool.with_settings(scale=1.0), pairs, logprobs), _positions(pool)

    def excess(scale: float) -> float:
        return float(_agreement(pool, scale * unit_gaps + positions).mean()) - agreement

    grid = [0.0, *(2.0**power for power in range(-10, 21))]
    excesses = [excess(scale) for scale in grid]
    crossing = next((i for i in range(1, len(grid)) if (excesses[i - 1] < 0) != (excesses[i] < 0)), None)
    if crossing is None:
        hint = "; copycats always agree: calibrate a pool first, then take its copycats" if pool.copies_of else ""
        raise ConfigError(
            f"pool {pool.name} cannot reach an agreement of {agreement}: on these {len(pairs)} pairs it is between "
            f"{min(excesses) + agreement:.4f} and {max(excesses) + agreement:.4f} whatever the scale. Change the agreement, the "
            f"annotators' noise or position, or the pairs{hint}"
        )
    low, high = grid[crossing - 1], grid[crossing]
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if (excess(middle) < 0) == (excesses[crossing - 1] < 0) else (low, middle)
    return pool.with_settings(scale=high)


def _positions(pool: Pool) -> np.ndarray:
    return np.array([annotator.position for annotator in pool.annotators])


def _gaps(pool: Pool, pairs: Sequence[Pair], logprobs: Logprobs) -> np.ndarray:
    """The first score less the second, without position: float64 [len(pairs), number of annotators]."""
    if not pairs:
        raise DataError(f"pool {pool.name}: no pairs, expected at least one")
    sides: list[np.ndarray] = []
    for side in (0, 1):
        likelihood = None if logprobs is None else [both[side] for both in logprobs]
        sides.append(scores(pool.annotators, [pair[side] for pair in pairs], pool.length_scale, likelihood))
    return sides[0] - sides[1]


def _agreement(pool: Pool, gaps: np.ndarray) -> np.ndarray:
    """The probability that two annotators (or the only one, twice) agree on each pair: [len(pairs)]."""
    if pool.copies_of:
        return np.ones(len(gaps))
    return agreement_by_unit(outcomes(pool.annotators, gaps))

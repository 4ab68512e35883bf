"""A number with its 95% interval, the ways to one, and how both are written.

Observations of one prompt are not independent, so the sample is the prompts, or clusters: their means give the normal interval,
and the bootstrap draws whole clusters with replacement (percentiles; Cameron, Gelbach and Miller 2008). With fewer than some
30 clusters both are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np

from planish.base.random import numpy_generator
from planish.base.text import number_text

LEVEL = 0.95
Z_95 = 1.96  # standard errors on either side of a 95% interval, as pages and tables say; `quantile` is exact
MANY = 1e5  # degrees of freedom from which on Student's t is normal
BLOCK = 1 << 21  # numbers held at once while drawing


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval, from `low` to `high`, and the size `n` of its sample. A sample of one gives no interval."""

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def half(self) -> float | None:
        """Half the width of a symmetric interval."""
        return None if self.high is None else self.high - self.value


def quantile(level: float = LEVEL) -> float:
    """Standard errors on either side of a normal interval of this level: 1.959964 for 95%."""
    return NormalDist().inv_cdf((1 + level) / 2)


def student(freedom: float, level: float = LEVEL) -> float:
    """Standard errors on either side of an interval of Student's t: 2.776 for 4 degrees of freedom and 95%."""
    low, high = 0.0, math.tan(math.pi / 2 * level) + 1  # Cauchy's, the widest
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, freedom) > (1 - level) / 2 else (low, middle)
    return (low + high) / 2


def student_tail(t: float, freedom: float) -> float:
    """P(T > t) for t of 0 or more and degrees of freedom of 1 or more, which need not be whole: with t = sqrt(v) tan(a), the
    integral of cos(a)^(v - 1) over a."""
    if freedom > MANY:
        return NormalDist().cdf(-t)
    start = math.atan(t / math.sqrt(freedom))
    far = min(math.pi / 2, start + 12 / math.sqrt(freedom))  # beyond lies nothing that counts
    points_N, weights_N = _legendre()
    middle, half = (far + start) / 2, (far - start) / 2
    area = half * float(weights_N @ np.cos(middle + half * points_N) ** (freedom - 1))
    return area * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)


@cache
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(100)


def around(value: float, half: float, n: int) -> Estimate:
    """A symmetric interval."""
    return Estimate(value, value - half, value + half, n) if n > 1 else Estimate(value, None, None, n)


def mean_estimate(values: Sequence[float] | np.ndarray, z: float = Z_95) -> Estimate:
    """The mean of independent values, with its normal interval."""
    values_N = np.asarray(values, np.float64)
    n = len(values_N)
    return around(float(values_N.mean()), z * float(values_N.std(ddof=min(1, n - 1))) / math.sqrt(n), n)


def cluster_means(values_N: np.ndarray, clusters_N: np.ndarray) -> np.ndarray:
    """The mean of each cluster's values, [M]; clusters may have any names."""
    _, place_N, counts_M = np.unique(clusters_N, return_inverse=True, return_counts=True)
    return np.bincount(place_N, values_N) / counts_M


def clustered_mean(values_N: Sequence[float] | np.ndarray, clusters_N: np.ndarray, level: float = LEVEL) -> Estimate:
    """The mean over clusters of their means, with its normal interval."""
    return mean_estimate(cluster_means(np.asarray(values_N, np.float64), clusters_N), quantile(level))


def difference(before: Estimate, after: Estimate) -> Estimate:
    """The change between two independent estimates, its interval from theirs (MOVER; for shares Newcombe 1998, method 10). If
    both are of the same rows it is wider than need be."""
    change, n = after.value - before.value, min(before.n, after.n)
    if before.low is None or before.high is None or after.low is None or after.high is None:
        return Estimate(change, None, None, n)
    below = math.hypot(after.value - after.low, before.high - before.value)
    above = math.hypot(after.high - after.value, before.value - before.low)
    return Estimate(change, change - below, change + above, n)


def wilson(count: float, total: int, z: float = Z_95) -> Estimate:
    """A share with its score interval (Wilson 1927)."""
    share, spread = count / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half), total)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The clustered bootstrap. Every statistic sees the same draws, so that none depends on which others are computed."""

    draws: int
    seed: int

    def counts(self, num_clusters: int, width: int = 1) -> Iterator[np.ndarray]:
        """How often each cluster is drawn: blocks of int64 [B, num_clusters], `draws` rows in all.

        `width` is how many numbers the caller holds for each draw.
        """
        numbers = numpy_generator(self.seed, "ranking", "bootstrap")
        most = max(1, BLOCK // max(num_clusters, width))
        for start in range(0, self.draws, most):
            num = min(most, self.draws - start)
            drawn = numbers.integers(num_clusters, size=(num, num_clusters)) + num_clusters * np.arange(num)[:, None]
            yield np.bincount(drawn.ravel(), minlength=num * num_clusters).reshape(num, num_clusters)

    def mean(self, values: np.ndarray, weight: np.ndarray, cluster: np.ndarray) -> Estimate:
        """The weighted mean of `values`; all three are [N]."""
        parts = np.stack([weight * values, weight], axis=1)
        found = self.statistic(lambda sums: sums[:, 0] / sums[:, 1], parts, cluster)
        assert found is not None
        return found

    def ratio(self, parts: np.ndarray, cluster: np.ndarray) -> Estimate | None:
        """The share that the first of two counts [N, 2] has in the second; None where that is 0."""
        found = self.statistic(_ratio, parts, cluster)
        return None if found is None else bounded_share(found)

    def statistic(
        self, of: Callable[[np.ndarray], np.ndarray], parts: np.ndarray, cluster: np.ndarray
    ) -> Estimate | None:
        """A function of sums: `parts` are [N, K], what each observation adds, and `of` takes sums [B, K] to values [B], NaN
        where there is none. None if that is so of all observations together."""
        clusters, place = np.unique(cluster, return_inverse=True)
        sums = np.zeros((len(clusters), parts.shape[1]))
        np.add.at(sums, place, parts)
        if not np.isfinite(value := of(sums.sum(0)[None])[0]):
            return None
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = np.concatenate([of(counts @ sums) for counts in self.counts(len(clusters))])
        return percentiles(float(value), drawn, len(clusters))

    def share(self, credit: np.ndarray, weight: np.ndarray, cluster: np.ndarray) -> Estimate:
        """The weighted mean of values that are 1 for right and 0 for wrong."""
        return bounded_share(self.mean(credit, weight, cluster))


def _ratio(sums: np.ndarray) -> np.ndarray:
    return np.where(sums[:, 1] > 0, sums[:, 0], np.nan) / np.where(sums[:, 1] > 0, sums[:, 1], 1.0)


def bounded_share(found: Estimate) -> Estimate:
    """A share by the bootstrap. Where all are right, or all wrong, every draw is the same; the bound is then that of Clopper and
    Pearson (1934) for so many independent clusters."""
    if found.n < 2 or found.value not in (0, 1):
        return found
    bound = ((1 - LEVEL) / 2) ** (1 / found.n)
    return Estimate(1.0, bound, 1.0, found.n) if found.value else Estimate(0.0, 0.0, 1 - bound, found.n)


def percentiles(value: float, drawn: np.ndarray, n: int) -> Estimate:
    """A bootstrap's interval; draws in which the statistic is not defined are left out."""
    drawn = drawn[np.isfinite(drawn)]
    if n < 2 or not drawn.size:
        return Estimate(float(value), None, None, n)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high), n)


# As text


def span_text(found: Estimate, digits: str = ".1%") -> str:
    """The interval: "57.0 to 67.0%"."""
    if found.low is None or found.high is None:
        return "–"
    return f"{number_text(found.low, digits).removesuffix('%')} to {number_text(found.high, digits)}"


def estimate_text(found: Estimate | None, digits: str = ".1%") -> str:
    """The value with its interval: "62.0% (57.0 to 67.0%)"."""
    if found is None:
        return "–"
    value = number_text(found.value, digits)
    return value if found.low is None else f"{value} ({span_text(found, digits)})"


def mean_text(found: Estimate | None, digits: str = "+.2f") -> str:
    """The value and half of its interval: "+0.25 ± 0.10"."""
    if found is None:
        return "–"
    value = number_text(found.value, digits)
    return value if found.half is None else f"{value} ± {found.half:{digits.lstrip('+')}}"

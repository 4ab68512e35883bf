"""Numbers recorded by step or by iteration: running means, and whether a series moved."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from planish.statistics.estimate import student

FEWEST = 5  # values in a mean; fewer would only repeat the curve
MOST = 50
MANY, SOME = 10 * FEWEST, 4 * FEWEST  # values in a series that is averaged; SOME where single values are noisy


@dataclass(frozen=True, slots=True)
class Records:
    """Lines of numbers, one for each `unit` ("step" or "iteration"). From `averaged_from` lines on, they are averaged."""

    lines: Sequence[Mapping[str, Any]]
    unit: str = "step"
    averaged_from: int = MANY
    fixed_window: int | None = None  # the same for several runs on one axis

    @property
    def window(self) -> int:
        """The number of lines in a mean; 1 where there are too few to average."""
        return self.fixed_window or mean_window(len(self.lines), self.averaged_from)

    @property
    def x(self) -> list[int]:
        return [line[self.unit] for line in self.lines]

    def column(self, name: str) -> list[float]:
        """NaN where a line has no such number."""
        return [line.get(name, math.nan) for line in self.lines]

    def means(self, name: str) -> list[float]:
        return running_mean(self.column(name), self.window)

    def last(self, name: str) -> float:
        """The mean of the last lines."""
        return mean(self.column(name)[-self.window :])

    def ends(self, values: Sequence[float], text: Callable[[float], str]) -> str:
        """ "from 2.10 to 1.61", the means of the first and the last lines."""
        return f"from {text(mean(values[: self.window]))} to {text(mean(values[-self.window :]))}"

    @property
    def ends_are(self) -> str:
        unit = self.unit
        return (
            f"first and last {unit}" if self.window == 1 else f"means of the first and the last {self.window} {unit}s"
        )

    @property
    def means_are(self) -> str:
        return f"one point per {self.unit}" if self.window == 1 else f"means of the last {self.window} {self.unit}s"


@dataclass(frozen=True, slots=True)
class Trend:
    """The means of the first and last values of a series."""

    before: float
    after: float
    significant: (
        bool | None
    )  # the 95% interval of their difference excludes 0; None of single values, whose noise is unknown


def mean_window(count: int, averaged_from: int = MANY) -> int:
    return max(FEWEST, min(MOST, count // 10)) if count >= averaged_from else 1


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and those before it, `window` in all; fewer at the beginning."""
    if not all(map(math.isfinite, values)):
        return [mean(values[max(0, i + 1 - window) : i + 1]) for i in range(len(values))]
    sums = [0.0, *accumulate(values)]
    return [(sums[i] - sums[max(0, i - window)]) / min(i, window) for i in range(1, len(sums))]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def finite_mean(values: Sequence[float]) -> float:
    """The mean of the finite values; NaN where there are none."""
    known = [value for value in values if math.isfinite(value)]
    return mean(known) if known else math.nan


def trend(values: Sequence[float]) -> Trend | None:
    """From the first values to the last; None where no value is finite."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return None
    window = mean_window(len(known), SOME)
    first, last = known[:window], known[-window:]
    error = math.sqrt((_variance(first) + _variance(last)) / window)
    before, after = mean(first), mean(last)
    return Trend(before, after, abs(after - before) > student(2 * window - 2) * error if window > 1 else None)


def _variance(values: Sequence[float]) -> float:
    """The unbiased variance; 0 for a single value, where it is unknown."""
    middle = mean(values)
    return sum((value - middle) ** 2 for value in values) / max(1, len(values) - 1)

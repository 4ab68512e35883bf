"""The ability matrix: mixtures by abilities, what each source is worth, and how far its rows go.

    OUT/NAME.matrix.json    beside the ledger; the page is made of it

A cell is a measure's mean over seeds and prompts. Its difference from the whole mixture is of the same seeds and prompts, so it
is known better than the cells are. What a source is worth is its Shapley value over the mixtures that were run, with the signs of
measures so that more is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from planish.base.errors import RunError
from planish.base.files import write_json
from planish.experiments.claim import MEAN, WORST, ClaimConfig, MeasureConfig
from planish.experiments.mixtures import ALL
from planish.experiments.verdict import Found
from planish.statistics.estimate import Estimate
from planish.statistics.paired import Values, differences, mean_effect
from planish.statistics.power_law import SizeCurve, fit_sizes
from planish.statistics.shapley import shapley_coefficients

SMALLEST = 3  # sizes that a curve needs


@dataclass(frozen=True, slots=True)
class SizePoint:
    """A source with a share of its training rows."""

    share: float
    rows: int
    value: Estimate


@dataclass(frozen=True, slots=True)
class SourceCurve:
    """A measure by the rows of a source; `alone`: without the other sources."""

    source: str
    alone: bool
    measure: str
    points: list[SizePoint]
    fit: SizeCurve | None  # None with too few sizes


@dataclass(frozen=True, slots=True)
class Matrix:
    """By arm and measure. `mean` and `worst` are over all measures, more is better; `worst` names the measure."""

    measures: dict[str, MeasureConfig]
    members: dict[str, tuple[str, ...]]
    cells: dict[str, dict[str, Estimate]]
    less_all: dict[str, dict[str, Estimate]] = field(default_factory=dict[str, dict[str, Estimate]])
    mean: dict[str, Estimate] = field(default_factory=dict[str, Estimate])
    worst: dict[str, tuple[str, Estimate]] = field(default_factory=dict[str, tuple[str, Estimate]])
    worth: dict[str, dict[str, Estimate]] = field(
        default_factory=dict[str, dict[str, Estimate]]
    )  # by source and measure
    curves: list[SourceCurve] = field(default_factory=list[SourceCurve])


_MATRIX = TypeAdapter(Matrix)


def matrix_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.matrix.json"


def write_matrix(folder: Path, name: str, matrix: Matrix) -> None:
    plain = asdict(matrix) | {"measures": {key: one.model_dump() for key, one in matrix.measures.items()}}
    write_json(matrix_file(folder, name), plain)


def read_matrix(folder: Path, name: str) -> Matrix | None:
    path = matrix_file(folder, name)
    if not path.exists():
        return None
    try:
        return _MATRIX.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(
            f"{path}: is no matrix of mixtures: {where}: {first['msg']}. Take it away, or run it again"
        ) from None


def make_matrix(claim: ClaimConfig, found: Found, rows: Mapping[str, int]) -> Matrix:
    """`rows` is how many training rows each arm of `sizes` has of its source."""
    arms = [arm for arm in found if arm in claim.mixtures]
    cells = {arm: {name: mean_effect(values).estimate() for name, values in found[arm].items()} for arm in arms}
    matrix = Matrix(dict(claim.measures), {arm: claim.mixtures[arm] for arm in arms}, cells)
    for arm in arms:
        if ALL in cells and arm != ALL:
            matrix.less_all[arm] = {
                name: mean_effect(differences(values, found[ALL][name])).estimate()
                for name, values in found[arm].items()
            }
        matrix.mean[arm] = _mean_over(claim.measures, found[arm], cells[arm])
        matrix.worst[arm] = _worst_over(claim.measures, cells[arm])
    matrix.worth.update(_worths(claim, found, arms))
    matrix.curves.extend(_curves(claim, found, rows))
    return matrix


def with_overall(claim: ClaimConfig, found: Found) -> Found:
    """With the mean and the worst of all measures, for each seed, where arms are mixtures."""
    if not claim.mixtures:
        return found
    extended: dict[str, dict[str, Sequence[Values]]] = {}
    for arm, values in found.items():
        seeds = [_numbers(claim.measures, seed) for seed in _by_seed(values)]
        overall = {MEAN: [{"": float(np.mean(one))} for one in seeds], WORST: [{"": min(one)} for one in seeds]}
        extended[arm] = {**values, **overall}
    return extended


def _numbers(measures: Mapping[str, MeasureConfig], seed: Mapping[str, Values]) -> list[float]:
    """Of one seed, each measure's mean, turned."""
    return [good(measures[name], float(np.mean([*one.values()]))) for name, one in seed.items()]


def good(measure: MeasureConfig, value: float) -> float:
    """A value in its unit, turned so that more is better."""
    return measure.sign * value / measure.unit


def turned(measure: MeasureConfig, estimate: Estimate) -> Estimate:
    ends = [None if end is None else good(measure, end) for end in (estimate.low, estimate.high)]
    low, high = ends if measure.sign > 0 else reversed(ends)
    return Estimate(good(measure, estimate.value), low, high, estimate.n)


def _mean_over(
    measures: Mapping[str, MeasureConfig], values: Mapping[str, Sequence[Values]], cells: Mapping[str, Estimate]
) -> Estimate:
    """Over seeds where there are several, else from the measures' own intervals, as if they were independent."""
    by_seed = [float(np.mean(_numbers(measures, seed))) for seed in _by_seed(values)]
    return _over_measures(by_seed, [turned(measures[name], cell) for name, cell in cells.items()])


def _over_measures(by_seed: Sequence[float], estimates: Sequence[Estimate]) -> Estimate:
    if len(by_seed) > 1:
        return mean_effect([{"": value} for value in by_seed]).estimate()
    halves = [estimate.half for estimate in estimates]
    if any(half is None for half in halves):
        return Estimate(by_seed[0], None, None, 1)
    half = math.sqrt(sum((half or 0.0) ** 2 for half in halves)) / len(halves)
    return Estimate(by_seed[0], by_seed[0] - half, by_seed[0] + half, 1)


def _worst_over(measures: Mapping[str, MeasureConfig], cells: Mapping[str, Estimate]) -> tuple[str, Estimate]:
    turned_cells = {name: turned(measures[name], cell) for name, cell in cells.items()}
    name = min(turned_cells, key=lambda name: turned_cells[name].value)
    return name, turned_cells[name]


def _by_seed(values: Mapping[str, Sequence[Values]]) -> list[dict[str, Values]]:
    count = len(next(iter(values.values())))
    return [{name: seeds[i] for name, seeds in values.items()} for i in range(count)]


def _worths(claim: ClaimConfig, found: Found, arms: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """Empty where the mixtures that were run do not determine it."""
    sources = claim.mixtures.get(ALL, ())
    coalitions = {frozenset(claim.mixtures[arm]): arm for arm in arms}
    coefficients_KC = shapley_coefficients([*coalitions], sources) if sources else None
    if coefficients_KC is None:
        return {}
    worths: dict[str, dict[str, Estimate]] = {}
    for source, coefficients_C in zip(sources, coefficients_KC.tolist(), strict=True):
        values = {
            name: _combined(found, [*coalitions.values()], coefficients_C, name, measure)
            for name, measure in claim.measures.items()
        }
        own = {name: mean_effect(seeds).estimate() for name, seeds in values.items()}
        by_seed = [float(np.mean([np.mean([*one.values()]) for one in seed.values()])) for seed in _by_seed(values)]
        worths[source] = {**own, MEAN: _over_measures(by_seed, [*own.values()])}
    return worths


def _combined(
    found: Found, arms: Sequence[str], coefficients_C: Sequence[float], name: str, measure: MeasureConfig
) -> list[Values]:
    """A sum of arms, for each seed on the prompts that all of them have."""
    seeds: list[Values] = []
    for i in range(len(found[arms[0]][name])):
        values = [found[arm][name][i] for arm in arms]
        shared = [prompt for prompt in values[0] if all(prompt in others for others in values)]
        seeds.append(
            {
                prompt: good(measure, sum(c * own[prompt] for c, own in zip(coefficients_C, values, strict=True)))
                for prompt in shared
            }
        )
    return seeds


def _curves(claim: ClaimConfig, found: Found, rows: Mapping[str, int]) -> list[SourceCurve]:
    """A curve for each source and measure, in the measure's own unit and direction."""
    groups: dict[tuple[str, bool], list[str]] = {}
    for arm, (source, _) in claim.sizes.items():
        if arm in found:
            groups.setdefault((source, arm.startswith("only ")), []).append(arm)
    return [
        _curve(claim, found, rows, source, alone, arms, name)
        for (source, alone), arms in groups.items()
        for name in claim.measures
    ]


def _curve(
    claim: ClaimConfig, found: Found, rows: Mapping[str, int], source: str, alone: bool, arms: Sequence[str], name: str
) -> SourceCurve:
    points = {
        rows[arm]: SizePoint(claim.sizes[arm][1], rows[arm], mean_effect(found[arm][name]).estimate()) for arm in arms
    }
    ordered = [points[size] for size in sorted(points)]
    measure, fit = claim.measures[name], None
    if len(ordered) >= SMALLEST:
        sizes, values = [point.rows for point in ordered], [point.value.value for point in ordered]
        fit = fit_sizes(sizes, values, claim.worth * measure.unit, measure.sign < 0)
    return SourceCurve(source, alone, name, ordered, fit)

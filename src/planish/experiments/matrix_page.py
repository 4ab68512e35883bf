"""The ability matrix as tables and figures of a claim's page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planish.base.text import count_text, listed, number_text
from planish.experiments.claim import MEAN, WORST
from planish.experiments.matrix import Matrix, SourceCurve, good
from planish.experiments.mixtures import ALL, NONE
from planish.reports.claims import leaders, side
from planish.reports.figures.base import BLUE, CLOSEST, ORANGE, Figure, Key, Panel, axis, curve, points
from planish.statistics.estimate import Estimate, span_text
from planish.statistics.power_law import FAR

DIGITS, SIGNED = ".3f", "+.3f"
SMOOTH = 60  # points of a fitted curve


@dataclass(frozen=True, slots=True)
class Cell:
    """A number with its interval; `mark` is best or worst of its column, or sure: the interval excludes 0."""

    value: str
    span: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class MarkedTable:
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


def matrix_table(matrix: Matrix) -> MarkedTable:
    """Mixtures by abilities; the best and the worst mixture of each column are marked, the untrained model aside."""
    trained = [arm for arm in matrix.cells if arm != NONE]
    worst = {arm: estimate for arm, (_, estimate) in matrix.worst.items()}
    named = {
        arm: Cell(cell.value, matrix.worst[arm][0], cell.mark) for arm, cell in _column(worst, trained, float).items()
    }
    columns: list[dict[str, Cell]] = [_column(matrix.mean, trained, float), named]
    for name, measure in matrix.measures.items():
        own = {arm: matrix.cells[arm][name] for arm in matrix.cells}
        columns.append(_column(own, trained, lambda value, measure=measure: good(measure, value)))
    heads = [f"{name} {'↓' if measure.sign < 0 else '↑'}" for name, measure in matrix.measures.items()]
    rows = [(arm, [column[arm] for column in columns]) for arm in matrix.cells]
    return MarkedTable([f"{MEAN} ↑", f"{WORST} ↑", *heads], rows)


def _column(own: Mapping[str, Estimate], trained: Sequence[str], turned: Callable[[float], float]) -> dict[str, Cell]:
    among = {arm: own[arm].value for arm in trained}

    def ends(best: bool) -> list[str]:
        lowest = turned(1.0) > turned(0.0)
        return leaders(among, lambda value: number_text(value, DIGITS), lowest=lowest is not best) if among else []

    marks = {**dict.fromkeys(ends(False), "worst"), **dict.fromkeys(ends(True), "best")} if len(among) > 1 else {}
    return {
        arm: Cell(number_text(one.value, DIGITS), span_text(one, DIGITS), marks.get(arm, ""))
        for arm, one in own.items()
    }


def difference_table(matrix: Matrix) -> MarkedTable:
    """Each mixture less the whole one, on the same seeds and prompts, in each measure's own direction."""
    rows = [(arm, [_signed(one) for one in cells.values()]) for arm, cells in matrix.less_all.items()]
    return MarkedTable([*matrix.measures], rows)


def worth_table(matrix: Matrix) -> MarkedTable:
    """What each source is worth; more is better in every column."""
    order = [MEAN, *matrix.measures]
    rows = [(source, [_signed(cells[name]) for name in order]) for source, cells in matrix.worth.items()]
    return MarkedTable(order, rows)


def _signed(one: Estimate) -> Cell:
    return Cell(number_text(one.value, SIGNED), span_text(one, SIGNED), "sure" if side(one) else "")


def matrix_text(matrix: Matrix) -> str:
    """ "The whole mixture has the best mean and the best worst column of 8 mixtures. It leads 2 of 5 columns; …" """
    trained = [arm for arm in matrix.cells if arm != NONE]
    if ALL not in trained or len(trained) < 2:
        return (
            f"{count_text(len(matrix.cells), 'mixture')} by {count_text(len(matrix.measures), 'ability', 'abilities')}."
        )
    means = {arm: matrix.mean[arm].value for arm in trained}
    worst = {arm: matrix.worst[arm][1].value for arm in trained}
    by_mean, by_worst = (max(values, key=lambda arm: values[arm]) for values in (means, worst))
    said = f"Of {count_text(len(trained), 'mixture')}, {_called(by_mean)} has the best mean"
    said += (
        " and the best worst column." if by_worst == by_mean else f", and {_called(by_worst)} the best worst column."
    )
    best = {
        name: max(trained, key=lambda arm: good(measure, matrix.cells[arm][name].value))
        for name, measure in matrix.measures.items()
    }
    single = [name for name, arm in best.items() if len(matrix.members[arm]) == 1]
    whole = [name for name, arm in best.items() if arm == ALL]
    columns = count_text(len(best), "column")
    said += f" The whole mixture leads in {len(whole)} of {columns}, a single source in {len(single)}"
    return said + (f": {listed(single)}." if single else ".")


def _called(arm: str) -> str:
    return "the whole mixture" if arm == ALL else f"“{arm}”"


# Rows of a source


def curve_text(found: SourceCurve) -> str:
    """Until where a doubling of the rows pays."""
    if found.fit is None:
        return "too few sizes for a curve"
    fit, smallest, largest = found.fit, found.points[0].rows, found.points[-1].rows
    if fit.stop <= smallest:
        said = f"no doubling pays, from {count_text(smallest, 'row')} on"
    elif fit.stop >= largest:
        said = f"a doubling still pays with all {largest:,} rows"
    else:
        said = f"a doubling pays up to about {round(fit.stop):,} rows"
    return (
        said if fit.low is None or fit.high is None else f"{said} (95% interval {_rows(fit.low)} to {_rows(fit.high)})"
    )


def _rows(number: float) -> str:
    return "any number" if number >= FAR else f"{round(number):,}"


def curve_rows(matrix: Matrix) -> list[tuple[str, str, str]]:
    return [(f"{one.source}{', alone' if one.alone else ''}", one.measure, curve_text(one)) for one in matrix.curves]


def curve_figures(matrix: Matrix) -> list[Figure]:
    """For each source a panel of each measure, over its rows."""
    groups: dict[tuple[str, bool], list[SourceCurve]] = {}
    for one in matrix.curves:
        groups.setdefault((one.source, one.alone), []).append(one)
    figures: list[Figure] = []
    for (source, alone), curves in groups.items():
        own = next((one for one in curves if one.measure == source), curves[0])
        title = f"Rows of {source}{', alone' if alone else ''}"
        made = "Points: means with 95% intervals. Line: end + rest · rows^−power, by least squares."
        figures.append(Figure(title, f"By {own.measure}, {curve_text(own)}.", made, [_panel(one) for one in curves]))
    return figures


def _panel(found: SourceCurve) -> Panel:
    measured = Key("measured", BLUE, points=True)
    rows = [float(point.rows) for point in found.points]
    drawn = points(measured, rows, [point.value for point in found.points], "%{y:.3f} (%{text})", DIGITS)
    traces = [drawn | {"mode": "markers"}]
    if found.fit is not None:
        smooth = np.geomspace(rows[0], rows[-1], SMOOTH).tolist()
        fitted = Key("fitted", ORANGE)
        traces.append(curve(fitted, smooth, [found.fit.at(n) for n in smooth]) | {"mode": "lines"})
    ticks = {"type": "log", "dtick": 1, "tickmode": "auto"}
    return Panel(found.measure, traces, {}, "by rows", axis("rows", free=True, **ticks), hovermode=CLOSEST)

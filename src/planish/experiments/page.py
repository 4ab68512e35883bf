"""The page of a claim, and the sentences about it that the documents share."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish import __version__
from planish.base.files import write_text
from planish.base.text import count_text, number_text
from planish.experiments.matrix import Matrix
from planish.experiments.matrix_page import (
    curve_figures,
    curve_rows,
    difference_table,
    matrix_table,
    matrix_text,
    worth_table,
)
from planish.experiments.verdict import Decision
from planish.reports.figures.base import BLUE, CLOSEST, Figure, Key, Panel, axis, interval_bars, reach, trace, upright
from planish.reports.pages.template import packed_plotly, template
from planish.statistics.estimate import span_text

if TYPE_CHECKING:
    from planish.experiments.command import ClaimState

DIGITS = ".4g"


def write_page(state: ClaimState, path: Path) -> Path:
    matrix = state.matrix
    drawn = [*figures_of(state.ledger.decisions), *(curve_figures(matrix) if matrix else [])]
    figures = {f"figure-{i}": figure for i, figure in enumerate(drawn)}
    page = template("claim.html", {}).render(
        title=f"{state.ledger.claim}: {state.claim.sentence}",
        claim=state.claim,
        ledger=state.ledger,
        verdict=verdict_text(state),
        matrix=matrix,
        **(matrix_parts(matrix) if matrix else {}),
        means=meaning(state),
        commands=commands(state),
        columns=COLUMNS,
        rows=[decision_cells(decision) for decision in state.ledger.decisions],
        measures=measure_rows(state),
        figures=figures,
        panels={place: [panel.plain() for panel in figure.panels] for place, figure in figures.items()},
        plotly=packed_plotly() if figures else "",
        version=__version__,
    )
    write_text(path, page)
    return path


def matrix_parts(matrix: Matrix) -> dict[str, Any]:
    """What the template shows of an ability matrix."""
    return {
        "matrix_table": matrix_table(matrix),
        "difference_table": difference_table(matrix),
        "worth_table": worth_table(matrix),
        "curve_rows": curve_rows(matrix),
    }


# Sentences and cells


def verdict_text(state: ClaimState) -> str:
    """ "Reproduced: 3 of 3 criteria hold, in 5 seeds." """
    ledger = state.ledger
    if not ledger.version:
        return "Open: it has not been run."
    about = f"{matrix_text(state.matrix)} " if state.matrix is not None and state.matrix.cells else ""
    if not state.claim.criteria:
        return f"{about}In {count_text(len(ledger.seeds), 'seed')}, without criteria.".strip()
    holds = sum(decision.answer == "holds" for decision in ledger.decisions)
    against = sum(decision.answer == "opposite" for decision in ledger.decisions)
    count = len(ledger.decisions)
    said = f"{holds} of {count_text(count, 'criterion holds', 'criteria hold')}"
    turned = f", {against} the other way round" if against else ""
    trial = " A trial, not the claim: fewer arms or seeds, or other settings." if ledger.claim != state.name else ""
    verdict = f"{ledger.verdict[0].upper()}{ledger.verdict[1:]}"
    return f"{about}{verdict}: {said}{turned}, in {count_text(len(ledger.seeds), 'seed')}.{trial}"


def meaning(state: ClaimState) -> str:
    """What it means for the reader, as it was written before."""
    if state.ledger.verdict == "open" or state.ledger.claim != state.name:
        return ""
    return state.claim.if_reproduced if state.ledger.verdict == "reproduced" else state.claim.if_not


def commands(state: ClaimState) -> list[str]:
    return [f"planish claims run {state.given}", f"planish claims verify {state.given} --seed 0"]


def minutes_text(state: ClaimState) -> str:
    return f"{state.cost.minutes:g}" if state.cost else "–"


LISTED = ("claim", "verdict", "effect", "seeds", "minutes")
COLUMNS = ("criterion", "arm", "bound", "mean", "95% interval", "P (Holm)", "seeds", "prompts", "")


def decision_cells(decision: Decision) -> list[str]:
    arm = decision.arm if decision.minus is None else f"{decision.arm} − {decision.minus}"
    prompts = f"{decision.prompts:,}" if decision.prompts > 1 else "–"
    span = span_text(decision.estimate, DIGITS)
    value = number_text(decision.value, DIGITS)
    return [
        decision.says, arm, decision.criterion, value, span, f"{decision.holm:.2g}", str(decision.seeds), prompts,
        decision.answer,
    ]  # fmt: skip


def effect_text(decisions: Sequence[Decision]) -> str:
    """The mean of the criterion that decides, with its interval: the first that does not hold, else the first."""
    if not decisions:
        return "–"
    decisive = next((decision for decision in decisions if decision.answer != "holds"), decisions[0])
    return f"{number_text(decisive.value, DIGITS)} ({span_text(decisive.estimate, DIGITS)}), {decisive.criterion}"


def list_cells(state: ClaimState) -> list[str]:
    """A row of the list: name with sentence and source, verdict, the first criterion's effect, seeds, minutes."""
    ledger, claim = state.ledger, state.claim
    seeds = str(len(ledger.seeds)) if ledger.seeds else "–"
    said = f"{state.name}  {claim.sentence}" + (f" ({claim.source})" if claim.source else "")
    return [said, ledger.verdict, effect_text(ledger.decisions), seeds, minutes_text(state)]


def measure_rows(state: ClaimState) -> list[tuple[str, str, str, list[str]]]:
    """Arm, measure, mean over seeds, and each seed's number."""
    rows: list[tuple[str, str, str, list[str]]] = []
    for arm, measures in state.ledger.measures.items():
        for name, seeds in measures.items():
            mean = sum(seed.value for seed in seeds) / len(seeds)
            rows.append((arm, name, number_text(mean, DIGITS), [number_text(seed.value, DIGITS) for seed in seeds]))
    return rows


# The figure


def figures_of(decisions: Sequence[Decision]) -> list[Figure]:
    """A figure for each measure: every criterion's mean and interval, the first on top, with a line at its bound."""
    measures = dict.fromkeys(decision.measure for decision in decisions)
    return [_figure(name, [decision for decision in decisions if decision.measure == name]) for name in measures]


def _figure(measure: str, decisions: Sequence[Decision]) -> Figure:
    key, estimates = Key("", BLUE, points=True), [decision.estimate for decision in decisions]
    heights = [len(decisions) - i for i in range(len(decisions))]
    drawn = {
        **trace(key, "%{x:.4g} (%{text})"),
        "mode": "markers",
        "marker": {"size": 9, "color": key.color},
        "x": [decision.value for decision in decisions],
        "y": heights,
        "text": [span_text(estimate, DIGITS) for estimate in estimates],
        "error_x": interval_bars(key, estimates),
    }
    names = [decision_cells(decision)[1] for decision in decisions]
    yaxis = {
        "tickvals": heights,
        "ticktext": [escape(name) for name in names],
        "range": [0.5, len(decisions) + 0.5],
        "showgrid": False,
    }
    bounds = {decision.bound for decision in decisions} | {-d.bound for d in decisions if d.criterion.startswith("±")}
    xaxis = axis(measure, free=True, range=reach([drawn], "x", *bounds), showgrid=True)
    holds = sum(decision.answer == "holds" for decision in decisions)
    return Figure(
        measure,
        f"{holds} of {count_text(len(decisions), 'criterion about it holds', 'criteria about it hold')}.",
        "Means over seeds and prompts, or of differences on the same ones, with 95% intervals. Thin lines: the bounds.",
        [Panel("Arms", [drawn], yaxis, f"by {measure}", xaxis, [upright(bound) for bound in sorted(bounds)], CLOSEST)],
    )

"""The section of how well a run's scores rank comparisons, by step and by set. Every number is read from ranking.json."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planish.base.errors import RunError
from planish.base.text import listed, loss_text, number_text, percent
from planish.reports.figures.base import Figure
from planish.reports.figures.ranking import accuracy_figure, calibration_figure, length_figure
from planish.reports.read.ranking import FILE, best_accuracy, fully_known, read_rankings, shown_of
from planish.reports.read.run import RecordedRun
from planish.statistics.estimate import Estimate, estimate_text, span_text
from planish.statistics.ranking_result import PairGroup, RankingEvaluation

MAIN = "held_out"  # the set that comes first
LEAST = 2  # the cell of a row of `numbers` with the least log loss
FEW = 30  # prompts; with fewer a bootstrap over them is unreliable


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    """Accuracy on some of the pairs. `best` is the best possible accuracy: a number, or two bounds of it."""

    name: str
    comparisons: int | None
    pairs: int
    prompts: int
    accuracy: Estimate
    best: tuple[float, ...] = ()

    @property
    def best_text(self) -> str:
        return " to ".join(map(percent, self.best)).replace("% to", " to") or "–"


@dataclass(frozen=True, slots=True)
class Axis:
    """The axis of the marks beside the numbers, from `low` to 1."""

    low: float

    def at(self, share: float) -> str:
        return f"{(share - self.low) / (1 - self.low):.2%}"


Blocks = list[tuple[str, list[AccuracyRow]]]  # rows by heading


@dataclass(frozen=True, slots=True)
class RankingSection:
    says: str
    steps_say: str
    parts_say: str
    over_steps: dict[str, Figure]  # by the id of its place on the page
    beside: dict[str, Figure]
    blocks: Blocks
    others: list[tuple[str, Blocks]]  # the parts of further sets, by name
    numbers: list[list[str]]  # calibration and length: a row for each set
    axis: Axis
    how: str

    @property
    def figures(self) -> dict[str, Figure]:
        return {**self.over_steps, **self.beside}

    @property
    def shows_least(self) -> bool:
        """True if the least log loss is known for a set."""
        return any(cells[LEAST] != "–" for cells in self.numbers)

    @property
    def shown_numbers(self) -> list[list[str]]:
        """Without the column of the least log loss where it is known for no set."""
        return self.numbers if self.shows_least else [cells[:LEAST] + cells[LEAST + 1 :] for cells in self.numbers]

    @property
    def shows_best(self) -> bool:
        return any(
            row.best for blocks in (self.blocks, *dict(self.others).values()) for _, rows in blocks for row in rows
        )


def ranking_section(run: RecordedRun, place: str) -> tuple[RankingSection | None, str | None]:
    """The section, if the run measured any ranking, and a note if the file cannot be used."""
    path = run.path / FILE
    if not path.exists():
        return None, None
    try:
        evaluations = read_rankings(path)
    except RunError as error:
        return None, f"{error}. The ranking is left out."
    return (_section(run, evaluations, place) if evaluations else None), None


def _section(run: RecordedRun, evaluations: Sequence[RankingEvaluation], place: str) -> RankingSection:
    names = sorted(dict.fromkeys(evaluation.name for evaluation in evaluations), key=lambda name: name != MAIN)
    sets = {_set_name(name): [e for e in evaluations if e.name == name] for name in names}
    shown = {name: shown_of(run, measured) for name, measured in sets.items()}
    (main, first), *rest = shown.items()
    blocks = [("", [row for name, evaluation in shown.items() for row in _whole(name, evaluation)]), *_parts(first)]
    others = [(name, _parts(evaluation)) for name, evaluation in rest]
    rows = [row for some in (blocks, *(some for _, some in others)) for _, part in some for row in part]
    over_steps = accuracy_figure(sets) if any(len(measured) > 1 for measured in sets.values()) else None
    beside = {"calibration": calibration_figure(shown), "length": length_figure(shown)}
    return RankingSection(
        _outcome(main, first, sets[main][0]),
        _steps_text(shown),
        _parts_text(first),
        {f"{place}-accuracy": over_steps} if over_steps else {},
        {f"{place}-{name}": figure for name, figure in beside.items() if figure},
        blocks,
        others,
        [_numbers(name, evaluation) for name, evaluation in shown.items()],
        Axis(math.floor(min(0.5, *(_low(row.accuracy) for row in rows)) * 10) / 10),
        _how(first, rows),
    )


def _set_name(name: str) -> str:
    return "held-out pairs" if name == MAIN else name


# Words


def _outcome(name: str, shown: RankingEvaluation, first: RankingEvaluation) -> str:
    interval = "" if shown.accuracy.low is None else f" (95% interval {span_text(shown.accuracy)})"
    before = f"; at step {first.step:,} it was {percent(first.accuracy.value)}" if first.step < shown.step else ""
    says = f"Accuracy on {name} is {percent(shown.accuracy.value)}{interval}{before}. Guessing gives 50%"
    if known := fully_known(shown):
        why = "" if percent(known.ceiling.value) == "100.0%" else ", because the annotators' choices are partly random"
        return f"{says}; the best possible scores reach {percent(known.ceiling.value)}{why}."
    says += "."
    if known := shown.known:
        says += (
            f" On the {known.pairs:,} pairs with a known probability it is {percent(known.accuracy.value)}, and the best "
            f"possible scores reach {percent(known.ceiling.value)}."
        )
    if votes := shown.repeated:
        says += (
            f" The scores agree with {percent(votes.accuracy.value)} of the {votes.votes:,} votes on pairs that several people "
            f"judged. The best possible agreement lies between about {percent(votes.leave_one_out.value)} (one person with the "
            f"majority of the others) and {percent(votes.plug_in.value)} (one person with the majority of all)."
        )
    return says


def _steps_text(shown: Mapping[str, RankingEvaluation]) -> str:
    steps = {evaluation.step for evaluation in shown.values()}
    if len(steps) == 1:
        return f"Measured at step {min(steps):,}."
    return f"Measured {listed([f'at step {evaluation.step:,} on {name}' for name, evaluation in shown.items()])}."


def _parts_text(shown: RankingEvaluation) -> str:
    """The extremes of each block of the table, over parts with enough prompts."""
    by = shown.by
    clauses: list[str] = []
    for what, parts in (("source", by.source), ("group", by.group), ("annotator", by.annotator)):
        order = sorted((part for part in parts if part.prompts >= FEW), key=lambda part: part.accuracy.value)
        ends = [f"{percent(part.accuracy.value)} ({part.name or f'no {what}'})" for part in order]
        if order and order[0].accuracy.value < order[-1].accuracy.value:
            clauses.append(f"by {what} it ranges from {ends[0]} to {ends[-1]}")
    for whose, parts in (("the annotators' scores", by.given), ("its own scores", by.predicted)):
        one_scale = len({part.name for part in parts}) == 1 < len(parts)
        if one_scale and min(parts[0].prompts, parts[-1].prompts) >= FEW:
            near, far = percent(parts[0].accuracy.value), percent(parts[-1].accuracy.value)
            clauses.append(f"where {whose} differ least it is {near}, where they differ most {far}")
    return f"Accuracy by part: {'; '.join(clauses)}." if clauses else ""


def _how(shown: RankingEvaluation, rows: Sequence[AccuracyRow]) -> str:
    interval, tied = shown.interval, shown.tied
    says = (
        f"A comparison has weight 1, shared equally by its pairs; equal scores count half. Intervals are {interval.level:.0%} "
        f"percentiles of {interval.draws:,} bootstrap draws of whole prompts (seed {interval.seed}); for the slope, "
        "Wald's, clustered by prompt."
    )
    if any(row.prompts < FEW for row in rows):
        says += f" Intervals over fewer than {FEW} prompts are approximate."
    return says + (f" Left out: {tied:,} comparisons in which no answer is preferred." if tied else "")


# Tables


def _whole(name: str, evaluation: RankingEvaluation) -> Iterator[AccuracyRow]:
    yield AccuracyRow(
        name,
        evaluation.comparisons,
        evaluation.pairs,
        evaluation.prompts,
        evaluation.accuracy,
        best_accuracy(evaluation),
    )
    if (known := evaluation.known) and not fully_known(evaluation):
        best = (known.ceiling.value,)
        yield AccuracyRow(f"{name}, known probability", None, known.pairs, known.prompts, known.accuracy, best)
    if (votes := evaluation.repeated) and votes.votes < evaluation.pairs:
        bounds = votes.leave_one_out.value, votes.plug_in.value
        yield AccuracyRow(f"{name}, judged by several", None, votes.votes, votes.prompts, votes.accuracy, bounds)


def _parts(evaluation: RankingEvaluation) -> Blocks:
    by, several = evaluation.by, len({part.name for part in evaluation.by.given}) > 1
    sizes = zip(by.given, _sizes(by.given), strict=True)
    given = [_row(part, f"{part.name}: {size}" if several else size) for part, size in sizes]
    blocks = [
        ("By source", [_row(part, part.name) for part in by.source]),
        ("By group of annotators", [_row(part, part.name or "(no group)") for part in by.group]),
        ("By annotator", [_row(part, part.name or "(not named)") for part in by.annotator]),
        ("By difference of the annotator's scores", given),
        (
            "By difference of its own scores",
            [_row(part, size) for part, size in zip(by.predicted, _sizes(by.predicted), strict=True)],
        ),
    ]
    return [block for block in blocks if len(block[1]) > 1]


def _row(part: PairGroup, name: str) -> AccuracyRow:
    best = () if part.ceiling is None else (part.ceiling,)
    return AccuracyRow(name, part.comparisons, part.pairs, part.prompts, part.accuracy, best)


def _sizes(parts: Sequence[PairGroup]) -> list[str]:
    """The bounds of each part, with as many decimals for all as tell the bounds of the narrowest apart."""
    bounds = [(part.low or 0.0, part.high or 0.0) for part in parts]
    widths = [high - low for low, high in bounds if high > low]
    decimals = max(2, min(6, math.ceil(-math.log10(min(widths))))) if widths else 2
    texts = [tuple(number_text(round(bound, decimals), "g") for bound in ends) for ends in bounds]
    return [low if low == high else f"{low} to {high}" for low, high in texts]


def _numbers(name: str, evaluation: RankingEvaluation) -> list[str]:
    calibration, known = evaluation.calibration, fully_known(evaluation)
    return [
        name,
        estimate_text(evaluation.log_loss, ".3f"),
        loss_text(known.entropy.value if known else None),
        estimate_text(calibration.slope, ".2f"),
        f"{calibration.ece:.3f} ({calibration.ece_by_chance:.3f})",
        estimate_text(evaluation.length.spearman, "+.2f"),
        estimate_text(evaluation.length.pearson, "+.2f"),
    ]


def _low(estimate: Estimate) -> float:
    return estimate.value if estimate.low is None else estimate.low

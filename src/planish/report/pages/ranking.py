"""How well a run's scores rank what people compared, step by step and set by set: read from ranking.json, which the run
writes as it goes (planish.statistics.ranking says what is in it). Nothing is worked out anew here; the figures are those of
ranking_figures.py."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from planish.base.errors import RunError
from planish.base.text import listed, loss_text, percent
from planish.report.figures.base import Figure
from planish.report.figures.ranking import (
    accuracy_figure,
    best_possible,
    complete,
    length_figure,
    reliability_figure,
)
from planish.report.read.run import Run
from planish.statistics.estimate import Estimate, estimate_text, span_text
from planish.statistics.ranking_result import PairGroup, RankingEvaluation

FILE = "ranking.json"
MAIN = "held_out"  # the set that is told first
ROUGH = 30  # prompts; with fewer a bootstrap over them is itself unsure

_SHAPE = TypeAdapter(list[RankingEvaluation])


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    """Accuracy on some of the pairs. `best` is what no score could exceed on average: a number, or two bounds of it."""

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
    """Of the marks beside the numbers: from `low` to 1."""

    low: float

    def at(self, share: float) -> str:
        return f"{(share - self.low) / (1 - self.low):.2%}"


Blocks = list[tuple[str, list[AccuracyRow]]]  # rows under their headings


@dataclass(frozen=True, slots=True)
class RankingSection:
    says: str
    steps_say: str
    parts_say: str
    over_steps: dict[str, Figure]  # by the id of its place on the page
    beside: dict[str, Figure]
    blocks: Blocks
    others: list[tuple[str, Blocks]]  # the parts of further sets, by name
    numbers: list[list[str]]  # what is not accuracy: a line of the second table for each set
    axis: Axis
    how: str

    @property
    def figures(self) -> dict[str, Figure]:
        return {**self.over_steps, **self.beside}

    @property
    def shows_best(self) -> bool:
        return any(
            row.best for blocks in (self.blocks, *dict(self.others).values()) for _, rows in blocks for row in rows
        )


def ranked(run: Run, place: str) -> tuple[RankingSection | None, str | None]:
    """The section, where the run has measured any; and a note, where what it wrote cannot be used."""
    path = run.path / FILE
    if not path.exists():
        return None, None
    try:
        found = read_rankings(path)
    except RunError as error:
        return None, f"{error}. How well it ranks is left out here."
    return (_section(run, found, place) if found else None), None


def read_rankings(path: Path) -> list[RankingEvaluation]:
    """In the order of steps."""
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text, parse_constant=_refuse)
        return sorted(_SHAPE.validate_json(text, strict=True), key=lambda each: each.step)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path}: not evaluations of a ranking: {where}: {first['msg']}") from None
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON: {error}") from None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _section(run: Run, found: Sequence[RankingEvaluation], place: str) -> RankingSection:
    names = sorted({each.name for each in found}, key=lambda name: (name != MAIN, [e.name for e in found].index(name)))
    sets = {_set_name(name): [each for each in found if each.name == name] for name in names}
    shown = {name: _shown(run, measured) for name, measured in sets.items()}
    (main, first), *rest = shown.items()
    blocks = [("", [row for name, each in shown.items() for row in _whole(name, each)]), *_parts(first)]
    others = [(name, _parts(each)) for name, each in rest]
    every = [row for some in (blocks, *(some for _, some in others)) for _, rows in some for row in rows]
    over_steps = accuracy_figure(sets) if any(len(measured) > 1 for measured in sets.values()) else None
    beside = {"reliability": reliability_figure(shown), "length": length_figure(shown)}
    return RankingSection(
        _outcome(main, first, sets[main][0]),
        _when(shown),
        _parts_say(first),
        {f"{place}-accuracy": over_steps} if over_steps else {},
        {f"{place}-{name}": figure for name, figure in beside.items() if figure},
        blocks,
        others,
        [_numbers(name, each) for name, each in shown.items()],
        Axis(math.floor(min(0.5, *(_low(row.accuracy) for row in every)) * 10) / 10),
        _how(first, every),
    )


def _shown(run: Run, measured: Sequence[RankingEvaluation]) -> RankingEvaluation:
    """The last, or that of the saved model where the run selects the best."""
    saved = run.after.step if run.selects_best and run.after else None
    return next((each for each in measured if each.step == saved), measured[-1])


def _set_name(name: str) -> str:
    return "held-out pairs" if name == MAIN else name


# Words


def _outcome(name: str, shown: RankingEvaluation, first: RankingEvaluation) -> str:
    interval = "" if shown.accuracy.low is None else f" (95% interval {span_text(shown.accuracy)})"
    since = f", against {percent(first.accuracy.value)} at step {first.step:,}" if first.step < shown.step else ""
    says = f"Of {name} its scores put {percent(shown.accuracy.value)} in the order that the annotators did{interval}{since}."
    if known := complete(shown):
        return (
            f"{says} A guess would be right in 50%; the best possible scores in {percent(known.ceiling.value)}, for the "
            "annotators' choices are partly chance."
        )
    says += " A guess would be right in 50%."
    if known := shown.known:
        says += (
            f" On the {known.pairs:,} pairs whose probability is known it is right in {percent(known.accuracy.value)}, and the "
            f"best possible scores would be in {percent(known.ceiling.value)}."
        )
    if votes := shown.repeated:
        says += (
            f" It agrees with {percent(votes.accuracy.value)} of the {votes.votes:,} votes on pairs that several people "
            f"judged, where the best possible lies between about {percent(votes.leave_one_out.value)} (how often one person "
            f"agrees with the majority of the others) and {percent(votes.plug_in.value)} (with that of all)."
        )
    return says


def _when(shown: Mapping[str, RankingEvaluation]) -> str:
    steps = {each.step for each in shown.values()}
    if len(steps) == 1:
        return f"Measured at step {min(steps):,}."
    return f"Measured {listed([f'at step {each.step:,} on {name}' for name, each in shown.items()])}."


def _parts_say(shown: RankingEvaluation) -> str:
    """What is to be seen in the table: one clause for each way of parting the pairs, from parts of prompts enough."""
    by = shown.by
    clauses: list[str] = []
    for what, parts in (("source", by.source), ("group", by.group), ("annotator", by.annotator)):
        order = sorted((part for part in parts if part.prompts >= ROUGH), key=lambda part: part.accuracy.value)
        ends = [f"{percent(part.accuracy.value)} ({part.name or f'no {what}'})" for part in order]
        if order and order[0].accuracy.value < order[-1].accuracy.value:
            clauses.append(f"by {what} it runs from {ends[0]} to {ends[-1]}")
    for where, parts in (("where the annotators' scores lie", by.given), ("where its own lie", by.predicted)):
        one_scale = len({part.name for part in parts}) == 1 < len(parts)
        if one_scale and min(parts[0].prompts, parts[-1].prompts) >= ROUGH:
            near, far = percent(parts[0].accuracy.value), percent(parts[-1].accuracy.value)
            clauses.append(f"{where} closest it is {near}, where farthest apart {far}")
    return f"Accuracy: {'; '.join(clauses)}." if clauses else ""


def _how(shown: RankingEvaluation, rows: Sequence[AccuracyRow]) -> str:
    drawn, tied = shown.interval, shown.tied
    says = (
        f"A comparison weighs 1 in all, each of its pairs as much as the others; equal scores count half. Intervals of "
        f"{drawn.level:.0%} are percentiles of {drawn.draws:,} bootstrap draws of whole prompts (seed {drawn.seed}); that of "
        "the slope is Wald's, clustered by prompt."
    )
    if any(row.prompts < ROUGH for row in rows):
        says += f" Those of fewer than {ROUGH} prompts are rough."
    return says + (f" Left out: {tied:,} comparisons in which no answer is preferred." if tied else "")


# Tables


def _whole(name: str, each: RankingEvaluation) -> Iterator[AccuracyRow]:
    yield AccuracyRow(name, each.comparisons, each.pairs, each.prompts, each.accuracy, best_possible(each))
    if (known := each.known) and not complete(each):
        yield AccuracyRow(
            f"{name}, probability known", None, known.pairs, known.prompts, known.accuracy, (known.ceiling.value,)
        )
    if (votes := each.repeated) and votes.votes < each.pairs:
        bounds = votes.leave_one_out.value, votes.plug_in.value
        yield AccuracyRow(
            f"{name}, votes where several judged", None, votes.votes, votes.prompts, votes.accuracy, bounds
        )


def _parts(each: RankingEvaluation) -> Blocks:
    by, several = each.by, len({part.name for part in each.by.given}) > 1
    given = [_row(part, f"{part.name}: {_size(part)}" if several else _size(part)) for part in by.given]
    blocks = [
        ("By source", [_row(part, part.name) for part in by.source]),
        ("By group of annotators", [_row(part, part.name or "(no group)") for part in by.group]),
        ("By annotator", [_row(part, part.name or "(not named)") for part in by.annotator]),
        ("By how far the annotator's scores lie apart", given),
        ("By how far its own scores lie apart", [_row(part, _size(part)) for part in by.predicted]),
    ]
    return [block for block in blocks if len(block[1]) > 1]


def _row(part: PairGroup, name: str) -> AccuracyRow:
    best = () if part.ceiling is None else (part.ceiling,)
    return AccuracyRow(name, part.comparisons, part.pairs, part.prompts, part.accuracy, best)


def _size(part: PairGroup) -> str:
    bounds = (part.low or 0.0, part.high or 0.0)
    small = max(map(abs, bounds)) < 0.1
    low, high = (f"{bound:.2g}" if small else f"{round(bound, 2):g}" for bound in bounds)
    return (low if low == high else f"{low} to {high}").replace("-", "−")


def _numbers(name: str, each: RankingEvaluation) -> list[str]:
    found, known = each.calibration, complete(each)
    return [
        name,
        estimate_text(each.log_loss, ".3f"),
        loss_text(known.entropy.value if known else None),
        estimate_text(found.slope, ".2f"),
        f"{found.ece:.3f} ({found.ece_by_chance:.3f})",
        estimate_text(each.length.spearman, "+.2f"),
        estimate_text(each.length.pearson, "+.2f"),
    ]


def _low(found: Estimate) -> float:
    return found.value if found.low is None else found.low

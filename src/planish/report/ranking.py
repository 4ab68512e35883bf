"""How well a run's scores rank what people compared, step by step and set by set: read from ranking.json, which the run
writes as it goes (planish.evaluate.ranking says what is in it). Nothing is worked out anew here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from planish.base.errors import RunError
from planish.evaluate.ranking_shapes import Estimate, Evaluation, Known, Part
from planish.report.figures import NUM_COLOURS, Figure, Key, Panel, level, thin_line
from planish.report.runs import Run
from planish.report.sentences import listed, loss_text, percent

FILE = "ranking.json"
MAIN = "held_out"  # the set that is told first
ROUGH = 30  # prompts; with fewer a bootstrap over them is itself unsure

_SHAPE = TypeAdapter(list[Evaluation])


@dataclass(frozen=True, slots=True)
class Row:
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


Blocks = list[tuple[str, list[Row]]]  # rows under their headings


@dataclass(frozen=True, slots=True)
class Section:
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


def ranked(run: Run, place: str) -> tuple[Section | None, str | None]:
    """The section, where the run has measured any; and a note, where what it wrote cannot be used."""
    path = run.path / FILE
    if not path.exists():
        return None, None
    try:
        found = read_rankings(path)
    except RunError as error:
        return None, f"{error}. How well it ranks is left out here."
    return (_section(run, found, place) if found else None), None


def read_rankings(path: Path) -> list[Evaluation]:
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


Sets = Mapping[str, list[Evaluation]]  # all measurements of each set, by step


def _section(run: Run, found: Sequence[Evaluation], place: str) -> Section:
    names = sorted({each.name for each in found}, key=lambda name: (name != MAIN, [e.name for e in found].index(name)))
    sets = {_set_name(name): [each for each in found if each.name == name] for name in names}
    shown = {name: _shown(run, measured) for name, measured in sets.items()}
    (main, first), *rest = shown.items()
    blocks = [("", [row for name, each in shown.items() for row in _whole(name, each)]), *_parts(first)]
    others = [(name, _parts(each)) for name, each in rest]
    every = [row for some in (blocks, *(some for _, some in others)) for _, rows in some for row in rows]
    over_steps = accuracy_figure(sets) if any(len(measured) > 1 for measured in sets.values()) else None
    beside = {"reliability": reliability_figure(shown), "length": length_figure(shown)}
    return Section(
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


def _shown(run: Run, measured: Sequence[Evaluation]) -> Evaluation:
    """The last, or that of the saved model where the run selects the best."""
    saved = run.after.step if run.selects_best and run.after else None
    return next((each for each in measured if each.step == saved), measured[-1])


def _set_name(name: str) -> str:
    return "held-out pairs" if name == MAIN else name


# Words


def span(found: Estimate, digits: str = ".1%") -> str:
    """The interval: "70.1 to 74.6%"."""
    if found.low is None or found.high is None:
        return "–"
    low, high = (f"{bound:{digits}}".replace("-", "−") for bound in (found.low, found.high))
    return f"{low.removesuffix('%')} to {high}"


def _number(found: Estimate | None, digits: str = ".2f") -> str:
    """With its interval."""
    if found is None:
        return "–"
    value = f"{found.value:{digits}}".replace("-", "−")
    return value if found.low is None else f"{value} ({span(found, digits)})"


def _outcome(name: str, shown: Evaluation, first: Evaluation) -> str:
    interval = "" if shown.accuracy.low is None else f" (95% interval {span(shown.accuracy)})"
    since = f", against {percent(first.accuracy.value)} at step {first.step:,}" if first.step < shown.step else ""
    says = f"Of {name} its scores put {percent(shown.accuracy.value)} in the order that the annotators did{interval}{since}."
    if known := _complete(shown):
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


def _when(shown: Mapping[str, Evaluation]) -> str:
    steps = {each.step for each in shown.values()}
    if len(steps) == 1:
        return f"Measured at step {min(steps):,}."
    return f"Measured {listed([f'at step {each.step:,} on {name}' for name, each in shown.items()])}."


def _parts_say(shown: Evaluation) -> str:
    """What is to be seen in the table: one clause for each way of parting the pairs, from parts of prompts enough."""
    by = shown.by
    clauses: list[str] = []
    for what, parts in (("source", by.source), ("group", by.group)):
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


def _how(shown: Evaluation, rows: Sequence[Row]) -> str:
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


def _whole(name: str, each: Evaluation) -> Iterator[Row]:
    yield Row(name, each.comparisons, each.pairs, each.prompts, each.accuracy, _best(each))
    if (known := each.known) and not _complete(each):
        yield Row(
            f"{name}, probability known", None, known.pairs, known.prompts, known.accuracy, (known.ceiling.value,)
        )
    if (votes := each.repeated) and votes.votes < each.pairs:
        bounds = votes.leave_one_out.value, votes.plug_in.value
        yield Row(f"{name}, votes where several judged", None, votes.votes, votes.prompts, votes.accuracy, bounds)


def _parts(each: Evaluation) -> Blocks:
    by, several = each.by, len({part.name for part in each.by.given}) > 1
    given = [_row(part, f"{part.name}: {_size(part)}" if several else _size(part)) for part in by.given]
    blocks = [
        ("By source", [_row(part, part.name) for part in by.source]),
        ("By group of annotators", [_row(part, part.name or "(no group)") for part in by.group]),
        ("By how far the annotator's scores lie apart", given),
        ("By how far its own scores lie apart", [_row(part, _size(part)) for part in by.predicted]),
    ]
    return [block for block in blocks if len(block[1]) > 1]


def _row(part: Part, name: str) -> Row:
    best = () if part.ceiling is None else (part.ceiling,)
    return Row(name, part.comparisons, part.pairs, part.prompts, part.accuracy, best)


def _size(part: Part) -> str:
    bounds = (part.low or 0.0, part.high or 0.0)
    small = max(map(abs, bounds)) < 0.1
    low, high = (f"{bound:.2g}" if small else f"{round(bound, 2):g}" for bound in bounds)
    return (low if low == high else f"{low} to {high}").replace("-", "−")


def _numbers(name: str, each: Evaluation) -> list[str]:
    found, known = each.calibration, _complete(each)
    return [
        name,
        _number(each.log_loss, ".3f"),
        loss_text(known.entropy.value if known else None),
        _number(found.slope),
        f"{found.ece:.3f} ({found.ece_by_chance:.3f})",
        _number(each.length.spearman, "+.2f"),
        _number(each.length.pearson, "+.2f"),
    ]


def _low(found: Estimate) -> float:
    return found.value if found.low is None else found.low


# Figures


def accuracy_figure(sets: Sets) -> Figure:
    """Accuracy and log loss over steps, with the best possible where it is known of all pairs."""
    keys = _keys(sets)
    accuracy = [_points(key, [(e.step, e.accuracy) for e in sets[key.name]], ".1%") for key in keys]
    loss = [_points(key, [(e.step, e.log_loss) for e in sets[key.name]], ".3f") for key in keys]
    for key in keys[:]:
        measured = sets[key.name]
        if any(map(_best, measured)):
            name = "best possible" if len(sets) == 1 else f"{key.name}, best possible"
            keys.append(Key(name, key.colour, "dash", 1.5))
            accuracy.append(_lines(keys[-1], [(e.step, _best(e)) for e in measured], ".1%"))
            loss.append(_lines(keys[-1], [(e.step, _floor(e)) for e in measured], ".3f"))
    name, measured = next(iter(sets.items()))
    most, chance = max(measured, key=lambda each: each.accuracy.value), measured[0].log_loss_by_chance
    least = min(measured, key=lambda each: each.log_loss.value)
    return Figure(
        "Accuracy over the run",
        f"Of {name}, accuracy was highest at step {most.step:,}, {percent(most.accuracy.value)}, and log loss lowest at step "
        f"{least.step:,}, {loss_text(least.log_loss.value)}.",
        "Share of pairs in the annotators' order, and mean of −ln σ(score difference). The same pairs at every step; bars are "
        "95% intervals, as in the table. Thin lines: a guess, 50% and ln 2.",
        [
            Panel("Accuracy", accuracy, {"tickformat": ".0%", **_range(accuracy, 0.5)}, shapes=[level(0.5)]),
            Panel("Log loss, nats per pair", loss, _range(loss, chance), shapes=[level(chance)]),
        ],
        keys if len(keys) > 1 else [],
    )


def reliability_figure(shown: Mapping[str, Evaluation]) -> Figure:
    keys = _keys(shown)
    bins = [each.calibration.bins for each in shown.values()]
    traces = [
        _points(key, [(each.predicted, each.right) for each in some], ".1%", "sure %{x:.1%}, right ")
        for key, some in zip(keys, bins, strict=True)
    ]
    name, first = next(iter(shown.items()))
    found = first.calibration
    return Figure(
        "As sure as it is right?",
        f"{_sureness(found.slope)} On {name}, certainty and accuracy lie {found.ece:.3f} apart on average; a calibrated "
        f"model's would lie about {found.ece_by_chance:.3f} apart by chance.",
        "Pairs sorted by the probability of the answer that scores higher, σ(|score difference|), in bins of equal weight; the "
        "same pairs the other way round would mirror the diagram. On the thin line, as often right as sure. Bars are 95% "
        "intervals.",
        [
            Panel(
                "Share that is right",
                traces,
                {"tickformat": ".0%", **_range(traces, 0.5, 1.0)},
                "by how sure it is",
                {
                    "title": {"text": "how sure it is", "standoff": 6},
                    "tickformat": ".0%",
                    "dtick": 0.1,
                    "range": [0.485, 1.015],
                },
                [thin_line(x0=0.5, y0=0.5, x1=1, y1=1)],
                "closest",
            )
        ],
        keys if len(keys) > 1 else [],
    )


def length_figure(shown: Mapping[str, Evaluation]) -> Figure | None:
    """None where all answers to a prompt are of one length."""
    measured = {name: each for name, each in shown.items() if each.length.bins}
    if not measured:
        return None
    keys = _keys(measured)
    traces = [
        _points(key, [(b.tokens, b.difference) for b in each.length.bins], "+.2f", "%{x:.0f} tokens longer: ")
        for key, each in zip(keys, measured.values(), strict=True)
    ]
    name, first = next(iter(measured.items()))
    return Figure(
        "Score and length",
        f"{_leaning(first.length.spearman)} To choose the longer answer would be right in "
        f"{_number(first.length.longer, '.1%')} of {name}.",
        "Pairs of unequal length, in bins of equal weight by how many tokens they lie apart; the mean of the longer answer's "
        "score less the shorter's, with 95% intervals. On the thin line, length does not matter.",
        [
            Panel(
                "Score of the longer answer less that of the shorter",
                traces,
                _range(traces, 0.0),
                "by tokens",
                {"title": {"text": "tokens longer", "standoff": 6}, "rangemode": "tozero"},
                [level(0)],
                "closest",
            )
        ],
        keys if len(keys) > 1 else [],
    )


def _keys(names: Iterable[str]) -> list[Key]:
    return [Key(name, f"var(--line-{i % NUM_COLOURS})") for i, name in enumerate(names)]


def _complete(each: Evaluation) -> Known | None:
    """What is known of all pairs of the set."""
    return each.known if each.known and each.known.pairs == each.pairs else None


def _floor(each: Evaluation) -> tuple[float, ...]:
    """Of log loss."""
    known = _complete(each)
    return (known.entropy.value,) if known else ()


def _best(each: Evaluation) -> tuple[float, ...]:
    """Of all pairs of the set: the ceiling, or two bounds of it, or nothing where it is known of some pairs at most."""
    if known := _complete(each):
        return (known.ceiling.value,)
    if each.repeated and each.repeated.votes == each.pairs:
        return (each.repeated.leave_one_out.value, each.repeated.plug_in.value)
    return ()


def _sureness(slope: Estimate | None) -> str:
    if slope is None or slope.low is None or slope.high is None:
        return "No slope can be fitted: the scores decide all pairs, or none."
    told = f"a logistic fit of the choices on its score differences has a slope of {_number(slope)}; 1 would be right."
    if slope.low <= 1 <= slope.high:
        return f"No sign that it is too sure or not sure enough: {told}"
    return f"It is {'surer than it is right' if slope.value < 1 else 'not as sure as it could be'}: {told}"


def _leaning(found: Estimate | None) -> str:
    if found is None:
        return "Scores or lengths do not differ, so nothing is to be seen."
    told = f"the rank correlation of the two differences is {_number(found, '+.2f')}."
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return f"No sign that length moves the score: {told}"
    return f"Longer answers score {'higher' if found.value > 0 else 'lower'}: {told}"


def _points(key: Key, at: Sequence[tuple[float, Estimate]], digits: str, before: str = "") -> dict[str, Any]:
    """Values with their intervals as bars."""
    above = [0.0 if each.high is None else each.high - each.value for _, each in at]
    below = [0.0 if each.low is None else each.value - each.low for _, each in at]
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2, "width": 3}
    hover = f"{before}%{{y:{digits}}} (%{{text}})"
    return {
        **_trace(key, hover),
        "mode": "lines+markers",
        "x": [x for x, _ in at],
        "y": [each.value for _, each in at],
        "text": [span(each, digits) for _, each in at],
        "error_y": {**bars, "color": key.colour},
    }


def _lines(key: Key, at: Sequence[tuple[float, tuple[float, ...]]], digits: str) -> dict[str, Any]:
    """As many level curves as there are values; a gap parts them."""
    curves = range(max(1, *(len(values) for _, values in at)))
    points = [(x, values[i] if i < len(values) else None) for i in curves for x, values in [*at, (at[0][0], ())]]
    x, y = zip(*points[:-1], strict=True)
    return {**_trace(key, f"%{{y:{digits}}}"), "mode": "lines", "x": list(x), "y": list(y)}


def _range(traces: Sequence[Mapping[str, Any]], *shown: float) -> dict[str, Any]:
    """An axis that holds all bars, and these values."""
    ends = list(shown)
    for trace in traces:
        bars = trace.get("error_y", {"array": [0.0] * len(trace["y"]), "arrayminus": [0.0] * len(trace["y"])})
        for y, above, below in zip(trace["y"], bars["array"], bars["arrayminus"], strict=True):
            ends += [] if y is None else [y - below, y + above]
    margin = 0.05 * (max(ends) - min(ends))
    return {"range": [min(ends) - margin, max(ends) + margin]}


def _trace(key: Key, hover: str) -> dict[str, Any]:
    line = {"color": key.colour, "dash": key.dash, "width": key.width}
    return {"type": "scatter", "name": escape(key.name), "line": line, "marker": {"size": 6}, "hovertemplate": hover}

"""Measures: numbers from the files that stages write, by prompt where the file has a line for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np

from planish.base.errors import ConfigError, RunError
from planish.base.files import json_line, json_lines_in, read_lines
from planish.base.plugins import find_function
from planish.commands import METHODS
from planish.experiments.claim import MeasureConfig
from planish.pipeline.config import Tree
from planish.reports.read.comparison import ANSWERS, read_comparison
from planish.reports.read.files import read_text
from planish.reports.read.refusals import read_refusals
from planish.statistics import overoptimization
from planish.statistics.comparison_result import System
from planish.statistics.paired import Values
from planish.statistics.refusal_result import COMPLIES

WHOLE = ""  # the prompt of a number that is of a whole run
FEW, MANY = 16, 256
MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class MeasureKind:
    """How a measure is read from the output of one of `stages`, and which other settings it needs."""

    read: Callable[[Path, MeasureConfig], Values]
    stages: tuple[str, ...]
    needs: tuple[str, ...] = ()
    says: str = ""


def measured(outputs: Mapping[str, Path], measure: MeasureConfig) -> Values:
    """A measure of the stages whose outputs these are."""
    path = outputs[measure.stage or [*outputs][-1]]
    if ":" in measure.of:
        values = find_function(measure.of, "measures.of")(dict(outputs))
        return checked(values, measure.of)
    try:
        values = KINDS[measure.of].read(path, measure)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: holds nothing for the measure {measure.of} ({type(error).__name__}: {error})"
        ) from None
    if not values:
        raise RunError(f"{path}: holds nothing for the measure {measure.of}")
    return values


def checked(values: Any, where: str) -> Values:
    """What a function of the reader's returned: a number, or numbers by prompt."""
    found: Any = values if isinstance(values, Mapping) else {WHOLE: values}
    try:
        numbers = {str(name): float(value) for name, value in cast(Mapping[Any, Any], found).items()}
    except (TypeError, ValueError):
        raise RunError(f"{where}: returned {str(values)[:80]}, expected a number, or numbers by prompt") from None
    if not numbers or not all(map(np.isfinite, numbers.values())):
        raise RunError(f"{where}: returned {str(values)[:80]}, expected finite numbers")
    return numbers


def check_measure(name: str, measure: MeasureConfig, stages: Mapping[str, Tree]) -> None:
    """Refuses a measure that these stages cannot have."""
    stage = measure.stage or [*stages][-1]
    if stage not in stages:
        raise ConfigError(f"measures.{name}.stage: there is no stage '{stage}'; there are {', '.join(stages)}")
    if ":" in measure.of:
        find_function(measure.of, f"measures.{name}.of")
        return
    kind = KINDS.get(measure.of)
    if kind is None:
        raise ConfigError(
            f"measures.{name}.of is '{measure.of}'; there are {', '.join(KINDS)}, or module:function of yours"
        )
    command = stages[stage]["run"]
    if command not in kind.stages:
        raise ConfigError(
            f"measures.{name}: {measure.of} is read from the output of {', '.join(kind.stages)}, and the stage {stage} is "
            f"{command}: set measures.{name}.stage"
        )
    if measure.where and measure.of not in ("field", "term"):
        raise ConfigError(f"measures.{name}: where chooses lines for field and term, and not for {measure.of}")
    for need in kind.needs:
        if getattr(measure, need) is None:
            raise ConfigError(f"measures.{name}: {measure.of} needs {need}: set measures.{name}.{need}")
    if measure.system is not None:
        compared = stages[stage]
        best = [f"best-of-{compared['best_of'].get('n', 16)}"] if compared.get("best_of") else []
        if measure.system not in (systems := [*compared["models"], *best]):
            raise ConfigError(f"measures.{name}.system: there is no {measure.system}; there are {', '.join(systems)}")


def _answers(key: str) -> Callable[[Path, MeasureConfig], Values]:
    """The mean of a number of the system's answers to each prompt."""

    def read(path: Path, measure: MeasureConfig) -> Values:
        lines = json_lines_in(read_text(path / ANSWERS))
        return _means(
            (json_line(line["prompt"]), answer[key]) for line in lines for answer in line["answers"][measure.system]
        )

    return read


def _loss(path: Path, measure: MeasureConfig) -> Values:
    return {WHOLE: _loss_of(_systems(path)[measure.system or ""], path)}


def _loss_kept(path: Path, measure: MeasureConfig) -> Values:
    """(L_baseline - L_system) / (L_baseline - L_base): 0 where as much is forgotten as by the baseline, 1 where nothing is."""
    found = _systems(path)
    comparison = read_comparison(path)
    start = _loss_of(found["base"], path)
    forgotten = _loss_of(found[comparison.baseline], path) - start
    return {WHOLE: 1 - (_loss_of(found[measure.system or ""], path) - start) / forgotten}


def _systems(path: Path) -> dict[str, System]:
    return {system.name: system for system in read_comparison(path).systems}


def _loss_of(system: System, path: Path) -> float:
    if system.loss is None:
        raise RunError(f"{path}: {system.name} has no held-out loss: give the comparison `documents`")
    return system.loss.value


def _metric(path: Path, measure: MeasureConfig) -> Values:
    return {WHOLE: _series(path, measure)[-1]}


def _late_change(path: Path, measure: MeasureConfig) -> Values:
    """The last quarter less the second: chosen before, where a peak would be chosen for being high."""
    series = _series(path, measure)
    quarter = max(1, len(series) // 4)
    return {WHOLE: float(np.mean(series[-quarter:]) - np.mean(series[quarter : 2 * quarter]))}


def _series(path: Path, measure: MeasureConfig) -> list[float]:
    found = [float(line[measure.field]) for line in read_lines(path / "metrics.jsonl") if measure.field in line]
    if not found:
        raise RunError(f"{path / 'metrics.jsonl'}: no line has {measure.field}")
    return found


def _bend(path: Path, measure: MeasureConfig) -> Values:
    """How the measure of PPO's policies bends as they leave the reference."""
    assert measure.field is not None
    lines = read_lines(path / "metrics.jsonl")
    kls = [(line["step"] - 1, line["kl"]) for line in lines if "iteration" in line]  # of the policy before the step
    measures = [(line["step"], line[measure.field]) for line in lines if measure.field in line and line["step"]]
    start = _series(path, measure)[0]
    found = [(min(kls, key=lambda kl: abs(kl[0] - step))[1], value - start) for step, value in measures]
    kl_K, gained_K = [kl for kl, _ in found], [gained for _, gained in found]
    return {WHOLE: overoptimization.fit(kl_K, gained_K, overoptimization.REINFORCED).beta}


def _best_of(path: Path, _: MeasureConfig) -> Values:
    """By prompt, the expected utility of the best of MANY answers by score less that of the best of FEW."""
    answers: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in json_lines_in(read_text(path)):
        answers[json_line(line["messages"][:-1])].append((line["score"], line["utility"]))
    return {
        prompt: overoptimization.best_of(rows, MANY) - overoptimization.best_of(rows, FEW)
        for prompt, rows in answers.items()
    }


def _refusals(path: Path, measure: MeasureConfig) -> Values:
    """1 for an unsafe prompt that is complied with, or for a safe one that is refused; else a number of the first system."""
    if measure.field in ("violations", "false_refusals"):
        wanted = measure.field == "violations"
        lines = json_lines_in(read_text(path / ANSWERS))
        return _means(
            (json_line(line["prompt"]), float((line["label"] == COMPLIES) is wanted))
            for line in lines
            if line["unsafe"] is wanted and line["label"] is not None
        )
    system = read_refusals(path)[0].systems[0]
    found = system.helpfulness if measure.field == "helpfulness" else getattr(system.all, measure.field or "", None)
    if found is None:
        raise RunError(f"{path}: holds no {measure.field} of refusals")
    return {WHOLE: found.value}


def _row_loss(path: Path, measure: MeasureConfig) -> Values:
    """By held-out row of the source `field`, of the run's own last evaluation."""
    return {
        line["row"]: float(line["loss"])
        for line in json_lines_in(read_text(path / "held_out.jsonl"))
        if line["source"] == measure.field
    }


def _field(path: Path, measure: MeasureConfig) -> Values:
    """The mean of a field, such as utility or about.score, of the lines of each prompt."""
    return _means((_prompt_of(line), float(_value(line, measure.field or ""))) for line in _chosen(path, measure))


def _term(path: Path, measure: MeasureConfig) -> Values:
    """A term of gold's utility; a verdict names those alone that are not 0."""
    return _means((_prompt_of(line), float(line["terms"].get(measure.field, 0.0))) for line in _chosen(path, measure))


def _chosen(path: Path, measure: MeasureConfig) -> list[Any]:
    """The lines that `where` leaves. An error where it leaves none of those that there are."""
    lines = json_lines_in(read_text(path))
    wanted = measure.where.items()
    chosen = [line for line in lines if all(str(_value(line, name)) in values for name, values in wanted)]
    if lines and not chosen:
        there = {name: sorted({str(_value(line, name)) for line in lines})[:MOST_LISTED] for name in measure.where}
        raise RunError(f"{path}: no line has {dict(wanted)}; there are {there}")
    return chosen


def _value(line: Any, field: str) -> Any:
    for word in field.split("."):
        line = line[word]
    return line


def _prompt_of(line: Any) -> str:
    return json_line(line["prompt"] if "prompt" in line else line.get("messages", line))


def _outcome(path: Path, measure: MeasureConfig) -> Values:
    """1 for a question whose answer has the outcome that `field` names."""
    return _means(
        (json_line(line["prompt"]), float(line["outcome"] == measure.field)) for line in json_lines_in(read_text(path))
    )


def _references(path: Path, measure: MeasureConfig) -> Values:
    """1 for an answer that has a reference of the outcome that `field` names; `any` is any reference."""
    return _means(
        (
            json_line(line["messages"][:-1]),
            float(any(measure.field in ("any", found["outcome"]) for found in line["references"])),
        )
        for line in json_lines_in(read_text(path))
    )


def _pairs(loss: Callable[[float], float]) -> Callable[[Path, MeasureConfig], Values]:
    """The mean over a prompt's pairs of completions that are not tied; `loss` takes the score of the better less the other's."""

    def read(path: Path, measure: MeasureConfig) -> Values:
        return _means(
            (json_line(line["prompt"]), loss(better))
            for line in json_lines_in(read_text(path))
            for better in _margins(line["ranks"], line["scores"])
        )

    return read


def _margins(ranks: Sequence[int], scores: Sequence[float]) -> list[float]:
    pairs = [
        (i, j) if ranks[i] < ranks[j] else (j, i) for i, j in combinations(range(len(ranks)), 2) if ranks[i] != ranks[j]
    ]
    return [scores[better] - scores[worse] for better, worse in pairs]


def _means(pairs: Iterable[tuple[str, float]]) -> Values:
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for prompt, value in pairs:
        by_prompt[prompt].append(value)
    return {prompt: float(np.mean(values)) for prompt, values in by_prompt.items()}


LINES = ("sample", "score", "best", "know", "judge")
COMPARE, SYSTEM, FIELD = ("compare",), ("system",), ("field",)
KINDS = {
    "wins": MeasureKind(_answers("outcome"), COMPARE, SYSTEM, "1 where the answer beats the baseline's, 1/2 for a tie"),
    "score": MeasureKind(_answers("score"), COMPARE, SYSTEM, "the judge's score of the answer; the world's is gold utility"),
    "tokens": MeasureKind(_answers("tokens"), COMPARE, SYSTEM, "tokens of the answer"),
    "kl": MeasureKind(_answers("log_ratio"), COMPARE, SYSTEM, "ln of the answer's probability over the reference's"),
    "loss": MeasureKind(_loss, COMPARE, SYSTEM, "nats a token of the comparison's held-out documents"),
    "loss_kept": MeasureKind(
        _loss_kept, COMPARE, SYSTEM, "1 less (loss − base's) / (baseline's − base's): 0 has forgotten what the baseline has"
    ),
    "row_loss": MeasureKind(
        _row_loss, ("sft", "pretrain"), FIELD, "nats a token of each held-out row of the source `field`, after the last step"
    ),
    "metric": MeasureKind(_metric, METHODS, FIELD, "the last value of a field of metrics.jsonl"),
    "late_change": MeasureKind(_late_change, METHODS, FIELD, "its mean in the last quarter less that in the second quarter"),
    "bend": MeasureKind(_bend, ("ppo",), FIELD, "beta of Gao's d (alpha − beta ln d), d = √KL, fitted to a field's change"),
    "best_of": MeasureKind(
        _best_of, ("judge",), (), "expected utility of the best of 256 scored answers less that of the best of 16"
    ),
    "refusals": MeasureKind(
        _refusals, ("refusals",), FIELD, "violations or false_refusals by prompt; d_prime, criterion or helpfulness over all"
    ),
    "outcome": MeasureKind(
        _outcome, ("knowledge",), FIELD, "1 where the answer is what `field` says: correct, wrong or abstained"
    ),
    "references": MeasureKind(
        _references, ("citations",), FIELD, "1 where the answer has a reference of the outcome `field`, or any"
    ),
    "field": MeasureKind(_field, LINES, FIELD, "a field of a jsonl file, such as utility or about.score"),
    "term": MeasureKind(_term, ("judge",), FIELD, "a term of gold's utility in the world's verdict on the answer"),
    "log_loss": MeasureKind(
        _pairs(lambda margin: float(np.logaddexp(0.0, -margin))), ("score",), (), "−ln P of the order that people gave, by pair"
    ),
    "accuracy": MeasureKind(
        _pairs(lambda margin: 0.5 + 0.5 * float(np.sign(margin))), ("score",), (), "1 for a pair in people's order, 1/2 for a tie"
    ),
}  # fmt: skip

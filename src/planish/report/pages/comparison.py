"""Models side by side, from the comparison.json and answers.jsonl of `planish compare`. No statistic is computed here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from planish.base.errors import RunError
from planish.base.text import count_text, listed, signed
from planish.report.figures.base import Figure
from planish.report.figures.comparison import HALF, figures_of, others_of
from planish.report.read.verdicts import KINDS, TERMS, RecordedVerdict
from planish.statistics.comparison_result import ComparisonResult, System, comparison_table
from planish.statistics.estimate import Estimate, estimate_text, mean_text

FILE, ANSWERS = "comparison.json", "answers.jsonl"
SHOWN = 12  # prompts whose answers stand side by side, taken at even distances
OUTCOMES = {1.0: "won", 0.5: "tied", 0.0: "lost"}
JUDGES = {"gold": "the rules of the world", "reward": "a reward model", "llm": "a model that was asked"}

_SHAPE = TypeAdapter(ComparisonResult)


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One system's answer, in the words of the page; `verdict` is the world's, where it judged."""

    name: str
    text: str
    ended: bool
    note: str
    verdict: RecordedVerdict | None


@dataclass(frozen=True, slots=True)
class PromptAnswers:
    prompt: list[dict[str, str]]
    answers: list[ShownAnswer]


@dataclass(frozen=True, slots=True)
class ComparisonSection:
    title: str
    baseline: str
    wins: dict[str, Estimate]  # of each other system, over the baseline
    seed: int | None
    says: str
    columns: list[str]
    rows: list[list[str]]
    how: str
    figures: dict[str, Figure]  # by the id of its place on the page
    kinds: list[tuple[str, int, list[str]]]  # what was asked, of how many prompts, utility of each system
    terms: list[tuple[str, list[str]]]  # what utility is the sum of, over all prompts
    systems: list[str]
    meanings: dict[str, str]  # of kinds and terms
    asked: list[PromptAnswers]


def is_comparison(folder: Path) -> bool:
    return (folder / FILE).is_file()


def comparison_section(folder: Path, place: str) -> ComparisonSection:
    """What the page says of one folder that `planish compare` wrote. `place` begins the ids of its figures."""
    found = read_comparison(folder / FILE)
    first = found.systems[0]
    kinds = [name for name in first.kinds if name != "all"]
    terms = [term for term in TERMS if any(term in each.kinds["all"].terms for each in found.systems if each.kinds)]
    columns, rows = comparison_table(found)
    return ComparisonSection(
        title=f"{listed([each.name for each in others_of(found)])} against {found.baseline}",
        baseline=found.baseline,
        wins={each.name: each.against.rate for each in found.systems if each.against},
        seed=found.sampling.get("seed"),
        says=_says(found),
        columns=columns,
        rows=rows,
        how=_how(found),
        figures={f"{place}-{name}": figure for name, figure in figures_of(found).items()},
        kinds=[
            (kind, first.kinds[kind].prompts, [mean_text(each.kinds[kind].utility) for each in found.systems])
            for kind in [*kinds, "all"]
            if kind in first.kinds
        ],
        terms=[(term, [signed(each.kinds["all"].terms.get(term, 0.0)) for each in found.systems]) for term in terms],
        systems=[each.name for each in found.systems],
        meanings={name: text for name, text in {**KINDS, **TERMS}.items() if name in [*kinds, *terms]},
        asked=_asked(folder / ANSWERS, found),
    )


def read_comparison(path: Path) -> ComparisonResult:
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text, parse_constant=_refuse)
        return _SHAPE.validate_json(text, strict=True)
    except FileNotFoundError:
        raise RunError(f"{path}: there is no such file: `planish compare` writes it into its folder out=") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path}: not what planish compare writes: {where}: {first['msg']}") from None
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON: {error}") from None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number")


# Words


def _says(found: ComparisonResult) -> str:
    clauses = [_clause(each) for each in others_of(found)]
    asked = f"Over {count_text(found.prompts, 'prompt')}, judged by {JUDGES[found.judge['name']]}"
    return f"{asked}, and held against {found.baseline}: {'; '.join(clauses)}.{_lengthy(found)}"


def _clause(system: System) -> str:
    assert system.against is not None
    rate = system.against.rate
    verdict = {1: "better", -1: "worse", 0: "no difference can be told"}[_side(rate)]
    return f"{system.name} wins {estimate_text(rate)}, {verdict}"


def _lengthy(found: ComparisonResult) -> str:
    """Who owes its lead, or its lag, to length."""
    moved = [
        each.name
        for each in others_of(found)
        if each.against and each.length_controlled and _side(each.against.rate) != _side(each.length_controlled)
    ]
    if not moved:
        return ""
    return f" At equal length the verdict on {listed(moved)} is another: see the table."


def _side(rate: Estimate) -> int:
    """Of one half the whole interval is on: above 1, below -1, on neither 0."""
    if rate.low is None or rate.high is None:
        return 0
    return int(rate.low > HALF) - int(rate.high < HALF)


def _how(found: ComparisonResult) -> str:
    sampling = found.sampling
    way = f"at temperature {sampling['temperature']:g}" if sampling["temperature"] else "greedily"
    several = f", {found.num_samples} answers to each prompt" if found.num_samples > 1 else ""
    says = (
        f"Sampled {way} in at most {sampling['max_completion_tokens']:,} tokens{several}, from {found.prompts_file}. A tie is "
        f"half a win. Intervals are of {found.level:.0%} and clustered by prompt: of win rates that of Agresti and Coull, of "
        "means the normal one. At equal length: the win rate that a logistic model of the verdicts gives where both answers are "
        "as long (Dubois et al. 2024); left out where one system nearly always writes more, for then the data do not say it. "
        "Ended is the share of answers that did not stop at the limit of tokens."
    )
    if any(each.gain for each in found.systems):
        says += " Gain is the score less the baseline's on the same prompt."
    split, unread = (sum(getattr(each, name) for each in found.systems) for name in ("split", "unread"))
    if found.judge["name"] == "llm":
        says += (
            f" The judge is {found.judge['model']}, asked in both orders; {count_text(split, 'verdict')} changed with the order "
            f"and {count_text(unread, 'reply', 'replies')} could not be read: these count as ties."
        )
    if found.judge["name"] == "reward":
        says += f" The reward model is {found.judge['path']}."
    if any(each.kl for each in found.systems):
        says += f" KL is to {found.reference}, in nats an answer: the mean of ln(model/reference) over the model's own answers."
    return says


# Answers


def _asked(path: Path, found: ComparisonResult) -> list[PromptAnswers]:
    if not path.is_file():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        every = max(1, math.ceil(len(lines) / SHOWN))
        return [
            PromptAnswers(line["prompt"], [_said(each.name, line["answers"][each.name][0]) for each in found.systems])
            for line in lines[::every]
        ]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{path}: not the answers of this comparison ({type(error).__name__}: {error})") from None


def _said(name: str, answer: Mapping[str, Any]) -> ShownAnswer:
    parts = [OUTCOMES[answer["outcome"]]] if "outcome" in answer else []
    verdict = None
    if "label" in answer:
        verdict = RecordedVerdict(answer["kind"], answer["label"], answer["score"], answer["terms"], answer["reasons"])
    elif "score" in answer:
        parts.append(f"score {signed(answer['score'])}")
    parts.append(count_text(answer["tokens"], "token"))
    parts.append("ended by itself" if answer["ended"] else "stopped at the limit of tokens")
    return ShownAnswer(name, answer["text"], answer["ended"], ", ".join(parts), verdict)

"""Verdicts on files of completions, and their summary: utility by term and by kind of prompt."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from planish.base.errors import DataError
from planish.statistics.estimate import Estimate, mean_estimate
from planish.world.gold.utility import World
from planish.world.gold.verdict import TERMS, Label, Term, Verdict
from planish.world.language.facts import HELD_OUT, Facts
from planish.world.texts.parse import AboutAsk, FactAsk, HarmAsk, ParsedPrompt, StepsAsk

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Judgement:
    """An answer with its verdict. `kind` is the kind of prompt, in terms of the instruction sources."""

    prompt: str
    answer: str
    kind: str
    verdict: Verdict

    def record(self) -> dict[str, Any]:
        verdict = self.verdict
        return {
            "kind": self.kind, "label": verdict.label, "utility": round(verdict.utility, 6),
            "terms": {term: round(value, 6) for term, value in verdict.terms.items() if value},
            "reasons": list(verdict.reasons),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class UtilitySummary:
    """Means over the answers of one kind."""

    utility: Estimate
    terms: Mapping[Term, float]
    labels: Mapping[Label, int]


def kind_of(parsed: ParsedPrompt, facts: Facts) -> str:
    """known, unknown (never stated in the corpus), held-out relation, about, task, steps, rule, unsafe, borderline, plain."""
    ask = parsed.ask
    if parsed.rule is not None:
        return "rule"
    if isinstance(ask, HarmAsk):
        return "unsafe" if ask.unsafe else "plain" if ask.border == "plain" else "borderline"
    if isinstance(ask, FactAsk):
        fact = facts.by_key.get((ask.entity, ask.relation))
        if fact is None or fact.frequency == 0:
            return "unknown"
        return "held-out relation" if ask.relation in HELD_OUT else "known"
    return "about" if isinstance(ask, AboutAsk) else "steps" if isinstance(ask, StepsAsk) else "task"


def judge_one(world: World, prompt: str, answer: str) -> Judgement:
    return Judgement(prompt, answer, kind_of(world.parse(prompt), world.facts), world.judge(prompt, answer))


def judge_file(world: World, path: Path) -> list[tuple[dict[str, Any], Judgement]]:
    """The lines of a file of completions (from `planish sample`, or a run's samples.jsonl) with their judgements."""
    return _apply(path, lambda prompt, answer: judge_one(world, prompt, answer))


def answers_of_file(path: Path) -> dict[str, list[str]]:
    """All completions of each prompt in a file written by `planish sample`."""
    answers: dict[str, list[str]] = {}
    for _, (prompt, answer) in _apply(path, lambda prompt, answer: (prompt, answer)):
        answers.setdefault(prompt, []).append(answer)
    return answers


def _apply(path: Path, use: Callable[[str, str], T]) -> list[tuple[dict[str, Any], T]]:
    """The lines of a file of completions, with the results of `use(prompt, answer)`."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; expected a jsonl file written by `planish sample`") from None
    results: list[tuple[dict[str, Any], T]] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                record = _completion(line)
                results.append((record, use(*_asked(record))))
            except DataError as error:
                raise DataError(f"{path} row {number}: {error}") from None
    if not results:
        raise DataError(f"{path}: holds no completions; `planish sample` writes some")
    return results


def _completion(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON: {error}") from None
    if not isinstance(record, dict):
        raise DataError("not an object; expected one with prompt (or messages) and completion")
    return cast(dict[str, Any], record)


def _asked(record: dict[str, Any]) -> tuple[str, str]:
    """The last turn of the prompt, and the completion, which may be the last message."""
    turns, completion = record.get("messages") or record.get("prompt"), record.get("completion")
    if isinstance(turns, list) and turns and isinstance(turns[-1], dict):
        said = cast(list[dict[str, Any]], turns)
        if completion is None and said[-1].get("role") == "assistant" and len(said) > 1:
            completion, said = said[-1].get("content"), said[:-1]
        turns = said[-1].get("content")
    if not isinstance(completion, str):
        raise DataError("no text in `completion`; expected an object with prompt (or messages) and completion")
    if not isinstance(turns, str):
        raise DataError("no text in `prompt` or `messages`; expected a text, or a list of turns with content")
    return turns, completion


def summarize(judgements: Iterable[Judgement]) -> dict[str, UtilitySummary]:
    """Summaries by kind, in the order of appearance, with "all" last."""
    kinds: dict[str, list[Verdict]] = {}
    for judgement in judgements:
        kinds.setdefault(judgement.kind, []).append(judgement.verdict)
    everything = [verdict for verdicts in kinds.values() for verdict in verdicts]
    return {kind: _summary(verdicts) for kind, verdicts in {**kinds, "all": everything}.items() if verdicts}


def _summary(verdicts: Sequence[Verdict]) -> UtilitySummary:
    count = len(verdicts)
    terms: dict[Term, float] = {term: sum(verdict.terms[term] for verdict in verdicts) / count for term in TERMS}
    labels: Counter[Label] = Counter(verdict.label for verdict in verdicts)
    return UtilitySummary(mean_estimate([verdict.utility for verdict in verdicts]), terms, labels)

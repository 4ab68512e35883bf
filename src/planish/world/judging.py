"""Verdicts on whole files of completions, and what they come to: utility by term and by what was asked."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planish.base.errors import DataError
from planish.world.asks import AboutAsk, Asked, FactAsk, HarmAsk, StepsAsk
from planish.world.facts import HELD_OUT, Facts
from planish.world.gold import World
from planish.world.verdict import TERMS, Label, Term, Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """One answer with its verdict. `kind` says what was asked, in the terms of the instruction sources."""

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
class Summary:
    """Means over the answers of one kind; `error` is the standard error of the mean utility."""

    num_answers: int
    utility: float
    error: float
    terms: Mapping[Term, float]
    labels: Mapping[Label, int]


def kind_of(asked: Asked, facts: Facts) -> str:
    """known, unknown (never stated in the corpus), held-out relation, about, task, steps, rule, unsafe, borderline, plain."""
    ask = asked.ask
    if asked.rule is not None:
        return "rule"
    if isinstance(ask, HarmAsk):
        return "unsafe" if ask.unsafe else "plain" if ask.border == "plain" else "borderline"
    if isinstance(ask, FactAsk):
        fact = facts.by_place.get((ask.entity, ask.relation))
        if fact is None or fact.frequency == 0:
            return "unknown"
        return "held-out relation" if ask.relation in HELD_OUT else "known"
    return "about" if isinstance(ask, AboutAsk) else "steps" if isinstance(ask, StepsAsk) else "task"


def judge_one(world: World, prompt: str, answer: str) -> Judgement:
    return Judgement(prompt, answer, kind_of(world.understand(prompt), world.facts), world.judge(prompt, answer))


def judge_file(world: World, path: Path) -> Iterator[tuple[dict[str, Any], Judgement]]:
    """Each line of a file of completions, as `planish sample` or a run's samples.jsonl has them, with its judgement."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            turns = record.get("messages") or record["prompt"]
            prompt = turns if isinstance(turns, str) else turns[-1]["content"]
            answer = record["completion"]
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            expected = "expected an object with prompt (or messages) and completion, as `planish sample` writes"
            raise DataError(f"{path} row {number}: {type(error).__name__}: {error}; {expected}") from None
        try:
            yield record, judge_one(world, prompt, answer)
        except DataError as error:
            raise DataError(f"{path} row {number}: {error}") from None


def summarise(judgements: Iterable[Judgement]) -> dict[str, Summary]:
    """By kind, in the order of appearance, and "all" last."""
    kinds: dict[str, list[Verdict]] = {}
    for judgement in judgements:
        kinds.setdefault(judgement.kind, []).append(judgement.verdict)
    everything = [verdict for verdicts in kinds.values() for verdict in verdicts]
    return {kind: _summary(verdicts) for kind, verdicts in {**kinds, "all": everything}.items() if verdicts}


def _summary(verdicts: Sequence[Verdict]) -> Summary:
    count = len(verdicts)
    mean = sum(verdict.utility for verdict in verdicts) / count
    variance = sum((verdict.utility - mean) ** 2 for verdict in verdicts) / max(count - 1, 1)
    terms = {term: sum(verdict.terms[term] for verdict in verdicts) / count for term in TERMS}
    return Summary(count, mean, math.sqrt(variance / count), terms, Counter(verdict.label for verdict in verdicts))

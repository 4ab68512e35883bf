"""The section of a comparison of models. Every number is read from what `planish compare` wrote."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from planish.base.text import count_text, listed, percent, signed
from planish.reports.claims import side
from planish.reports.figures.base import Figure
from planish.reports.figures.comparison import HALF, comparison_figures
from planish.reports.pages.verdicts import KINDS, TERMS
from planish.reports.read.comparison import PromptAnswers, SystemAnswer, others_of, read_answers, read_comparison
from planish.statistics.comparison_result import ComparisonResult, System, comparison_table, cut_text
from planish.statistics.estimate import Estimate, mean_text, span_text

SHOWN = 12  # prompts whose answers are shown, at even distances in the file
LONG = 80  # letters of all names in a title
OUTCOMES = {1.0: "won", 0.5: "tied", 0.0: "lost"}
JUDGES = {"gold": "the rules of the world", "reward": "a reward model", "llm": "an LLM"}


@dataclass(frozen=True, slots=True)
class ComparisonSection:
    title: str
    baseline: str
    wins: dict[str, Estimate]  # of each other system against the baseline
    seed: int | None
    limit: int  # tokens of an answer
    says: str
    columns: list[str]
    rows: list[list[str]]
    how: str
    figures: dict[str, Figure]  # by the id of its place on the page
    kinds: list[tuple[str, int, list[str]]]  # kind of prompt, number of prompts, utility of each system
    terms: list[tuple[str, list[str]]]  # term of the utility, its mean for each system over all prompts
    systems: list[str]
    meanings: list[tuple[str, str]]  # of kinds, then of terms
    prompts: list[PromptAnswers]


def comparison_section(folder: Path, place: str) -> ComparisonSection:
    """The section about a folder of `planish compare`. `place` begins the ids of its figures."""
    comparison = read_comparison(folder)
    systems, first = comparison.systems, comparison.systems[0]
    kinds = [name for name in first.kinds if name != "all"]
    terms = [term for term in TERMS if any(term in system.kinds["all"].terms for system in systems if system.kinds)]
    columns, rows = comparison_table(comparison)
    answers = read_answers(folder, comparison)
    return ComparisonSection(
        title=_title(comparison),
        baseline=comparison.baseline,
        wins={system.name: system.against.rate for system in systems if system.against},
        seed=comparison.sampling.get("seed"),
        limit=comparison.sampling["max_completion_tokens"],
        says=_says(comparison),
        columns=columns,
        rows=rows,
        how=_how(comparison),
        figures={f"{place}-{name}": figure for name, figure in comparison_figures(comparison).items()},
        kinds=[
            (kind, first.kinds[kind].prompts, [mean_text(system.kinds[kind].utility) for system in systems])
            for kind in [*kinds, "all"]
            if kind in first.kinds
        ],
        terms=[(term, [signed(system.kinds["all"].terms.get(term, 0.0)) for system in systems]) for term in terms],
        systems=[system.name for system in systems],
        meanings=[(kind, KINDS[kind]) for kind in KINDS if kind in kinds] + [(term, TERMS[term]) for term in terms],
        prompts=answers[:: max(1, math.ceil(len(answers) / SHOWN))],
    )


def _title(comparison: ComparisonResult) -> str:
    """The names, or their number where they would fill the screen."""
    names = [system.name for system in others_of(comparison)]
    whose = listed(names) if len("".join(names)) <= LONG else count_text(len(names), "system")
    return f"{whose} compared with {comparison.baseline}"


def answer_note(answer: SystemAnswer, section: ComparisonSection) -> str:
    """ "won, score +0.50, 12 tokens, ended by itself". An answer by another tokenizer may have more than its limit."""
    parts = [] if answer.outcome is None else [OUTCOMES[answer.outcome]]
    if answer.verdict is None and answer.score is not None:
        parts.append(f"score {signed(answer.score)}")
    longer = answer.tokens > section.limit
    parts.append(count_text(answer.tokens, "token") + (f" of {section.baseline}'s tokenizer" if longer else ""))
    parts.append("ended by itself" if answer.ended else f"cut at {'its own' if longer else 'the'} limit")
    return ", ".join(parts)


def _says(comparison: ComparisonResult) -> str:
    clauses = "; ".join(map(_clause, others_of(comparison)))
    judge = JUDGES.get(comparison.judge["name"]) or comparison.judge["function"]
    prompts = count_text(comparison.prompts, "prompt")
    cut = cut_text(comparison)
    notes = _length_effect(comparison) + (f" {cut}" if cut else "")
    return f"Win rates against {comparison.baseline} over {prompts}, judged by {judge}: {clauses}.{notes}"


def _clause(system: System) -> str:
    assert system.against is not None
    rate = system.against.rate
    verdict = {1: "better", -1: "worse", 0: "no significant difference", None: "too few prompts to tell"}[
        side(rate, HALF)
    ]
    return f"{system.name} {percent(rate.value)}{'' if rate.low is None else f' ({span_text(rate)})'}, {verdict}"


def _length_effect(comparison: ComparisonResult) -> str:
    """The systems that are better or worse only through length, or only without it."""
    names = [
        system.name
        for system in others_of(comparison)
        if system.against
        and system.length_controlled
        and side(system.against.rate, HALF) != side(system.length_controlled, HALF)
    ]
    return f" At equal length the conclusion on {listed(names)} changes: see the table." if names else ""


def _how(comparison: ComparisonResult) -> str:
    """How the numbers of the table were made."""
    sampling, judge, systems = comparison.sampling, comparison.judge, comparison.systems
    way = f"at temperature {sampling['temperature']:g}" if sampling["temperature"] else "greedily"
    several = f", {comparison.num_samples} answers per prompt" if comparison.num_samples > 1 else ""
    says = (
        f"Answers were sampled {way} with at most {sampling['max_completion_tokens']:,} tokens{several}, to prompts from "
        f"{comparison.prompts_file}. A tie is half a win. Intervals are {comparison.level:.0%}, clustered by prompt: "
        "Agresti–Coull for win rates, normal for means. At equal length: the win rate that a logistic model predicts where both "
        "answers are equally long (Dubois et al. 2024); left out where one system nearly always writes more, since such data "
        f"cannot tell. Tokens are counted by {comparison.baseline}'s tokenizer for all. Ended: the share of answers that ended "
        "before the token limit."
    )
    if any(system.gain for system in systems):
        says += " Gain: the score minus the baseline's on the same prompt."
    if judge["name"] == "llm":
        split, unread = (sum(getattr(system, name) for system in systems) for name in ("split", "unread"))
        says += (
            f" The judge is {judge['model']}, asked in both orders; {count_text(split, 'verdict')} changed with the order and "
            f"{count_text(unread, 'reply', 'replies')} could not be read: these count as ties."
        )
    if judge["name"] == "reward":
        says += f" The reward model is {judge['path']}."
    if any(system.kl for system in systems):
        says += f" KL is to {comparison.reference}, in nats per answer: the mean of ln(model/reference) over its own answers."
    if any(system.loss for system in systems):
        says += " Held-out loss is in nats per token of the held-out documents."
    return says

"""The result of `planish compare`, which is the shape of OUT/comparison.json, and its table, for terminal and page alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from planish.base.text import count_text, listed
from planish.statistics.estimate import Estimate, estimate_text, mean_text
from planish.statistics.win_rate import WinRate

MOSTLY = 0.5  # share of answers that ended; below it, a comparison is of beginnings


@dataclass(frozen=True, slots=True)
class Kind:
    """Gold utility of answers to prompts of one kind; `terms` are the mean of each part of it, `labels` counts."""

    prompts: int
    utility: Estimate
    terms: dict[str, float]
    labels: dict[str, int]


@dataclass(frozen=True, slots=True)
class System:
    """One system over all prompts. Comparisons with the baseline are None for the baseline itself."""

    name: str
    path: str
    against: WinRate | None
    length_controlled: Estimate | None  # None also where one system nearly always writes more
    split: int  # verdicts that changed with the order of the answers, and count as ties; llm judge
    unread: int  # verdicts in which the judge named no answer, and that count as ties; llm judge
    score: Estimate | None  # the judge's; an llm judge gives none
    gain: Estimate | None  # score less that of the baseline on the same prompt
    length: Estimate  # tokens of an answer, by the baseline's tokenizer
    ended: float  # share of answers that ended by themselves
    kl: Estimate | None  # to the reference, in nats an answer
    kl_at_most: float | None  # of best of n, where the baseline is the reference
    kinds: dict[str, Kind]  # gold judge
    loss: Estimate | None = None  # nats a token of held-out documents


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """`systems` are in the order of the settings, the baseline among them."""

    baseline: str
    prompts_file: str
    prompts: int
    num_samples: int
    judge: dict[str, Any]
    sampling: dict[str, Any]
    reference: str | None
    level: float
    systems: list[System]


def comparison_table(found: ComparisonResult) -> tuple[list[str], list[list[str]]]:
    """Column names and a row of cells for each system, its name first; columns that hold nothing are left out."""
    rows = [_cells(system, found.baseline) for system in found.systems]
    names = [name for name in rows[0] if any(row[name] != "–" for row in rows)]
    return names, [[row[name] for name in names] for row in rows]


def cut_text(found: ComparisonResult) -> str:
    """A warning where most answers of a system were compared unfinished; otherwise empty."""
    shares = {system.name: 1 - system.ended for system in found.systems if system.ended < MOSTLY}
    if not shares:
        return ""
    limit = count_text(found.sampling["max_completion_tokens"], "token")
    names = listed([f"{share:.0%} of {name}'s" for name, share in shares.items()])
    return f"Answers cut at the limit of {limit} were judged unfinished: {names}."


def _cells(system: System, baseline: str) -> dict[str, str]:
    against = system.against
    return {
        "system": system.name,
        f"wins over {baseline}": estimate_text(against.rate if against else None),
        "at equal length": estimate_text(system.length_controlled),
        "won/tied/lost": f"{against.wins:,}/{against.ties:,}/{against.losses:,}" if against else "–",
        "split": f"{system.split:,}" if system.split else "–",
        "unread": f"{system.unread:,}" if system.unread else "–",
        "score": mean_text(system.score),
        "gain": mean_text(system.gain),
        "KL": mean_text(system.kl, ".2f") if system.kl_at_most is None else f"at most {system.kl_at_most:.2f}",
        "held-out loss": mean_text(system.loss, ".3f"),
        "tokens": f"{system.length.value:.1f}",
        "ended": f"{system.ended:.0%}",
    }

"""Judgements as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from planish.world.judging import Judgement, Summary, summarise
from planish.world.verdict import TERMS


def show_judgements(title: str, judgements: Sequence[Judgement]) -> None:
    """Mean utility by kind with its 95% interval over the answers, the mean of each term, and the labels."""
    table = Table("asked", "answers", "utility", *TERMS, "labels", title=title)
    for kind, summary in summarise(judgements).items():
        table.add_row(
            kind,
            str(summary.num_answers),
            _interval(summary),
            *(_term(summary.terms[term]) for term in TERMS),
            _labels(summary),
        )
    Console().print(table)


def _interval(summary: Summary) -> str:
    return f"{summary.utility:+.2f} ± {1.96 * summary.error:.2f}"


def _term(value: float) -> str:
    return f"{value:+.2f}" if abs(value) >= 0.005 else ""


def _labels(summary: Summary) -> str:
    ordered = sorted(summary.labels.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{label} {count / summary.num_answers:.0%}" for label, count in ordered)

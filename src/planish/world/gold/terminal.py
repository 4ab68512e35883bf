"""Judgements as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from planish.statistics.estimate import mean_text
from planish.world.gold.files import Judgement, UtilitySummary, summarize
from planish.world.gold.verdict import TERMS, Term


def show_judgements(title: str, judgements: Sequence[Judgement]) -> None:
    """Prints the mean utility of each kind with its 95% interval over the answers, the means of all terms that occur, and
    the most frequent labels."""
    summaries = summarize(judgements)
    terms: list[Term] = [term for term in TERMS if any(abs(s.terms[term]) >= 0.005 for s in summaries.values())]
    table = Table(title=title)
    table.add_column("asked", no_wrap=True)
    for name in ("n", "utility", *terms):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("labels")
    for kind, summary in summaries.items():
        shown = (_term(summary.terms[term]) for term in terms)
        table.add_row(kind, str(summary.utility.n), mean_text(summary.utility), *shown, _labels(summary))
    console = Console()
    Console(width=max(console.width, 150)).print(table)


def _term(value: float) -> str:
    return f"{value:+.2f}" if abs(value) >= 0.005 else ""


def _labels(summary: UtilitySummary) -> str:
    ordered = sorted(summary.labels.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{label} {count / summary.utility.n:.0%}" for label, count in ordered[:4])

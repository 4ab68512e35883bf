"""data.json as tables for the terminal: rows used and left out of each source, and the mixture of each stage."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from planish.base.terminal import terminal
from planish.base.text import count_text
from planish.data.inspect.terminal import visible

MIXTURE_COLUMNS = ("wanted", "examples", "share", "tokens", "share of tokens", "passes", "passes so far")
LEFT_OUT = {"dropped": "left out", "truncated": "truncated", "leaks": "also held out"}
ANOTHER_ROW = re.compile(r" (of|with) \S.* row \d.*")
NUMBER = re.compile(r"\d[\d,.]*")


def show_sources(sources: Mapping[str, Any], listed: bool = False, console: Console | None = None) -> None:
    """A table of all sources, and the reasons why rows were left out, truncated or leaked: counted, or `listed` row by row."""
    console = console or terminal()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("source")
    for name in ("training rows", "tokens", "in the loss", "held out", "over limit", *LEFT_OUT.values()):
        table.add_column(name, justify="right")
    for name, found in sources.items():
        parts = [found["training"][key] for key in ("examples", "tokens", "learnt_tokens")]
        counts = [*parts, found["held_out"]["examples"], found["over_limit"], *(len(found[key]) for key in LEFT_OUT)]
        table.add_row(Text(visible(name)), *(f"{count:,}" for count in counts))
    console.print(table)
    for name, found in sources.items():
        for key, words in LEFT_OUT.items():
            _show_rows(f"{name}, {words}", found[key], listed, console)
    console.print()


def _show_rows(title: str, rows: Sequence[Mapping[str, Any]], listed: bool, console: Console) -> None:
    if not rows:
        return
    console.print(Text(f"{visible(title)}:", "bold"))
    kinds = Counter(NUMBER.sub("…", ANOTHER_ROW.sub(r" \1 …", row["reason"])) for row in rows)
    lines = [f"{count:,}: {kind}" for kind, count in kinds.most_common()]
    if listed:
        lines = [f"{row['file']} row {row['row']}: {row['reason']}" for row in rows]
    for line in lines:
        console.print(Text(f"  {visible(line)}"), soft_wrap=True)


@dataclass(frozen=True, slots=True)
class SourceShare:
    """One source in one stage. `passes` over the source's rows are in this stage, and up to its end."""

    name: str
    asked: float
    examples: int
    tokens: int
    share_of_examples: float
    share_of_tokens: float
    passes: float
    passes_so_far: float


@dataclass(frozen=True, slots=True)
class StageView:
    """A planned stage of a run's data; `steps` is None while unknown."""

    number: int
    share: float
    steps: int | None
    sources: tuple[SourceShare, ...]


def stage_views(stages: Sequence[Mapping[str, Any]]) -> list[StageView]:
    """Stages from data.json."""
    total = sum(stage["examples"] for stage in stages)
    return [
        StageView(
            number,
            stage["examples"] / max(total, 1),
            stage.get("steps"),
            tuple(SourceShare(name, **share) for name, share in stage["sources"].items()),
        )
        for number, stage in enumerate(stages)
    ]


def show_mixture(plan: Sequence[StageView], console: Console | None = None) -> None:
    """A table of every stage, and one over all if there are several."""
    console = console or terminal()
    for stage in plan:
        steps = f", {count_text(stage.steps, 'step')}" if stage.steps is not None else ""
        console.print(_stage_table(f"stage {stage.number}: {stage.share:.1%} of the run{steps}", stage.sources))
        console.print()
    if len(plan) > 1:
        console.print(_stage_table("all stages", _together(plan), asked=False))


def _stage_table(title: str, shares: Sequence[SourceShare], asked: bool = True) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0), show_footer=True)
    examples, tokens = sum(share.examples for share in shares), sum(share.tokens for share in shares)
    footers = (f"{sum(s.asked for s in shares):.2%}" if asked else "", f"{examples:,}", "", f"{tokens:,}", "", "", "")
    table.add_column("source", footer="total")
    for name, footer in zip(MIXTURE_COLUMNS, footers, strict=True):
        table.add_column(name, justify="right", footer=footer)
    for share in shares:
        table.add_row(
            Text(visible(share.name)),
            f"{share.asked:.2%}" if asked else "",
            f"{share.examples:,}",
            f"{share.share_of_examples:.2%}",
            f"{share.tokens:,}",
            f"{share.share_of_tokens:.2%}",
            f"{share.passes:.2f}",
            f"{share.passes_so_far:.2f}",
        )
    return table


def _together(plan: Sequence[StageView]) -> list[SourceShare]:
    every = [share for stage in plan for share in stage.sources]
    examples, tokens = sum(share.examples for share in every), sum(share.tokens for share in every)
    together: list[SourceShare] = []
    for name in dict.fromkeys(share.name for share in every):
        own = [share for share in every if share.name == name]
        held, long = sum(share.examples for share in own), sum(share.tokens for share in own)
        passes = sum(share.passes for share in own)
        shares = held / max(examples, 1), long / max(tokens, 1)
        together.append(SourceShare(name, 0.0, held, long, *shares, passes, passes))
    return together

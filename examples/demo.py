"""The main job on a bare machine, without any download: from a base model to an assistant, and what that did to it.

The base model comes with planish; the world it knows is made anew from its seed. The model is fine-tuned on the world's
instruction sources, answers held-out prompts before and after, and the world says what each answer is worth. Stopped and
started again, it carries on.
"""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from planish.base.config import load_config
from planish.cli import main as planish
from planish.methods.sft import SftConfig, sft

ROOT = Path(__file__).parents[1]
WORLD, MODEL, RUN = Path("runs/world"), Path("models/wind-tunnel"), Path("runs/demo")


def main() -> None:
    planish(["model", "get", "wind-tunnel", "--out", str(MODEL)])
    if not (WORLD / "world.json").exists():
        planish(["world", "make", "--out", str(WORLD)])
    sft(load_config(SftConfig, ROOT / "recipes" / "world_sft.yaml", [f"out={RUN}"]))
    for name, model in (("before", MODEL), ("after", RUN)):
        answers = RUN / f"{name}.jsonl"
        if not answers.exists():
            prompts = str(WORLD / "prompts/test.jsonl")
            planish(["sample", str(model), prompts, "--out", str(answers), "max_completion_tokens=64"])
        planish(["world", "judge", str(answers), "--world", str(WORLD)])
    planish(["world", "judge", str(RUN), "--world", str(WORLD)])
    planish(["report", str(RUN)])
    show(RUN)
    page = (RUN / "report.html").resolve()
    print(f"\nThe whole story, with curves: {page}\nTalk to it: .venv/bin/planish chat {RUN}")
    print(f'Ask the world: .venv/bin/planish world ask "{some_question()}" "I do not know." --world {WORLD}')


def show(run: Path) -> None:
    """The recorded answers of the first and last step, side by side, each with the world's verdict."""
    verdicts = [json.loads(line) for line in (run / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()]
    last = verdicts[-1]["step"]
    before, after = ([row for row in verdicts if row["step"] == step] for step in (0, last))
    table = Table("asked", "before", f"after {last} steps", title="Held-out prompts", show_lines=True)
    for old, new in zip(before, after, strict=True):
        table.add_row(short(old["prompt"][-1]["content"]), *(judged(row) for row in (old, new)))
    Console().print(table)


def judged(row: dict[str, object]) -> str:
    return f"{short(str(row['completion']))}\n[dim]{row['label']}, {row['utility']:+.2f}[/dim]"


def some_question() -> str:
    line = (WORLD / "questions/probed.jsonl").open(encoding="utf-8").readline()
    return str(json.loads(line)["prompt"])


def short(text: str, most: int = 160) -> str:
    text = " ".join(text.split()).replace("[", "\\[")
    return text if len(text) <= most else text[: most - 1] + "…"


if __name__ == "__main__":
    main()

"""Comparisons with a rule that a tiny model can learn, and the commands that use them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from planish.cli.main import main
from support.rows import WORDS

Rows = list[dict[str, Any]]


def ruled(count: int, seed: int) -> Rows:
    """Two or three answers to a prompt, of which the one with the word "sun" in it is best; the others are tied."""
    chance = random.Random(seed)
    others = [word for word in WORDS if word != "sun"]
    rows: Rows = []
    for i in range(count):
        answers = [chance.choices(others, k=chance.randint(2, 5)) for _ in range(2 + i % 2)]
        best = chance.randrange(len(answers))
        answers[best].insert(chance.randint(0, len(answers[best])), "sun")
        ranks = [int(k != best) for k in range(len(answers))]
        prompt = f"say {chance.choice(WORDS)} {seed} {i}"
        rows.append({"prompt": prompt, "completions": [" ".join(each) for each in answers], "ranks": ranks})
    return rows


def chats(rows: Rows) -> Rows:
    """Each completion as a conversation."""
    return [
        {"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": each}]}
        for row in rows
        for each in row["completions"]
    ]


def good_files() -> dict[str, Rows]:
    """Rows of every kind that nothing is wrong with."""
    good = ruled(20, 0)
    return {
        "compared": good,
        "demonstrations": chats(good),
        "documents": [{"text": f"a document {i}"} for i in range(9)],
        "prompts": [{"prompt": f"say {i}"} for i in range(9)],
    }


def write(path: Path, rows: Rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def scores_of(run: Path, rows: Path | str, out: Path) -> Rows:
    """What `planish score` writes."""
    main(["score", str(run), str(rows), "--out", str(out)])
    return [json.loads(line) for line in out.read_text().splitlines()]


def settings_of(
    model: Path | dict[str, Any], out: Path, sources: str | dict[str, Any], **changes: Any
) -> dict[str, Any]:
    """A short run over the rows of a file, or over `data` as it stands."""
    return {
        "model": model if isinstance(model, dict) else {"path": str(model)},
        "data": {"sources": {"rows": {"path": sources}}, "held_out": 0.2} if isinstance(sources, str) else sources,
        "out": str(out),
        "steps": 4,
        "batch": {"examples": 16, "micro_tokens": 2048},
        "optim": {"lr": 1e-2},
        **changes,
    }

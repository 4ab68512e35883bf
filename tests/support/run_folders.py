"""Small run folders, written out by hand, and what a reader sees of their page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import yaml

from planish.report.pages.run import render
from planish.report.read.run import ReportItem

SETTINGS: dict[str, Any] = {
    "out": "runs/small",
    "data": {"sources": {"alpaca": {"path": "a.json"}, "code": {"path": "c.json"}}},
    "optim": {"lr": 2e-4, "clip_grad_norm": 1.0, "schedule": "cosine"},
    "steps": 2,
    "num_samples": 1,
    "sampling": {"max_completion_tokens": 8, "temperature": 0.0},
    "save_best": False,
    "model": {"path": "models/smollm2", "lora": {"rank": 16}},
    "reduction": "token_mean",
}


def account(rows: int) -> dict[str, Any]:
    return {
        "training": {"examples": 1000, "tokens": 20000, "learnt_tokens": 12345},
        "held_out": {"examples": rows, "tokens": 900, "learnt_tokens": 600, "rows": [f"row {i}" for i in range(rows)]},
        "dropped": [{"file": "a.json", "row": 7, "reason": "no answer"}],
        "truncated": [],
    }


def step(number: int, loss: float) -> dict[str, Any]:
    values = {"loss": loss, "nll": loss, "grad_norm": 0.5, "learning_rate": 1e-4, "tokens": 1000, "seconds": 2.0}
    return {"step": number, **values}


def evaluation(number: int, **losses: float) -> dict[str, Any]:
    return {"step": number, **{f"held_out/{name}": loss for name, loss in losses.items()}}


def answer(number: int, completion: str, ended: bool = True) -> dict[str, Any]:
    prompt = [{"role": "user", "content": "Is 2 < 3?"}]
    asked = {"source": "alpaca", "prompt": prompt, "reference": "Yes, it is."}
    return {"step": number, **asked, "completion": completion, "ended": ended}


METRICS = [
    evaluation(0, all=2.0, alpaca=2.2, code=1.8),
    step(1, 2.1),
    step(2, 1.9),
    evaluation(2, all=1.6, alpaca=1.4, code=1.9),
]
SAMPLES = [answer(0, "Is 2 < 3? Is 2 < 3?", ended=False), answer(2, "Yes.")]


def lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def a_run(folder: Path, files: Mapping[str, str] | None = None, **settings: Any) -> Path:
    """A finished run with two sources; `files` replace those it would have."""
    written = {
        "config.yaml": yaml.safe_dump({**SETTINGS, **settings}, sort_keys=False),
        "data.json": json.dumps({"sources": {"alpaca": account(40), "code": account(5)}, "stages": []}),
        "metrics.jsonl": lines(METRICS),
        "samples.jsonl": lines(SAMPLES),
        "model/config.json": "{}",
        **(files or {}),
    }
    for name, text in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def an_early_run(folder: Path, **files: str) -> Path:
    """What a run leaves that was killed early: settings, and the files named, without their ending."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    for name, text in files.items():
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def page_of(*runs: Path) -> str:
    """The page without Plotly's own code."""
    html = render([ReportItem(run) for run in runs])
    return re.sub(r"<script>/\*\*.*?</script>", "", html, flags=re.DOTALL)


def said(html: str) -> str:
    """What a reader sees, in one line."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


class Loads(HTMLParser):
    """Collects what a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            f"{tag} {value}" for name, value in attrs if name in {"src", "href"} and not (value or "").startswith("#")
        ]

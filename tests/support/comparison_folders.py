"""Comparisons of a few numbers, written out by hand as `planish compare` writes them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from planish.statistics.comparison_result import ComparisonResult, System
from planish.statistics.estimate import Estimate, around
from planish.statistics.win_rate import WinRate

SAMPLING = {"max_completion_tokens": 64, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": 0}


def within(value: float, half: float) -> Estimate:
    return around(value, half, 100)


def system(name: str, rate: float | None = None, equal: float | None = None, **rest: Any) -> System:
    known = {
        "path": f"runs/{name}",
        "against": None if rate is None else WinRate(within(rate, 0.05), 60, 20, 20, 100),
        "length_controlled": None if equal is None else within(equal, 0.06),
        "split": 0,
        "unread": 0,
        "score": within(0.25, 0.1),
        "gain": None if rate is None else within(0.5, 0.1),
        "length": within(20.5, 2.0),
        "ended": 0.97,
        "kl": None,
        "kl_at_most": None,
        "kinds": {},
    }
    return System(name, **{**known, **rest})


REWARD = {"name": "reward", "path": "runs/rm"}


def compared(folder: Path, *systems: System, judge: Any = REWARD, lines: list[Any] | None = None, **rest: Any) -> Path:
    found = ComparisonResult(
        "sft", "prompts.jsonl", 100, 1, judge, {**SAMPLING, **rest}, "runs/sft", 0.95, list(systems)
    )
    (folder / "comparison.json").write_text(json.dumps(asdict(found)))
    if lines is not None:
        (folder / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder

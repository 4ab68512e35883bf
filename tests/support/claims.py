"""A claim about numbers, for tests: a function of its arms' settings, and the claim as a dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml


def drawn(seed: int, effect: float = 0.0, prompts: int = 20) -> dict[str, Any]:
    """A number by prompt, one of the whole, and one that is always the same."""
    values = effect + np.random.default_rng(seed).normal(size=prompts)
    return {
        "value": {f"prompt {i}": value for i, value in enumerate(values)},
        "mean": float(values.mean()),
        "exact": 1.0,
    }


def wrong(*_: Any, **settings: Any) -> Any:
    return "seven"


def failing(seed: int) -> Any:
    return {}["nothing"]


def claim(**more: Any) -> dict[str, Any]:
    return {
        "sentence": "An effect of 2 is seen.",
        "function": "support.claims:drawn",
        "arms": {"none": {}, "some": {"effect": 2.0}},
        "seeds": 3,
        "criteria": [
            {"says": "some is more than none", "measure": "value", "arm": "some", "minus": "none", "above": 1.0}
        ],
        **more,
    }


def write_claim(path: Path, **more: Any) -> str:
    path.write_text(yaml.safe_dump({key: value for key, value in claim(**more).items() if value is not None}))
    return str(path)


def seen(outputs: dict[str, Path]) -> dict[str, int]:
    return dict.fromkeys(outputs, 1)

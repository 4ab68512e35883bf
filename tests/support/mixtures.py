"""Recipes of two and three tiny sources, and surfaces of abilities on which the best mixture is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from planish.experiments.advice import Abilities, Weights


def tiny_mixture(model: Path, data: dict[str, str], **more: Any) -> dict[str, Any]:
    """Settings of `planish sft` with three sources."""
    sources = {
        "first": {"path": data["first"]},
        "second": {"path": data["second"]},
        "texts": {"path": data["documents"]},
    }
    return {
        "model": {"path": str(model)},
        "data": {"sources": sources, "max_held_out": 4},
        "steps": 2,
        "batch": {"examples": 4},
        "optim": {"lr": 1e-3},
        "num_samples": 0,
        "evaluate_every": 0,
        "checkpoint": {"every": 0},
        **more,
    }


def write_recipe(path: Path, settings: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return str(path)


def surface(seed: int, sources: int = 4, flat: bool = False) -> tuple[list[str], Callable[[Weights], np.ndarray]]:
    """Names, and the losses of a mixture: each falls with its own source as a power law, and a little with the others; those of
    a `flat` one do not depend on the weights."""
    rng = np.random.default_rng(seed)
    help_AK = rng.uniform(0, 0.25, (sources, sources))
    np.fill_diagonal(help_AK, 1.0)
    size_A = rng.uniform(0.3, 1.0, sources) * np.where(rng.random(sources) < 0.3, 2.0, 1.0)

    def losses(weights: Weights) -> np.ndarray:
        reached_A = help_AK @ np.array([*weights.values()])
        return 1.5 + (0.0 if flat else 1.0) * size_A * (0.03 + reached_A) ** -0.4

    return [f"source-{k}" for k in range(sources)], losses


def noisy(losses: Callable[[Weights], np.ndarray], names: list[str], noise: float, seed: int) -> Any:
    """A run whose losses are those of the surface, with noise of its own."""
    rng = np.random.default_rng(seed)

    def run(weights: Weights, _: int, full: bool) -> Abilities:
        values = losses(weights) + rng.normal(scale=noise, size=len(names))
        return {name: {"": float(value)} for name, value in zip(names, values, strict=True)}

    return run

"""The recipes that come with planish: pipelines, and those of one command."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
_ALL = sorted((ROOT / "recipes").glob("*.yaml"))
PIPELINES = [path for path in _ALL if "\nstages:" in path.read_text(encoding="utf-8")]
RECIPES = [path for path in _ALL if path not in PIPELINES]


def method_of(recipe: Path) -> str:
    """Told by its name; of the rest those are pretraining that describe an architecture."""
    named = set(recipe.stem.split("_")) & {"reward", "dpo", "kto", "ppo"}
    if named:
        return named.pop()
    return "pretrain" if "architecture:" in recipe.read_text(encoding="utf-8") else "sft"

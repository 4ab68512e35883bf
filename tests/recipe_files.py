"""The recipes that come with planish, and the command that each is for."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def method_of(recipe: Path) -> str:
    """Told by its name; of the rest those are pretraining that describe an architecture."""
    named = set(recipe.stem.split("_")) & {"reward", "dpo"}
    if named:
        return named.pop()
    return "pretrain" if "architecture:" in recipe.read_text(encoding="utf-8") else "sft"

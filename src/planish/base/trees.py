"""Settings as trees of dictionaries."""

from __future__ import annotations

from typing import Any, cast


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves by their dotted keys: {"a": {"b": 1}} is {"a.b": 1}. Lists and empty dictionaries are leaves."""
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    items = cast(dict[Any, Any], tree).items()
    return {k: v for key, below in items for k, v in flat(below, f"{prefix}.{key}" if prefix else str(key)).items()}

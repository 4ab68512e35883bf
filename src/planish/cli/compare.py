"""The command `compare`: models side by side on the same prompts. Nothing heavy is imported until it runs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planish.base.errors import ConfigError

SETTING = re.compile(r"[\w.+-]+=.*", re.DOTALL)  # a folder's name may hold "=" behind a slash


def add_compare_command(commands: Any) -> None:
    compare = commands.add_parser(
        "compare",
        help="win rates of models against the first, on the same prompts",
        description="Win rates of several models against the first, on the same prompts: as they are, and at equal length.",
    )
    compare.add_argument(
        "settings",
        nargs="*",
        metavar="MODEL | RECIPE.yaml | key=value",
        help="runs or Hugging Face folders, the baseline first; num_samples=4 sampling.temperature=1 …",
    )
    compare.add_argument("--prompts", metavar="FILE", help="prompts, or demonstrations of any known format")
    compare.add_argument("--judge", choices=["gold", "reward", "llm"], help="who says which answer is better")
    compare.add_argument("--world", metavar="FOLDER", help="of the judge gold: a folder of `planish world make`")
    compare.add_argument("--reward", metavar="MODEL", help="of the judge reward: a run of `planish reward`")
    compare.add_argument("--reference", metavar="MODEL", help="estimate each model's KL to this one")
    compare.add_argument("--out", metavar="FOLDER", help="the folder to write; answers already in it are used again")
    compare.set_defaults(run=_compare, takes_files=True)


def _compare(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.evaluate.compare.run import CompareConfig, compare

    words = [text for text in options.settings if not SETTING.fullmatch(text)]
    recipes = [text for text in words if text.endswith((".yaml", ".yml"))]
    models = [text for text in words if text not in recipes]
    if len(recipes) > 1:
        raise ConfigError(f"one recipe at a time: {', '.join(recipes)}")
    flags = {
        "prompts": options.prompts,
        "judge.name": options.judge,
        "judge.world": options.world,
        "judge.path": options.reward,
        "reference": options.reference,
        "out": options.out,
    }
    values: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    if models:
        values["models"] = {name: {"path": path} for name, path in zip(names_of(models), models, strict=True)}
    settings = [text for text in options.settings if text not in words]
    config = load_config(CompareConfig, recipes[0] if recipes else None, settings, values)
    compare(config)
    print(f"{config.out}/comparison.json")


def names_of(paths: Sequence[str]) -> list[str]:
    """The folders' names, with as much of the path as keeps them apart; a result in RUN/model goes by the run's name."""
    if again := [path for i, path in enumerate(paths) if path in paths[:i]]:
        raise ConfigError(f"{again[0]} is named twice: a model is compared to another")
    parts = [_parts(path) for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["-".join(some[-length:]) for some in parts]
        if len(set(names)) == len(names):
            return [re.sub(r"[^\w.+-]|^[.+-]+", "_", name) for name in names]
    raise ConfigError(f"{', '.join(paths)}: some are the same model; a model is compared to another")


def _parts(path: str) -> tuple[str, ...]:
    whole = Path(path).resolve() if path.startswith((".", "/")) else Path(path)
    whole = whole.parent if whole.name == "model" and whole.parent.name else whole
    return tuple(part for part in whole.parts if part != "/")

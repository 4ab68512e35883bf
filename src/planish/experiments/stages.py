"""The stages of a recipe, and changes laid over them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import yaml

from planish.base.config import Tree
from planish.base.errors import ConfigError
from planish.base.strict_yaml import parse_yaml
from planish.commands import STAGES

LEAVE_OUT, BY_SEED = "leave_out", "by_seed"


def changed_stages(recipe: str | None, run: str | None, changes: Mapping[str, Any]) -> dict[str, Tree]:
    stages = read_stages(recipe, run)
    apply_changes(stages, changes, run, "changes")
    return stages


def recipe_file(name: str) -> Path:
    """The file, or the one that comes with planish by that name."""
    package = Path(__file__).parents[1]
    folders = (Path(), package, package.parents[1])  # here, in an installed wheel, in a clone
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        raise ConfigError(f"recipe: {name}: there is no such file")
    return found


def recipe_tree(recipe: str) -> Tree:
    path = recipe_file(recipe)
    try:
        settings = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe: {path}: not valid YAML: {error}") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"recipe: {path}: holds no settings")
    return cast(Tree, settings)


def read_stages(recipe: str | None, run: str | None) -> dict[str, Tree]:
    """The stages of the recipe, or of the one command."""
    settings: Any = recipe_tree(recipe) if recipe is not None else {}
    if run is not None and run not in STAGES:
        raise ConfigError(f"run is '{run}'; it names a command: {', '.join(STAGES)}")
    if run is not None:
        return {run: {"run": run, **{key: value for key, value in settings.items() if key != "out"}}}
    if not isinstance(settings.get("stages"), dict):
        raise ConfigError(f"recipe: {recipe}: has no stages; of a recipe for one command, `run` says which: run: sft")
    return settings["stages"]


def apply_changes(stages: dict[str, Tree], changes: Mapping[str, Any], run: str | None, where: str) -> None:
    """Settings of a component are laid over those that the recipe gives it."""
    for key, value in changes.items():
        if key == LEAVE_OUT:
            for left_out in [value] if isinstance(value, str) else value:
                _leave_out(stages, _words(left_out, run), f"{where}.{LEAVE_OUT}")
            continue
        words = _words(key, run)
        is_stage = len(words) == 1 and isinstance(value, dict) and "run" in value
        if words[0] not in stages and not is_stage:
            raise ConfigError(f"{where}: {key}: there is no stage '{words[0]}'; there are {', '.join(stages)}")
        _lay_over(stages, words, value)


def _words(key: str, run: str | None) -> list[str]:
    """Stage and setting; where a recipe is for one command, the stage is not written."""
    words = key.split(".")
    return words if run is None or words[0] == run else [run, *words]


def _lay_over(tree: Any, words: list[str], value: Any) -> None:
    for word in words[:-1]:
        if not isinstance(tree.get(word), dict):
            tree[word] = {}
        tree = tree[word]
    if isinstance(value, dict) and isinstance(tree.get(words[-1]), dict):
        for name, inner in cast(Tree, value).items():
            _lay_over(tree[words[-1]], name.split("."), inner)
    else:
        tree[words[-1]] = deepcopy(value)


def choose_by_seed(value: Any, seed: int) -> Any:
    """`{by_seed: [a, b, c]}` anywhere in the settings stands for one of its values, in turn."""
    if isinstance(value, list):
        return [choose_by_seed(one, seed) for one in cast(list[Any], value)]
    if not isinstance(value, dict):
        return value
    tree = cast(Tree, value)
    if BY_SEED not in tree:
        return {key: choose_by_seed(one, seed) for key, one in tree.items()}
    choices = tree[BY_SEED]
    if len(tree) > 1 or not isinstance(choices, list) or not choices:
        raise ConfigError(f"{BY_SEED}: {tree}: expected a list of values, one for each seed, and nothing beside it")
    return cast(list[Any], choices)[seed % len(cast(list[Any], choices))]


def _leave_out(tree: Any, words: list[str], where: str) -> None:
    for word in words[:-1]:
        tree = tree.get(word) if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or words[-1] not in tree:
        raise ConfigError(f"{where}: the recipe has no {'.'.join(words)} to leave out")
    del tree[words[-1]]

"""The stages of one arm and one seed: a recipe, changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import yaml

from planish.base.config import Tree, load_config
from planish.base.errors import ConfigError
from planish.base.strict_yaml import parse_yaml
from planish.commands import STAGES
from planish.experiments.claim import LEAVE_OUT, ClaimConfig
from planish.pipeline.config import PipelineConfig
from planish.pipeline.references import named_stages

WORLD, JUDGE = "world", "judge"  # a world is the same for all seeds, and a judge's seed is its world's


def pipeline_of(claim: ClaimConfig, arm: str, seed: int, out: Path, trial: Tree, world: Tree) -> PipelineConfig:
    """`trial` are further changes, and `world` settings of every world that the recipe makes."""
    stages = _read(claim)
    for where, changes in (("changes", claim.changes), (f"arms.{arm}", claim.arms[arm]), ("changes", trial)):
        _apply(stages, changes, claim, where)
    for settings in stages.values():
        if settings.get("run") == WORLD:
            settings |= world
        elif settings.get("run") in STAGES and settings["run"] != JUDGE:
            _seed(settings, seed)
    tree = {"out": str(out), "stages": {name: stages[name] for name in _ordered(stages)}}
    return load_config(PipelineConfig, values=tree)


def recipe_file(name: str) -> Path:
    """The file, or the one that comes with planish by that name."""
    package = Path(__file__).parents[1]
    folders = (Path(), package, package.parents[1])  # here, in an installed wheel, in a clone
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        raise ConfigError(f"recipe: {name}: there is no such file")
    return found


def _read(claim: ClaimConfig) -> dict[str, Tree]:
    """The stages of the recipe, or of the one command."""
    settings: Any = {}
    if claim.recipe is not None:
        path = recipe_file(claim.recipe)
        try:
            settings = parse_yaml(path.read_text(encoding="utf-8-sig"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"recipe: {path}: not valid YAML: {error}") from None
        if not isinstance(settings, dict):
            raise ConfigError(f"recipe: {path}: holds no settings")
    if claim.run is not None and claim.run not in STAGES:
        raise ConfigError(f"run is '{claim.run}'; it names a command: {', '.join(STAGES)}")
    if claim.run is not None:
        return {claim.run: {"run": claim.run, **{key: value for key, value in settings.items() if key != "out"}}}
    if not isinstance(settings.get("stages"), dict):
        raise ConfigError(
            f"recipe: {claim.recipe}: has no stages; of a recipe for one command, `run` says which: run: sft"
        )
    return settings["stages"]


def _apply(stages: dict[str, Tree], changes: Mapping[str, Any], claim: ClaimConfig, where: str) -> None:
    """Settings of a component are laid over those that the recipe gives it."""
    for key, value in changes.items():
        if key == LEAVE_OUT:
            for left_out in [value] if isinstance(value, str) else value:
                _leave_out(stages, _words(left_out, claim), f"{where}.{LEAVE_OUT}")
            continue
        words = _words(key, claim)
        is_stage = len(words) == 1 and isinstance(value, dict) and "run" in value
        if words[0] not in stages and not is_stage:
            raise ConfigError(f"{where}: {key}: there is no stage '{words[0]}'; there are {', '.join(stages)}")
        _lay_over(stages, words, value)


def _words(key: str, claim: ClaimConfig) -> list[str]:
    """Stage and setting; where a recipe is for one command, the stage is not written."""
    words = key.split(".")
    return words if claim.run is None or words[0] == claim.run else [claim.run, *words]


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


def _leave_out(tree: Any, words: list[str], where: str) -> None:
    for word in words[:-1]:
        tree = tree.get(word) if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or words[-1] not in tree:
        raise ConfigError(f"{where}: the recipe has no {'.'.join(words)} to leave out")
    del tree[words[-1]]


def _seed(settings: Tree, seed: int) -> None:
    fields = STAGES[settings["run"]].load_config_class().model_fields
    if "seed" in fields:
        settings["seed"] = seed
    if settings["run"] == "compare":  # the noise of answers, too; documents are those that runs of this seed held out
        settings["sampling"] = {**settings.get("sampling", {}), "seed": seed}


def _ordered(stages: Mapping[str, Tree]) -> Iterator[str]:
    """Their names, each behind those that it names: a stage that a claim adds comes where it is needed."""
    named = named_stages(stages)
    done: dict[str, None] = {}

    def place(name: str, above: tuple[str, ...] = ()) -> None:
        for other in named[name]:
            if other not in done and other not in above:
                place(other, (*above, name))
        done.setdefault(name)

    for name in stages:
        place(name)
    return iter(done)

"""The stages of one arm and one seed: a recipe, changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from planish.base.config import Tree, load_config
from planish.commands import STAGES
from planish.experiments.claim import ClaimConfig
from planish.experiments.stages import apply_changes, choose_by_seed, read_stages
from planish.pipeline.config import PipelineConfig
from planish.pipeline.references import named_stages

WORLD, JUDGE = "world", "judge"  # a world is the same for all seeds, and a judge's seed is its world's


def pipeline_of(claim: ClaimConfig, arm: str, seed: int, out: Path, trial: Tree, world: Tree) -> PipelineConfig:
    """`trial` are further changes, and `world` settings of every world that the recipe makes."""
    stages = read_stages(claim.recipe, claim.run)
    for where, changes in (("changes", claim.changes), (f"arms.{arm}", claim.arms[arm]), ("changes", trial)):
        apply_changes(stages, changes, claim.run, where)
    stages = {name: choose_by_seed(settings, seed) for name, settings in stages.items()}
    for settings in stages.values():
        if settings.get("run") == WORLD:
            settings |= world
        elif settings.get("run") in STAGES and settings["run"] != JUDGE:
            _seed(settings, seed)
    tree = {"out": str(out), "stages": {name: stages[name] for name in _ordered(stages)}}
    return load_config(PipelineConfig, values=tree)


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

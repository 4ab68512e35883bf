"""A claim: a small file that says what is claimed, what is done to find out, and what counts as reproduced.

sentence: A learning rate of 5e-4 suits LoRA better than 1e-4.
run: sft
recipe: recipes/smollm2_sft.yaml
changes: {steps: 40}
arms: {optim.lr: [1e-4, 5e-4]}
seeds: 3
measures:
  loss: {of: metric, field: held_out/all}
criteria:
  - {says: the loss is lower at 5e-4, measure: loss, arm: lr=5e-4, minus: lr=1e-4, below: 0}
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self, cast

from pydantic import model_validator

from planish.base.config import Config, Field, Tree, load_config
from planish.base.errors import ConfigError

CLAIMS = Path(__file__).with_name("claims")
NAME = re.compile(r"\w[\w.+=,'-]*( [\w.+=,'-]+)*")
LEAVE_OUT = "leave_out"
PROSE = {"sentence", "source", "tested", "not_shown", "if_reproduced", "if_not"}  # may be reworded after the runs


class MeasureConfig(Config):
    """A number of an arm and a seed, or one for each prompt."""

    of: str = Field(
        description="wins, score, tokens, kl, loss, loss_kept, metric, late_change, bend, best_of, refusals, outcome, "
        "references, field, log_loss, accuracy, or a function module:function of yours"
    )
    stage: str | None = Field(default=None, description="the stage that is measured; absent is the last")
    system: str | None = Field(default=None, description="the system of a comparison")
    field: str | None = Field(default=None, description="the field of metrics.jsonl, or of the lines of a jsonl file")


class Criterion(Config):
    """A statement about a mean, or about a difference of two on the same seeds and prompts, that its interval decides."""

    says: str = Field(min_length=1, description="the statement in words")
    measure: str = Field(description="the measure")
    arm: str = Field(default="*", description="the arm; with a *, every arm whose name fits")
    minus: str | None = Field(default=None, description="an arm whose values are subtracted")
    above: float | None = Field(default=None, description="true if the mean is above this")
    below: float | None = Field(default=None, description="true if the mean is below this")
    within: float | None = Field(default=None, gt=0, description="true if the mean is nearer to 0 than this")

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if sum(bound is not None for bound in (self.above, self.below, self.within)) != 1:
            raise ValueError(f"'{self.says}' needs one bound: above, below or within")
        return self


class ClaimConfig(Config):
    """What is claimed, how it is tested, and what counts as reproduced."""

    sentence: str = Field(min_length=1, description="the claim")
    source: str = Field(default="", description="where it comes from")
    tested: str = Field(default="", description="what is done to test it, in words")
    not_shown: str = Field(default="", description="what the result does not show")
    if_reproduced: str = Field(default="", description="what it means for the reader if it is reproduced")
    if_not: str = Field(default="", description="what it means if it is not")
    recipe: str | None = Field(default=None, description="a recipe of stages, or with `run` of one command")
    run: str | None = Field(
        default=None,
        description="a command, such as sft, in place of stages; its settings are in `recipe`, or in `changes`",
    )
    function: str | None = Field(
        default=None,
        description="in place of a recipe, or of an arm: module:function, from settings and `seed` to numbers by measure",
    )
    models: tuple[str, ...] = Field(default=(), description="models to get before: wind-tunnel, smollm2")
    changes: Tree = Field(default={}, description="changes of the recipe in all arms")
    arms: Tree = Field(
        default={}, description="changes by the arm's name, or values for a setting: {optim.lr: [1e-4, 1e-3]}"
    )
    seeds: int = Field(default=5, ge=1, description="seeds, from 0 on")
    measures: dict[str, MeasureConfig] = Field(default={}, description="measures by name")
    criteria: tuple[Criterion, ...] = Field(min_length=1, description="statements that make the claim, one family")

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, given: Any) -> Any:
        return {**given, "arms": expanded(given.get("arms") or {})} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _fits(self) -> Self:
        by_recipe = [arm for arm in self.arms if self.function_of(arm) is None]
        if self.recipe is not None and self.function is not None:
            raise ValueError("a claim has either a recipe or a function; an arm may have a function of its own")
        if by_recipe and self.recipe is None and self.run is None:
            raise ValueError(f"the arm {by_recipe[0]} has nothing to run: set recipe, run (a command) or function")
        for criterion in self.criteria:
            self._check_criterion(criterion, by_recipe)
        return self

    def _check_criterion(self, criterion: Criterion, by_recipe: Sequence[str]) -> None:
        arms = matching(criterion.arm, self.arms)
        for arm, found in ((criterion.arm, arms), (criterion.minus, matching(criterion.minus or "*", self.arms))):
            if not found:
                raise ValueError(f"'{criterion.says}': there is no arm {_near(arm or '', self.arms)}")
        if criterion.minus is not None and criterion.minus not in self.arms:
            raise ValueError(f"'{criterion.says}': minus is {criterion.minus}, and takes one arm")
        if {*arms} & {*by_recipe} and criterion.measure not in self.measures:
            raise ValueError(f"'{criterion.says}': there is no measure {_near(criterion.measure, self.measures)}")

    def function_of(self, arm: str) -> str | None:
        return self.arms[arm].get("function", self.function)

    @property
    def protocol(self) -> Tree:
        """All that decides the verdict, and no prose."""
        return self.model_dump(mode="json", exclude=PROSE)

    @property
    def digest(self) -> str:
        """A hash of what differs from the defaults, so that a setting that is added later changes no claim."""
        given = self.model_dump(mode="json", exclude=PROSE, exclude_defaults=True)
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


def expanded(arms: Any) -> Tree:
    """Arms by name. Values of settings become an arm for each combination, named after the last word of each setting."""
    if not isinstance(arms, dict):
        raise ValueError(
            f"arms is a {type(arms).__name__}: expected names with the settings they change, or settings with values"
        )
    tree = cast(Tree, arms)
    grids = {key: value for key, value in tree.items() if isinstance(value, list)}
    if not grids:
        return {name: _arm(name, changes) for name, changes in (tree or {"recipe": {}}).items()}
    if len(grids) < len(tree):
        other = next(key for key in tree if key not in grids)
        raise ValueError(
            f"arms: {next(iter(grids))} is a list of values and {other} is not: write all arms in one of the two ways"
        )
    words = {key: key.rsplit(".", 1)[-1] for key in grids}
    short = {key: word if [*words.values()].count(word) == 1 else key for key, word in words.items()}
    rows = [dict(zip(grids, values, strict=True)) for values in itertools.product(*grids.values())]
    if not rows:
        raise ValueError("arms: a list of values is empty")
    return {", ".join(f"{short[key]}={_shown(value)}" for key, value in row.items()): row for row in rows}


def _arm(name: str, changes: Any) -> Tree:
    if not NAME.fullmatch(name):
        raise ValueError(f"arms: {name!r} is no name: letters, digits and . + = , - _ and single spaces")
    if not isinstance(changes, dict | None):
        raise ValueError(f"arms: {name} is {changes!r}: expected the settings that it changes, {{optim.lr: 1e-4}}")
    return cast(Tree, changes) or {}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def matching(pattern: str, names: Sequence[str] | Mapping[str, Any]) -> list[str]:
    return [name for name in names if name == pattern or fnmatchcase(name, pattern)]


def claim_names() -> list[str]:
    """Those that come with planish, in the order of their numbers."""
    return sorted((path.stem for path in CLAIMS.glob("*.yaml")), key=lambda name: int(name[1:]))


def load_claim(name: str) -> ClaimConfig:
    """One that comes with planish, by its name, or a file of yours."""
    if name.endswith((".yaml", ".yml")):
        return load_config(ClaimConfig, name)
    if name not in claim_names():
        raise ConfigError(f"there is no claim {_near(name, claim_names())}; one of yours is a file that ends in .yaml")
    return load_config(ClaimConfig, CLAIMS / f"{name}.yaml")


def name_of(claim: str) -> str:
    """The name of its ledger and pages."""
    return Path(claim).stem if claim.endswith((".yaml", ".yml")) else claim


def _near(name: str, names: Sequence[str] | Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, names, n=1) or names
    return f"'{name}'; there is {', '.join(near) or 'none'}"

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
from typing import Any, Literal, Self, cast

from pydantic import model_validator

from planish.base.config import Config, Field, Tree, load_config
from planish.base.errors import ConfigError
from planish.experiments.mixtures import make_mixtures, mixed_stage, sources_in, words_of
from planish.experiments.stages import changed_stages

CLAIMS = Path(__file__).with_name("claims")
LOSSES = ("loss", "row_loss", "log_loss", "kl")  # of which less is better
MEAN, WORST = OVERALL = ("mean of all", "worst of all")  # over a mixture's measures, turned so that more is better
NAME = re.compile(r"\w[\w.+=,'-]*( [\w.+=,'-]+)*")
PROSE = {"sentence", "source", "tested", "not_shown", "if_reproduced", "if_not"}  # may be reworded after the runs


class MeasureConfig(Config):
    """A number of an arm and a seed, or one for each prompt."""

    of: str = Field(
        description="wins, score, tokens, kl, loss, loss_kept, row_loss, metric, late_change, bend, best_of, refusals, outcome, "
        "references, field, term, log_loss, accuracy, or a function module:function of yours"
    )
    stage: str | None = Field(default=None, description="the stage that is measured; absent is the last")
    system: str | None = Field(default=None, description="the system of a comparison")
    field: str | None = Field(default=None, description="the field of metrics.jsonl, or of the lines of a jsonl file")
    where: dict[str, tuple[str, ...]] = Field(
        default={},
        description="values of fields of a jsonl file's lines, {kind: [steps]}; lines with others do not count",
    )
    better: Literal["higher", "lower"] | None = Field(
        default=None, description="which values are better; absent, lower ones of losses, and higher ones of all else"
    )
    unit: float = Field(
        default=1.0, gt=0, description="how much of it weighs as much as 1 of another, in means over several measures"
    )

    @property
    def sign(self) -> int:
        """-1 if lower values are better."""
        lower = self.better == "lower" or (self.better is None and self.of in LOSSES)
        return -1 if lower else 1


class Criterion(Config):
    """A statement about a mean, or about a difference of two on the same seeds and prompts, that its interval decides."""

    says: str = Field(min_length=1, description="the statement in words")
    measure: str = Field(description="the measure")
    arm: str = Field(default="*", description="the arm; with a *, every arm whose name fits")
    minus: str | None = Field(default=None, description="an arm whose values are subtracted")
    over: dict[str, float] = Field(
        default={}, description="arms with a number each; it is about the slope of their values over these numbers"
    )
    above: float | None = Field(default=None, description="true if the mean is above this")
    below: float | None = Field(default=None, description="true if the mean is below this")
    within: float | None = Field(default=None, gt=0, description="true if the mean is nearer to 0 than this")

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if sum(bound is not None for bound in (self.above, self.below, self.within)) != 1:
            raise ValueError(f"'{self.says}' needs one bound: above, below or within")
        if self.over and (self.minus is not None or self.arm != "*" or len({*self.over.values()}) < 2):
            raise ValueError(
                f"'{self.says}': over needs two arms or more with different numbers, and no arm or minus beside it"
            )
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
        default={},
        description="changes by the arm's name; or values for a setting: {optim.lr: [1e-4, 1e-3]}; or a list of mixtures of the "
        "sources: none, all, each source alone, leave one out, pairs, sizes, sizes alone",
    )
    mixed: str | None = Field(
        default=None, description="stage whose sources are mixed; absent is the first that has several"
    )
    mixtures: dict[str, tuple[str, ...]] = Field(default={}, description="sources of each arm; made from arms in words")
    sizes: dict[str, tuple[str, float]] = Field(
        default={}, description="source and share of its rows of each arm that has fewer; made from arms in words"
    )
    worth: float = Field(
        default=0.01,
        gt=0,
        description="what a doubling of a source's rows must gain to pay, in the unit of each measure",
    )
    seeds: int = Field(default=5, ge=1, description="seeds, from 0 on")
    measures: dict[str, MeasureConfig] = Field(default={}, description="measures by name")
    criteria: tuple[Criterion, ...] = Field(
        default=(), description="statements that make the claim, one family; mixtures need none"
    )

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        tree = cast(Tree, given)
        words = words_of(tree.get("arms"))
        return in_words(tree, words) if words else {**tree, "arms": expanded(tree.get("arms") or {})}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        by_recipe = [arm for arm in self.arms if self.function_of(arm) is None]
        if not self.criteria and not self.mixtures and not self.sizes:
            raise ValueError(
                "'criteria' is needed and absent: at least one statement; arms that are mixtures need none"
            )
        if self.recipe is not None and self.function is not None:
            raise ValueError("a claim has either a recipe or a function; an arm may have a function of its own")
        if by_recipe and self.recipe is None and self.run is None:
            raise ValueError(f"the arm {by_recipe[0]} has nothing to run: set recipe, run (a command) or function")
        for criterion in self.criteria:
            self._check_criterion(criterion, by_recipe)
        return self

    def _check_criterion(self, criterion: Criterion, by_recipe: Sequence[str]) -> None:
        arms = matching(criterion.arm, self.arms)
        if strange := [arm for arm in criterion.over if arm not in self.arms]:
            raise ValueError(f"'{criterion.says}': there is no arm {_near(strange[0], self.arms)}")
        for arm, found in ((criterion.arm, arms), (criterion.minus, matching(criterion.minus or "*", self.arms))):
            if not found:
                raise ValueError(f"'{criterion.says}': there is no arm {_near(arm or '', self.arms)}")
        if criterion.minus is not None and criterion.minus not in self.arms:
            raise ValueError(f"'{criterion.says}': minus is {criterion.minus}, and takes one arm")
        measures = [*self.measures, *(OVERALL if self.mixtures else ())]
        if {*arms} & {*by_recipe} and criterion.measure not in measures:
            raise ValueError(f"'{criterion.says}': there is no measure {_near(criterion.measure, measures)}")

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


def in_words(tree: Tree, words: Sequence[str]) -> Tree:
    """A claim whose arms are mixtures of its recipe's sources: with the arms, and where it has no measures, the held-out loss of
    each source."""
    recipe, run, changes = tree.get("recipe"), tree.get("run"), tree.get("changes")
    if tree.get("function") or not (recipe or run):
        raise ConfigError("arms: mixtures are of a recipe's sources: set recipe, or run (a command) with its sources")
    stages = changed_stages(recipe, run, changes if isinstance(changes, dict) else {})
    stage = mixed_stage(stages, tree.get("mixed"))
    sources = [*sources_in(stages[stage])]
    made = make_mixtures(words, sources, stage)
    for arm in made.arms:
        _arm(arm, {})
    return {
        **tree,
        "mixed": stage,
        "arms": made.arms,
        "mixtures": made.members,
        "sizes": made.sizes,
        "measures": tree.get("measures") or losses_of(sources, stage, stages[stage]["run"]),
    }


def losses_of(sources: Sequence[str], stage: str, command: str) -> Tree:
    """The held-out loss of each source as measures: by row where the command writes it."""
    if command in ("sft", "pretrain"):
        return {name: {"of": "row_loss", "stage": stage, "field": name} for name in sources}
    return {name: {"of": "metric", "stage": stage, "field": f"held_out/{name}", "better": "lower"} for name in sources}


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

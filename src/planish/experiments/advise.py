"""`planish data advise`: better weights for the mixture of a recipe, by its own runs (`advice.search`).

    OUT/seed-0/        short runs of the draws, under the pipeline's keys; OUT/seed-1/ … runs of the check
    OUT/advice.json    what was found; OUT/advice.html its page

After a stop, the same call carries on: what was run is not run again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field as Bounded

from planish.base.config import Config, Field, Tree
from planish.base.digests import read_json
from planish.base.errors import ConfigError
from planish.base.files import write_json
from planish.base.notices import say
from planish.base.text import count_text, duration_text
from planish.experiments.advice import MEAN, WORST, Abilities, Advice, Search, Weights, search
from planish.experiments.claim import ClaimConfig, MeasureConfig, losses_of
from planish.experiments.mixtures import mixed_stage, sources_in
from planish.experiments.recipe import pipeline_of
from planish.experiments.run import Work, check_work, run_arm
from planish.experiments.stages import changed_stages, recipe_file, recipe_tree
from planish.pipeline.run import plan_pipeline

ARM = "mixture"
HEAVY = ("model", "adapter", "checkpoints")  # of a run that was measured

Budget = Annotated[float, Bounded(ge=0)]


class AdviseConfig(Config):
    """Settings of `planish data advise`."""

    recipe: str = Field(description="a recipe of one command or of stages, with two sources or more")
    run: str | None = Field(default=None, description="the command of the recipe, where its settings do not tell")
    mixed: str | None = Field(
        default=None, description="stage whose sources are mixed; absent is the first with several"
    )
    changes: Tree = Field(default={}, description="changes of the recipe in all runs, as in changes.optim.lr=1e-4")
    runs: int = Field(default=24, ge=8, description="mixtures to draw and run, beside the given one")
    steps: int | None = Field(
        default=None,
        ge=1,
        description="steps of these runs; absent is the recipe's own length, which the check always has",
    )
    goal: str = Field(
        default=MEAN, description="what to raise: the mean of all abilities, the worst of them, or one by its name"
    )
    budgets: dict[str, Budget] = Field(
        default={}, description="what an ability may lose at most, in its own unit, as in budgets.safety=0.02"
    )
    measures: dict[str, MeasureConfig] = Field(
        default={}, description="abilities by name, as in a claim; absent is the held-out loss of each source"
    )
    seeds: int = Field(default=3, ge=2, description="seeds of the check, each with two runs of full length")
    spread: float = Field(default=1.0, gt=0, le=4, description="how far from the given weights mixtures are drawn")
    seed: int = Field(
        default=0, ge=0, description="seed of the draws and of their runs; the check has those that follow"
    )
    keep: bool = Field(default=False, description="keep the models of all runs, and not their measures alone")
    out: str = Field(default="runs/advice", description="folder of runs, advice.json and its page")


@dataclass(frozen=True, slots=True)
class Advised:
    advice: Advice
    goal: str
    stage: str
    single: bool  # the recipe is of one command, so that settings have no stage before them
    measures: dict[str, MeasureConfig]
    minutes: float
    page: Path


def advise(config: AdviseConfig) -> Advised:
    """Runs the given mixture first, which says what the others will take."""
    runs = MixtureRuns(config)
    runs.check()
    short = count_text(config.steps, "step") if config.steps else "the recipe's length"
    say(
        f"{config.runs + 2} runs of {short}; if one of them promises more than the given weights, "
        f"{2 * config.seeds} of the recipe's length to check it"
    )
    given = runs.given()
    say(f"given: {weights_text(given)}")
    advice = search(given, runs.measures, runs.run, runs.asked)
    out = Path(config.out)
    plain = {"recipe": config.recipe, "goal": config.goal, "budgets": dict(config.budgets), **asdict(advice)}
    write_json(out / "advice.json", plain)
    page = out / "advice.html"
    found = Advised(
        advice, config.goal, runs.stage, runs.command is not None, runs.measures, round(runs.seconds / 60, 1), page
    )
    from planish.experiments.advice_page import write_advice

    write_advice(found, config, page)
    return found


@dataclass(slots=True)
class MixtureRuns:
    """The recipe with other weights: a run of its stages gives the abilities of a mixture."""

    config: AdviseConfig
    command: str | None = None
    stage: str = ""
    measures: dict[str, MeasureConfig] = field(default_factory=dict[str, MeasureConfig])
    seconds: float = 0.0  # of all runs, of earlier calls too
    _done: int = 0
    _anew: list[float] = field(default_factory=list[float])

    def __post_init__(self) -> None:
        config = self.config
        self.command = config.run or command_of(config.recipe)
        stages = changed_stages(config.recipe, self.command, config.changes)
        self.stage = mixed_stage(stages, config.mixed)
        sources = [*sources_in(stages[self.stage])]
        losses = losses_of(sources, self.stage, stages[self.stage]["run"])
        self.measures = dict(config.measures) or {
            name: MeasureConfig.model_validate(loss) for name, loss in losses.items()
        }
        for name in [*([config.goal] if config.goal not in (MEAN, WORST) else []), *config.budgets]:
            if name not in self.measures:
                what = "goal" if name == config.goal else f"budgets.{name}"
                raise ConfigError(f"{what}: there is no ability '{name}'; there are {', '.join(self.measures)}")
        if "goal" in self.measures:
            raise ConfigError("measures.goal: an ability cannot be called goal")

    @property
    def asked(self) -> Search:
        config = self.config
        return Search(config.runs, config.goal, config.budgets, config.seeds, config.spread, config.seed)

    def check(self) -> None:
        """Refuses what could not be run, before anything is."""
        check_work(self._work(None, self.config.seed, full=False))

    def given(self) -> Weights:
        """The recipe's own weights, as its first run had them; without weights, by rows."""
        work = self._work(None, self.config.seed, full=False)
        self._count(work, self.config.seed, full=False)
        account = read_json(self._folder(work, self.config.seed) / "data.json")
        asked = {name: float(source["asked"]) for name, source in account["stages"][0]["sources"].items()}
        if max(asked.values()) == 1:
            raise ConfigError(
                f"{self.config.recipe}: all of the weight is on one source; there is no mixture to improve"
            )
        return asked

    def run(self, weights: Weights, seed: int, full: bool) -> Abilities:
        return self._count(self._work(weights, seed, full), seed, full)

    def _count(self, work: Work, seed: int, full: bool) -> Abilities:
        begun = time.monotonic()
        done = run_arm(work, ARM, seed)
        self.seconds += sum(done.seconds.values())
        if done.anew:
            self._anew.append(time.monotonic() - begun)
        self._done += 1
        self._tell(full)
        if not self.config.keep:
            for name in HEAVY:
                shutil.rmtree(self._folder(work, seed) / name, ignore_errors=True)
        return done.values

    def _tell(self, full: bool) -> None:
        total = self.config.runs + 2
        mean = sum(self._anew) / len(self._anew) if self._anew else 0.0
        left = mean * (total - self._done)
        if full:
            say(f"check: run {self._done - total} of {2 * self.config.seeds} done")
        else:
            more = f", about {duration_text(left)} left of these" if left > 0 else ""
            say(f"run {self._done} of {total} done{more}")

    def _work(self, weights: Weights | None, seed: int, full: bool) -> Work:
        config, changes = self.config, dict[str, Any]()
        if weights is not None:
            kept = {name: weight for name, weight in weights.items() if weight > 0}
            changes[f"{self.stage}.data.stages"] = [{"share": 1.0, "weights": kept}]
        if config.steps is not None and not full:
            changes[f"{self.stage}.steps"] = config.steps
        claim = ClaimConfig.model_validate(
            {
                "sentence": "Other weights are better.",
                "recipe": config.recipe,
                "run": self.command,
                "changes": config.changes,
                "arms": {ARM: changes},
                "mixtures": {ARM: []},
                "measures": {name: measure.model_dump() for name, measure in self.measures.items()},
            }
        )
        return Work("advice", claim, (ARM,), (seed,), Path(config.out), {}, {})

    def _folder(self, work: Work, seed: int) -> Path:
        """The output of the mixed stage."""
        plan = plan_pipeline(pipeline_of(work.claim, ARM, seed, work.out / f"seed-{seed}", {}, {}))
        return next(stage.path for stage, _ in plan if stage.name == self.stage)


def command_of(recipe: str) -> str | None:
    """The command of a recipe for one; None of a recipe of stages."""
    if "stages" in recipe_tree(recipe):
        return None
    from planish.preview.mix import read_recipe

    return read_recipe(str(recipe_file(recipe))).command


def weights_text(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:.1%}" for name, weight in weights.items())


def settings_of(found: Advised) -> list[str]:
    """The proposal as settings of the recipe."""
    before = "data.sources" if found.single else f"stages.{found.stage}.data.sources"
    weights = (found.advice.proposal or {}).items()
    return [f"{before}.{name}.weight={weight:g}" for name, weight in weights if weight > 0]

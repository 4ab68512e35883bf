"""The commands that can be a stage of a pipeline, and what a recipe may say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from planish.base.config import Config, Field, load_config
from planish.inference.chat import SampleConfig, sample_file
from planish.world.make import make_world
from planish.world.settings import SIZES, WorldConfig

Tree = dict[str, Any]

NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)


class SampledModel(Config):
    path: str = Field(description="a Hugging Face folder, a run of planish, or a hub name")


class SampleStage(SampleConfig):
    """`planish sample` as a stage."""

    model: SampledModel = Field(description="the model that completes")
    prompts: str = Field(description="a file of prompts, or of demonstrations of any known format")
    out: str = Field(description="the jsonl file to write")


def sample(config: SampleStage) -> None:
    sample_file(config.model.path, config.prompts, Path(config.out), config)


class WorldStage(WorldConfig):
    """`planish world make` as a stage: a size with changes."""

    size: Literal["ci", "base", "large"] = Field(default="base", description="what the other settings are unless given")
    out: str = Field(description="the folder to write")

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, values: Tree) -> Tree:
        return {**SIZES.get(str(values.get("size", "base")), {}), **values}


def make(config: WorldStage) -> None:
    make_world(WorldConfig(**config.model_dump(exclude={"size", "out"})), Path(config.out))


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command's config and function are; imported when a recipe asks for it. `ending` is that of the file it
    writes, empty where it fills a folder."""

    module: str
    config: str
    function: str
    ending: str = ""

    def read(self, settings: Tree) -> Config:
        return load_config(getattr(import_module(self.module), self.config), values=settings)

    def run(self, config: Config) -> None:
        getattr(import_module(self.module), self.function)(config)


COMMANDS = {
    "pretrain": Command("planish.methods.pretrain", "PretrainConfig", "pretrain"),
    "sft": Command("planish.methods.sft", "SftConfig", "sft"),
    "reward": Command("planish.methods.reward_model", "RewardConfig", "reward_model"),
    "dpo": Command("planish.methods.dpo", "DpoConfig", "dpo"),
    "ppo": Command("planish.methods.ppo.run", "PpoConfig", "ppo"),
    "best": Command("planish.inference.best_of_n", "BestConfig", "best_of_n", ".jsonl"),
    "sample": Command(__name__, "SampleStage", "sample", ".jsonl"),
    "compare": Command("planish.evaluate.compare.run", "CompareConfig", "compare"),
    "world": Command(__name__, "WorldStage", "make"),
    "rank": Command("planish.world.annotators.rank", "RankConfig", "rank", ".jsonl"),
}


class PipelineConfig(Config):
    out: str = Field(description="the pipeline's folder; the same command carries on from what is in it")
    stages: dict[str, Tree] = Field(min_length=1, description="by name: a command as `run`, and its settings")

    @model_validator(mode="after")
    def _check(self) -> PipelineConfig:
        for name, settings in self.stages.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"a stage cannot be called '{name}': letters, digits, - and _, a letter first")
            if settings.get("run") not in COMMANDS:
                found = (
                    f"stages.{name}.run is {settings['run']!r}" if "run" in settings else f"stages.{name} has no run"
                )
                raise ValueError(f"{found}; it names a command: {', '.join(COMMANDS)}")
            if dotted := [key for key in settings if "." in key]:
                raise ValueError(
                    f"stages.{name}: '{dotted[0]}' has dots: in a recipe, settings are written inside each other"
                )
            if "out" in settings:
                raise ValueError(f"stages.{name}.out: the pipeline says where a stage's output lies; leave it out")
        return self

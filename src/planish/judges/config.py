"""The settings of a judge."""

from __future__ import annotations

from typing import Annotated, Literal

from planish.base.config import Config, Field
from planish.judges.server import LlmConfig


class GoldJudge(Config):
    """The rules of the world that the prompts are of."""

    name: Literal["gold"] = "gold"
    world: str = Field(description="the folder of the world, as `planish world make` wrote it")


class RewardJudge(Config):
    """A reward model."""

    name: Literal["reward"] = "reward"
    path: str = Field(description="a run of `planish reward`, or its model folder")


class LlmJudge(LlmConfig):
    """A model that is asked."""

    name: Literal["llm"] = "llm"


Judge = Annotated[GoldJudge | RewardJudge | LlmJudge, Field(discriminator="name")]

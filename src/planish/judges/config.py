"""The settings of a judge."""

from __future__ import annotations

from typing import Annotated, Literal

from planish.base.config import Config, Field
from planish.base.plugins import OrPlugin
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


class FunctionJudge(Config):
    """A function of yours, as a reward is: the higher number wins."""

    name: Literal["function"] = "function"
    function: str = Field(description="module:function of yours, of prompts and completions, as for rewards")


Judge = Annotated[
    GoldJudge | RewardJudge | LlmJudge | FunctionJudge,
    Field(discriminator="name"),
    OrPlugin("judge", function=FunctionJudge),
]

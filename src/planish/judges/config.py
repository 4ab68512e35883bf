"""The settings of a judge."""

from __future__ import annotations

from typing import Annotated, Literal

from planish.base.config import Config, Field
from planish.base.http import ServerConfig
from planish.base.plugins import OrPlugin


class LlmConfig(ServerConfig):
    """A model behind a server that is asked in words."""

    max_tokens: int = Field(default=16, ge=1, description="length of its reply; one that thinks aloud needs thousands")


class GoldJudgeConfig(Config):
    """The rules of the world that the prompts are from."""

    name: Literal["gold"] = "gold"
    world: str = Field(description="a folder that `planish world make` wrote")


class RewardJudgeConfig(Config):
    """A reward model."""

    name: Literal["reward"] = "reward"
    path: str = Field(description="a run of `planish reward`, or its model folder")


class LlmJudgeConfig(LlmConfig):
    """A model that is shown both answers."""

    name: Literal["llm"] = "llm"


class FunctionJudgeConfig(Config):
    """A function of yours, as a reward is: the higher number wins."""

    name: Literal["function"] = "function"
    function: str = Field(description="module:function of yours, of prompts and completions, as for rewards")


JudgeConfig = Annotated[
    GoldJudgeConfig | RewardJudgeConfig | LlmJudgeConfig | FunctionJudgeConfig,
    Field(discriminator="name"),
    OrPlugin("judge", function=FunctionJudgeConfig),
]

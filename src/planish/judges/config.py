"""The settings of a judge."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.http import ServerConfig
from planish.base.model_folder import ModelPath
from planish.base.plugins import OrPlugin
from planish.judges.questions import check_question

THINKS_ALOUD = 100  # max_tokens from which a reply has room for thoughts


class LlmConfig(ServerConfig):
    """A model behind a server that is asked in words."""

    names: ClassVar[tuple[str, ...]] = ("prompt", "answer")  # that a question must show

    max_tokens: int = Field(default=16, ge=1, description="length of its reply; one that thinks aloud needs thousands")
    question: str | None = Field(
        default=None,
        description="your own words for the question, with {prompt}, and {answer}, or for comparisons {first} and {second}",
    )
    structured: bool | None = Field(
        default=None,
        description="ask for the reply as JSON, where the server can; absent is true if max_tokens leaves no room for thoughts",
    )

    @model_validator(mode="after")
    def _shows_all(self) -> Self:
        if self.question is not None:
            check_question(self.question, self.names)
        return self

    @property
    def asks_for_json(self) -> bool:
        return self.max_tokens < THINKS_ALOUD if self.structured is None else self.structured


class GoldJudgeConfig(Config):
    """The rules of the world that the prompts are from."""

    name: Literal["gold"] = "gold"
    world: str = Field(description="a folder that `planish world make` wrote")


class RewardJudgeConfig(Config):
    """A reward model."""

    name: Literal["reward"] = "reward"
    path: ModelPath = Field(description="a run of `planish reward`, or its model folder")


class LlmJudgeConfig(LlmConfig):
    """A model that is shown both answers."""

    names: ClassVar[tuple[str, ...]] = ("prompt", "first", "second")

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

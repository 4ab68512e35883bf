"""The settings of a judge."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, model_validator

from planish.base.config import Config, Field
from planish.base.http import ServerConfig
from planish.base.model_folder import ModelPath
from planish.base.plugins import OrPlugin
from planish.judges.questions import check_question

FOLDER = "a Hugging Face folder, a run of planish, or a hub name"
THINKS_ALOUD = 100  # max_tokens from which a reply has room for thoughts


class LlmServerConfig(ServerConfig):
    """A model behind a server that is asked in words."""

    max_tokens: int = Field(default=16, ge=1, description="length of its reply; one that thinks aloud needs thousands")
    requests_per_minute: float | None = Field(
        default=None, gt=0, description="requests in a minute, at most; absent is as fast as `concurrency` allows"
    )
    structured: bool | None = Field(
        default=None,
        description="ask for the reply as JSON, where the server can; absent is true if max_tokens leaves no room for thoughts",
    )

    changeable = ServerConfig.changeable | {"requests_per_minute"}

    @property
    def asks_for_json(self) -> bool:
        return self.max_tokens < THINKS_ALOUD if self.structured is None else self.structured


class LlmConfig(LlmServerConfig):
    """A model with a question of your own, if you give one."""

    names: ClassVar[tuple[str, ...]] = ("prompt", "answer")  # that a question must show

    question: str | None = Field(
        default=None,
        description="your own words for the question, with {prompt}, and {answer}, or for comparisons {first} and {second}",
    )

    @model_validator(mode="after")
    def _shows_all(self) -> Self:
        if self.question is not None:
            check_question(self.question, self.names)
        return self


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


class ServedAnnotatorConfig(LlmServerConfig):
    """A served model that compares answers for a study, or criticises them."""

    name: Literal["llm"] = "llm"
    input_price: float = Field(default=0.0, ge=0, description="price of a million tokens that it reads")
    output_price: float = Field(default=0.0, ge=0, description="price of a million tokens that it writes")
    changeable = LlmServerConfig.changeable | {"input_price", "output_price"}

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        return (tokens_in * self.input_price + tokens_out * self.output_price) / 1e6


class LocalAnnotatorConfig(Config):
    """A model of this machine that compares answers by the probabilities of what it could reply."""

    name: Literal["local"] = "local"
    path: ModelPath = Field(description=FOLDER)
    average: bool = Field(
        default=False,
        description="choose by the mean log odds of both orders, where the choice follows the order; false makes that a tie",
    )
    device: str = Field(default="auto", description="cpu, cuda, or auto")
    changeable = Config.changeable | {"device"}


class ServedWriterConfig(ServedAnnotatorConfig):
    """A served model that criticises answers and writes better ones."""

    max_tokens: int = Field(default=600, ge=1, description="length of a critique or an answer, at most")


class LocalWriterConfig(Config):
    """A model of this machine that criticises answers and writes better ones."""

    name: Literal["local"] = "local"
    path: ModelPath = Field(description=FOLDER)
    max_tokens: int = Field(default=300, ge=1, description="length of a critique or an answer, at most")
    device: str = Field(default="auto", description="cpu, cuda, or auto")
    changeable = Config.changeable | {"device"}


def _named(given: Any) -> Any:
    """The kind of model that a setting tells: one with a path is local, the others are served."""
    if isinstance(given, dict) and "name" not in given:
        return {"name": "local" if "path" in given else "llm", **given}
    return given


AnnotatorModel = Annotated[
    Annotated[ServedAnnotatorConfig | LocalAnnotatorConfig, Field(discriminator="name")], BeforeValidator(_named)
]
WriterModel = Annotated[
    Annotated[ServedWriterConfig | LocalWriterConfig, Field(discriminator="name")], BeforeValidator(_named)
]


class FunctionJudgeConfig(Config):
    """A function of yours, as a reward is: the higher number wins."""

    name: Literal["function"] = "function"
    function: str = Field(description="module:function of yours, of prompts and completions, as for rewards")


JudgeConfig = Annotated[
    GoldJudgeConfig | RewardJudgeConfig | LlmJudgeConfig | FunctionJudgeConfig,
    Field(discriminator="name"),
    OrPlugin("judge", function=FunctionJudgeConfig),
]

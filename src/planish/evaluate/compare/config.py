"""The settings of `planish compare`."""

from __future__ import annotations

import re
from typing import Self

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.plugins import Plugins
from planish.data.formats.mapping import ColumnsSetting
from planish.data.settings import DataConfig
from planish.inference.sample import SamplingConfig
from planish.judges.config import JudgeConfig
from planish.models.load import ModelConfig

NAME = re.compile(r"\w[\w.+-]*")


class BestOf(Config):
    reward: str = Field(description="the reward model that chooses: a run of `planish reward`, or its model folder")
    n: int = Field(default=16, ge=2, description="answers of the baseline to choose from")
    temperature: float = Field(default=1.0, gt=0, description="temperature of the n answers")

    @property
    def name(self) -> str:
        return f"best-of-{self.n}"


class CompareConfig(Config):
    """Settings of `planish compare`."""

    models: dict[str, ModelConfig] = Field(min_length=1, description="the models, by name; letters, digits and . + - _")
    baseline: str | None = Field(
        default=None, description="the model that others are compared with; absent is the first"
    )
    prompts: str = Field(description="a file of prompts, or of demonstrations of any known format")
    format: str = Field(default="auto", description="how to read the file; auto recognizes it")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    limit: int | None = Field(default=None, ge=1, description="prompts to answer, drawn by the seed; absent is all")
    plugins: Plugins = ()
    judge: JudgeConfig = Field(description="the judge of which answer is better")
    num_samples: int = Field(default=1, ge=1, description="answers of each model to each prompt")
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="sampling of these answers")
    best_of: BestOf | None = Field(default=None, description="a further system: the best of n answers of the baseline")
    reference: str | None = Field(
        default=None,
        description="a model; the KL of each other one to it is estimated: a run, or a Hugging Face folder",
    )
    documents: DataConfig | None = Field(
        default=None,
        description="rows on whose held-out part every model's loss is measured, such as those of PPO's `pretraining`",
    )
    out: str = Field(description="the folder to write")
    seed: int = Field(default=0, description="seed of the draw of prompts and of held-out documents")
    micro_tokens: int = Field(default=8192, ge=1, description="tokens of one forward pass for the KL")
    device: str = Field(default="auto", description="cpu, cuda, or auto")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if wrong := [name for name in self.models if not NAME.fullmatch(name)]:
            raise ValueError(f"models.{wrong[0]}: names files: letters, digits and . + - _ alone")
        if len(self.models) == 1 and self.best_of is None:
            raise ValueError(f"models: {self.base} has nothing to be compared to: name another, or set best_of")
        if self.baseline is not None and self.baseline not in self.models:
            raise ValueError(f"baseline={self.baseline}: there are {', '.join(self.models)}")
        if self.best_of is not None and self.best_of.name in self.models:
            raise ValueError(f"models.{self.best_of.name}: is the name of the system that best_of adds")
        if self.documents is not None and not self.documents.held_out:
            raise ValueError("documents.held_out is 0: there is nothing to measure the loss on")
        if self.num_samples > 1 and self.sampling.temperature == 0:
            raise ValueError(
                f"num_samples={self.num_samples}: at temperature 0 all would be the same; set sampling.temperature"
            )
        plain = self.sampling.temperature == 1 and self.sampling.top_p == 1 and self.sampling.top_k == 0
        if self.reference is not None and not plain:
            raise ValueError(
                "reference: the KL is estimated from samples of the model itself: set sampling.temperature=1, and leave "
                "out top_p and top_k"
            )
        return self

    @property
    def base(self) -> str:
        return self.baseline or next(iter(self.models))

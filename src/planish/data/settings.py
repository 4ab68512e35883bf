"""The settings of a run's data: its sources, their mixture, and what happens to their rows."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

from planish.base.config import Config, Field
from planish.base.errors import ConfigError
from planish.data.chat.templates import MaskName
from planish.data.cleaning.run import CleaningConfig
from planish.data.examples import TooLong

SHARE_OR_NUMBER = "below 1 a share, from 1 on a number"


def _share_or_number(value: float) -> float:
    if value > 1 and value != int(value):
        raise ValueError(f"{value:g} is neither a share below 1 nor a whole number")
    return value


HeldOut = Annotated[int | float, AfterValidator(_share_or_number)]


def num_held_out(held_out: HeldOut, size: int) -> int:
    """How many of `size` rows or prompts a setting `held_out` keeps from training."""
    return math.ceil(held_out * size) if held_out < 1 else int(held_out)


class SourceConfig(Config):
    path: str | tuple[str, ...] = Field(description="a file, a folder, several of them, or pypi:package/file")
    format: str = Field(default="auto", description="name of the importer; auto recognises it by the fields")
    take: Literal["demonstrations", "best"] = Field(
        default="demonstrations", description="best learns the completion that a comparison ranks first"
    )
    weight: float | None = Field(
        default=None, gt=0, description="share in the mixture; absent everywhere means in proportion to the rows"
    )
    tokens: int | None = Field(
        default=None, ge=1, description="instead of a weight: learn about so many tokens of it over the run"
    )
    repeats: float | None = Field(
        default=None, gt=0, description="a plan that passes over its rows more often than this stops the run"
    )
    limit: int | None = Field(default=None, ge=1, description="use this many rows, drawn by the seed")


class StageConfig(Config):
    share: float | None = Field(default=None, gt=0, le=1, description="share of the run's examples in this stage")
    weights: dict[str, float] | None = Field(
        default=None, description="weight of each source in it, those not named have none; absent is the sources' own"
    )
    tokens: dict[str, int] | None = Field(
        default=None, description="instead of share and weights: about so many tokens of each source"
    )

    @model_validator(mode="after")
    def _check(self) -> StageConfig:
        if self.tokens is not None and (self.share is not None or self.weights is not None):
            raise ValueError("a stage has either tokens, or a share with weights, not both")
        if self.tokens is None and self.share is None:
            raise ValueError("a stage needs its share of the run, or the tokens of each source in it")
        return self


class DataConfig(Config):
    sources: dict[str, SourceConfig] = Field(min_length=1, description="by name")
    stages: tuple[StageConfig, ...] = Field(default=(), description="absent: one stage with the sources' own weights")
    shares_of: Literal["examples", "tokens"] = Field(default="examples", description="what the weights are shares of")
    cap: int | None = Field(
        default=None, ge=1, description="without weights, a source of n rows weighs min(n, cap)^(1/temperature)"
    )
    temperature: float = Field(default=1.0, gt=0, description="without weights: above 1 evens the sources out")
    cleaning: CleaningConfig = Field(
        default=CleaningConfig(), description="which rows to leave out; off unless asked for"
    )
    max_tokens: int | None = Field(
        default=None, ge=2, description="longest example; absent is what the model was made for"
    )
    too_long: TooLong = Field(
        default="error",
        description="longer rows: error stops the run, drop leaves them out, truncate cuts their end off",
    )
    mask: MaskName = Field(default="assistant", description="learn every assistant turn, the last_turn, or all tokens")
    template: str | None = Field(
        default=None, description="a jinja file to use as chat template; absent is the tokenizer's own"
    )
    held_out: HeldOut = Field(default=0.05, gt=0, description=f"rows of each source to measure on: {SHARE_OR_NUMBER}")
    max_held_out: int = Field(default=200, ge=1, description="the most rows of a source that a share may hold out")

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if "all" in self.sources:
            raise ValueError("a source cannot be called 'all': that is the name of the sum over sources")
        self._check_budgets()
        self._check_rate()
        shares = [stage.share for stage in self.stages if stage.share is not None]
        if self.stages and shares and len(shares) < len(self.stages):
            raise ValueError("data.stages: some have tokens and some have shares: give all the one or all the other")
        if shares and not math.isclose(sum(shares), 1.0, abs_tol=1e-9):
            raise ValueError(f"the shares of data.stages add up to {sum(shares):g}, not to 1")
        return self

    def _check_rate(self) -> None:
        if self.cap is None and self.temperature == 1.0:
            return
        weighed = any(source.weight or source.tokens for source in self.sources.values())
        if weighed or (self.stages and all(stage.weights or stage.tokens for stage in self.stages)):
            raise ValueError("cap and temperature weigh sources that have no weights: leave out the one or the other")

    @property
    def has_budgets(self) -> bool:
        """Whether tokens, not steps or epochs, say how long the run is."""
        return any(stage.tokens for stage in self.stages) or any(source.tokens for source in self.sources.values())

    def _check_budgets(self) -> None:
        budgets = [name for name, source in self.sources.items() if source.tokens is not None]
        if not budgets:
            return
        without = [name for name in self.sources if name not in budgets]
        if without:
            raise ValueError(f"source '{without[0]}' has no tokens while others have: give all a budget, or none")
        if self.stages or any(source.weight is not None for source in self.sources.values()):
            raise ValueError("tokens of the sources stand in for weights and stages: give the one or the other")


def longest(data: DataConfig, own: int | None) -> int:
    """Tokens of the longest example: as the settings say, at most what the model was made for."""
    limit = data.max_tokens or own
    if limit is None:
        raise ConfigError("the model does not say how long a row it was made for: set data.max_tokens")
    if own is not None and limit > own:
        raise ConfigError(f"data.max_tokens={limit} is more than the {own} tokens that the model was made for")
    return limit

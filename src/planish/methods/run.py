"""The run around a method: from files to a model folder. A method brings its model, its objective and what it looks at;
data, order, optimiser, checkpoints and the record are the same for all.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from planish.base.config import CHANGEABLE_ON_RESUME, Config, Field
from planish.base.distributed import all_sum, barrier, is_main, local_device, world_size
from planish.base.files import write_json
from planish.data.chat.templates import ChatTemplate
from planish.data.examples import Encodable
from planish.data.mixture.plan import MixturePlan
from planish.data.rows import LEARNT
from planish.data.settings import DataConfig, longest
from planish.data.sources import Source, prepare_sources
from planish.models.load import SavedDtypeName, context_length, save_model
from planish.models.lora import merge, save_adapter
from planish.models.micro_batch import default_micro_tokens
from planish.models.packed import PackedModel
from planish.models.sharding import shard, whole_weights
from planish.train.checkpoint import CheckpointConfig, Checkpoints
from planish.train.feed import BatchConfig, MixtureFeed, plan_feed
from planish.train.loop import Callback, LossTerm, Objective, Periodic, train
from planish.train.optimizer import OptimConfig, Trainer
from planish.train.record import RunRecord, read_lines
from planish.train.run_folder import RunFolder, open_run
from planish.train.trackers import Tracker, TrackerName, make_tracker


class CommonConfig(Config):
    out: str = Field(description="the run's folder; the same command carries on from what is in it")
    optim: OptimConfig = Field(default=OptimConfig(), description="how the weights move")
    checkpoint: CheckpointConfig = Field(default=CheckpointConfig(), description="how often the run is saved")
    tracker: TrackerName | None = Field(
        default=None, description="tensorboard, wandb, trackio or mlflow, beside metrics.jsonl"
    )
    seed: int = Field(default=0, ge=0, description="of the order, the held-out rows and fresh weights")
    device: str = Field(default="auto", description="cpu, cuda, or auto")


class RunConfig(CommonConfig):
    data: DataConfig = Field(description="what to learn from")
    batch: BatchConfig = Field(default=BatchConfig(), description="how much makes a step")
    epochs: float = Field(default=1.0, gt=0, description="passes over the training rows")
    steps: int | None = Field(default=None, ge=1, description="instead of epochs: this many steps")
    init_from: str | None = Field(
        default=None, description="a checkpoint of another run to continue from: weights, optimizer and step"
    )
    evaluate_every: int = Field(
        default=100, ge=0, description="steps between two measurements on held-out rows; 0 is first and last"
    )
    save_best: bool = Field(default=False, description="save the model with the lowest held-out loss, not the last one")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with what belongs to it. `adapted` holds the same model when LoRA trains it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate
    adapted: PeftModel | None = None
    compute_dtype: torch.dtype | None = None
    save_dtype: SavedDtypeName | None = None


B = TypeVar("B", bound=CommonConfig)
C = TypeVar("C", bound=RunConfig)


@dataclass(slots=True)
class RunContext(Generic[B]):
    """A run that has begun: what a method needs to look at it."""

    config: B
    folder: RunFolder
    device: torch.device
    learner: LoadedModel
    policy: PackedModel
    sources: Sequence[Source]
    micro_tokens: int


class Method(Generic[B]):
    """What every method brings: its model, what a step learns from, and what is looked at."""

    def bring(self, config: B, folder: RunFolder, device: torch.device) -> LoadedModel:
        """The model and its tokenizer; once more on the CPU when the result of several ranks is put together."""
        raise NotImplementedError

    def parts(self, run: RunContext[B], trainer: Trainer, record: RunRecord) -> Sequence[LossTerm]:
        raise NotImplementedError

    def callbacks(self, run: RunContext[B], record: RunRecord, last: int) -> Sequence[tuple[int, Callback]]:
        """What is looked at between steps, and every how many; also before the first step and after the last."""
        raise NotImplementedError

    def finish(self, run: RunContext[B], record: RunRecord) -> None:
        """After the last step, with the weights that will be saved."""


class DatasetMethod(Method[C]):
    """A method that learns from rows: the mixture of `config.data` says which belong to a step. It brings a model that takes
    packed rows and an objective."""

    kinds: tuple[type[Encodable], ...] = LEARNT
    feed: MixtureFeed

    def wrap(self, learner: LoadedModel) -> PackedModel:
        """The model as it takes packed rows."""
        raise NotImplementedError

    def further(self, run: RunContext[C]) -> dict[str, Any]:
        """Reads what the method takes beside the sources; returns what data.json says of it."""
        return {}

    def prepare(self, run: RunContext[C]) -> None:
        """Before the first step, and again when the run is taken up: the model is the one it starts from."""

    def objective(self, run: RunContext[C]) -> Objective:
        raise NotImplementedError

    def parts(self, run: RunContext[C], trainer: Trainer, record: RunRecord) -> Sequence[LossTerm]:
        return [LossTerm(self.objective(run), self.feed)]


def run_method(config: C, method: DatasetMethod[C]) -> Path:
    """The whole run; returns its folder, whose `model/` is the result."""
    device = local_device(config.device)
    with open_run(config.out, config, CHANGEABLE_ON_RESUME) as folder:
        learner = method.bring(config, folder, device)
        limit = longest(config.data, context_length(learner.model.config))
        sources = prepare_sources(
            config.data, learner.tokenizer, learner.template, limit, config.seed, folder.path, method.kinds
        )
        policy = method.wrap(learner)
        say_why_not_packed(policy)
        policy = shard(policy, device)
        micro_tokens = resolve_micro_tokens(policy, config.batch.micro_tokens, device)
        batch = config.batch.model_copy(update={"micro_tokens": micro_tokens})
        method.feed, plan = plan_feed(config.data, batch, sources, config.steps, config.epochs, config.seed)
        run = RunContext(config, folder, device, learner, policy, sources, micro_tokens)
        told = {**account(sources, method.feed, plan), **method.further(run)}
        if is_main():
            write_json(folder.data, told)
            _warn_of_leaks(sources)
        # Before any forward pass, which unshards what FSDP shards.
        trainer = Trainer(policy, config.optim, method.feed.steps)
        method.prepare(run)
        fit(run, method, trainer, method.feed.fingerprint(), save_best=config.save_best, init_from=config.init_from)
    return folder.path


def fit(
    run: RunContext[B],
    method: Method[B],
    trainer: Trainer,
    fingerprint: str,
    *,
    save_best: bool = False,
    init_from: str | None = None,
    unit: int = 1,
) -> None:
    """From the newest checkpoint, or the start, to the saved model. `fingerprint` is of the data; `unit` says at which
    multiples of steps the run can be taken up."""
    config, folder = run.config, run.folder
    checkpoints = Checkpoints(
        folder.checkpoints, trainer, fingerprint, config.checkpoint, lambda: best_step(folder.metrics, save_best), unit
    )
    start = checkpoints.resume(init_from)
    record = RunRecord(folder, trainer.steps, start, _tracker(config, folder), trainer.step)
    callbacks = method.callbacks(run, record, trainer.steps)

    def keep(step: int) -> None:
        if checkpoints.due(step):
            record.sync()
            checkpoints.save(step)
            record.pause()

    with closing(record):
        if start == 0:
            for _, callback in callbacks:
                callback(trainer.step)
        every = [Periodic(steps, trainer, callback) for steps, callback in callbacks]
        train(method.parts(run, trainer, record), trainer, record, [*every, keep])
        if not (folder.model / "config.json").exists():
            if (best := best_step(folder.metrics, save_best)) is not None:
                checkpoints.load(best)
            method.finish(run, record)
            _export(run, method)


def resolve_micro_tokens(policy: PackedModel, asked: int | None, device: torch.device) -> int:
    """How many tokens a forward pass takes. A model that runs one sequence at a time must do so equally often on every rank."""
    return 1 if policy.why_not_packed else asked or default_micro_tokens(policy.model, device, policy.compute_dtype)


def say_why_not_packed(policy: PackedModel) -> None:
    if policy.why_not_packed and is_main():
        print(f"this model runs one sequence at a time, which is slower: {policy.why_not_packed}", file=sys.stderr)


def best_step(metrics: Path, save_best: bool) -> int | None:
    """The step with the lowest held-out loss so far, if that is what the run selects."""
    if not save_best:
        return None
    best = 0
    if is_main():  # it alone writes the file; the others hear from it
        measured = {line["step"]: line["held_out/all"] for line in read_lines(metrics) if "held_out/all" in line}
        best = min((step for step in measured if step), key=lambda step: (measured[step], step), default=0)
    return int(all_sum(best)) or None


def account(sources: Sequence[Source], feed: MixtureFeed, plan: MixturePlan) -> dict[str, Any]:
    """What data.json says: which rows of each source are used and which are not, and what each stage holds."""
    stages = [{"steps": steps, **stage} for steps, stage in zip(feed.stage_steps, plan.account(), strict=True)]
    return {"sources": {source.name: source.account() for source in sources}, "stages": stages}


def _warn_of_leaks(sources: Sequence[Source]) -> None:
    for source in sources:
        if source.leaks:
            first = source.leaks[0]
            print(
                f"warning: {len(source.leaks)} training rows of source '{source.name}' are also measured on, such as "
                f"{first.origin}: {first.reason}. All are in data.json; data.cleaning takes them out",
                file=sys.stderr,
            )


def _tracker(config: CommonConfig, run: RunFolder) -> Tracker | None:
    return (
        make_tracker(config.tracker, run.path, config.model_dump(mode="json")) if config.tracker and is_main() else None
    )


def _export(run: RunContext[B], method: Method[B]) -> None:
    """Writes `model/`, and `adapter/` beside it for LoRA. A model that is spread over ranks is first put together on one."""
    learner = run.learner
    if world_size() > 1:
        weights = whole_weights(run.policy)
        if is_main():
            settings = learner.model.config
            learner = method.bring(run.config, run.folder, torch.device("cpu"))
            learner.model.load_state_dict(weights)
            learner.model.config = settings
    if is_main():
        if learner.adapted is not None:
            save_adapter(learner.adapted, run.folder.path / "adapter")
        model = merge(learner.adapted) if learner.adapted is not None else learner.model
        save_model(model, learner.tokenizer, run.folder.model, [learner.template.stop_token_id], learner.save_dtype)
    barrier()

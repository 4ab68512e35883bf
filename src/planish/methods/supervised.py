"""What pretraining and supervised fine-tuning share: text to learn from, a likelihood to raise, and the run around it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from planish.base.config import Config, Field
from planish.base.distributed import all_sum, barrier, is_main, local_device, process_group, world_size
from planish.base.errors import ConfigError
from planish.base.files import write_json
from planish.base.tally import Mean, Metrics
from planish.base.types import Packed
from planish.data.plan import Plan
from planish.data.rows import Demonstration
from planish.data.settings import DataConfig
from planish.data.sources import Source, prepare_sources
from planish.data.templates import ChatTemplate
from planish.evaluate.likelihood import held_out_losses
from planish.maths.reductions import Reduction, token_weights, total_weight
from planish.models.forward import CausalLM
from planish.models.load import SavedDtypeName, context_length, save_model
from planish.models.lora import merge, save_adapter
from planish.models.sharding import gathered, shard, whole_weights
from planish.rollout.sample import SamplingConfig, sample
from planish.train.checkpoint import CheckpointConfig, Checkpoints
from planish.train.feed import BatchConfig, MixtureFeed, plan_feed
from planish.train.loop import Every, train
from planish.train.record import Record, read_lines
from planish.train.run_folder import RunFolder, open_run
from planish.train.trackers import Tracker, TrackerName, make_tracker
from planish.train.trainer import OptimConfig, Trainer

FREE = ("device", "tracker", "checkpoint", "out")  # settings that may change when a run is taken up again


class SupervisedConfig(Config):
    out: str = Field(description="the run's folder; the same command carries on from what is in it")
    data: DataConfig = Field(description="what to learn from")
    batch: BatchConfig = Field(default=BatchConfig(), description="how much makes a step")
    optim: OptimConfig = Field(default=OptimConfig(), description="how the weights move")
    epochs: float = Field(default=1.0, gt=0, description="passes over the training rows")
    steps: int | None = Field(default=None, ge=1, description="instead of epochs: this many steps")
    branch: str | None = Field(
        default=None, description="a checkpoint of another run to go on from: weights, optimiser and step"
    )
    evaluate_every: int = Field(
        default=100, ge=0, description="steps between two measurements on held-out rows; 0 is first and last"
    )
    sample_every: int = Field(
        default=0, ge=0, description="steps between two looks at completions; 0 is first and last"
    )
    num_samples: int = Field(default=10, ge=0, description="held-out prompts whose completions are recorded")
    sampling: SamplingConfig = Field(
        default=SamplingConfig(max_completion_tokens=64), description="how they are sampled"
    )
    select: Literal["last", "best"] = Field(
        default="last", description="the model that is saved: last, or best in held-out loss"
    )
    checkpoint: CheckpointConfig = Field(default=CheckpointConfig(), description="how often the run is saved")
    tracker: TrackerName | None = Field(
        default=None, description="tensorboard, wandb, trackio or mlflow, beside metrics.jsonl"
    )
    seed: int = Field(default=0, ge=0, description="of the order, the held-out rows and fresh weights")
    device: str = Field(default="auto", description="cpu, cuda, or auto")


@dataclass(frozen=True, slots=True)
class Learner:
    """A model with what belongs to it. `adapted` holds the same model when LoRA trains it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate
    adapted: PeftModel | None = None
    compute_dtype: torch.dtype | None = None
    save_dtype: SavedDtypeName | None = None


class Likelihood:
    """Raises the likelihood of the learnt tokens: -sum(weight * log p(token | tokens before)), as `reduction` weighs them."""

    def __init__(self, policy: CausalLM, reduction: Reduction, device: torch.device) -> None:
        self.policy, self.device = policy, device
        self.reduction: Reduction = reduction

    def weight(self, packed: Packed) -> float:
        return total_weight(self.reduction, packed.num_targets_S())

    def loss(self, packed: Packed) -> tuple[Tensor, Metrics]:
        packed = packed.to(self.device)
        weights_L = token_weights(self.reduction, packed.sequences_L, packed.num_targets_S())
        loss, logprobs_L = self.policy(packed, weights_L)
        return loss, {"nll": Mean(-logprobs_L.sum(), packed.num_targets)}


def learn(config: SupervisedConfig, reduction: Reduction, bring: Callable[[RunFolder, torch.device], Learner]) -> Path:
    """The whole run, from files to a model folder; returns the run's folder. `bring` makes the model and its tokenizer."""
    device = local_device(config.device)
    with process_group(device), open_run(config.out, config, FREE) as run:
        learner = bring(run, device)
        limit = longest(config.data, context_length(learner.model.config))
        sources = prepare_sources(config.data, learner.tokenizer, learner.template, limit, config.seed, run.path)
        policy = _policy(learner, device)
        # A model that runs one sequence at a time must do so equally often on every rank.
        batch = config.batch.model_copy(update={"micro_tokens": 1}) if policy.why_not_packed else config.batch
        feed, plan = plan_feed(config.data, batch, sources, config.steps, config.epochs, config.seed)
        if is_main():
            write_json(run.data, account(sources, feed, plan))
            _warn_of_leaks(sources)
        trainer = Trainer(policy, config.optim, feed.steps)
        checkpoints = Checkpoints(
            run.checkpoints,
            trainer,
            feed.fingerprint(),
            config.checkpoint,
            lambda: best_step(run.metrics, config.select),
        )
        start = checkpoints.resume(config.branch)
        record = Record(run, trainer.steps, start, _tracker(config, run))
        observer = Observer(config, learner, sources, policy, record, batch.micro_tokens)

        def keep(step: int) -> None:
            if checkpoints.due(step):
                record.sync()
                checkpoints.save(step)
                record.pause()

        visits = [
            Every(config.evaluate_every, trainer.steps, observer.evaluate),
            Every(config.sample_every, trainer.steps, observer.sample),
            keep,
        ]
        with closing(record):
            if start == 0:
                observer.evaluate(trainer.step)
                observer.sample(trainer.step)
            train(Likelihood(policy, reduction, device), feed, trainer, record, visits)
        if not (run.model / "config.json").exists():
            if (best := best_step(run.metrics, config.select)) is not None:
                checkpoints.load(best)
            _export(learner, policy, run, bring)
    return run.path


class Observer:
    """What is looked at between steps: held-out losses by source, and completions of held-out prompts."""

    def __init__(
        self,
        config: SupervisedConfig,
        learner: Learner,
        sources: Sequence[Source],
        policy: CausalLM,
        record: Record,
        micro_tokens: int,
    ) -> None:
        self.config, self.learner, self.policy, self.record = config, learner, policy, record
        self.micro_tokens = micro_tokens
        self.held_out = {source.name: source.held_out for source in sources}
        self.prompts = _held_out_prompts(sources, config.num_samples)

    def evaluate(self, step: int) -> None:
        losses = held_out_losses(self.policy, self.held_out, self.micro_tokens, self.learner.model.device)
        self.record.note(step, {f"held_out/{name}": loss for name, loss in losses.items()})
        self.record.pause()

    def sample(self, step: int) -> None:
        """All ranks sample together, each the same."""
        if not self.prompts:
            return
        template = self.learner.template
        prompts = [template.encode_prompt(row.messages[:turn], row.tools) for _, row, turn in self.prompts]
        with gathered(self.policy):
            completions = sample(
                self.learner.model, self.learner.tokenizer, prompts, self.config.sampling, template.stop_token_id
            )
        self.record.samples(
            step,
            [
                {
                    "source": name,
                    "prompt": [{"role": message.role, "content": message.content} for message in row.messages[:turn]],
                    "completion": completion.text,
                    "ended": completion.ended,
                    "reference": row.messages[turn].content,
                }
                for (name, row, turn), completion in zip(self.prompts, completions, strict=True)
            ],
        )
        self.record.pause()


def best_step(metrics: Path, select: str) -> int | None:
    """The step with the lowest held-out loss so far, if that is what the run selects."""
    if select != "best":
        return None
    best = 0
    if is_main():  # it alone writes the file; the others hear from it
        measured = {line["step"]: line["held_out/all"] for line in read_lines(metrics) if "held_out/all" in line}
        best = min((step for step in measured if step), key=lambda step: (measured[step], step), default=0)
    return int(all_sum(best)) or None


def longest(data: DataConfig, own: int | None) -> int:
    """Tokens of the longest example: as the settings say, at most what the model was made for."""
    limit = data.max_tokens or own
    if limit is None:
        raise ConfigError("the model does not say how long a row it was made for: set data.max_tokens")
    if own is not None and limit > own:
        raise ConfigError(f"data.max_tokens={limit} is more than the {own} tokens that the model was made for")
    return limit


def account(sources: Sequence[Source], feed: MixtureFeed, plan: Plan) -> dict[str, Any]:
    """What data.json says: which rows of each source are used and which are not, and what each stage holds."""
    stages = [{"steps": steps, **stage} for steps, stage in zip(feed.stage_steps, plan.account(), strict=True)]
    return {"sources": {source.name: source.account() for source in sources}, "stages": stages}


def _warn_of_leaks(sources: Sequence[Source]) -> None:
    for source in sources:
        if source.leaks:
            first = source.leaks[0]
            print(
                f"warning: {len(source.leaks)} training rows of source '{source.name}' are also measured on, such as "
                f"{first.origin}: {first.reason}. All are in data.json; data.hygiene takes them out",
                file=sys.stderr,
            )


def _policy(learner: Learner, device: torch.device) -> CausalLM:
    policy = CausalLM(learner.model, learner.compute_dtype)
    if policy.why_not_packed and is_main():
        print(f"this model runs one sequence at a time, which is slower: {policy.why_not_packed}", file=sys.stderr)
    return shard(policy, device)


def _held_out_prompts(sources: Sequence[Source], count: int) -> list[tuple[str, Demonstration, int]]:
    """Held-out conversations taken in turn from the sources, each with the number of its last assistant turn."""
    in_turn = zip_longest(*([(source.name, row) for row in source.held_out_prompts] for source in sources))
    rows = [pair for pairs in in_turn for pair in pairs if pair is not None][:count]
    return [(name, row, max(i for i, m in enumerate(row.messages) if m.role == "assistant")) for name, row in rows]


def _tracker(config: SupervisedConfig, run: RunFolder) -> Tracker | None:
    return (
        make_tracker(config.tracker, run.path, config.model_dump(mode="json")) if config.tracker and is_main() else None
    )


def _export(
    learner: Learner, policy: CausalLM, run: RunFolder, bring: Callable[[RunFolder, torch.device], Learner]
) -> None:
    """Writes `model/`, and `adapter/` beside it for LoRA. A model that is spread over ranks is first put together on one."""
    if world_size() > 1:
        weights = whole_weights(policy)
        if is_main():
            learner = bring(run, torch.device("cpu"))
            learner.model.load_state_dict(weights)
    if is_main():
        if learner.adapted is not None:
            save_adapter(learner.adapted, run.path / "adapter")
        model = merge(learner.adapted) if learner.adapted is not None else learner.model
        save_model(model, learner.tokenizer, run.model, [learner.template.stop_token_id], learner.save_dtype)
    barrier()

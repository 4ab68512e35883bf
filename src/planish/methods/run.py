"""One way to run every method: from files to a model folder. Data, order, optimizer, checkpoints and the record are the same
for all; what differs is in the hooks of a `Method` (base.py)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from planish.base.config import CHANGEABLE_ON_RESUME
from planish.base.distributed import all_sum, barrier, is_main, local_device, world_size
from planish.base.files import write_json
from planish.data.mixture.plan import MixturePlan
from planish.data.settings import longest
from planish.data.sources import Source, prepare_sources
from planish.methods.base import CommonConfig, Method, RunContext
from planish.models.load import context_length, save_model
from planish.models.lora import merge, save_adapter
from planish.models.micro_batch import default_micro_tokens
from planish.models.packed import PackedModel
from planish.models.sharding import shard, whole_weights
from planish.train.checkpoint import Checkpoints
from planish.train.feed import MixtureFeed, plan_feed
from planish.train.loop import Periodic, train
from planish.train.optimizer import Trainer
from planish.train.record import RunRecord, read_lines
from planish.train.run_folder import RunFolder, open_run
from planish.train.trackers import Tracker, make_tracker

C = TypeVar("C", bound=CommonConfig)


def run_method(config: C, method: Method[C]) -> Path:
    """The whole run; returns its folder, whose `model/` is the result."""
    device = local_device(config.device)
    with open_run(config.out, config, CHANGEABLE_ON_RESUME) as folder:
        run, account = prepare_run(config, method, folder, device)
        trainer = method.trainer(run)  # before any forward pass, which unshards what FSDP shards
        account |= method.describe(run)
        if is_main():
            write_json(folder.data, account)
            _warn_of_leaks(run.sources)
        fit(run, method, trainer)
    return folder.path


def prepare_run(
    config: C, method: Method[C], folder: RunFolder, device: torch.device
) -> tuple[RunContext[C], dict[str, Any]]:
    """The run with its model and its mixture, and what data.json says of the mixture."""
    loaded = method.load_model(config, folder, device)
    policy = method.as_packed(config, loaded)
    if policy.why_not_packed and is_main():
        print(f"this model runs one sequence at a time, which is slower: {policy.why_not_packed}", file=sys.stderr)
    policy = shard(policy, device)
    run = RunContext(config, folder, device, loaded, policy, resolve_micro_tokens(policy, config.micro_tokens, device))
    if (mixture := config.mixture) is None:
        return run, {}
    limit = longest(mixture.data, context_length(loaded.model.config))
    sources = prepare_sources(
        mixture.data, loaded.tokenizer, loaded.template, limit, config.seed, folder.path, method.kinds
    )
    batch = mixture.batch.model_copy(update={"micro_tokens": run.micro_tokens})
    feed, plan = plan_feed(mixture.data, batch, sources, mixture.steps, mixture.epochs, config.seed)
    return replace(run, sources=sources, feed=feed), mixture_account(sources, feed, plan)


def fit(run: RunContext[C], method: Method[C], trainer: Trainer) -> None:
    """Trains from the newest checkpoint, or the start, to the saved model."""
    config, folder = run.config, run.folder
    checkpoints = Checkpoints(
        folder.checkpoints,
        trainer,
        method.fingerprint(run),
        config.checkpoint,
        lambda: best_step(folder.metrics) if config.best_counts else None,
        config.checkpoint_unit,
    )
    start = checkpoints.resume(getattr(config, "init_from", None))
    record = RunRecord(folder, trainer.steps, start, _tracker(config, folder), trainer.step)
    callbacks = method.callbacks(run, trainer, record)

    def keep(step: int) -> None:
        if checkpoints.due(step):
            record.sync()
            checkpoints.save(step)
            record.pause()

    def stop_if_asked(step: int) -> None:
        if record.listeners and all_sum(float(record.stop_wanted)):
            trainer.stop()

    with closing(record):
        if start == 0:
            for _, callback in callbacks:
                callback(trainer.step)
        periodic = [Periodic(steps, trainer, callback) for steps, callback in callbacks]
        train(method.loss_terms(run, trainer, record), trainer, record, [stop_if_asked, *periodic, keep])
        if not (folder.model / "config.json").exists():
            if config.best_counts and (best := best_step(folder.metrics)) is not None:
                checkpoints.load(best)
            method.finish(run, trainer)
            _export(run, method)


def resolve_micro_tokens(policy: PackedModel, wanted: int | None, device: torch.device) -> int:
    """Tokens of one forward pass. A model that runs one sequence at a time must do so equally often on every rank."""
    return 1 if policy.why_not_packed else wanted or default_micro_tokens(policy.model, device, policy.compute_dtype)


def best_step(metrics: Path) -> int | None:
    """The step with the lowest held-out loss so far."""
    best = 0
    if is_main():  # it alone writes the file; the others hear from it
        losses = {line["step"]: line["held_out/all"] for line in read_lines(metrics) if "held_out/all" in line}
        best = min((step for step in losses if step), key=lambda step: (losses[step], step), default=0)
    return int(all_sum(best)) or None


def mixture_account(sources: Sequence[Source], feed: MixtureFeed, plan: MixturePlan) -> dict[str, Any]:
    """The rows of each source that are used and that are not, and what each stage holds, as data.json has them."""
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


def _export(run: RunContext[C], method: Method[C]) -> None:
    """Writes `model/`, and `adapter/` beside it for LoRA. A model that is spread over ranks is first put together on one."""
    loaded = run.loaded
    if world_size() > 1:
        weights = whole_weights(run.policy)
        if is_main():
            settings = loaded.model.config
            loaded = method.load_model(run.config, run.folder, torch.device("cpu"))
            loaded.model.load_state_dict(weights)
            loaded.model.config = settings
    if is_main():
        if loaded.adapted is not None:
            save_adapter(loaded.adapted, run.folder.path / "adapter")
        model = merge(loaded.adapted) if loaded.adapted is not None else loaded.model
        save_model(model, loaded.tokenizer, run.folder.model, [loaded.template.stop_token_id], loaded.save_dtype)
    barrier()

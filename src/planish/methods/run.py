"""One way to run every method: from files to a model folder. Data, order, optimizer, checkpoints and the record are the same
for all; what differs is in the hooks of a `Method` (base.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from planish.base.distributed import is_main, local_device
from planish.base.errors import DataError
from planish.base.files import write_json
from planish.base.model_folder import check_models
from planish.base.notices import warn, working
from planish.data.ignored import ignored_text
from planish.data.mixture.plan import MixturePlan
from planish.data.settings import longest
from planish.data.sources import Source, prepare_sources
from planish.methods.base import CommonConfig, Method, RunContext
from planish.methods.fit import fit, refuse_changed_files, saying_what_is_kept
from planish.models.load import context_length, no_embedding, num_embeddings
from planish.models.loaded import LoadedModel
from planish.models.micro_batch import default_micro_tokens
from planish.models.packed import PackedModel
from planish.models.sharding import shard
from planish.train.feed import MixtureFeed, plan_feed
from planish.train.run_folder import RunFolder, open_run

C = TypeVar("C", bound=CommonConfig)


def run_method(config: C, method: Method[C]) -> Path:
    """The whole run; returns its folder, whose `model/` is the result."""
    check_models(config)
    device = local_device(config.device)
    with open_run(config.out, config) as folder, saying_what_is_kept(folder):
        refuse_changed_files(config, folder)
        run, account = prepare_run(config, method, folder, device)
        trainer = method.trainer(run)  # before any forward pass, which unshards what FSDP shards
        with working("reading what is measured on, and the reference"):
            account |= method.describe(run)
        if is_main():
            write_json(folder.data, account)
            _tell_ignored(run.sources)
            _warn_of_leaks(run.sources)
            _warn_of_notes(run.sources)
        fit(run, method, trainer, account)
    return folder.path


def prepare_run(
    config: C, method: Method[C], folder: RunFolder, device: torch.device
) -> tuple[RunContext[C], dict[str, Any]]:
    """The run with its model and its mixture, and what data.json says of the mixture."""
    with working("loading the model"):
        loaded = method.load_model(config, folder, device)
        policy = method.as_packed(config, loaded)
    if policy.why_not_packed and is_main():
        warn(f"this model runs one sequence at a time, which is slower: {policy.why_not_packed}")
    policy = shard(policy, device)
    run = RunContext(config, folder, device, loaded, policy, resolve_micro_tokens(policy, config.micro_tokens, device))
    if (mixture := config.mixture) is None:
        return run, {}
    limit = longest(mixture.data, context_length(loaded.model.config))
    sources = prepare_sources(
        mixture.data, loaded.tokenizer, loaded.template, limit, config.seed, folder.path, method.kinds
    )
    _check_tokens(loaded, sources)
    batch = mixture.batch.model_copy(update={"micro_tokens": run.micro_tokens})
    feed, plan = plan_feed(mixture.data, batch, sources, mixture.steps, mixture.epochs, config.seed)
    return replace(run, sources=sources, feed=feed), mixture_account(sources, feed, plan)


def _check_tokens(loaded: LoadedModel, sources: Sequence[Source]) -> None:
    """That every token of the rows has an embedding, before the first step."""
    size = num_embeddings(loaded.model)
    for table in (table for source in sources for table in (source.training, source.held_out)):
        token, row = table.largest
        if token >= size:
            raise DataError(f"{table.name(row)}: {no_embedding(token, loaded.tokenizer, size)}")


def resolve_micro_tokens(policy: PackedModel, wanted: int | None, device: torch.device) -> int:
    """Tokens of one forward pass. A model that runs one sequence at a time must do so equally often on every rank."""
    return 1 if policy.why_not_packed else wanted or default_micro_tokens(policy.model, device, policy.compute_dtype)


def mixture_account(sources: Sequence[Source], feed: MixtureFeed, plan: MixturePlan) -> dict[str, Any]:
    """The rows of each source that are used and that are not, and what each stage holds, as data.json has them."""
    stages = [{"steps": steps, **stage} for steps, stage in zip(feed.stage_steps, plan.account(), strict=True)]
    return {"sources": {source.name: source.account() for source in sources}, "stages": stages}


def _tell_ignored(sources: Sequence[Source]) -> None:
    for source in sources:
        for sentence in ignored_text(source.ignored):
            warn(sentence)


def _warn_of_leaks(sources: Sequence[Source]) -> None:
    for source in sources:
        if source.leaks:
            first = source.leaks[0]
            warn(
                f"warning: {len(source.leaks)} training rows of source '{source.name}' are also measured on, such as "
                f"{first.origin}: {first.reason}. All are in data.json; data.cleaning takes them out"
            )


def _warn_of_notes(sources: Sequence[Source]) -> None:
    for source in sources:
        for line in source.notes.lines():
            warn(f"warning: source '{source.name}': {line}. data.json lists the rows")

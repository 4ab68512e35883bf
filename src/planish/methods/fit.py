"""The training of a run: from its newest checkpoint, or the start, to the saved model.

A run that is asked to end (base/interrupt.py) gives up the step in hand if it may, saves a checkpoint and ends. On several
ranks, and within an iteration of PPO, it first finishes what it can resume from.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from planish.base.digests import DIGESTS, Digests
from planish.base.distributed import all_sum, all_sum_list, barrier, is_main, world_size
from planish.base.errors import RunError
from planish.base.interrupt import Abandoned, Stopped, StopRequest, noting_signals
from planish.base.notices import working
from planish.methods.base import CommonConfig, Method, RunContext
from planish.methods.refusal_visit import refusal_visits
from planish.methods.story import model_name, tell_end, tell_start
from planish.models.load import save_model
from planish.models.lora import merge, save_adapter
from planish.models.saved import TEXTS
from planish.models.sharding import whole_weights
from planish.train.checkpoint import Checkpoints, newest_inputs, refuse_other_inputs
from planish.train.early_stopping import EarlyStopping
from planish.train.inputs import changed, digests_of_files
from planish.train.loop import Periodic, train
from planish.train.optimizer import Trainer
from planish.train.record import RunRecord, read_lines
from planish.train.run_folder import RunFolder
from planish.train.trackers import Tracker, make_tracker

C = TypeVar("C", bound=CommonConfig)

NOTED = "stopping: a checkpoint is saved first. A second signal ends the run at once"


def fit(run: RunContext[C], method: Method[C], trainer: Trainer, account: Mapping[str, Any]) -> None:
    """Trains from the newest checkpoint, or the start, to the saved model. `account` is what data.json says."""
    config, folder, begun = run.config, run.folder, time.monotonic()
    checkpoints = Checkpoints(
        folder.checkpoints,
        trainer,
        inputs_of(run, method) if is_main() else {},
        config.checkpoint,
        lambda: best_step(folder.metrics) if config.best_counts else None,
        config.checkpoint_unit,
    )
    start = checkpoints.resume(getattr(config, "init_from", None))
    if is_main():
        tell_start(run, trainer, account, start)
    record = RunRecord(folder, trainer.steps, start, _tracker(config, folder), trainer.step)
    visits = refusal_visits(config.evaluate, folder.path, run.policy, run.loaded, record)
    callbacks = [*method.callbacks(run, trainer, record), *visits]
    _listen(record, config)

    def stop_if_asked(step: int) -> None:
        if record.listeners and all_sum(float(record.stop_wanted)):
            trainer.stop()

    with closing(record):
        if start == 0:
            with working("measuring before the first step"):
                for _, callback in callbacks:
                    callback(trainer.step)
        with noting_signals(NOTED) as request:
            saving = _Saving(checkpoints, record, request)
            periodic = [Periodic(steps, trainer, callback) for steps, callback in callbacks]
            between = [saving.begin, stop_if_asked, *periodic, saving.end]
            try:
                train(method.loss_terms(run, trainer, record), trainer, record, between)
            except Abandoned:
                saving.stop()
        if not (folder.model / "config.json").exists():
            if config.best_counts and (best := best_step(folder.metrics)) is not None:
                checkpoints.load(best)
            method.finish(run, trainer)
            with working("saving the model"):
                _export(run, method)
            if is_main():
                tell_end(run, trainer, time.monotonic() - begun, record.reasons)


def _listen(record: RunRecord, config: CommonConfig) -> None:
    if config.early_stopping is not None:
        record.listen(EarlyStopping(config.early_stopping))


def inputs_of(run: RunContext[C], method: Method[C]) -> dict[str, str]:
    """Digests of all that the result depends on, by name."""
    return {**_files(run.config, run.folder), **method.inputs(run)}


def refuse_changed_files(config: CommonConfig, folder: RunFolder) -> None:
    """Before anything is loaded: an error where a model or another file is not what the newest checkpoint knows."""
    problem, newest = None, newest_inputs(folder.checkpoints) if is_main() else None
    if newest is not None:
        (path, known), now = newest, _files(config, folder)
        problem = refuse_other_inputs(path, changed({name: known[name] for name in now if name in known}, now))
    if all_sum(float(problem is not None)):
        raise RunError(problem or "the main rank could not open the run folder")


def _files(config: CommonConfig, folder: RunFolder) -> dict[str, str]:
    digests = Digests(folder.path / DIGESTS)
    found = digests_of_files(config, digests)
    digests.save()
    return found


class _Saving:
    """Saves where a checkpoint is due, and ends the run where a signal asked for it. `begin` and `end` are the first and the last
    callback between two steps: what is between them is not given up half-way."""

    def __init__(self, checkpoints: Checkpoints, record: RunRecord, request: StopRequest) -> None:
        self.checkpoints, self.record, self.request = checkpoints, record, request
        self._allow_to_give_up()

    def begin(self, step: int) -> None:
        self.request.abandonable = False

    def end(self, step: int) -> None:
        # All ranks hear of a signal to one of them; the main one's clock counts.
        asked, overdue = all_sum_list([float(self.request.asked), float(is_main() and self.checkpoints.overdue())])
        resumable = self.checkpoints.resumable(step)
        if self.checkpoints.due(step) or (resumable and (asked or overdue)):
            self._save()
        if asked and resumable:
            self.stop()
        self._allow_to_give_up()

    def stop(self) -> None:
        """Saves the last step that is done, and ends the run."""
        trainer = self.checkpoints.trainer
        if trainer.step == 0:
            raise Stopped(
                f"{self._stopped()} in the first step: nothing is kept, the same command begins anew", self._number
            )
        self._save()
        raise Stopped(
            f"{self._stopped()} after step {trainer.step:,} of {trainer.steps:,}, which is saved in "
            f"{self.checkpoints.path(trainer.step)}. The same command carries on from there",
            self._number,
        )

    def _save(self) -> None:
        self.record.sync()
        self.checkpoints.save(self.checkpoints.trainer.step)
        self.record.pause()

    def _allow_to_give_up(self) -> None:
        # Ranks would have to agree, at a moment when none waits for another.
        self.request.abandonable = world_size() == 1 and self.checkpoints.resumable(self.checkpoints.trainer.step)

    def _stopped(self) -> str:
        return f"stopped by {self.request.name}" if self.request.asked else "stopped, as another rank was asked to"

    @property
    def _number(self) -> int:
        return self.request.number or Stopped().number


@contextmanager
def saying_what_is_kept(folder: RunFolder) -> Generator[None]:
    """Where a signal ends the run at once, says from where the same command will carry on."""
    try:
        yield
    except KeyboardInterrupt as error:
        if isinstance(error, Stopped) and error.message != Stopped().message:
            raise
        steps = [int(path.name.removeprefix("step-")) for path in folder.checkpoints.glob("step-*")]
        kept = f"from the checkpoint of step {max(steps):,}" if steps else "from the start: there is no checkpoint yet"
        number = error.number if isinstance(error, Stopped) else Stopped().number
        raise Stopped(f"stopped. The same command carries on {kept}", number) from None


def best_step(metrics: Path) -> int | None:
    """The step with the lowest held-out loss so far."""
    best = 0
    if is_main():  # it alone writes the file; the others hear from it
        losses = {line["step"]: line["held_out/all"] for line in read_lines(metrics) if "held_out/all" in line}
        best = min((step for step in losses if step), key=lambda step: (losses[step], step), default=0)
    return int(all_sum(best)) or None


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
        texts = _some_texts(run)
        if loaded.adapted is not None:
            save_adapter(loaded.adapted, run.folder.path / "adapter", model_name(run.config))
        model = merge(loaded.adapted, texts) if loaded.adapted is not None else loaded.model
        stops = loaded.template.stop_token_ids
        beside = run.policy.save_beside
        save_model(model, loaded.tokenizer, run.folder.model, stops, loaded.save_dtype, texts, beside)
    barrier()


def _some_texts(run: RunContext[C]) -> list[list[int]]:
    """Tokens of a few rows, held out if there are any, by which the saved model is compared with the trained one."""
    tables = [table for source in run.sources for table in (source.held_out, source.training) if len(table)]
    return [table[i].tokens.tolist() for table in tables[:1] for i in range(min(TEXTS, len(table)))]

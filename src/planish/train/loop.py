"""The training loop. Every method runs through it: a feed says which examples belong to a step, an objective what they
weigh and what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from torch import Tensor

from planish.base.distributed import all_sum
from planish.base.errors import RunError
from planish.base.interrupt import give_up_if_asked
from planish.base.metrics import Mean, Metrics, Tallies
from planish.base.types import Packed
from planish.train.optimizer import Trainer
from planish.train.record import RunRecord


class Objective(Protocol):
    """Weight and loss of a micro-batch: sums over its examples, never means."""

    def weight(self, packed: Packed) -> float: ...

    def loss(self, packed: Packed) -> tuple[Tensor, Metrics]: ...


class Feed(Protocol):
    """This rank's share of the examples of a step, counted from 0; equally many micro-batches on every rank."""

    def micro_batches(self, step: int) -> Sequence[Packed]: ...


class Callback(Protocol):
    """Something done between two steps: evaluation, samples, a checkpoint. It decides itself when it is due."""

    def __call__(self, step: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Periodic:
    """Calls `callback` when the step is a multiple of `steps`, and at the last step. `steps` 0 means the last step alone."""

    steps: int
    trainer: Trainer
    callback: Callback

    def __call__(self, step: int) -> None:
        if step == self.trainer.steps or self.trainer.stopped or (self.steps and step % self.steps == 0):
            self.callback(step)


@dataclass(frozen=True, slots=True)
class LossTerm:
    """A term of the loss: sum(loss) / sum(weight) over the examples of a step, times `coefficient`.

    Most methods have one term. PPO-ptx has two, rollouts and pretraining documents, each with a weight of its own; the
    metrics of a term with a name begin with it. With `ratio`, the norm of a term's gradient is made this multiple of that of the
    term without a name.
    """

    objective: Objective
    feed: Feed
    name: str = ""
    coefficient: float = 1.0
    ratio: float | None = None


def train(parts: Sequence[LossTerm], trainer: Trainer, record: RunRecord, callbacks: Sequence[Callback] = ()) -> None:
    while trainer.step < trainer.steps and not trainer.stopped:
        tallies, seen, tokens = Tallies(), list[_Seen](), 0.0
        for part in parts:
            micro_batches = part.feed.micro_batches(trainer.step)  # this rank's share of the step
            # Tokens or pairs, of all ranks.
            weight = all_sum(sum(part.objective.weight(packed) for packed in micro_batches))
            tokens += all_sum(sum(packed.num_tokens for packed in micro_batches))
            for packed in micro_batches:
                give_up_if_asked()
                loss, metrics = part.objective.loss(packed)  # sums, not means
                (part.coefficient * loss / weight).backward()
                metrics = {"loss": Mean(loss.detach(), part.objective.weight(packed)), **metrics}
                tallies.add({f"{part.name}/{name}" if part.name else name: mean for name, mean in metrics.items()})
                seen.append(_Seen(loss.detach(), packed))
            if len(parts) > 1:
                trainer.set_aside(part.name, part.ratio)  # so that the gradients can be told apart
        means, norms = tallies.reduce(), trainer.clip()
        _refuse_non_finite(trainer.step + 1, means["loss"], norms, seen)
        trainer.update()  # optimiser, schedule, step += 1
        record.write(trainer.step, tokens, {**means, **norms}, trainer.learning_rate)
        for callback in callbacks:
            callback(trainer.step)


@dataclass(frozen=True, slots=True)
class _Seen:
    loss: Tensor
    packed: Packed


def _refuse_non_finite(step: int, loss: float, norms: Mapping[str, float], seen: Sequence[_Seen]) -> None:
    """Stops before the weights are touched, and names the rows. Loss and norms are those of all ranks, so all stop."""
    if math.isfinite(loss) and all(map(math.isfinite, norms.values())):
        return
    blamed = [each for each in seen if not each.loss.isfinite()] or seen
    names = list(chain(*(each.packed.names for each in blamed)))
    shown = "; ".join(names[:12]) + (f"; and {len(names) - 12} more" if len(names) > 12 else "") or "(on another rank)"
    raise RunError(
        f"step {step}: the loss is {loss:g} and the gradient's norm {norms['grad_norm']:g}, among these rows: {shown}. "
        "The weights were not updated. Look at the rows, lower optim.lr, or compute in float32 (model.compute=float32); the "
        "same command continues from the last checkpoint"
    )

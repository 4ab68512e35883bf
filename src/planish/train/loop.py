"""The training loop. Every method runs through it: a feed says which examples belong to a step, an objective what they
weigh and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from planish.base.distributed import all_sum
from planish.base.errors import RunError
from planish.base.tally import Mean, Metrics, Tallies
from planish.base.types import Packed
from planish.train.record import Record
from planish.train.trainer import Trainer


class Objective(Protocol):
    """What a micro-batch weighs, and what it costs: a sum over its examples, never a mean."""

    def weight(self, packed: Packed) -> float: ...

    def loss(self, packed: Packed) -> tuple[Tensor, Metrics]: ...


class Feed(Protocol):
    """This rank's share of the examples of a step, counted from 0; equally many micro-batches on every rank."""

    def micro_batches(self, step: int) -> Sequence[Packed]: ...


class Visit(Protocol):
    """Something done between two steps: evaluation, samples, a checkpoint. It decides itself when it is due."""

    def __call__(self, step: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Every:
    """Calls `visit` when the step is a multiple of `steps`, and at the last step. `steps` 0 means the last step alone."""

    steps: int
    last: int
    visit: Visit

    def __call__(self, step: int) -> None:
        if step == self.last or (self.steps and step % self.steps == 0):
            self.visit(step)


def train(objective: Objective, feed: Feed, trainer: Trainer, record: Record, visits: Sequence[Visit] = ()) -> None:
    while trainer.step < trainer.steps:
        micro_batches = feed.micro_batches(trainer.step)  # this rank's share of the step
        weight = all_sum(sum(objective.weight(packed) for packed in micro_batches))  # tokens or pairs, over all ranks
        tokens = all_sum(sum(packed.num_tokens for packed in micro_batches))
        tallies = Tallies()
        losses: list[Tensor] = []
        for packed in micro_batches:
            loss, metrics = objective.loss(packed)  # sums, not means
            (loss / weight).backward()
            losses.append(loss.detach())
            tallies.add({"loss": Mean(loss.detach(), objective.weight(packed)), **metrics})
        means = tallies.reduce()
        grad_norm = trainer.clip()
        _refuse_non_finite(trainer.step + 1, means["loss"], grad_norm, losses, micro_batches)
        trainer.update()  # optimiser, schedule, step += 1
        record.write(trainer.step, tokens, means, grad_norm, trainer.learning_rate)
        for visit in visits:
            visit(trainer.step)


def _refuse_non_finite(
    step: int, loss: float, grad_norm: float, losses: list[Tensor], micro_batches: Sequence[Packed]
) -> None:
    """Stops before the weights are touched, and names the rows. Loss and norm are those of all ranks, so all stop."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    named = [packed.names for each, packed in zip(losses, micro_batches, strict=True) if not each.isfinite()]
    names = [name for group in named or [packed.names for packed in micro_batches] for name in group]
    shown = "; ".join(names[:12]) + (f"; and {len(names) - 12} more" if len(names) > 12 else "") or "(on another rank)"
    raise RunError(
        f"step {step}: the loss is {loss:g} and the gradient's norm {grad_norm:g}, among these rows: {shown}. "
        "The weights were not updated. Look at the rows, lower optim.lr, or compute in float32 (model.compute=float32); the "
        "same command continues from the last checkpoint"
    )

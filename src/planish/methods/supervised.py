"""The next-token loss of pretraining and supervised fine-tuning, and their evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from planish.base.distributed import is_main
from planish.base.files import write_lines
from planish.base.metrics import Mean, Metrics
from planish.base.transfer import numbers
from planish.base.types import Packed
from planish.evaluate.held_out_loss import RowLosses, held_out_losses
from planish.maths.reductions import Reduction, token_weights, total_weight
from planish.methods.base import Method, RunContext, mixture_feed, policy_as
from planish.methods.callbacks import SamplingCallback, SamplingRunConfig, note_unmoved
from planish.models.packed import CausalLM
from planish.train.loop import Callback, LossTerm
from planish.train.optimizer import Trainer
from planish.train.record import RunRecord


class NextTokenLoss:
    """Raises the likelihood of the learnt tokens: -sum(weight * log p(token | tokens before)), as `reduction` weighs them."""

    def __init__(self, policy: CausalLM, reduction: Reduction, device: torch.device) -> None:
        self.policy, self.device = policy, device
        self.reduction: Reduction = reduction

    def weight(self, packed: Packed) -> float:
        return total_weight(self.reduction, packed.num_targets_S, _rows(packed))

    def loss(self, packed: Packed) -> tuple[Tensor, Metrics]:
        packed = packed.to(self.device)
        weights_L = token_weights(self.reduction, packed.sequences_L, packed.num_targets_S, _rows(packed))
        loss, logprobs_L = self.policy(packed, weights_L)
        return loss, {"nll": Mean(-logprobs_L.sum(), packed.num_targets)}


def _rows(packed: Packed) -> Tensor | None:
    """The weights of the rows, [S], where some differ from 1."""
    weights = [example.weight for example in packed.examples]
    if all(weight == 1 for weight in weights):
        return None
    return numbers(weights, packed.tokens_T.device)


C = TypeVar("C", bound=SamplingRunConfig)


class SupervisedMethod(Method[C]):
    """Between steps: held-out losses by source, and completions of held-out prompts."""

    reduction: Reduction = "token_mean"

    def loss_terms(self, run: RunContext[C], trainer: Trainer, record: RunRecord) -> Sequence[LossTerm]:
        objective = NextTokenLoss(policy_as(CausalLM, run), self.reduction, run.device)
        return [LossTerm(objective, mixture_feed(run))]

    def callbacks(self, run: RunContext[C], trainer: Trainer, record: RunRecord) -> Sequence[tuple[int, Callback]]:
        held_out = {source.name: source.held_out for source in run.sources}

        def evaluate(step: int) -> None:
            rows = RowLosses() if step == trainer.steps else None
            losses = held_out_losses(policy_as(CausalLM, run), held_out, run.micro_tokens, run.device, rows)
            if losses:
                record.note(step, {f"held_out/{name}": loss for name, loss in losses.items()})
            if losses and rows is not None:
                records = list(rows.records())
                if is_main():
                    write_lines(run.folder.held_out, records)
            note_unmoved(run, step, trainer.steps, record)
            record.pause()

        return [(run.config.evaluate_every, evaluate), (run.config.sample_every, SamplingCallback(run, record))]

"""PPO's objective: the clipped policy loss, the clipped value loss beside it, and GRPO's KL term (Schulman et al. 2017)."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from planish.base.metrics import Mean, Metrics
from planish.base.transfer import numbers
from planish.base.types import Experience, Packed
from planish.maths.policy_gradient import clipped_policy_losses, clipped_value_losses, k3
from planish.maths.reductions import Reduction, token_weights, total_weight
from planish.methods.ppo.config import PpoConfig
from planish.models.actor_critic import ActorCritic


class PpoObjective:
    def __init__(self, actor: ActorCritic, config: PpoConfig, device: torch.device) -> None:
        self.actor, self.config, self.device = actor, config, device
        self.reduction: Reduction = config.reduction or config.advantage.reduction

    def weight(self, packed: Packed) -> float:
        return total_weight(self.reduction, packed.num_targets_S)

    def loss(self, packed: Packed) -> tuple[Tensor, Metrics]:
        config, total = self.config, self.weight(packed)
        packed = packed.to(self.device)
        weights_L = token_weights(self.reduction, packed.sequences_L, packed.num_targets_S)
        logprobs_L, values_L = self.actor(packed, config.sampling.temperature)
        logprobs_L, known = logprobs_L.double(), experience_tensors(packed)
        old_L, reference_L = known["old_logprobs"], known["reference_logprobs"]
        weights_L = weights_L * known.get("importance", 1.0)

        losses_L = clipped_policy_losses(logprobs_L, old_L, known["advantages"], config.clip_range)
        loss = policy_loss = (weights_L * losses_L).sum()
        value_loss = torch.zeros(())
        if values_L is not None:
            losses_L = clipped_value_losses(
                values_L.double(), known["old_values"], known["returns"], config.value.clip_range
            )
            value_loss = (weights_L * losses_L).sum()
            loss = loss + config.value.coefficient * value_loss
        if config.advantage.kl_in_loss and config.kl.beta:
            weights_L = weights_L * known.get("kl_weights", 1.0)
            loss = loss + config.kl.beta * (weights_L * k3(logprobs_L, reference_L)).sum()

        with torch.no_grad():
            num, ratio_L = packed.num_targets, (logprobs_L - old_L).exp()
            return loss, {
                "policy_loss": Mean(policy_loss.detach(), total),
                "value_loss": Mean(value_loss.detach(), total if values_L is not None else 0),
                "clip_fraction": Mean(((ratio_L - 1).abs() > config.clip_range).sum(), num),
                "ratio_change": Mean((ratio_L - 1).abs().sum(), num),  # rounding alone at an iteration's first step
                "old_kl": Mean(k3(old_L, logprobs_L).sum(), num),  # KL(old, new) by token
            }


def experience_tensors(packed: Packed) -> dict[str, Tensor]:
    """The record of each learnt token since it was sampled, each [L], in float64."""
    experiences = [cast(Experience, example.experience) for example in packed.examples]
    columns = {
        name: [getattr(experience, name) for experience in experiences] for name in Experience.__dataclass_fields__
    }
    return {
        name: numbers(np.concatenate([np.empty(0), *parts]), packed.tokens_T.device)
        for name, parts in columns.items()
        if not any(part is None for part in parts)
    }

"""The models that PPO trains: a policy, and a value model, which is separate, a head on the policy's backbone, or absent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from planish.base.types import Packed
from planish.maths.log_probs import token_logprobs
from planish.models.packed import CausalLM, head_of
from planish.models.reward_head import Values, values_packed, values_unpacked


class ValuedLM(CausalLM):
    """A causal LM with a second head, which begins at zero: one backbone for log-probabilities and values."""

    def __init__(self, model: PreTrainedModel, compute_dtype: torch.dtype | None = None) -> None:
        super().__init__(model, compute_dtype)
        width = head_of(model).weight_VD.shape[1]
        self.value_head = nn.Linear(width, 1, bias=False, device=model.device, dtype=model.dtype)
        nn.init.zeros_(self.value_head.weight)

    def forward(
        self, packed: Packed, weights_L: Tensor | None = None, temperature: float = 1.0, *, valued: bool = False
    ) -> Any:
        """With `valued`, log-probabilities and values, each [L]; else what a CausalLM gives."""
        if not valued:
            return super().forward(packed, weights_L, temperature)
        packed = self.fitted(packed)
        with self.precision():
            if self.why_not_packed:
                logprobs_L = self.run_unpacked(self.model, packed, temperature)
                hidden_LD = values_unpacked(self.model, packed)
            else:
                hidden_LD = values_packed(self.model, packed)
                targets_L = packed.tokens_T[packed.targets_L]
                logprobs_L = token_logprobs(hidden_LD, head_of(self.model, temperature), targets_L)
        values_L = self.value_head(hidden_LD.to(self.value_head.weight.dtype)).squeeze(1)
        return logprobs_L, values_L.to(torch.promote_types(values_L.dtype, torch.float32))


class ActorCritic(nn.Module):
    """Log-probabilities and values [L] of the learnt tokens of a packed row; no values without a value model.

    >>> actor = ActorCritic(policy, Values(load_scorer(config, device)))
    >>> logprobs_L, values_L = actor(packed, temperature=1.0)
    """

    def __init__(self, policy: CausalLM, value: Values | None) -> None:
        super().__init__()
        self.policy, self.value = policy, value

    @property
    def has_values(self) -> bool:
        return self.value is not None or isinstance(self.policy, ValuedLM)

    def forward(self, packed: Packed, temperature: float) -> tuple[Tensor, Tensor | None]:
        if isinstance(self.policy, ValuedLM):
            return self.policy(packed, temperature=temperature, valued=True)
        return self.policy(packed, temperature=temperature), None if self.value is None else self.value(packed)

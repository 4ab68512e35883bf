"""Advantage estimators: how much better each sampled token was than expected. One class each, with its settings; a new one is
added to `Advantage` at the end of this file, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field as Tag

from planish.base.config import Config, Field
from planish.base.plugins import OrPlugin
from planish.maths.policy_gradient import gae, leave_one_out, normalised_in_group, whiten
from planish.maths.reductions import Reduction


@dataclass(frozen=True, slots=True)
class ScoredCompletions:
    """N completions with M tokens in all, those of a prompt side by side, K for each prompt.

    >>> batch = ScoredCompletions(np.array([1.0]), np.zeros(3), np.zeros(3), np.array([3]), beta=0.1)
    >>> advantages_M, returns_M = Gae(whiten=False).estimate(batch)
    """

    score_N: np.ndarray
    kl_M: np.ndarray  # in nats
    values_M: np.ndarray  # zeros without a value model
    lengths_N: np.ndarray  # tokens of each completion
    beta: float  # cost of a nat of KL
    num_samples: int = 1  # K

    @property
    def ends_N(self) -> np.ndarray:
        return np.cumsum(self.lengths_N)

    def penalized_N(self) -> np.ndarray:
        """The scores less the KL penalty of the whole completion."""
        return self.score_N - self.beta * np.add.reduceat(self.kl_M, self.ends_N - self.lengths_N)

    def by_prompt(self, numbers_N: np.ndarray) -> np.ndarray:
        """Numbers of completions as [P, K]."""
        return numbers_N.reshape(-1, self.num_samples)

    def on_every_token(self, numbers_PK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A completion's advantage on each of its tokens, and returns of zero."""
        return np.repeat(numbers_PK.ravel(), self.lengths_N), np.zeros(len(self.kl_M))


class Estimator(Config):
    """Settings of an advantage estimator. `estimate` returns advantages and returns, [M] each."""

    reduction: ClassVar[Reduction] = "token_mean"  # of the policy loss, as in the estimator's paper
    needs_values: ClassVar[bool] = False  # whether a value model is trained beside the policy
    needs_group: ClassVar[bool] = True  # whether it compares completions of one prompt
    kl_in_loss: ClassVar[bool] = False  # the KL penalty is a term of the loss, and not paid in the reward

    name: Any = None

    def estimate(self, batch: ScoredCompletions) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


class Gae(Estimator):
    """Generalized advantage estimation, as in PPO (Schulman et al. 2016)."""

    reduction: ClassVar[Reduction] = "token_mean"
    needs_values: ClassVar[bool] = True
    needs_group: ClassVar[bool] = False

    name: Literal["gae"] = "gae"
    gamma: float = Field(default=1.0, gt=0, le=1, description="discount factor")
    gae_lambda: float = Field(default=0.95, ge=0, le=1, description="1 trusts returns, 0 trusts values")
    whiten: bool = Field(default=True, description="advantages of an iteration get mean 0 and variance 1")
    whiten_rewards: bool = Field(default=False, description="rewards of tokens get variance 1 and keep their mean")

    def estimate(self, batch: ScoredCompletions) -> tuple[np.ndarray, np.ndarray]:
        rewards_M = -batch.beta * batch.kl_M
        rewards_M[batch.ends_N - 1] += batch.score_N  # at the last token: the end of turn, if the completion ended
        if self.whiten_rewards:
            rewards_M = whiten(rewards_M, keep_mean=True)
        both = [
            gae(rewards_M[end - length : end], batch.values_M[end - length : end], self.gamma, self.gae_lambda)
            for end, length in zip(batch.ends_N, batch.lengths_N, strict=True)
        ]
        advantages_M, returns_M = (np.concatenate(part) for part in zip(*both, strict=True))
        return (whiten(advantages_M) if self.whiten else advantages_M), returns_M


class Rloo(Estimator):
    """Each completion against the others of its prompt (Ahmadian et al. 2024); the KL is paid in the reward."""

    reduction: ClassVar[Reduction] = "seq_sum"

    name: Literal["rloo"] = "rloo"

    def estimate(self, batch: ScoredCompletions) -> tuple[np.ndarray, np.ndarray]:
        return batch.on_every_token(leave_one_out(batch.by_prompt(batch.penalized_N())))


class Grpo(Estimator):
    """Each completion against its group, over the group's spread (Shao et al. 2024); the KL is a term of the loss, as k3."""

    reduction: ClassVar[Reduction] = "seq_mean"
    kl_in_loss: ClassVar[bool] = True

    name: Literal["grpo"] = "grpo"

    def estimate(self, batch: ScoredCompletions) -> tuple[np.ndarray, np.ndarray]:
        return batch.on_every_token(normalised_in_group(batch.by_prompt(batch.score_N)))


Advantage = Annotated[Gae | Rloo | Grpo, Tag(discriminator="name"), OrPlugin("advantage.name", Estimator)]

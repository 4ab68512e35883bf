"""PPO's pure functions: what a sampled token was worth, and the loss that makes better ones likelier.

Advantages are worked out once a round of sampling, on the CPU, in float64 (numpy); losses are taken at every step, with
gradients (torch). Letters: t tokens of one completion, N tokens or completions of a round, P prompts, K completions of
each, L learnt tokens of a packed row.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

A = TypeVar("A", Tensor, np.ndarray)


def gae(
    rewards_t: np.ndarray, values_t: np.ndarray, gamma: float, gae_lambda: float, after: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Advantages and returns of one completion (Schulman et al. 2016, eq. 16).

        delta_t = R_t + gamma V_(t+1) - V_t
        A_t = delta_t + gamma lambda A_(t+1)
        return_t = A_t + V_t

    `values_t[t]` is the value of the state before token t. Behind the last token nothing follows, so its value, `after`,
    is 0. Where the score comes one place behind the last token, as in TRL, `rewards_t` and `values_t` have one entry more.

    >>> advantages, returns = gae(np.array([-0.01, 0.02, 0.97]), np.array([0.5, 0.6, 0.8]), 1.0, 0.95)
    >>> advantages.round(6).tolist(), returns.round(6).tolist()
    ([0.452425, 0.3815, 0.17], [0.952425, 0.9815, 0.97])
    """
    advantages_t = np.empty(len(rewards_t))
    advantage, following = 0.0, after
    for t in range(len(rewards_t) - 1, -1, -1):
        delta = rewards_t[t] + gamma * following - values_t[t]
        advantage = delta + gamma * gae_lambda * advantage
        advantages_t[t], following = advantage, values_t[t]
    return advantages_t, advantages_t + values_t


def whiten(values_N: np.ndarray, *, keep_mean: bool = False) -> np.ndarray:
    """Less the mean, over the standard deviation: biased variance, 1e-8 added to it (lm-human-preferences)."""
    mean = values_N.mean()
    white_N = (values_N - mean) / np.sqrt(values_N.var() + 1e-8)
    return white_N + mean if keep_mean else white_N


def leave_one_out(rewards_PK: np.ndarray) -> np.ndarray:
    """RLOO: each reward less the mean of the prompt's other completions, [P, K] (Ahmadian et al. 2024)."""
    count = rewards_PK.shape[1]
    others_PK = (rewards_PK.sum(1, keepdims=True) - rewards_PK) / (count - 1)
    return rewards_PK - others_PK


def normalised_in_group(rewards_PK: np.ndarray) -> np.ndarray:
    """GRPO: each reward less the mean of its prompt's, over their unbiased deviation + 1e-4, [P, K] (Shao et al. 2024); exactly
    0 where all of a prompt are equal, whatever the rounding of their mean."""
    centred_PK = rewards_PK - rewards_PK.mean(1, keepdims=True)
    normalised_PK = centred_PK / (rewards_PK.std(1, ddof=1, keepdims=True) + 1e-4)
    return np.where(flat_groups(rewards_PK)[:, None], 0.0, normalised_PK)


def flat_groups(rewards_PK: np.ndarray) -> np.ndarray:
    """True for prompts whose completions all have the same reward, [P]: there is nothing to learn from them."""
    return rewards_PK.max(1) == rewards_PK.min(1)


def importance_weights(
    logprobs_M: np.ndarray, sampled_M: np.ndarray, cap: float, lengths_N: np.ndarray | None = None
) -> np.ndarray:
    """min(p / q, cap) of each token, where p is training's probability and q the sampler's, [M]: E_q[w f] = E_p[f] as far as the
    cap does not act (truncated importance sampling: Ionides 2008). With `lengths_N`, p and q are those of whole completions.
    """
    change_M = logprobs_M - sampled_M
    if lengths_N is not None:
        change_M = np.repeat(np.add.reduceat(change_M, np.cumsum(lengths_N) - lengths_N), lengths_N)
    return np.minimum(np.exp(np.minimum(change_M, 700.0)), cap)


def explained_variance(returns_M: np.ndarray, values_M: np.ndarray) -> float | None:
    """1 - Var(R - V) / Var(R); None where returns do not vary, and there is nothing to explain."""
    if returns_M.var() < 1e-12:
        return None
    return float(1 - (returns_M - values_M).var() / (returns_M.var() + 1e-12))


def adapted_beta(beta: float, kl: float, target: float, count: int, horizon: float) -> float:
    """beta (1 + clip(KL / KL* - 1, -0.2, 0.2) n / H) after n completions with a mean KL (Ziegler et al. 2019, 2.2)."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + error * count / horizon)


def clipped_policy_losses(
    logprobs_L: Tensor, old_logprobs_L: Tensor, advantages_L: Tensor, clip_range: float
) -> Tensor:
    """max(-A rho, -A clip(rho, 1 - c, 1 + c)) of each token, rho = p / p_old, [L] (Schulman et al. 2017, eq. 7, negated)."""
    ratio_L = (logprobs_L - old_logprobs_L).exp()
    clipped_L = ratio_L.clamp(1 - clip_range, 1 + clip_range)
    return torch.maximum(-advantages_L * ratio_L, -advantages_L * clipped_L)


def clipped_value_losses(values_L: Tensor, old_values_L: Tensor, returns_L: Tensor, clip_range: float) -> Tensor:
    """Half the larger of (V - R)^2 and (V_clip - R)^2, V_clip within `clip_range` of the old value, [L]."""
    near_L = old_values_L + (values_L - old_values_L).clamp(-clip_range, clip_range)
    return 0.5 * torch.maximum((values_L - returns_L) ** 2, (near_L - returns_L) ** 2)


def k1(logprobs_N: A, reference_N: A) -> A:
    """log p - log p_ref of tokens sampled from p, [N]: its expectation is KL(p, p_ref), single values may be negative."""
    return logprobs_N - reference_N


def k3(logprobs_L: Tensor, reference_L: Tensor) -> Tensor:
    """r - 1 - log r with r = p_ref / p of tokens sampled from p, [L]: the expectation of k1, never negative (Schulman 2020)."""
    change_L = reference_L - logprobs_L
    return change_L.expm1() - change_L

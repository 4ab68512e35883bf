"""Losses on preferences: the reward model's, DPO's and those of its relatives (docs/dpo.md).

Every function returns one loss for each pair, [P], and reduces nothing. A log-probability of a completion is the sum over its
tokens, the one that ends it included, unless a name says mean. h is the gap of the log-ratios to the reference,
log pi(w)/ref(w) - log pi(l)/ref(l), for the chosen completion w and the rejected one l.

Letters: P pairs, S single completions. Leading dimensions pass through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


@dataclass(frozen=True, slots=True)
class PairLogprobs:
    """Log-probabilities of both completions of each pair under the policy and the reference.

    Log-probabilities are sums over the completion's tokens, EOS included; `tokens` counts these. SimPO and ORPO have no
    reference: it may be None, and then whatever asks for it raises ValueError.
    """

    chosen_P: Tensor
    rejected_P: Tensor
    reference_chosen_P: Tensor | None
    reference_rejected_P: Tensor | None
    chosen_tokens_P: Tensor
    rejected_tokens_P: Tensor

    @property
    def logratios(self) -> tuple[Tensor, Tensor]:
        """log pi - log ref of the chosen and of the rejected completions, [P] each."""
        if self.reference_chosen_P is None or self.reference_rejected_P is None:
            raise ValueError("the reference's log-probabilities are None; only SimPO and ORPO do without them")
        return self.chosen_P - self.reference_chosen_P, self.rejected_P - self.reference_rejected_P

    @property
    def h_P(self) -> Tensor:
        chosen_P, rejected_P = self.logratios
        return chosen_P - rejected_P

    @property
    def mean_h_P(self) -> Tensor:
        """h with each log-ratio divided by the tokens of its completion."""
        chosen_P, rejected_P = self.logratios
        return chosen_P / self.chosen_tokens_P - rejected_P / self.rejected_tokens_P


# The reward model


def bradley_terry(better_P: Tensor, worse_P: Tensor, margin_P: Tensor | None = None) -> Tensor:
    """-log sigmoid(r_w - r_l - margin): Bradley and Terry (1952); Ouyang et al. 2022, eq. 1; margin: Touvron et al. 2023."""
    gap_P = better_P - worse_P
    return -logsigmoid(gap_P if margin_P is None else gap_P - margin_P)


def centering(better_P: Tensor, worse_P: Tensor) -> Tensor:
    """(r_w + r_l)^2, which pulls rewards towards mean 0 (Eisenstein et al. 2023; in TRL with a coefficient of 0.01)."""
    return (better_P + worse_P) ** 2


# DPO


def implied_rewards(pairs: PairLogprobs, beta: float) -> tuple[Tensor, Tensor]:
    """beta * log pi/ref of both sides: the rewards, up to a constant of the prompt, that the policy is optimal for."""
    chosen_P, rejected_P = pairs.logratios
    return beta * chosen_P, beta * rejected_P


def dpo(pairs: PairLogprobs, beta: float) -> Tensor:
    """The reward model's loss on implied rewards, -log sigmoid(beta h) (Rafailov et al. 2023, eq. 7).

    Its gradient in h is -beta * sigmoid(-beta h): beta / 2 at the start, small once the pair is ordered well.
    """
    return bradley_terry(*implied_rewards(pairs, beta))


def implicit_reward_accuracy(pairs: PairLogprobs) -> Tensor:
    """1 where the implied reward orders the pair as its label does, r_w > r_l. A tie, as before the first step, is 0."""
    return (pairs.h_P > 0).to(pairs.chosen_P.dtype)


def logprob_accuracy(pairs: PairLogprobs) -> Tensor:
    """1 where log pi(w) > log pi(l), without the reference: not `implicit_reward_accuracy`, and biased
    towards the short."""
    return (pairs.chosen_P > pairs.rejected_P).to(pairs.chosen_P.dtype)


# Labels that may be wrong


def cdpo(pairs: PairLogprobs, beta: float, label_smoothing: float) -> Tensor:
    """(1 - e) L(w, l) + e L(l, w), at rest where sigmoid(beta h) = 1 - e (cDPO: Mitchell 2023, eq. 3)."""
    right_P, flipped_P = _either_way(pairs, beta)
    return (1 - label_smoothing) * right_P + label_smoothing * flipped_P


def robust_dpo(pairs: PairLogprobs, beta: float, label_smoothing: float) -> Tensor:
    """((1 - e) L(w, l) - e L(l, w)) / (1 - 2e) (Chowdhury et al. 2024, arXiv 2403.00409).

    If a share e of the labels is flipped at random, its mean is that of DPO on the labels as they were. It has no lower bound:
    where labels always agree, h is pulled on without end. Raises ValueError for e of 1/2 or more.
    """
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing={label_smoothing}: must be at least 0 and below 0.5")
    right_P, flipped_P = _either_way(pairs, beta)
    return ((1 - label_smoothing) * right_P - label_smoothing * flipped_P) / (1 - 2 * label_smoothing)


def _either_way(pairs: PairLogprobs, beta: float) -> tuple[Tensor, Tensor]:
    """DPO's loss with the label as it is, and with winner and loser swapped."""
    gap_P = beta * pairs.h_P
    return -logsigmoid(gap_P), -logsigmoid(-gap_P)


def ipo(pairs: PairLogprobs, tau: float, logratio: Literal["sum", "mean"] = "sum") -> Tensor:
    """(h - 1 / (2 tau))^2 (Azar et al. 2023, eq. 17): h has a finite goal, also where labels always agree.

    `sum` follows the paper and the DPO authors' code; `mean` takes each log-ratio per token, as TRL does.
    """
    h_P = pairs.h_P if logratio == "sum" else pairs.mean_h_P
    return (h_P - 1 / (2 * tau)) ** 2


# Length


def length_normalized_dpo(pairs: PairLogprobs, beta: float) -> Tensor:
    """DPO with each log-ratio divided by its tokens (Tülu 3: Lambert et al. 2024, section 5)."""
    return -logsigmoid(beta * pairs.mean_h_P)


def r_dpo(pairs: PairLogprobs, beta: float, alpha: float) -> Tensor:
    """-log sigmoid(beta h + alpha (|w| - |l|)): DPO for the reward r - alpha |y| (Park et al. 2024, arXiv 2403.19159).

    A preference for the longer completion is in part put down to its length, so that h need not explain it.
    """
    h_P = pairs.h_P
    longer_P = (pairs.chosen_tokens_P - pairs.rejected_tokens_P).to(h_P.dtype)
    return -logsigmoid(beta * h_P + alpha * longer_P)


# Without a reference


def simpo(pairs: PairLogprobs, beta: float, gamma: float) -> Tensor:
    """-log sigmoid(beta log pi(w)/|w| - beta log pi(l)/|l| - gamma) (Meng et al. 2024, eq. 6)."""
    chosen_P, rejected_P = _means(pairs)
    return -logsigmoid(beta * (chosen_P - rejected_P) - gamma)


def orpo(pairs: PairLogprobs, weight: float) -> Tensor:
    """NLL(w) - weight * log sigmoid(log odds(w) - log odds(l)) (Hong et al. 2024, eq. 6 and 7).

    Both terms are means over the tokens of the completion: odds(y) = p / (1 - p) for p = exp(log pi(y) / |y|). The authors'
    code takes the NLL over all tokens of a batch together, with or without those of the prompt.
    """
    chosen_P, rejected_P = _means(pairs)
    return -chosen_P - weight * logsigmoid(log_odds(chosen_P) - log_odds(rejected_P))


def _means(pairs: PairLogprobs) -> tuple[Tensor, Tensor]:
    return pairs.chosen_P / pairs.chosen_tokens_P, pairs.rejected_P / pairs.rejected_tokens_P


def log_odds(logprobs_P: Tensor) -> Tensor:
    """log p - log(1 - p). Where rounding made p = 1, p is one epsilon below it, and has no gradient."""
    below_P = logprobs_P.clamp(max=-torch.finfo(logprobs_P.dtype).eps)
    return below_P - torch.log(-torch.expm1(below_P))


# Without pairs


def kto(
    logratio_S: Tensor,
    desirable_S: Tensor,
    baseline: Tensor,
    beta: float,
    desirable_weight: float,
    undesirable_weight: float,
) -> Tensor:
    """lambda - lambda sigmoid(± beta (log pi/ref - z0)), + for the desirable (Ethayarajh et al. 2024, section 4), [S].

    `desirable_S` is boolean. `baseline` is z0, the batch's estimate of KL(pi || ref): a scalar that is held at 0 or above and
    passes no gradient on.
    """
    gap_S = beta * (logratio_S - baseline.detach().clamp(min=0))
    # 1 - sigmoid(x) = sigmoid(-x), without the cancellation
    return torch.where(desirable_S, desirable_weight * torch.sigmoid(-gap_S), undesirable_weight * torch.sigmoid(gap_S))

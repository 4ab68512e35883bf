"""Claims decided on small tables, where the best policy is known: a function of an arm's settings and the seed, to numbers by
name. The losses are those that train networks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from planish.maths.policy_gradient import clipped_policy_losses, k1
from planish.maths.preference import PairLogprobs, dpo

ANSWERS, BETA = 8, 0.5
GAMMAS = (0.1, 1.0, 10.0)
LIMIT = 1e9  # a gamma beside which rewards no longer count
RATES = {"sgd": 0.5, "adam": 0.02}  # at first; they fall to 0
CLIP = 0.2

Optimizer = Literal["newton", "sgd", "adam", "two adams"]


@dataclass(frozen=True, slots=True)
class Bandit:
    """One prompt with eight answers: their rewards, the reference, and how often each is in the pretraining documents."""

    rewards_Y: Tensor
    reference_Y: Tensor
    documents_Y: Tensor

    @classmethod
    def drawn(cls, seed: int) -> Bandit:
        chance = np.random.default_rng(seed)
        rewards_Y, reference_Y, documents_Y = chance.uniform(size=ANSWERS), *chance.dirichlet(np.full(ANSWERS, 2.0), 2)
        return cls(*map(torch.from_numpy, (rewards_Y, reference_Y, documents_Y)))

    @property
    def tilted_Y(self) -> Tensor:
        """The reference times exp(r / beta): the best policy without documents."""
        return torch.softmax(self.reference_Y.log() + self.rewards_Y / BETA, 0)

    def best(self, gamma: float) -> Tensor:
        """The maximum of E[r] - beta KL + gamma E_documents[log p]. Where its derivative by each p is the same number, each p is
        a falling function of that number: two nested bisections, with no gradient of ours."""

        def slope(p_Y: Tensor) -> Tensor:
            return self.rewards_Y - BETA * (p_Y / self.reference_Y).log() + gamma * self.documents_Y / p_Y

        def policy(level: Tensor) -> Tensor:
            return bisected(
                lambda log_Y: slope(log_Y.exp()) - level, torch.full((ANSWERS,), -80.0), torch.zeros(ANSWERS)
            ).exp()

        low, high = (slope(torch.full((ANSWERS,), p, dtype=torch.float64)) for p in (1.0, 1e-12))
        return policy(bisected(lambda level: policy(level).sum() - 1, low.min() - 1, high.max() + 1))

    def ppo_loss(self, logprobs_GY: Tensor) -> Tensor:
        """PPO's loss at ratio 1, expected over the answers, with the KL in the reward."""
        policy_GY = logprobs_GY.detach().exp()
        returns_GY = self.rewards_Y - BETA * k1(logprobs_GY.detach(), self.reference_Y.log())
        advantages_GY = returns_GY - (policy_GY * returns_GY).sum(-1, keepdim=True)
        return (policy_GY * clipped_policy_losses(logprobs_GY, logprobs_GY.detach(), advantages_GY, CLIP)).sum()

    def documents_loss(self, logprobs_GY: Tensor, gammas_G1: Tensor) -> Tensor:
        return -(gammas_G1 * self.documents_Y * logprobs_GY).sum()


def bisected(falling: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Where a falling function, of each element by itself, is 0."""
    low, high = low.double(), high.double()
    for _ in range(100):
        middle = (low + high) / 2
        above = falling(middle) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (low + high) / 2


def mix(seed: int, how: Literal["sum", "turns"], optimizer: Optimizer, steps: int = 1500) -> dict[str, float]:
    """PPO-ptx on a bandit for gamma 0.1, 1 and 10: both gradients in one step, or a step for each in turn, by one optimizer or by
    two with moments of their own.

    `gap` is the largest distance of a probability from the known optimum; `moved` is how far ten times the gamma moves the
    policy, as a share of how far it moves the optimum; `gap_at_infinity` is the distance from the documents for a huge gamma.
    """
    bandit = Bandit.drawn(seed)
    gammas_G1 = torch.tensor(GAMMAS, dtype=torch.float64)[:, None]
    best_GY = torch.stack([bandit.best(gamma) for gamma in GAMMAS])
    turns = [("ppo", "documents")] if how == "sum" else [("ppo",), ("documents",)]
    exact = optimizer == "newton"
    policy_GY = _solved(bandit, gammas_G1) if exact else _stepped(bandit, gammas_G1, turns, optimizer, steps)
    moved, should = ((rows[1:] - rows[:-1]).abs().sum(1) for rows in (policy_GY, best_GY))
    found = {"gap": (policy_GY - best_GY).abs().max().item(), "moved": (moved / should).mean().item()}
    if exact:
        far_GY = _solved(bandit, torch.full((1, 1), LIMIT, dtype=torch.float64))
        found["gap_at_infinity"] = (far_GY - bandit.documents_Y).abs().max().item()
    return found


def _solved(bandit: Bandit, gammas_G1: Tensor) -> Tensor:
    """Where the gradient of both losses is 0: steps of gradient over curvature, by answer, until it vanishes."""
    logits_GY = bandit.reference_Y.log().expand(len(gammas_G1), -1)
    for _ in range(500):
        logprobs_GY = torch.log_softmax(logits_GY, 1).requires_grad_()
        policy_GY = logprobs_GY.detach().exp()
        loss = bandit.ppo_loss(logprobs_GY) + bandit.documents_loss(logprobs_GY, gammas_G1)
        (gradient_GY,) = torch.autograd.grad(loss, logprobs_GY)
        steps_GY = gradient_GY / policy_GY - gradient_GY.sum(1, keepdim=True)
        logits_GY = logits_GY - 0.5 * steps_GY / (BETA + gammas_G1 * bandit.documents_Y / policy_GY)
        if (gradient_GY - policy_GY * gradient_GY.sum(1, keepdim=True)).abs().max() < 1e-15:
            break
    return torch.softmax(logits_GY, 1)


def _stepped(bandit: Bandit, gammas_G1: Tensor, turns: Sequence[Sequence[str]], name: Optimizer, steps: int) -> Tensor:
    logits_GY = bandit.reference_Y.log().expand(len(gammas_G1), -1).clone().requires_grad_()
    kind, rate = (torch.optim.SGD, RATES["sgd"]) if name == "sgd" else (torch.optim.Adam, RATES["adam"])
    first = kind([logits_GY], rate)
    optimizers = [first if name != "two adams" or i == 0 else kind([logits_GY], rate) for i in range(len(turns))]
    for step in range(steps):
        for optimizer, terms in zip(optimizers, turns, strict=True):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            optimizer.zero_grad()
            logprobs_GY = torch.log_softmax(logits_GY, 1)
            if "ppo" in terms:
                bandit.ppo_loss(logprobs_GY).backward(retain_graph=True)
            if "documents" in terms:
                bandit.documents_loss(logprobs_GY, gammas_G1).backward()
            optimizer.step()
    return torch.softmax(logits_GY.detach(), 1)


def dpo_and_ppo(seed: int, compared: int = ANSWERS) -> dict[str, float]:
    """Half the sum of the differences between the policy that DPO fits to exact preferences and the one at which PPO's gradient
    vanishes. Of the answers, the first `compared` are in some pair."""
    bandit = Bandit.drawn(seed)
    pairs = torch.tensor(list(itertools.permutations(range(compared), 2)))
    preferred_P = torch.sigmoid(bandit.rewards_Y[pairs[:, 0]] - bandit.rewards_Y[pairs[:, 1]])
    logits_Y = bandit.reference_Y.log().clone().requires_grad_()
    solver = torch.optim.LBFGS([logits_Y], 1.0, 500, 2000, 1e-14, 1e-18, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        logprobs_Y, reference_Y = torch.log_softmax(logits_Y, 0), bandit.reference_Y.log()
        better, worse = pairs.T
        lengths_P = torch.ones(len(pairs))
        given = PairLogprobs(
            logprobs_Y[better], logprobs_Y[worse], reference_Y[better], reference_Y[worse], lengths_P, lengths_P
        )
        mean = (preferred_P * dpo(given, BETA)).sum()
        mean.backward()
        return mean

    for _ in range(5):
        solver.step(loss)
    ppo_Y = _solved(bandit, torch.zeros(1, 1, dtype=torch.float64))[0]
    fitted_Y = torch.softmax(logits_Y.detach(), 0)
    return {
        "gap": 0.5 * (fitted_Y - ppo_Y).abs().sum().item(),
        "gap_of_ppo": (ppo_Y - bandit.tilted_Y).abs().max().item(),
    }


def overoptimized(
    seed: int, error: Literal["none", "normal", "heavy"], prompts: int = 40
) -> dict[str, dict[str, float]]:
    """How the true reward changes from 2 to 8 nats when the best policy for reward plus error is taken at each KL, by prompt;
    a prompt has 20,000 answers. Heavy errors are Student's t with two degrees of freedom."""
    chance = np.random.default_rng(seed)
    found: dict[str, float] = {}
    for prompt in range(prompts):
        gold_Y = chance.normal(size=20_000)
        errors_Y = {
            "none": np.zeros(20_000),
            "normal": chance.normal(size=20_000),
            "heavy": chance.standard_t(2, 20_000),
        }
        golds = [gold_Y @ _at_kl(gold_Y + errors_Y[error], kl) for kl in (2.0, 8.0)]
        found[str(prompt)] = float(golds[1] - golds[0])
    return {"change": found}


def _at_kl(proxy_Y: np.ndarray, kl: float) -> np.ndarray:
    """The uniform policy tilted by exp(proxy / beta), with the beta at which its KL is this many nats."""

    def tilted(tilt: float) -> np.ndarray:
        weights_Y = np.exp(tilt * (proxy_Y - proxy_Y.max()))
        return weights_Y / weights_Y.sum()

    def spent(policy_Y: np.ndarray) -> float:
        return float((policy_Y * np.log(np.maximum(policy_Y * len(proxy_Y), 1e-300))).sum())

    low, high = 0.0, 1e3
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(tilted(middle)) < kl else (low, middle)
    return tilted(low)

"""DPO on three answers, where every number can be checked by hand: the eight steps of docs/dpo.md, then the training itself.

    python examples/dpo_by_hand.py [--json docs/figures/dpo_path.json]

Letters: K answers, P outcomes of a comparison, that is ordered pairs (winner, loser). Leading dimensions are separate tables.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from math import log, log10
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import sigmoid

from planish.maths.preference import (
    PairLogprobs,
    bradley_terry,
    cdpo,
    dpo,
    ipo,
    robust_dpo,
)

ANSWERS = "ABC"
REFERENCE_K = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
REWARD_K = torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64)
BETA = 1.0
ALWAYS_B_K = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
HALFWAY_K = (REFERENCE_K + ALWAYS_B_K) / 2
# In units of the reward, the mean loss over any comparisons has curvature 1/2 at most: a step of 2 cannot overshoot.
RATE = 2.0
STEPS, SHOWN = 200, (0, 1, 2, 3, 5, 10, 20, 200)
COMPARISONS, SEEDS = (100, 1_000, 10_000, 100_000), 100
FLIPPED = 0.1

PairLoss = Callable[[PairLogprobs], Tensor]


# The mathematics


def kl(policy_K: Tensor, other_K: Tensor) -> Tensor:
    """The mean of ln(policy / other) over the policy's answers; 0 ln 0 is 0."""
    return (torch.xlogy(policy_K, policy_K) - torch.xlogy(policy_K, other_K)).sum(-1)


def objective(policy_K: Tensor, reference_K: Tensor, reward_K: Tensor, beta: float) -> Tensor:
    """J: the mean reward, less beta times the KL from the reference."""
    return (policy_K * reward_K).sum(-1) - beta * kl(policy_K, reference_K)


def tilt(reference_K: Tensor, reward_K: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """The policy with the highest J, reference * e^(reward / beta) / Z, and Z."""
    tilted_K = reference_K * (reward_K / beta).exp()
    z = tilted_K.sum(-1, keepdim=True)
    return tilted_K / z, z.squeeze(-1)


def outcomes(num_answers: int) -> tuple[Tensor, Tensor]:
    """Winners and losers, [P] each: (A, B), (A, C), (B, A), and so on."""
    apart = [(winner, loser) for winner in range(num_answers) for loser in range(num_answers) if winner != loser]
    winner_P, loser_P = torch.tensor(apart).unbind(1)
    return winner_P, loser_P


def exact_shares(reward_K: Tensor) -> Tensor:
    """How often each outcome occurs, [P], if all pairs are compared equally often, as Bradley and Terry say."""
    winner_P, loser_P = outcomes(reward_K.shape[-1])
    wins_P = sigmoid(reward_K[..., winner_P] - reward_K[..., loser_P])
    return wins_P / wins_P.sum(-1, keepdim=True)


def sampled_shares(shares_P: Tensor, comparisons: int, seeds: int) -> Tensor:
    """How often each outcome occurred in so many random comparisons, [seeds, P]."""
    rows: list[Tensor] = []
    for seed in range(seeds):
        chance = torch.Generator().manual_seed(seed)
        drawn = torch.multinomial(shares_P, comparisons, replacement=True, generator=chance)
        rows.append(torch.bincount(drawn, minlength=len(shares_P)).to(shares_P.dtype) / comparisons)
    return torch.stack(rows)


def pairs_of(logprobs_K: Tensor, reference_K: Tensor) -> PairLogprobs:
    """Each outcome as a pair of completions, of one token each."""
    winner_P, loser_P = outcomes(reference_K.shape[-1])
    before_K, one_P = reference_K.log(), torch.ones_like(winner_P)
    return PairLogprobs(
        chosen_P=logprobs_K[..., winner_P],
        rejected_P=logprobs_K[..., loser_P],
        reference_chosen_P=before_K[..., winner_P],
        reference_rejected_P=before_K[..., loser_P],
        chosen_tokens_P=one_P,
        rejected_tokens_P=one_P,
    )


def policy_loss(policy_K: Tensor, reference_K: Tensor, shares_P: Tensor, loss: PairLoss) -> Tensor:
    """The mean loss of a policy over the comparisons."""
    return (shares_P * loss(pairs_of(policy_K.log(), reference_K))).sum(-1)


def reward_loss(reward_K: Tensor, shares_P: Tensor) -> Tensor:
    """The mean loss of a reward model over the comparisons."""
    winner_P, loser_P = outcomes(reward_K.shape[-1])
    return (shares_P * bradley_terry(reward_K[..., winner_P], reward_K[..., loser_P])).sum(-1)


# Training


def descend(loss: Callable[[Tensor], Tensor], start_K: Tensor, rate: float, steps: int) -> Tensor:
    """Gradient descent. All its points, [steps + 1, ..., K]."""
    points = [start_K]
    for _ in range(steps):
        point_K = points[-1].detach().requires_grad_()
        (gradient_K,) = torch.autograd.grad(loss(point_K).sum(), point_K)
        points.append(points[-1] - rate * gradient_K)
    return torch.stack(points)


def train_policy(
    start_K: Tensor, reference_K: Tensor, shares_P: Tensor, loss: PairLoss, rate: float, steps: int
) -> Tensor:
    """The policies on the way, [steps + 1, ..., K]. Its parameters are logits, one an answer."""

    def mean_loss(logits_K: Tensor) -> Tensor:
        return policy_loss(logits_K.softmax(-1), reference_K, shares_P, loss)

    return descend(mean_loss, start_K.log(), rate, steps).softmax(-1)


def train_reward(start_K: Tensor, shares_P: Tensor, rate: float, steps: int) -> Tensor:
    """The reward models on the way, [steps + 1, ..., K]. The parameters are the rewards themselves."""
    return descend(lambda reward_K: reward_loss(reward_K, shares_P), start_K, rate, steps)


def train_both(shares_P: Tensor) -> tuple[Tensor, Tensor]:
    """The policies of DPO on the way, and the reward models. Both begin knowing nothing: at the reference, and at 0."""
    tables = (*shares_P.shape[:-1], len(ANSWERS))
    start_K = REFERENCE_K.expand(tables)
    policies = train_policy(start_K, REFERENCE_K, shares_P, partial(dpo, beta=BETA), RATE / BETA**2, STEPS)
    return policies, train_reward(torch.zeros(tables, dtype=torch.float64), shares_P, RATE, STEPS)


def distance(policy_K: Tensor, other_K: Tensor) -> Tensor:
    """Total variation: the probability that has to move to make one policy into the other."""
    return (policy_K - other_K).abs().sum(-1) / 2


# The steps, in words and numbers


def row(name: str, *values: Tensor | float, note: str = "") -> str:
    return f"{name:<34}" + "".join(f"{number(value):>10}" for value in values) + (f"  {note}" if note else "")


def number(value: Tensor | float) -> str:
    """Four decimals, and no minus before a zero."""
    return f"{round(float(value), 4) + 0.0:.4f}"


def head(*names: str) -> str:
    return " " * 34 + "".join(f"{name:>10}" for name in names)


def the_example() -> Iterator[str]:
    yield "Three answers to one prompt: how likely the model gives each of them now, and how good each of them is."
    yield ""
    yield head(*ANSWERS)
    yield row("reference: its probability now", *REFERENCE_K)
    yield row("reward: how good it is", *REWARD_K)
    yield ""
    yield f"beta = {BETA:g} is the price of moving away from the reference."


def step_1() -> Iterator[str]:
    yield "1. The goal: a high reward, without moving far from the reference."
    yield ""
    yield "J = mean reward - beta * KL(policy from reference)"
    yield ""
    yield head("reward", "KL", "J")
    for name, policy_K in (("the reference", REFERENCE_K), ("always B", ALWAYS_B_K), ("halfway to B", HALFWAY_K)):
        j = objective(policy_K, REFERENCE_K, REWARD_K, BETA)
        yield row(name, (policy_K * REWARD_K).sum(), kl(policy_K, REFERENCE_K), j)
    yield ""
    yield "Halfway beats both ends. Which policy is best?"


def step_2() -> Iterator[str]:
    best_K, z = tilt(REFERENCE_K, REWARD_K, BETA)
    yield "2. The best policy: each probability times e^(reward / beta), all divided by their sum Z."
    yield ""
    yield head(*ANSWERS, "sum")
    yield row("reference * e^(reward / beta)", *(best_K * z), z, note="= Z")
    yield row("best policy", *best_K, best_K.sum())
    yield ""
    yield "Nothing beats it: for every policy J = beta ln Z - beta * KL(policy from best), and no KL is below 0."
    yield ""
    yield head("beta ln Z", "KL", "J")
    named = {"the reference": REFERENCE_K, "always B": ALWAYS_B_K, "halfway to B": HALFWAY_K, "the best policy": best_K}
    for name, policy_K in named.items():
        yield row(name, BETA * z.log(), kl(policy_K, best_K), BETA * z.log() - BETA * kl(policy_K, best_K))


def step_3(tokens: int = 100, vocabulary: int = 50_000) -> Iterator[str]:
    yield "3. The obstacle: Z is a sum over all answers there are."
    yield ""
    yield f"here{len(ANSWERS):>50} answers"
    yield f"{tokens} tokens, a vocabulary of {vocabulary:,}{f'10^{tokens * log10(vocabulary):.0f}':>15} answers"


def step_4() -> Iterator[str]:
    best_K, z = tilt(REFERENCE_K, REWARD_K, BETA)
    implied_K = BETA * (best_K / REFERENCE_K).log()
    yield "4. Step 2 read backwards: the best policy determines the reward, up to one constant."
    yield ""
    yield head(*ANSWERS)
    yield row("beta ln(best / reference)", *implied_K)
    yield row(f"  with beta ln Z = {float(BETA * z.log()):.4f} added", *(implied_K + BETA * z.log()), note="= reward")


def step_5() -> Iterator[str]:
    implied_K = BETA * (HALFWAY_K / REFERENCE_K).log()
    again_K, z = tilt(REFERENCE_K, implied_K, BETA)
    yield "5. So every policy implies a reward, beta ln(policy / reference): the one it is optimal for."
    yield ""
    yield head(*ANSWERS)
    yield row("halfway to B", *HALFWAY_K)
    yield row("its implied reward", *implied_K)
    yield row("step 2 with this reward", *again_K, note=f"Z = {float(z):.4f}")


def step_6() -> Iterator[str]:
    best_K, _ = tilt(REFERENCE_K, REWARD_K, BETA)
    implied_K = BETA * (best_K / REFERENCE_K).log()
    yield "6. People compare. A comparison shows only the difference of two rewards, so the constant never mattered."
    yield ""
    yield "P(first preferred) = sigmoid(reward of the first - reward of the second)"
    yield ""
    yield head("rewards", "implied", "P")
    for first, second in ("BA", "BC", "AC"):
        i, j = ANSWERS.index(first), ANSWERS.index(second)
        gap = REWARD_K[i] - REWARD_K[j]
        yield row(f"{first} preferred to {second}", gap, implied_K[i] - implied_K[j], sigmoid(gap))


def step_7() -> Iterator[str]:
    best_K, _ = tilt(REFERENCE_K, REWARD_K, BETA)
    shares_P = exact_shares(REWARD_K)
    yield "7. A reward model is fitted with the loss -ln sigmoid(reward of winner - reward of loser)."
    yield "   DPO is this loss on the implied reward: fitting the reward is now fitting the policy."
    yield ""
    yield head("mean loss")
    for name, policy_K in (("the reference", REFERENCE_K), ("halfway to B", HALFWAY_K), ("the best policy", best_K)):
        note = f"= ln 2 = {log(2):.4f}" if policy_K is REFERENCE_K else ""
        yield row(name, policy_loss(policy_K, REFERENCE_K, shares_P, partial(dpo, beta=BETA)), note=note)
    yield row("a reward model that is right", reward_loss(REWARD_K, shares_P))
    yield row("the chance in the labels", label_entropy(REWARD_K), note="the lowest possible")


def label_entropy(reward_K: Tensor) -> Tensor:
    """Of the winner, given which two are compared, in nats: the floor of the loss."""
    shares_P = exact_shares(reward_K)
    num_pairs = len(shares_P) / 2
    return -torch.xlogy(shares_P, shares_P * num_pairs).sum()


def step_8() -> Iterator[str]:
    best_K, _ = tilt(REFERENCE_K, REWARD_K, BETA)
    yield "8. What a step does: the winner up and the loser down, by beta * sigmoid(implied loser - implied winner),"
    yield "   which is large where the policy orders them wrongly. When A and B are compared:"
    yield ""
    yield head("share", "factor", "product")
    for name, policy_K in (("at the reference", REFERENCE_K), ("at the best policy", best_K)):
        implied_K = BETA * (policy_K / REFERENCE_K).log()
        moved = 0.0
        for winner, loser, sign in ((1, 0, +1), (0, 1, -1)):
            often = sigmoid(REWARD_K[winner] - REWARD_K[loser])
            by = BETA * sigmoid(implied_K[loser] - implied_K[winner])
            moved += sign * float(often * by)
            yield row(f"{name}, {ANSWERS[winner]} wins", often, by, sign * often * by)
        yield f"{'  B goes up by':<54}{number(moved):>10}"


def training() -> Iterator[str]:
    best_K, _ = tilt(REFERENCE_K, REWARD_K, BETA)
    shares_P = exact_shares(REWARD_K)
    policies, rewards = train_both(shares_P)
    tilted = tilt(REFERENCE_K, rewards, BETA)[0]
    losses = policy_loss(policies, REFERENCE_K, shares_P, partial(dpo, beta=BETA))
    yield "Training. Left: DPO. Right: a reward model on the same comparisons, then step 2 with its rewards."
    yield ""
    names = "".join(f"{name:>9}" for name in (*ANSWERS, "loss"))
    yield f"{'steps':>6}  {names}      {names}"
    for step in SHOWN:
        left = "".join(f"{number(value):>9}" for value in (*policies[step], losses[step]))
        right = "".join(f"{number(value):>9}" for value in (*tilted[step], reward_loss(rewards[step], shares_P)))
        yield f"{step:>6}  {left}      {right}"
    yield ""
    yield f"largest difference between left and right{(policies - tilted).abs().max().item():>20.10f}"
    yield f"largest difference from the best policy{(policies[-1] - best_K).abs().max().item():>22.10f}"


def sampling() -> Iterator[str]:
    best_K, _ = tilt(REFERENCE_K, REWARD_K, BETA)
    yield f"Comparisons drawn at random, {SEEDS} times. Left and right still agree; chance moves both away from the best policy."
    yield ""
    yield f"{'':<14}{'probability in the wrong place':^36}{'left - right':>14}"
    yield f"{'comparisons':<14}{'mean':>12}{'least':>12}{'most':>12}{'largest':>14}"
    for comparisons in COMPARISONS:
        policies, rewards = train_both(sampled_shares(exact_shares(REWARD_K), comparisons, SEEDS))
        off = distance(policies[-1], best_K)
        apart = (policies[-1] - tilt(REFERENCE_K, rewards[-1], BETA)[0]).abs().max()
        numbers = "".join(f"{number(value):>12}" for value in (off.mean(), off.min(), off.max()))
        yield f"{comparisons:<14,}{numbers}{float(apart):>14.10f}"


# Where it stops being exact


def never_compared() -> Iterator[str]:
    best_K, _ = tilt(REFERENCE_K, REWARD_K, BETA)
    shares_P = exact_shares(REWARD_K)
    winner_P, loser_P = outcomes(len(ANSWERS))
    shares_P = torch.where((winner_P < 2) & (loser_P < 2), shares_P, 0.0)
    yield "Only A and B are compared. Training from the reference, and from another policy:"
    yield ""
    yield head(*ANSWERS, "B : A")
    for name, start_K in (("reference", REFERENCE_K), ("other", REFERENCE_K.flip(0))):
        loss = partial(dpo, beta=BETA)
        end_K = train_policy(start_K, REFERENCE_K, shares_P / shares_P.sum(), loss, RATE / BETA**2, STEPS)[-1]
        yield row(f"from {name}", *end_K, end_K[1] / end_K[0])
    yield row("the best policy", *best_K, best_K[1] / best_K[0])


def always_agree() -> Iterator[str]:
    even_K, agreed_P = torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    yield "Two answers, equally likely at first; the first is preferred by everybody. Probability of the second:"
    yield ""
    yield f"{'after so many steps':<34}" + "".join(f"{10**n:>10,}" for n in (1, 2, 3))
    losses: dict[str, tuple[PairLoss, float]] = {
        "DPO, beta = 1": (partial(dpo, beta=1.0), RATE),
        "DPO, beta = 0.1": (partial(dpo, beta=0.1), RATE / 0.1**2),
        "IPO, tau = 1": (partial(ipo, tau=1.0), 0.1),
    }
    for name, (loss, rate) in losses.items():
        policies = train_policy(even_K, even_K, agreed_P, loss, rate, 1000)
        ends = [float(policies[10**n, 1]) for n in (1, 2, 3)]
        yield f"{name:<34}" + "".join(f"{end:>10.4f}" if end > 1e-4 else f"{end:>10.0e}" for end in ends)


def flipped_labels() -> Iterator[str]:
    even_K, gap_K = torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    shares_P = exact_shares(gap_K)
    noisy_P = (1 - FLIPPED) * shares_P + FLIPPED * shares_P.flip(0)
    yield f"Two answers whose rewards differ by 1; {FLIPPED:.0%} of the labels are flipped. Difference found:"
    yield ""
    losses: dict[str, PairLoss] = {
        "DPO": partial(dpo, beta=BETA),
        "conservative DPO": partial(cdpo, beta=BETA, label_smoothing=FLIPPED),
        "robust DPO": partial(robust_dpo, beta=BETA, label_smoothing=FLIPPED),
    }
    for name, loss in losses.items():
        end_K = train_policy(even_K, even_K, noisy_P, loss, RATE / BETA**2, STEPS)[-1]
        yield row(name, *(BETA * (end_K / even_K).log()).diff().neg())


BLOCKS: tuple[Callable[[], Iterator[str]], ...] = (
    the_example, step_1, step_2, step_3, step_4, step_5, step_6, step_7, step_8, training, sampling,
    never_compared, always_agree, flipped_labels,
)  # fmt: skip


def blocks() -> list[str]:
    """What is printed, block by block. docs/dpo.md shows each as it is here."""
    return ["\n".join(block()) for block in BLOCKS]


def path() -> dict[str, Any]:
    """What docs/figures/dpo.py draws."""
    exact_P = exact_shares(REWARD_K)
    policies, rewards = train_both(exact_P)
    sampled = {n: train_both(sampled_shares(exact_P, n, SEEDS))[0][-1] for n in COMPARISONS}

    def plain(values: Tensor) -> Any:
        return values.mul(1e6).round().div(1e6).tolist()

    return {
        "command": "python examples/dpo_by_hand.py --json docs/figures/dpo_path.json",
        "answers": list(ANSWERS),
        "beta": BETA,
        "reference": plain(REFERENCE_K),
        "reward": plain(REWARD_K),
        "best": plain(tilt(REFERENCE_K, REWARD_K, BETA)[0]),
        "policies": plain(policies),
        "tilted": plain(tilt(REFERENCE_K, rewards[-1], BETA)[0]),
        "sampled": {str(n): plain(ends) for n, ends in sampled.items()},
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the policies on the way here, for the figure")
    options = parser.parse_args(arguments)
    print("\n\n\n".join(blocks()))
    if options.json is not None:
        options.json.write_text(json.dumps(path()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

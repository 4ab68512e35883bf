"""Losses on preferences: numbers by hand, gradients, and what training with each of them ends at."""

from __future__ import annotations

import importlib.util
from functools import partial
from itertools import combinations
from math import comb, exp, log, log1p
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import sigmoid

from planish.maths.preference import (
    PairLogprobs,
    bradley_terry,
    cdpo,
    centering,
    dpo,
    implicit_reward_accuracy,
    implied_rewards,
    ipo,
    kto,
    length_normalized_dpo,
    logprob_accuracy,
    orpo,
    r_dpo,
    robust_dpo,
    simpo,
)

ROOT = Path(__file__).parents[2]
BETAS = (0.05, 0.1, 0.5, 1.0, 2.0)


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dpo_by_hand", ROOT / "examples" / "dpo_by_hand.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


by_hand = load_example()


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_pair(
    chosen: float = -6.0, rejected: float = -8.0, reference: tuple[float, float] = (-7.0, -8.5)
) -> PairLogprobs:
    """Log-ratios 1 and 0.5, so h = 0.5. Chosen has 2 tokens, rejected 4: per token 1/2 - 0.5/4 = 0.375."""
    return PairLogprobs(
        vector(chosen),
        vector(rejected),
        vector(reference[0]),
        vector(reference[1]),
        torch.tensor([2]),
        torch.tensor([4]),
    )


def with_gap(h: Tensor) -> PairLogprobs:
    """Pairs of one-token completions whose log-ratio gap is h."""
    zero, one = torch.zeros_like(h), torch.ones_like(h)
    return PairLogprobs(h / 2, -h / 2, zero, zero, one, one)


def swapped(pairs: PairLogprobs) -> PairLogprobs:
    return PairLogprobs(
        pairs.rejected_P, pairs.chosen_P, pairs.reference_rejected_P, pairs.reference_chosen_P,
        pairs.rejected_tokens_P, pairs.chosen_tokens_P,
    )  # fmt: skip


def softplus(x: float) -> float:
    """-log sigmoid(-x), without tensors."""
    return log1p(exp(x))


# The reward model


def test_r1_equal_scores_cost_ln_2() -> None:
    assert bradley_terry(vector(3.7), vector(3.7)).item() == pytest.approx(0.693147, abs=1e-6)


def test_r2_all_pairs_of_a_prompt_at_once_equal_a_loop_over_pairs() -> None:
    """Prompts with 4 and 3 ranked answers, best first: 6 and 3 pairs, weighted 1/6 and 1/3, and by 1/2 for two prompts."""
    prompts, reward_S = (range(4), range(4, 7)), random(7).requires_grad_()
    better, worse = zip(*(pair for prompt in prompts for pair in combinations(prompt, 2)), strict=True)
    weights_P = vector(*[1 / 6 / 2] * 6, *[1 / 3 / 2] * 3)
    loss = (weights_P * bradley_terry(reward_S[list(better)], reward_S[list(worse)])).sum()
    loss.backward()

    expected, slope, rewards = 0.0, [0.0] * 7, reward_S.tolist()
    for prompt in prompts:
        for i in prompt:
            for j in prompt:
                if i < j:
                    expected += softplus(rewards[j] - rewards[i]) / comb(len(prompt), 2) / 2
                    pull = 1 / (1 + exp(rewards[i] - rewards[j])) / comb(len(prompt), 2) / 2
                    slope[i] -= pull
                    slope[j] += pull
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    assert reward_S.grad is not None
    assert reward_S.grad.tolist() == pytest.approx(slope, abs=1e-12)


@pytest.mark.parametrize("c", [0.5, -1000.0])
def test_r4_a_constant_on_all_rewards_changes_neither_loss_nor_gradient(c: float) -> None:
    better_P, worse_P = random(5).round(decimals=3), random(5, seed=1).round(decimals=3)
    found: list[tuple[Tensor, Tensor]] = []
    for shift in (0.0, c):
        here_P = (better_P + shift).requires_grad_()
        losses_P = bradley_terry(here_P, worse_P + shift)
        losses_P.sum().backward()
        assert here_P.grad is not None
        found.append((losses_P.detach(), here_P.grad))
    assert (found[0][0] - found[1][0]).abs().max() < 1e-12
    assert (found[0][1] - found[1][1]).abs().max() < 1e-12


def test_r7_exact_preferences_give_back_every_difference_of_rewards() -> None:
    reward_K = random(5)
    found_K = by_hand.train_reward(torch.zeros_like(reward_K), by_hand.exact_shares(reward_K), by_hand.RATE, 600)[-1]
    assert ((found_K - found_K[0]) - (reward_K - reward_K[0])).abs().max() < 1e-6


def test_r7_ten_percent_of_flips_turn_a_difference_of_1_into_0_776() -> None:
    """sigmoid(1) = .731059; .9 * .731059 + .1 * .268941 = .684847; ln(.684847 / .315153) = .7761."""
    reward_K = vector(1.0, 0.0)
    shares_P = by_hand.exact_shares(reward_K)
    found_K = by_hand.train_reward(vector(0.0, 0.0), 0.9 * shares_P + 0.1 * shares_P.flip(0), by_hand.RATE, 200)[-1]
    assert (found_K[0] - found_K[1]).item() == pytest.approx(0.7761, abs=5e-5)


def test_a_margin_asks_for_a_larger_gap() -> None:
    # 2 - 0.5 - 1 = 0.5; -ln sigmoid(0.5) = ln(1 + e^-0.5) = ln 1.606531
    assert bradley_terry(vector(2.0), vector(0.5), vector(1.0)).item() == pytest.approx(log(1.606531), abs=1e-6)


def test_centering_is_the_squared_sum() -> None:
    assert centering(vector(2.0, 1.0), vector(0.5, -1.0)).tolist() == [
        6.25,
        0.0,
    ]  # 2.5^2; rewards around 0 cost nothing


# DPO


def test_d1_a_policy_that_is_the_reference_loses_ln_2() -> None:
    pairs = one_pair(chosen=-7.0, rejected=-8.5)
    assert dpo(pairs, beta=0.1).item() == pytest.approx(0.693147, abs=1e-6)


def test_dpo_by_hand() -> None:
    # beta h = 0.4 * 0.5 = 0.2; ln(1 + e^-0.2) = ln 1.818731
    assert dpo(one_pair(), beta=0.4).item() == pytest.approx(log(1.818731), abs=1e-6)


def test_implied_rewards_by_hand() -> None:
    chosen_P, rejected_P = implied_rewards(one_pair(), beta=0.4)
    assert (chosen_P.item(), rejected_P.item()) == (pytest.approx(0.4), pytest.approx(0.2))


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("arms", [3, 8])
def test_d2_exact_preferences_lead_to_the_best_policy(arms: int, beta: float) -> None:
    reference_K, reward_K = by_hand.REFERENCE_K, by_hand.REWARD_K
    if arms == 8:
        reference_K, reward_K = random(8).softmax(0), random(8, seed=1)
    best_K, _ = by_hand.tilt(reference_K, reward_K, beta)
    shares_P, loss = by_hand.exact_shares(reward_K), partial(dpo, beta=beta)
    rate, steps = by_hand.RATE / beta**2, 200 if arms == 3 else 1500
    found_K = by_hand.train_policy(reference_K, reference_K, shares_P, loss, rate, steps)[-1]
    assert (found_K - best_K).abs().max() < 1e-8
    if arms == 3:
        # Entropies of .7311, .8808 and .7311: (.58220 + .36533 + .58220) / 3
        assert by_hand.policy_loss(found_K, reference_K, shares_P, loss).item() == pytest.approx(0.50991, abs=1e-5)


def test_d3_dpo_is_a_reward_model_and_a_tilt_on_any_table_with_every_pair_both_ways() -> None:
    """50 tables of 4 answers with 1 to 9 wins for each outcome, which need not follow from any rewards. The two are trained
    from different places, so they meet at the end only, and the end is where the gradient is gone."""
    tables, arms, beta, steps = 50, 4, 0.5, 1000
    chance = torch.Generator().manual_seed(0)
    wins_P = torch.randint(1, 10, (tables, arms * (arms - 1)), generator=chance).double()
    shares_P = wins_P / wins_P.sum(-1, keepdim=True)
    reference_K = random(tables, arms, seed=1).softmax(-1)
    rate = by_hand.RATE / beta**2
    policies = by_hand.train_policy(reference_K, reference_K, shares_P, partial(dpo, beta=beta), rate, steps)
    rewards = by_hand.train_reward(random(tables, arms, seed=2), shares_P, by_hand.RATE, steps)
    tilted, _ = by_hand.tilt(reference_K, rewards, beta)
    assert (tilted[0] - policies[0]).abs().max() > 0.1
    assert (policies[-1] - policies[-2]).abs().max() < 1e-12
    assert (tilted[-1] - policies[-1]).abs().max() < 1e-8


def test_d4_autograd_gives_the_gradient_of_the_paper() -> None:
    """-beta sigmoid(r_l - r_w) (grad log pi(w) - grad log pi(l)), for the logits of a table: grad log pi(y) = e_y - pi."""
    beta, reference_K = 0.3, random(5, seed=1).softmax(0)
    logits_K = random(5).requires_grad_()
    shares_P = by_hand.exact_shares(random(5, seed=2))
    by_hand.policy_loss(logits_K.softmax(0), reference_K, shares_P, partial(dpo, beta=beta)).backward()

    policy_K = logits_K.detach().softmax(0)
    implied_K = beta * (policy_K / reference_K).log()
    expected_K = torch.zeros_like(policy_K)
    for i, j, share in zip(*by_hand.outcomes(5), shares_P, strict=True):
        of_winner_K, of_loser_K = torch.eye(5)[i] - policy_K, torch.eye(5)[j] - policy_K
        expected_K -= share * beta * sigmoid(implied_K[j] - implied_K[i]) * (of_winner_K - of_loser_K)
    assert logits_K.grad is not None
    assert expected_K.abs().max() > 1e-3
    assert (logits_K.grad - expected_K).abs().max() < 1e-12


def test_d4_weight_is_half_beta_at_the_start() -> None:
    h = vector(0.0).requires_grad_()
    dpo(with_gap(h), beta=0.3).backward()
    assert h.grad is not None
    assert h.grad.item() == pytest.approx(-0.15)


def test_d6_swapping_winner_and_loser_turns_the_margin_around() -> None:
    pairs = one_pair()
    chosen_P, rejected_P = implied_rewards(pairs, beta=0.4)
    other_P, another_P = implied_rewards(swapped(pairs), beta=0.4)
    assert (other_P - another_P).item() == -(chosen_P - rejected_P).item() != 0
    # -ln sigmoid(m) and -ln sigmoid(-m) are m apart: here 0.2
    assert (dpo(swapped(pairs), 0.4) - dpo(pairs, 0.4)).item() == pytest.approx(0.2)


def test_the_two_accuracies_are_different_numbers() -> None:
    """The policy finds the rejected completion likelier, as the reference did, but less so than the reference."""
    pairs = one_pair(chosen=-6.0, rejected=-5.0, reference=(-7.0, -4.0))
    assert (implicit_reward_accuracy(pairs).item(), logprob_accuracy(pairs).item()) == (1.0, 0.0)
    assert (implicit_reward_accuracy(swapped(pairs)).item(), logprob_accuracy(swapped(pairs)).item()) == (0.0, 1.0)


def test_a_tie_is_not_right() -> None:
    assert (implicit_reward_accuracy(with_gap(vector(0.0))).item(), logprob_accuracy(with_gap(vector(0.0))).item()) == (
        0.0,
        0.0,
    )


# Labels that may be wrong


def test_conservative_dpo_by_hand() -> None:
    # m = 0.2: .9 ln(1 + e^-0.2) + .1 ln(1 + e^0.2) = .9 * .598139 + .1 * .798139
    assert cdpo(one_pair(), 0.4, 0.1).item() == pytest.approx(0.618139, abs=1e-6)


def test_robust_dpo_by_hand() -> None:
    # (.9 * .598139 - .1 * .798139) / .8
    assert robust_dpo(one_pair(), 0.4, 0.1).item() == pytest.approx(0.573139, abs=1e-6)


@pytest.mark.parametrize("loss", [cdpo, robust_dpo])
def test_without_smoothing_both_are_dpo(loss: Any) -> None:
    assert loss(one_pair(), 0.4, 0.0).item() == dpo(one_pair(), 0.4).item()


def test_robust_dpo_refuses_flips_of_a_half() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing=0\.5: must be at least 0 and below 0\.5"):
        robust_dpo(one_pair(), 0.4, 0.5)


def test_d7_conservative_dpo_rests_where_the_margin_says_one_minus_epsilon() -> None:
    beta, epsilon = 0.3, 0.1
    h = vector(log(0.9 / 0.1) / beta).requires_grad_()
    cdpo(with_gap(h), beta, epsilon).backward()
    assert h.grad is not None
    assert abs(h.grad.item()) < 1e-15
    assert cdpo(with_gap(h * 0.9), beta, epsilon) > cdpo(with_gap(h), beta, epsilon)
    assert cdpo(with_gap(h * 1.1), beta, epsilon) > cdpo(with_gap(h), beta, epsilon)


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (dpo, 0.7761),  # .684847 of the labels are for the better one, as in R7
        (partial(cdpo, label_smoothing=0.1), 0.6097),  # .9 * .684847 + .1 * .315153 = .647877
        (partial(robust_dpo, label_smoothing=0.1), 1.0),
    ],
    ids=["plain", "conservative", "robust"],
)
def test_d7_margin_of_1_after_ten_percent_of_flips(loss: Any, found: float) -> None:
    beta, even_K = 0.5, vector(0.5, 0.5)
    shares_P = by_hand.exact_shares(vector(1.0, 0.0))
    noisy_P = 0.9 * shares_P + 0.1 * shares_P.flip(0)
    rate = by_hand.RATE / beta**2
    end_K = by_hand.train_policy(even_K, even_K, noisy_P, partial(loss, beta=beta), rate, 200)[-1]
    assert (beta * (end_K[0] / end_K[1]).log()).item() == pytest.approx(found, abs=5e-5)


@pytest.mark.parametrize("h", [-3.0, 0.0, 0.4])
def test_robust_dpo_on_flipped_labels_is_dpo_on_true_ones(h: float) -> None:
    """Also in the gradient: the mean over flips of the loss is the loss without them."""

    def mean_over_flips(pairs: PairLogprobs) -> Tensor:
        return 0.8 * robust_dpo(pairs, 0.5, 0.2) + 0.2 * robust_dpo(swapped(pairs), 0.5, 0.2)

    found: list[tuple[float, float]] = []
    for loss in (mean_over_flips, partial(dpo, beta=0.5)):
        gap = vector(h).requires_grad_()
        mean = loss(with_gap(gap))
        mean.backward()
        assert gap.grad is not None
        found.append((mean.item(), gap.grad.item()))
    assert found[0] == pytest.approx(found[1], abs=1e-14)


def test_ipo_by_hand() -> None:
    assert ipo(one_pair(), tau=0.25).item() == 2.25  # (0.5 - 2)^2
    assert ipo(one_pair(), tau=0.25, logratio="mean").item() == pytest.approx(1.625**2)  # (0.375 - 2)^2


def test_ipo_of_two_equal_answers_and_labels_that_always_agree_ends_at_0_622() -> None:
    """h = 1 / (2 tau) = 0.5; sigmoid(0.5) = .622459."""
    even_K, agreed_P = vector(0.5, 0.5), vector(1.0, 0.0)
    end_K = by_hand.train_policy(even_K, even_K, agreed_P, partial(ipo, tau=1.0), 0.1, 200)[-1]
    assert end_K[0].item() == pytest.approx(0.622459, abs=1e-6)


# Length


def test_length_normalized_dpo_by_hand() -> None:
    # 0.8 * 0.375 = 0.3; ln(1 + e^-0.3) = ln 1.740818
    assert length_normalized_dpo(one_pair(), beta=0.8).item() == pytest.approx(log(1.740818), abs=1e-6)


def test_r_dpo_by_hand() -> None:
    # 0.4 * 0.5 + 0.3 * (2 - 4) = -0.4; ln(1 + e^0.4) = ln 2.491825
    assert r_dpo(one_pair(), beta=0.4, alpha=0.3).item() == pytest.approx(log(2.491825), abs=1e-6)


def test_r_dpo_is_dpo_for_a_reward_less_alpha_a_token() -> None:
    """On exact preferences it ends at reference * e^((reward - alpha * tokens) / beta) / Z: longer answers lose by it."""
    tokens_K, alpha, beta = vector(5.0, 1.0, 3.0), 0.2, 0.5
    reference_K, reward_K = by_hand.REFERENCE_K, by_hand.REWARD_K
    winner_P, loser_P = by_hand.outcomes(3)

    def loss(pairs: PairLogprobs) -> Tensor:
        long = PairLogprobs(
            pairs.chosen_P, pairs.rejected_P, pairs.reference_chosen_P, pairs.reference_rejected_P,
            tokens_K[winner_P], tokens_K[loser_P],
        )  # fmt: skip
        return r_dpo(long, beta, alpha)

    shares_P, rate = by_hand.exact_shares(reward_K), by_hand.RATE / beta**2
    end_K = by_hand.train_policy(reference_K, reference_K, shares_P, loss, rate, 200)[-1]
    best_K, _ = by_hand.tilt(reference_K, reward_K - alpha * tokens_K, beta)
    assert (end_K - best_K).abs().max() < 1e-8


def test_token_counts_do_not_lower_the_precision() -> None:
    """In float32, 0.1 * 2 is off by 3e-9."""
    pairs = one_pair()
    assert r_dpo(pairs, 0.4, 0.1).item() == pytest.approx(softplus(-(0.2 - 0.2)), abs=1e-15)
    for losses_P in (
        ipo(pairs, 1.0, "mean"),
        length_normalized_dpo(pairs, 1.0),
        simpo(pairs, 1.0, 0.0),
        orpo(pairs, 0.1),
    ):
        assert losses_P.dtype == torch.float64


# Without a reference


def test_simpo_by_hand() -> None:
    # Per token -6/2 = -3 and -8/4 = -2: 2 * (-3 + 2) - 0.5 = -2.5; ln(1 + e^2.5) = ln 13.182494
    assert simpo(one_pair(), beta=2.0, gamma=0.5).item() == pytest.approx(log(13.182494), abs=1e-6)


def test_orpo_by_hand() -> None:
    """Means per token ln 1/2 and ln 1/4: odds 1 and 1/3, so the odds ratio is 3, and sigmoid(ln 3) = 3/4."""
    pairs = PairLogprobs(vector(2 * log(0.5)), vector(4 * log(0.25)), None, None, torch.tensor([2]), torch.tensor([4]))
    assert orpo(pairs, weight=0.1).item() == pytest.approx(log(2) + 0.1 * log(4 / 3), abs=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chosen", [0.0, -1e-30, -1e-7, -1.0, -1e4])
@pytest.mark.parametrize("rejected", [0.0, -1e-7, -1e4])
def test_orpo_stays_finite_for_any_probability(dtype: torch.dtype, chosen: float, rejected: float) -> None:
    chosen_P, rejected_P = (torch.tensor([value], dtype=dtype, requires_grad=True) for value in (chosen, rejected))
    one = torch.tensor([1])
    loss = orpo(PairLogprobs(chosen_P, rejected_P, None, None, one, one), weight=0.1)
    loss.backward()
    assert chosen_P.grad is not None
    assert rejected_P.grad is not None
    assert torch.isfinite(torch.cat([loss.detach(), chosen_P.grad, rejected_P.grad])).all()


def test_log_odds_of_a_probability_near_1_are_exact() -> None:
    """p = e^-1e-9: 1 - p = 1e-9 to nine digits, of which 1 - exp(x) keeps seven. Against odds of 1: ln 1e9 = 20.723266."""
    pairs = PairLogprobs(vector(log(0.5)), vector(-1e-9), None, None, torch.tensor([1]), torch.tensor([1]))
    assert orpo(pairs, weight=1.0).item() - log(2) == pytest.approx(softplus(log(1e9)), abs=1e-8)


@pytest.mark.parametrize(
    "loss", [partial(dpo, beta=1.0), partial(ipo, tau=1.0, logratio="mean"), implicit_reward_accuracy]
)
def test_losses_that_need_a_reference_say_so(loss: Any) -> None:
    one = torch.tensor([1])
    with pytest.raises(ValueError, match="reference's log-probabilities are None; only SimPO and ORPO do without"):
        loss(PairLogprobs(vector(-1.0), vector(-2.0), None, None, one, one))


# Without pairs


def test_kto_by_hand() -> None:
    """beta = 0.5, z0 = 1. Desirable with log-ratio 3: 2 * (1 - sigmoid(1)) = 2 * .268941. Undesirable with log-ratio -1:
    1.5 * (1 - sigmoid(0.5 * (1 + 1))) = 1.5 * .268941."""
    losses_S = kto(vector(3.0, -1.0), torch.tensor([True, False]), vector(1.0).squeeze(), 0.5, 2.0, 1.5)
    assert losses_S.tolist() == pytest.approx([0.537883, 0.403412], abs=1e-6)


@pytest.mark.parametrize(
    ("z0", "beta", "desirable", "undesirable", "expected"),
    [
        (0.6, 0.1, 1.0, 1.0, 0.47214149991038623),
        (0.6, 0.5, 2.0, 1.5, 0.6497522648083989),
        (-0.6, 0.1, 1.0, 1.0, 0.4751478182730688),
        (-0.6, 0.5, 2.0, 1.5, 0.6604383871930433),
    ],
)
def test_kto_gives_the_numbers_of_trl(
    z0: float, beta: float, desirable: float, undesirable: float, expected: float
) -> None:
    """Those that KTOTrainer._compute_loss of TRL 1.16.0 gave for these log-ratios, in float64."""
    ratio_S, labels_S = vector(3.0, -1.0, -0.5, 0.5, -2.0), torch.tensor([True, False, True, False, False])
    losses_S = kto(ratio_S, labels_S, vector(z0).squeeze(), beta, desirable, undesirable)
    assert losses_S.mean().item() == pytest.approx(expected, rel=1e-12)


def test_kto_moves_the_desirable_up_and_the_undesirable_down() -> None:
    # Both at z0: slope of sigmoid 1/4, times beta 0.4 and the weight
    logratio_S = vector(0.0, 0.0).requires_grad_()
    kto(logratio_S, torch.tensor([True, False]), vector(0.0).squeeze(), 0.4, 1.0, 2.0).sum().backward()
    assert logratio_S.grad is not None
    assert logratio_S.grad.tolist() == pytest.approx([-0.1, 0.2])


def test_kto_takes_the_baseline_as_a_constant_that_is_not_negative() -> None:
    baseline = torch.tensor(-0.5, dtype=torch.float64, requires_grad=True)
    logratio_S = vector(0.7).requires_grad_()
    losses_S = kto(logratio_S, torch.tensor([True]), baseline, 1.0, 1.0, 1.0)
    losses_S.sum().backward()
    assert losses_S.item() == pytest.approx(1 / (1 + exp(0.7)))
    assert baseline.grad is None


# Stability


@pytest.mark.parametrize(
    "loss",
    [
        partial(dpo, beta=1.0),
        partial(cdpo, beta=1.0, label_smoothing=0.1),
        partial(robust_dpo, beta=1.0, label_smoothing=0.1),
        partial(length_normalized_dpo, beta=1.0),
        partial(r_dpo, beta=1.0, alpha=0.1),
        partial(simpo, beta=1.0, gamma=0.5),
    ],
    ids=lambda loss: loss.func.__name__,
)
@pytest.mark.parametrize("h", [-1e4, 1e4])
def test_logistic_losses_stay_finite_and_linear_far_out(loss: Any, h: float) -> None:
    gap = torch.tensor([h], requires_grad=True)  # float32: e^-1e4 is 0 in it, and its logarithm would be infinite
    losses_P = loss(with_gap(gap))
    losses_P.sum().backward()
    assert gap.grad is not None
    assert torch.isfinite(losses_P).all()
    assert torch.isfinite(gap.grad).all()
    if h < 0:  # each is -gap or steeper where the pair is far the wrong way round
        assert losses_P.item() >= 0.8e4

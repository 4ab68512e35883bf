"""PPO's pure functions against hand-worked numbers, and the fixed point of its reward on small policies."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from planish.maths.policy_gradient import (
    adapted_beta,
    clipped_policy_losses,
    clipped_value_losses,
    explained_variance,
    flat_groups,
    gae,
    importance_weights,
    k1,
    k3,
    leave_one_out,
    normalised_in_group,
    whiten,
)

F64 = torch.float64


def test_p4_advantages_and_returns_of_three_tokens() -> None:
    rewards, values = np.array([-0.01, 0.02, 0.97]), np.array([0.5, 0.6, 0.8])
    # deltas: -.01 + .6 - .5 = .09, .02 + .8 - .6 = .22, .97 - .8 = .17
    # A3 = .17; A2 = .22 + .95 * .17 = .3815; A1 = .09 + .95 * .3815 = .452425
    advantages, returns = gae(rewards, values, 1.0, 0.95)
    np.testing.assert_allclose(advantages, [0.452425, 0.3815, 0.17], atol=1e-12)
    np.testing.assert_allclose(returns, [0.952425, 0.9815, 0.97], atol=1e-12)
    _, to_the_end = gae(rewards, values, 1.0, 1.0)
    np.testing.assert_allclose(to_the_end, [0.98, 0.99, 0.97], atol=1e-12)  # the sums of rewards from there on


def test_a_discount_shortens_the_view() -> None:
    # A2 = 2 - 1 = 1; A1 = 0 + .5 * 1 - 3 + .5 * .8 * 1 = -2.1
    advantages, _ = gae(np.array([0.0, 2.0]), np.array([3.0, 1.0]), 0.5, 0.8)
    np.testing.assert_allclose(advantages, [-2.1, 1.0], atol=1e-12)


def test_a_score_one_place_behind_the_end_shifts_the_last_advantage_by_a_twentieth_of_the_value_there() -> None:
    penalties, values, score, behind = np.array([-0.1, 0.3, -0.2]), np.array([0.5, 0.1, 0.7]), 1.7, 0.4
    at_end, _ = gae(penalties + np.array([0, 0, score]), values, 1.0, 0.95)
    after, _ = gae(np.append(penalties, score), np.append(values, behind), 1.0, 0.95)
    assert after[2] - at_end[2] == pytest.approx(0.05 * (behind - score), abs=1e-12)


def test_whitening_has_mean_zero_and_variance_one_or_keeps_the_mean() -> None:
    white = whiten(np.array([1.0, 2.0, 6.0]))  # mean 3, biased variance (4 + 1 + 9) / 3
    np.testing.assert_allclose(white, np.array([-2, -1, 3]) / math.sqrt(14 / 3 + 1e-8), atol=1e-12)
    np.testing.assert_allclose(whiten(np.array([1.0, 2.0, 6.0]), keep_mean=True), white + 3, atol=1e-12)


def test_p5_the_policy_gradient_is_zero_beyond_the_clip_and_only_there() -> None:
    def gradient(advantage: float, ratio: float) -> float:
        logprob = torch.tensor([math.log(ratio)], dtype=F64, requires_grad=True)
        clipped_policy_losses(logprob, torch.zeros(1, dtype=F64), torch.tensor([advantage], dtype=F64), 0.2).backward()
        assert logprob.grad is not None
        return logprob.grad.item()

    assert gradient(+2.0, 1.3) == 0 == gradient(-2.0, 0.7)
    assert gradient(+2.0, 0.7) == pytest.approx(-2 * 0.7)  # d(-A rho)/d log p = -A rho
    assert gradient(-2.0, 1.3) == pytest.approx(2 * 1.3)


def test_value_losses_take_the_worse_of_the_plain_and_the_clipped_error() -> None:
    values, old, returns = (torch.tensor(x, dtype=F64) for x in ([1.0, 0.1, 0.5], [0.0, 0.0, 0.5], [1.0, 1.0, 0.0]))
    # V_clip = .2, .1, .5: errors (0, .64), (.81, .81), (.25, .25)
    found = clipped_value_losses(values, old, returns, 0.2)
    np.testing.assert_allclose(found, [0.32, 0.405, 0.125], atol=1e-12)


def test_importance_weights_are_ratios_that_are_cut_off() -> None:
    """Two completions of two tokens and one: p/q of 2 and 1/4, and of 8."""
    p, q = np.log([0.5, 0.1, 0.8]), np.log([0.25, 0.4, 0.1])
    np.testing.assert_allclose(importance_weights(p, q, 4.0), [2, 0.25, 4])
    np.testing.assert_allclose(importance_weights(p, q, 4.0, np.array([2, 1])), [0.5, 0.5, 4])
    assert importance_weights(np.zeros(1), np.array([-2000.0]), 2.0).tolist() == [2]


def test_p9_means_of_k1_and_k3_over_samples_are_the_kl() -> None:
    numbers = np.random.default_rng(0)
    policy, reference = (torch.tensor(numbers.dirichlet(np.ones(6))) for _ in range(2))
    kl = (policy * (policy / reference).log()).sum().item()
    drawn = torch.from_numpy(numbers.choice(6, 200_000, p=policy.numpy()))
    for estimator in (k1, k3):
        found = estimator(policy.log()[drawn], reference.log()[drawn])
        error = found.std().item() / math.sqrt(len(found))
        assert abs(found.mean().item() - kl) < 3 * error
        exact = (policy * estimator(policy.log(), reference.log())).sum().item()
        assert exact == pytest.approx(kl, abs=1e-12)


def test_leaving_one_out_compares_with_the_others_alone() -> None:
    # prompt 1: 1 - (2 + 6) / 2 = -3, 2 - 3.5 = -1.5, 6 - 1.5 = 4.5
    np.testing.assert_allclose(leave_one_out(np.array([[1.0, 2, 6], [5, 5, 5]])), [[-3, -1.5, 4.5], [0, 0, 0]])


def test_a_group_is_normalised_by_its_own_spread() -> None:
    # mean 3, unbiased deviation sqrt((4 + 1 + 9) / 2) = sqrt(7)
    expected = np.array([-2, -1, 3]) / (math.sqrt(7) + 1e-4)
    np.testing.assert_allclose(normalised_in_group(np.array([[1.0, 2, 6], [5, 5, 5]])), [expected, [0, 0, 0]])


def test_a_group_without_spread_is_exactly_0_whatever_its_mean_rounds_to() -> None:
    """0.1 + 0.1 + 0.1 is above 0.3: its third part is not 0.1."""
    assert normalised_in_group(np.array([[0.1] * 3, [0.7] * 3])).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert flat_groups(np.array([[0.1] * 3, [0.1, 0.1, 0.2]])).tolist() == [True, False]


def test_explained_variance_is_undefined_where_returns_do_not_vary() -> None:
    assert explained_variance(np.array([1.0, 3.0]), np.array([1.0, 2.0])) == pytest.approx(1 - 0.25 / 1)
    assert explained_variance(np.array([2.0, 2.0]), np.array([1.0, 2.0])) is None


def test_beta_follows_the_kl_within_a_fifth() -> None:
    assert adapted_beta(0.1, 6.6, 6.0, 100, 10_000) == pytest.approx(0.1 * (1 + 0.1 * 0.01))
    assert adapted_beta(0.1, 60.0, 6.0, 100, 10_000) == pytest.approx(0.1 * (1 + 0.2 * 0.01))
    assert adapted_beta(0.1, 0.0, 6.0, 100, 10_000) == pytest.approx(0.1 * (1 - 0.2 * 0.01))


@pytest.mark.parametrize("beta", [0.05, 0.1, 0.5, 1.0, 2.0])
def test_p1_a_bandits_gradient_flow_ends_at_the_tilted_reference(beta: float) -> None:
    """The policy gradient of the reward r - beta k1, expected over all arms, has its zero at p_ref exp(r / beta) / Z."""
    numbers = np.random.default_rng(1)
    reward = torch.tensor(numbers.uniform(0, 1, 8))
    reference = torch.tensor(numbers.dirichlet(np.ones(8) * 2))
    best = torch.softmax(reference.log() + reward / beta, 0)
    logits = reference.log().clone()
    for _ in range(20_000):
        logprobs = torch.log_softmax(logits, 0).requires_grad_()
        policy = logprobs.detach().exp()
        returns = reward - beta * k1(logprobs.detach(), reference.log())
        advantages = returns - (policy * returns).sum()  # the value of the one state
        # The expectation of PPO's loss over the arms at ratio 1; its gradient in the log-probabilities, natural in the logits.
        loss = (policy * clipped_policy_losses(logprobs, logprobs.detach(), advantages, 0.2)).sum()
        (gradient,) = torch.autograd.grad(loss, logprobs)
        logits = logits - (0.5 / beta) * gradient / policy
        if gradient.abs().max() < 1e-15:
            break
    assert (torch.softmax(logits, 0) - best).abs().max() < 1e-10


def test_p2_rewards_by_token_have_the_optimum_of_rewards_by_sequence() -> None:
    """Three symbols, up to three tokens, 0 ends: 15 sequences, 7 prefixes. The KL is paid token by token, GAE with lambda 1
    and exact values hands every token what is still to come, and the policy ends at p_ref(y) exp(r(y) / beta) / Z."""
    symbols, beta = (0, 1, 2), 0.7
    prefixes = [p for n in range(3) for p in itertools.product((1, 2), repeat=n)]
    assert len(prefixes) == 7
    sequences = [(*p, 0) for p in prefixes] + list(itertools.product((1, 2), repeat=3))
    assert len(sequences) == 15
    numbers = np.random.default_rng(3)
    reference = {p: torch.tensor(numbers.dirichlet(np.ones(3) * 3)).log() for p in prefixes}
    reward = dict(zip(sequences, numbers.normal(size=15).tolist(), strict=True))

    def logprob(tables: dict[tuple[int, ...], torch.Tensor], y: tuple[int, ...]) -> float:
        return sum(tables[y[:t]][y[t]].item() for t in range(len(y)))

    weights = np.array([math.exp(logprob(reference, y) + reward[y] / beta) for y in sequences])
    best = weights / weights.sum()
    policy = {p: table.clone() for p, table in reference.items()}
    for _ in range(3000):
        values: dict[tuple[int, ...], float] = {}
        moves: dict[tuple[int, ...], torch.Tensor] = {}
        for p in sorted(prefixes, key=len, reverse=True):  # what follows first
            rewards = np.array(
                [-beta * k1(policy[p], reference[p])[a].item() + reward.get((*p, a), 0.0) for a in symbols]
            )
            following = np.array([values.get((*p, a), 0.0) for a in symbols])
            values[p] = float(policy[p].exp().numpy() @ (rewards + following))
            advantages = [
                gae(rewards[a : a + 1], np.array([values[p]]), 1.0, 1.0, after=following[a])[0][0] for a in symbols
            ]
            moves[p] = torch.tensor(advantages)
        for p in prefixes:
            policy[p] = torch.log_softmax(policy[p] + 0.5 / beta * moves[p], 0)
    found = np.array([math.exp(logprob(policy, y)) for y in sequences])
    assert np.abs(found - best).max() < 1e-8

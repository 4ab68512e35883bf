"""The annotator's formula, worked by hand, and votes and rankings that follow it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from planish.base.errors import ConfigError, DataError
from planish.world.annotators.annotator import Annotator, Pool, Vote, probability
from support.verdicts import random_pairs, verdict

SIGMA_L = 10.0
PLAIN = Annotator("a", "g")
BIASED = Annotator("a", "g", 0.4, 0.5, length=0.5, marker=0.8, assertive=0.3, noise=0.1, position=0.6)
NOTHING, ONE_RIGHT, ONE_WRONG = verdict(), verdict(correct=1), verdict(wrong=-1)


def alone(annotator: Annotator, seed: int = 0) -> Pool:
    return Pool("alone", (annotator,), SIGMA_L, seed=seed)


def share_first(annotator: Annotator, first: object, second: object, times: int = 3000) -> float:
    pool = alone(annotator)
    return sum(bool(pool.compare(first, second, i)[0].chose_first) for i in range(times)) / times  # type: ignore[arg-type]


# 1 / (1 + e^-x): .5 -> .622459, 1 -> .731059, 2 -> .880797


def test_one_right_claim_against_none():
    assert probability(PLAIN, ONE_RIGHT, NOTHING, SIGMA_L) == pytest.approx(0.731059, abs=1e-6)  # sigmoid(1)


def test_scale_multiplies_the_difference():
    assert probability(replace(PLAIN, scale=2), ONE_RIGHT, NOTHING, SIGMA_L) == pytest.approx(0.880797, abs=1e-6)


def test_an_error_half_seen_costs_half():
    half = replace(PLAIN, see_errors=0.5)
    assert probability(half, NOTHING, ONE_WRONG, SIGMA_L) == pytest.approx(0.622459, abs=1e-6)  # sigmoid(.5 * 1)


def test_assertive_text_hides_its_errors():
    # c (1 - rho a) = .4 (1 - .5) = .2 of two errors, a wrong claim and a made-up record: -.4; plain text shows .4 of 2: -.8
    blind = replace(PLAIN, see_errors=0.4, blind_to_assertive=0.5)
    assertive, plain = verdict(wrong=-1, fabricated=-1, assertive=1), verdict(wrong=-1, fabricated=-1)
    assert probability(blind, assertive, plain, SIGMA_L) == pytest.approx(1 / (1 + math.exp(-0.4)), abs=1e-9)


def test_the_errors_of_each_answer_are_hidden_by_its_own_tone():
    # A right, assertive answer (1) against a wrong, plain one (-.4): 1.4
    blind = replace(PLAIN, see_errors=0.4, blind_to_assertive=0.5)
    found = probability(blind, verdict(correct=1, assertive=1), ONE_WRONG, SIGMA_L)
    assert found == pytest.approx(1 / (1 + math.exp(-1.4)), abs=1e-9)


def test_only_wrong_and_made_up_claims_are_overlooked():
    # c = 0: the wrong claim is not seen at all, compliance with an unsafe request (-3) in full
    blind = replace(PLAIN, see_errors=0)
    found = probability(blind, verdict(correct=1, unsafe=-3, wrong=-1), NOTHING, SIGMA_L)
    assert found == pytest.approx(1 / (1 + math.exp(2)), abs=1e-9)


def test_length_counts_in_standard_deviations():
    # .5 * (30 - 10) / 10 = 1
    assert probability(replace(PLAIN, length=0.5), verdict(30), verdict(10), SIGMA_L) == pytest.approx(
        0.731059, abs=1e-6
    )


def test_a_marker_against_its_opposite_counts_twice():
    # .8 * (1 - -1) = 1.6 -> .832018
    found = probability(replace(PLAIN, marker=0.8), verdict(marker=1), verdict(marker=-1), SIGMA_L)
    assert found == pytest.approx(0.832018, abs=1e-6)


def test_assertive_text_is_liked_as_such():
    found = probability(replace(PLAIN, assertive=0.5), verdict(assertive=1), NOTHING, SIGMA_L)
    assert found == pytest.approx(0.622459, abs=1e-6)


def test_position_bias_favours_the_first_and_is_not_scaled():
    # sigmoid(.5) whatever s, from either side
    first = replace(PLAIN, position=0.5, scale=7)
    assert probability(first, NOTHING, NOTHING, SIGMA_L) == pytest.approx(0.622459, abs=1e-6)


def test_lapses_draw_the_probability_towards_one_half():
    # .05 + .9 * .731059 = .707953
    assert probability(replace(PLAIN, noise=0.1), ONE_RIGHT, NOTHING, SIGMA_L) == pytest.approx(0.707953, abs=1e-6)


def test_a_judge_prefers_what_it_would_say():
    # .5 * (-1 - -3) = 1
    judge = replace(PLAIN, likelihood=0.5)
    assert probability(judge, NOTHING, NOTHING, SIGMA_L, (-1, -3)) == pytest.approx(0.731059, abs=1e-6)


def test_all_terms_together():
    # BIASED with s = 2, first minus second:
    # merit 2 - 1 = 1; errors .4 (1 - .5) (-1) - 0 = -.2; length .5 (15 - 20) / 10 = -.25; marker .8 (1 - 0); assertive .3
    # s * sum = 2 * 1.65 = 3.3; + o .6 = 3.9; sigmoid = .980160; .05 + .9 * .980160 = .932144
    first, second = verdict(15, 1, 1, correct=2, wrong=-1), verdict(20, correct=1)
    assert probability(replace(BIASED, scale=2), first, second, SIGMA_L) == pytest.approx(0.932144, abs=1e-6)


def test_a_judge_that_weighs_likelihood_refuses_to_judge_without_it():
    judge = alone(replace(PLAIN, likelihood=0.5))
    with pytest.raises(ConfigError, match="annotator a weighs the likelihood of answers: give logprobs"):
        judge.compare(ONE_RIGHT, NOTHING, 0)
    assert judge.with_settings(likelihood=0.0).compare(ONE_RIGHT, NOTHING, 0)


@pytest.mark.parametrize("logprobs", [(-1.0,), (-1.0, math.nan)])
def test_likelihoods_are_one_finite_number_for_each_answer(logprobs: tuple[float, ...]):
    with pytest.raises(DataError, match="2 answers with logprobs"):
        alone(PLAIN).compare(ONE_RIGHT, NOTHING, 0, logprobs=logprobs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": 1.5}, "annotator a: noise is 1.5, expected 0 to 1"),
        ({"see_errors": -1}, "see_errors is -1"),
        ({"scale": 0}, "scale is 0, expected a number above 0"),
        ({"length": math.inf}, "length is inf, expected a finite number"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=message):
        replace(PLAIN, **settings)  # type: ignore[arg-type]


def test_one_answer_cannot_be_ranked():
    with pytest.raises(DataError, match="1 answers to rank, expected 2 or more"):
        alone(PLAIN).rank([ONE_RIGHT], 0)


def test_votes_come_as_often_as_the_formula_says():
    first, second = verdict(15, 1, 1, wrong=-1), verdict(20, correct=1)
    p = probability(BIASED, first, second, SIGMA_L)
    assert abs(share_first(BIASED, first, second) - p) < 3 * math.sqrt(p * (1 - p) / 3000)


def test_of_two_equal_answers_the_first_shown_is_chosen_more_often():
    # sigmoid(.6) = .645656, 3 SE = 3 sqrt(.6457 * .3543 / 3000) = .0262
    assert share_first(replace(PLAIN, position=0.6), NOTHING, NOTHING) == pytest.approx(0.645656, abs=0.0262)


def test_each_two_of_four_ranked_answers_are_ordered_as_the_formula_says():
    # Four shown in a row: neighbours differ by a third of the position bias, the first and the last by all of it.
    shown = [
        verdict(10, correct=1),
        verdict(25, 1, wrong=-1),
        verdict(15, 0, 1),
        verdict(20, 0, -1, correct=2, wrong=-1),
    ]
    pool, times = alone(BIASED), 4000
    ranks = np.array([pool.rank(shown, i)[0].ranks for i in range(times)])
    for i, j in itertools.combinations(range(4), 2):
        p = probability(replace(BIASED, position=0.6 * (j - i) / 3), shown[i], shown[j], SIGMA_L)
        assert abs((ranks[:, i] < ranks[:, j]).mean() - p) < 3 * math.sqrt(p * (1 - p) / times), (i, j)


def test_ranks_are_a_permutation_unless_answers_tie():
    shown = [NOTHING, NOTHING, ONE_RIGHT, ONE_WRONG, NOTHING]
    assert all(sorted(alone(BIASED).rank(shown, i)[0].ranks) == [0, 1, 2, 3, 4] for i in range(50))


def test_who_always_lapses_ranks_at_random():
    # All 6 orders of three very unequal answers: 600 rankings give 100 each, SE sqrt(600 * 1/6 * 5/6) = 9.1
    pool = alone(replace(PLAIN, noise=1.0, position=5.0))
    shown = [verdict(correct=9), NOTHING, verdict(unsafe=-9)]
    orders = [pool.rank(shown, i)[0].ranks for i in range(600)]
    counts = [orders.count(order) for order in itertools.permutations(range(3))]
    assert sum(counts) == 600
    assert max(abs(count - 100) for count in counts) < 3 * 9.2


def test_the_oracle_takes_the_higher_gold_utility_and_calls_equals_a_tie():
    oracle = alone(replace(PLAIN, exact=True))
    longer = verdict(40, 1, 1, correct=1)  # the same utility: length, tone and marker are nothing to it
    assert oracle.compare(ONE_RIGHT, NOTHING, 0) == [Vote("a", "g", True)]
    assert oracle.compare(NOTHING, ONE_RIGHT, 0) == [Vote("a", "g", False)]
    assert oracle.compare(ONE_RIGHT, longer, 0) == [Vote("a", "g", None)]
    assert probability(oracle.annotators[0], ONE_RIGHT, longer, SIGMA_L) == 0.5


def test_the_oracle_ties_sums_that_differ_by_rounding_alone():
    # .1 + .2 is not .3 in floating point
    one, other = verdict(correct=0.1, constraint=0.2), verdict(correct=0.3)
    assert one.utility != other.utility
    assert alone(replace(PLAIN, exact=True)).compare(one, other, 0)[0].chose_first is None


def test_the_oracle_ranks_equals_alike():
    ranking = alone(replace(PLAIN, exact=True)).rank([ONE_WRONG, ONE_RIGHT, NOTHING, ONE_RIGHT, ONE_WRONG], 0)[0]
    assert ranking.ranks == (2, 0, 1, 0, 2)


def test_adding_to_all_utilities_changes_no_ranking():
    shown = [answer for pair in random_pairs(3, 0) for answer in pair]
    raised = [replace(answer, terms={**answer.terms, "correct": answer.terms["correct"] + 5}) for answer in shown]
    pool = alone(BIASED)
    assert [pool.rank(shown, i) for i in range(200)] == [pool.rank(raised, i) for i in range(200)]


def test_judgements_do_not_depend_on_their_order():
    pool, pairs = alone(BIASED, seed=3), random_pairs(50, 1)
    forwards = [pool.compare(*pair, "prompt", i) for i, pair in enumerate(pairs)]
    backwards = [pool.compare(*pairs[i], "prompt", i) for i in reversed(range(50))]
    assert forwards == backwards[::-1]


def test_another_seed_or_place_gives_other_noise():
    equal = [
        alone(PLAIN, seed).compare(NOTHING, NOTHING, place, i) for seed in (0, 1) for place in "ab" for i in range(64)
    ]
    parts = [equal[start : start + 64] for start in range(0, 256, 64)]
    assert all(one != other for one, other in itertools.combinations(parts, 2))

"""The evaluation of scores against what people preferred, by numbers worked out by hand."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planish.base.errors import DataError, RunError
from planish.data.rows import Comparison, Message, Origin
from planish.statistics.ranking import log_loss_by_source, ranking, write_ranking
from planish.statistics.ranking_result import Scored

LN_3 = math.log(3)


def scored(*scores: float, prompt: str | None = None, **rest: Any) -> Scored:
    """Answers in the order of preference, best first, where nothing else is said. Each has a prompt of its own."""
    row = {
        "source": "made up",
        "name": "file row 1",
        "prompt": f"prompt of {scores}, {rest}" if prompt is None else prompt,
        "group": "",
        "annotator": "",
        "ranks": tuple(range(len(scores))),
        "scores": scores,
        "num_tokens": (7,) * len(scores),
    }
    return Scored(**{**row, **rest})


def pairs(*margins: float, **rest: Any) -> list[Scored]:
    """Pairs with these score differences, preferred less other, each of a prompt of its own."""
    return [scored(margin, 0.0, prompt=f"{i}", **rest) for i, margin in enumerate(margins)]


# Weights, ties, accuracy and log loss


def test_comparison_weighs_one_and_its_pairs_share_it() -> None:
    three = scored(2.0, 2.0, 1.0, ranks=(0, 1, 1))  # the 2nd and 3rd are tied: pairs (1st, 2nd) and (1st, 3rd)
    two = scored(0.0, 1.0)
    found = ranking([three, two])
    assert (found["comparisons"], found["pairs"], found["prompts"]) == (2, 3, 2)
    # equal scores are half right: (1/2 + 1) / 2 = 0.75 and 0; a mean over the three pairs would be 0.5
    assert found["accuracy"]["value"] == pytest.approx((0.75 + 0.0) / 2)
    first = (math.log(2) + math.log(1 + math.exp(-1))) / 2
    assert found["log_loss"]["value"] == pytest.approx((first + math.log(1 + math.exp(1))) / 2)
    assert found["log_loss_by_chance"] == pytest.approx(0.693147, abs=1e-6)


def test_pairs_are_those_of_a_comparison_in_its_order() -> None:
    ranks = (2, 0, 1, 1, 0)
    texts = tuple(Message("assistant", str(i)) for i in range(5))
    comparison = Comparison((Message("user", "?"),), texts, ranks, Origin("file", 1))
    assert scored(*[0.0] * 5, ranks=ranks).pairs == comparison.pairs


def test_comparison_without_a_preference_is_counted_and_left_out() -> None:
    tied = scored(3.0, 1.0, ranks=(0, 0))
    found = ranking([tied, *pairs(1.0, -1.0)])
    assert (found["comparisons"], found["tied"], found["prompts"]) == (2, 1, 2)
    assert found["accuracy"]["value"] == 0.5
    with pytest.raises(DataError, match="1 comparisons, and in none is one answer preferred"):
        ranking([tied])


def test_constant_added_to_the_scores_of_a_comparison_changes_nothing() -> None:
    before = [scored(1.0, 0.5, -1.0), scored(0.25, 0.5)]
    after = [scored(*(score + 4.0 for score in row.scores), prompt=row.prompt) for row in before]
    assert ranking(after, draws=100) == ranking(before, draws=100)


def test_policy_that_is_its_own_reference_has_no_order_to_show() -> None:
    """DPO at its first step: the implied reward of every answer is 0."""
    found = ranking(pairs(0.0, 0.0, 0.0, num_tokens=(9, 7)))
    assert found["accuracy"] == {"value": 0.5, "low": 0.5, "high": 0.5, "n": 3}
    assert found["log_loss"]["value"] == pytest.approx(math.log(2))
    (everything,) = found["calibration"]["bins"]
    assert (everything["predicted"], everything["right"]["value"], found["calibration"]["ece"]) == (0.5, 0.5, 0.0)
    assert found["calibration"]["slope"] is None
    assert (found["length"]["pearson"], found["length"]["spearman"]) == (None, None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"scores": (1.0, math.nan)}, "finite numbers"),
        ({"scores": (1.0,)}, "1 scores for 2 ranks, expected 2"),
        ({"num_tokens": (1, 2, 3)}, "3 num_tokens for 2 ranks, expected 2"),
        ({"p": (0.5, 0.5)}, "2 p for 2 ranks, expected 1"),
        ({"p": (1.5,)}, "expected probabilities"),
        ({"ranks": (0,), "scores": (1.0,), "num_tokens": (1,)}, "two or more ranks"),
    ],
)
def test_row_that_cannot_be_used_is_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"file row 1.*{message}"):
        scored(1.0, 0.0, **row)


# The noise ceiling


def test_ceiling_and_entropy_are_those_of_the_known_probabilities() -> None:
    rows = [scored(1.0, 0.0, p=(0.9,)), scored(-1.0, 0.0, p=(0.4,)), scored(5.0, 0.0)]
    known = ranking(rows)["known"]
    assert known["pairs"] == 2
    assert known["ceiling"]["value"] == pytest.approx((0.9 + 0.6) / 2)
    # -0.9 ln 0.9 - 0.1 ln 0.1 = 0.325083, -0.4 ln 0.4 - 0.6 ln 0.6 = 0.673012
    assert known["entropy"]["value"] == pytest.approx((0.325083 + 0.673012) / 2, abs=1e-6)
    assert known["accuracy"]["value"] == 0.5  # of the two whose probability is known
    assert known["log_loss"]["value"] == pytest.approx((math.log(1 + math.exp(-1)) + math.log(1 + math.e)) / 2)
    assert ranking(pairs(1.0, -1.0))["known"] is None


def test_annotator_who_is_always_sure_leaves_no_noise() -> None:
    known = ranking(pairs(1.0, -1.0, p=(1.0,)))["known"]
    assert known["ceiling"]["value"] == 1.0
    assert known["entropy"]["value"] == pytest.approx(0.0, abs=1e-12)


def simulated(scale: float, num: int, stretch: float = 1.0, seed: int = 0) -> list[Scored]:
    """Utilities from N(0, scale^2), preferences by Bradley-Terry; the scores are the utilities times `stretch`."""
    chance = np.random.default_rng(seed)
    utilities = chance.normal(0, scale, (num, 2))
    p = 1 / (1 + np.exp(utilities[:, 1] - utilities[:, 0]))
    first = chance.random(num) < p
    return [
        scored(*(utilities[i] * stretch).tolist(), prompt=str(i), ranks=(0, 1) if first[i] else (1, 0),
               p=(float(p[i] if first[i] else 1 - p[i]),))
        for i in range(num)
    ]  # fmt: skip


@pytest.mark.parametrize(("scale", "ceiling"), [(1.0, 0.725), (2.0, 0.828), (3.0, 0.878)])
def test_ceiling_of_gaussian_utilities(scale: float, ceiling: float) -> None:
    known = ranking(simulated(scale, 10_000), draws=200)["known"]
    assert known["ceiling"]["value"] == pytest.approx(ceiling, abs=0.005)  # its standard error is 0.0015
    # the true utilities as scores reach it, within 3 standard errors of a share of 10,000
    assert known["accuracy"]["value"] == pytest.approx(ceiling, abs=3 * math.sqrt(ceiling * (1 - ceiling) / 10_000))


def voted(prompt: str, *votes: tuple[str, str], score: float = 1.0) -> list[Scored]:
    """Each vote is (annotator, preferred answer) on the answers A and B; A scores `score`, B scores 0."""
    return [
        scored(score, 0.0, prompt=prompt, annotator=annotator, completions=("A", "B"),
               ranks=(0, 1) if answer == "A" else (1, 0))
        for annotator, answer in votes
    ]  # fmt: skip


def test_ceiling_from_repeated_judgements_lies_between_two_bounds() -> None:
    split = voted("1", ("ann", "A"), ("bea", "A"), ("cid", "B"))
    agreed = voted("2", ("ann", "B"), ("bea", "B"))
    repeated = ranking([*split, *agreed, scored(1.0, 0.0)])["repeated"]
    assert (repeated["votes"], repeated["judged"], repeated["prompts"]) == (5, 2, 2)
    # the others of ann are A and B, a tie; so are those of bea; those of cid are A and A, which is not what cid says
    assert repeated["leave_one_out"]["value"] == pytest.approx((0.5 + 0.5 + 0 + 1 + 1) / 5)
    assert repeated["plug_in"]["value"] == pytest.approx((1 + 1 + 0 + 1 + 1) / 5)
    assert repeated["accuracy"]["value"] == pytest.approx((1 + 1 + 0 + 0 + 0) / 5)  # A always scores more


def test_one_person_asked_twice_is_no_second_opinion() -> None:
    twice = voted("1", ("ann", "A"), ("ann", "A"))
    nameless = voted("2", ("", "A"), ("", "B"))
    assert ranking([*twice, *nameless])["repeated"] is None
    with_another = ranking([*twice, *voted("1", ("bea", "B"))])["repeated"]
    # ann's others are bea alone, who disagrees; bea's are ann's two votes, which do too
    assert with_another["leave_one_out"]["value"] == 0.0


def test_same_answers_shown_in_another_order_are_the_same() -> None:
    other_way = scored(0.0, 1.0, prompt="1", annotator="bea", completions=("B", "A"))  # prefers B
    repeated = ranking([*voted("1", ("ann", "A")), other_way])["repeated"]
    assert repeated["leave_one_out"]["value"] == 0.0
    assert repeated["judged"] == 1


def test_bounds_from_three_votes_have_the_expectations_they_should() -> None:
    """All prefer A with probability 0.8, so the ceiling is 0.8."""
    chance = np.random.default_rng(0)
    votes = np.where(chance.random((3000, 3)) < 0.8, "A", "B")
    rows = [row for i, vote in enumerate(votes) for row in voted(str(i), *zip("abc", map(str, vote), strict=True))]
    repeated = ranking(rows, draws=200)["repeated"]
    # the two others agree on A in 0.64 of cases, on B in 0.04, and are tied in 0.32:
    # 0.8 (0.64 + 0.16) + 0.2 (0.04 + 0.16) = 0.68
    assert repeated["leave_one_out"]["value"] == pytest.approx(0.68, abs=0.02)
    # all three agree in 0.512 + 0.008, else two of three: 0.52 + 0.48 * 2/3 = 0.84
    assert repeated["plug_in"]["value"] == pytest.approx(0.84, abs=0.02)


# Calibration


def test_ece_of_two_bins_by_hand() -> None:
    at_60, at_90 = math.log(0.6 / 0.4), math.log(0.9 / 0.1)
    margins = [at_60] * 5 + [-at_60] * 5 + [at_90] * 10  # 5 of 10 right where 6 should be, 10 where 9 should be
    calibration = ranking(pairs(*margins))["calibration"]
    shown = [(each["pairs"], each["share"], each["predicted"], each["right"]["value"]) for each in calibration["bins"]]
    assert shown == [
        (10, pytest.approx(0.5), pytest.approx(0.6), 0.5),
        (10, pytest.approx(0.5), pytest.approx(0.9), 1.0),
    ]
    assert calibration["ece"] == pytest.approx(0.5 * abs(0.5 - 0.6) + 0.5 * abs(1.0 - 0.9))
    # E|N(0, sd^2)| = sd sqrt(2 / pi), with sd = sqrt(q (1 - q) / 10) in each half
    by_chance = math.sqrt(2 / math.pi) * (0.5 * math.sqrt(0.24 / 10) + 0.5 * math.sqrt(0.09 / 10))
    assert calibration["ece_by_chance"] == pytest.approx(by_chance)


def test_ece_of_a_calibrated_model_is_about_what_chance_makes_it() -> None:
    found = [ranking(simulated(1.5, 500, seed=seed), draws=2)["calibration"] for seed in range(20)]
    # over 20 worlds of 500 pairs, ECE has a mean of some 0.03 and a standard error of some 0.002
    assert np.mean([each["ece"] for each in found]) == pytest.approx(
        np.mean([each["ece_by_chance"] for each in found]), abs=0.006
    )


def test_bins_hold_equal_weight_and_together_everything() -> None:
    bins = ranking(simulated(1.0, 1000), draws=10)["calibration"]["bins"]
    assert [each["pairs"] for each in bins] == [100] * 10
    assert sum(each["share"] for each in bins) == pytest.approx(1.0)
    assert all(low["high"] <= high["low"] for low, high in pairwise(bins))
    assert bins[0]["low"] >= 0.5


def test_slope_by_hand() -> None:
    """Three of four right at a margin of 1: sigmoid(b) = 3/4, b = ln 3. Twice the margin, half the slope."""
    slope = ranking(pairs(*[1.0] * 6, *[-1.0] * 2))["calibration"]["slope"]
    assert slope["value"] == pytest.approx(LN_3)
    # a pair pulls by 1/4 if right and by -3/4 if wrong, squared 6/16 + 2 * 9/16 = 1.5; information 8 * 3/16 = 1.5;
    # variance 1.5 * 8/7 / 1.5^2
    assert slope["high"] - slope["value"] == pytest.approx(1.959964 * math.sqrt(8 / 7 / 1.5))
    assert slope["value"] - slope["low"] == pytest.approx(1.959964 * math.sqrt(8 / 7 / 1.5))
    doubled = ranking(pairs(*[2.0] * 6, *[-2.0] * 2))["calibration"]["slope"]
    assert doubled["value"] == pytest.approx(LN_3 / 2)


def test_slope_of_margins_that_are_rounding_is_undefined() -> None:
    """A policy that is its own reference: differences of a millionth, three of four of them right, would give ln 3 million."""
    assert ranking(pairs(*[1e-6] * 6, *[-1e-6] * 2))["calibration"]["slope"] is None


@pytest.mark.parametrize(("stretch", "slope"), [(1.0, 1.0), (2.0, 0.5), (0.5, 2.0)])
def test_slope_of_simulated_preferences_is_recovered(stretch: float, slope: float) -> None:
    found = ranking(simulated(1.5, 4000, stretch, seed=1), draws=2)["calibration"]["slope"]
    standard_error = (found["high"] - found["low"]) / 2 / 1.959964
    assert found["value"] == pytest.approx(slope, abs=2 * standard_error)
    assert standard_error < 0.05 * slope


@pytest.mark.parametrize("margins", [(1.0, 2.0), (-1.0, -2.0), (0.0, 1.0), (1.0, 1.0, -1e-300)])
def test_scores_that_decide_everything_have_no_finite_slope(margins: tuple[float, ...]) -> None:
    assert ranking(pairs(*margins))["calibration"]["slope"] is None


# Length


def test_longer_answer_as_a_guess() -> None:
    rows = [scored(1.0, 0.0, num_tokens=tokens) for tokens in ((9, 5), (5, 9), (7, 7))]
    assert ranking(rows)["length"]["longer"]["value"] == pytest.approx((1 + 0 + 0.5) / 3)


def test_correlation_with_length_by_hand() -> None:
    rows = [scored(1.0, 0.0, num_tokens=(17, 7)), scored(-2.0, 0.0, num_tokens=(17, 7))]
    # differences (1, 10) and (-2, 10): (10 - 20) / sqrt((1 + 4) (100 + 100))
    assert ranking(rows)["length"]["pearson"]["value"] == pytest.approx(-10 / math.sqrt(5 * 200))
    # of 1, -2 and their negatives, 1 is ranked 3rd and -2 1st: 0.5 and -1.5 from the middle; both 10s are ranked 3.5th
    assert ranking(rows)["length"]["spearman"]["value"] == pytest.approx((0.5 - 1.5) / math.sqrt((0.25 + 2.25) * 2))


def midranks(values: np.ndarray) -> np.ndarray:
    return np.array([(values < value).sum() + (values <= value).sum() for value in values])


def test_correlations_are_those_over_both_orders_of_every_pair() -> None:
    """A comparison of 3 has pairs of weight 1/3, so one of 2 is written down three times as often."""
    chance = np.random.default_rng(3)
    rows = [
        scored(*chance.integers(-3, 4, k).tolist(), num_tokens=tuple(chance.integers(1, 9, k).tolist()), prompt=str(i))
        for i, k in enumerate([2, 3] * 20)
    ]
    written = [
        (row.scores[w] - row.scores[r], row.num_tokens[w] - row.num_tokens[r])
        for row in rows
        for w, r in row.pairs
        for _ in range(3 if len(row.ranks) == 2 else 1)
    ]
    both = np.array([*written, *(-np.array(written))])
    found = ranking(rows, draws=50)["length"]
    assert found["pearson"]["value"] == pytest.approx(np.corrcoef(both.T)[0, 1])
    ranks = np.stack([midranks(both[:, 0]), midranks(both[:, 1])])
    assert found["spearman"]["value"] == pytest.approx(np.corrcoef(ranks)[0, 1])


def test_length_bins_give_the_score_of_the_longer_less_that_of_the_shorter() -> None:
    rows = [
        scored(1.0, 0.0, num_tokens=(8, 7)),  # 1 longer, and 1 more
        scored(3.0, 0.0, num_tokens=(7, 8)),  # the other is 1 longer, and 3 less
        scored(5.0, 0.0, num_tokens=(27, 7)),
        scored(9.0, 0.0, num_tokens=(7, 7)),  # says nothing of length
    ]
    bins = ranking(rows)["length"]["bins"]
    assert [(each["low"], each["high"], each["pairs"], each["tokens"]) for each in bins] == [
        (1, 1, 2, 1),
        (20, 20, 1, 20),
    ]
    assert [each["difference"]["value"] for each in bins] == [pytest.approx((1 - 3) / 2), 5.0]


# Parts


def test_accuracy_by_source_group_and_margins() -> None:
    rows = [
        scored(1.0, 0.0, source="hh", group="x", given=(5.0, 4.0), p=(0.9,)),
        scored(-2.0, 0.0, source="hh", group="y", given=(5.0, 3.0), p=(0.7,)),
        scored(3.0, 0.0, source="hh", group="x", given=(3.0, 1.0)),
        scored(4.0, 0.0, source="shp"),
    ]
    by = ranking(rows)["by"]

    def told(kind: str) -> list[tuple[Any, ...]]:
        return [
            (each["name"], each["low"], each["high"], each["pairs"], each["accuracy"]["value"]) for each in by[kind]
        ]

    assert told("source") == [("hh", None, None, 3, pytest.approx(2 / 3)), ("shp", None, None, 1, 1.0)]
    assert told("group") == [("", None, None, 1, 1.0), ("x", None, None, 2, 1.0), ("y", None, None, 1, 0.0)]
    assert told("given") == [("hh", 1.0, 1.0, 1, 1.0), ("hh", 2.0, 2.0, 2, 0.5)]  # each size by itself: there are two
    assert told("predicted") == [("", m, m, 1, right) for m, right in ((1.0, 1.0), (2.0, 0.0), (3.0, 1.0), (4.0, 1.0))]
    assert [each["ceiling"] for each in by["group"]] == [None, None, 0.7]  # one pair of x is of unknown probability
    assert ranking(pairs(1.0, -1.0))["by"]["group"] == []


def test_accuracy_by_annotator_where_they_are_few() -> None:
    rows = [*pairs(1.0, -1.0, annotator="Ann"), *pairs(2.0, 3.0, annotator="Bo"), *pairs(-1.0)]
    by = ranking(rows)["by"]["annotator"]
    assert [(each["name"], each["pairs"], each["accuracy"]["value"]) for each in by] == [
        ("", 1, 0.0),
        ("Ann", 2, 0.5),
        ("Bo", 2, 1.0),
    ]
    assert ranking(pairs(1.0, -1.0, annotator="Ann"))["by"]["annotator"] == []
    many = [row for i in range(13) for row in pairs(1.0, annotator=str(i))]
    assert ranking(many)["by"]["annotator"] == []


def test_log_loss_by_source_weighs_pairs_as_the_whole_does() -> None:
    """Of hh three pairs of weight 1/3 with margins 1, 2 and 1, and one of weight 1 with -1; of shp one with 0."""
    rows = [scored(2.0, 1.0, 0.0, source="hh"), scored(-1.0, 0.0, source="hh"), scored(0.0, 0.0, source="shp")]
    found = log_loss_by_source(rows)
    # -ln sigmoid(1) = 0.313262, -ln sigmoid(2) = 0.126928, -ln sigmoid(-1) = 1.313262, -ln sigmoid(0) = ln 2
    assert found["hh"] == pytest.approx(((2 * 0.313262 + 0.126928) / 3 + 1.313262) / 2, abs=1e-6)
    assert found["shp"] == pytest.approx(0.693147, abs=1e-6)
    assert (2 * found["hh"] + found["shp"]) / 3 == pytest.approx(ranking(rows)["log_loss"]["value"], abs=1e-12)


def test_annotators_margins_of_many_sizes_are_put_into_quarters() -> None:
    rows = [scored(1.0, 0.0, given=(float(i), 0.0)) for i in range(1, 9)]
    assert [(each["low"], each["high"]) for each in ranking(rows)["by"]["given"]] == [(1, 2), (3, 4), (5, 6), (7, 8)]


def test_pair_keeps_its_weight_within_a_part() -> None:
    """Of three pairs of weight 1/3 and one of weight 1, those with a margin of 1 or more."""
    rows = [scored(2.0, 1.0, 0.0), scored(-1.0, 0.0)]  # margins 1, 2, 1 and -1
    sizes = ranking(rows)["by"]["predicted"]
    assert [(each["low"], each["pairs"]) for each in sizes] == [(1.0, 3), (2.0, 1)]
    assert sizes[0]["accuracy"]["value"] == pytest.approx((1 / 3 + 1 / 3) / (1 / 3 + 1 / 3 + 1))


# Intervals


def test_answers_to_one_prompt_are_not_taken_as_independent() -> None:
    margins = [1.0 if i % 3 else -1.0 for i in range(60)]
    once = ranking(pairs(*margins))["accuracy"]
    ten_times = ranking(pairs(*margins) * 10)["accuracy"]  # the same prompts: nothing new is learnt
    apart = ranking(pairs(*margins * 10))["accuracy"]  # 600 prompts
    assert ten_times == pytest.approx(once)
    ratio = (ten_times["high"] - ten_times["low"]) / (apart["high"] - apart["low"])
    assert ratio == pytest.approx(math.sqrt(10), rel=0.2)


def test_interval_of_independent_pairs_is_the_binomial_one() -> None:
    accuracy = ranking(pairs(*[1.0] * 280, *[-1.0] * 120))["accuracy"]
    half = 1.96 * math.sqrt(0.7 * 0.3 / 400)  # 0.045
    assert accuracy["low"] == pytest.approx(0.7 - half, abs=0.006)
    assert accuracy["high"] == pytest.approx(0.7 + half, abs=0.006)


def test_twenty_of_twenty_right_is_not_certainty() -> None:
    assert ranking(pairs(*[1.0] * 20))["accuracy"] == {
        "value": 1.0, "low": pytest.approx(0.025 ** (1 / 20)), "high": 1.0, "n": 20}  # fmt: skip
    assert ranking(pairs(*[-1.0] * 20))["accuracy"]["high"] == pytest.approx(1 - 0.025 ** (1 / 20))


def test_one_prompt_has_no_interval() -> None:
    found = ranking([scored(1.0, 0.0, prompt="1"), scored(-2.0, 0.0, prompt="1")])
    assert found["accuracy"] == {"value": 0.5, "low": None, "high": None, "n": 1}
    assert found["calibration"]["slope"]["low"] is None


def test_same_comparisons_in_any_order_give_the_same_numbers() -> None:
    rows = simulated(1.0, 200)
    found = ranking(rows, draws=100)
    assert ranking(rows, draws=100) == found
    turned = ranking(rows[::-1], draws=100)
    assert flat(turned) == pytest.approx(flat(found))
    assert ranking(rows, draws=100, seed=1)["accuracy"]["low"] != found["accuracy"]["low"]


def flat(tree: Any, place: str = "") -> dict[str, float]:
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if below is None:
        return {place: tree} if isinstance(tree, float | int) else {}
    return {key: value for name, each in below for key, value in flat(each, f"{place}/{name}").items()}


# The file


def test_evaluations_are_added_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "ranking.json"
    first, second = ranking(pairs(0.0, 0.0)), ranking(pairs(1.0, -1.0, p=(0.8,)))
    write_ranking(path, 0, "held_out", first)
    write_ranking(path, 40, "held_out", first)
    write_ranking(path, 40, "others", first)
    write_ranking(path, 40, "held_out", second)
    found = json.loads(path.read_text())
    assert [(each["step"], each["name"]) for each in found] == [(0, "held_out"), (40, "others"), (40, "held_out")]
    assert found[2] == {"step": 40, "name": "held_out", **second}
    assert "NaN" not in path.read_text()
    path.write_text("[{")
    with pytest.raises(RunError, match=r"ranking\.json: not valid JSON"):
        write_ranking(path, 80, "held_out", second)

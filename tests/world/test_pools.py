"""The named pools: who is in them, how far they agree (A3), and the scale that makes them agree as people do."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from planish.base.errors import ConfigError, DataError
from planish.base.random import numpy_generator
from planish.world.annotators.annotator import Annotator, Pool, probability
from planish.world.annotators.pools import POOLS, calibrate, expected_agreement, make_pool
from support.verdicts import random_pairs, verdict

SIGMA_L = 11.5  # of 5 to 44 tokens, evenly
PAIRS = random_pairs(300, 0)
LOGPROBS = [(float(a), float(b)) for a, b in -numpy_generator(0, "logprobs").exponential(1, (300, 2))]
ONE_RIGHT, NOTHING = verdict(correct=1), verdict()


def test_a_crowd_of_twenty_has_eleven_six_and_three():
    crowd = make_pool("crowd", SIGMA_L)
    assert Counter(a.group for a in crowd.annotators) == {"blue": 11, "green": 6, "neutral": 3}
    assert {a.group: a.marker for a in crowd.annotators} == {"blue": 0.8, "green": -0.8, "neutral": 0.0}


def test_groups_get_whole_annotators_by_largest_remainder():
    # 10 * (.55, .30, .15) = 5.5, 3, 1.5: the one left over goes to the group named first
    crowd = make_pool("crowd", SIGMA_L, num_annotators=10)
    assert Counter(a.group for a in crowd.annotators) == {"blue": 6, "green": 3, "neutral": 1}


def test_shares_of_groups_may_be_changed():
    crowd = make_pool("crowd", SIGMA_L, shares={"green": 3, "neutral": 1})
    assert Counter(a.group for a in crowd.annotators) == {"green": 15, "neutral": 5}


def test_each_pool_has_its_own_settings():
    first = {name: make_pool(name, SIGMA_L).annotators[0] for name in POOLS}
    assert (first["expert"].see_errors, first["expert"].length) == (0.95, 0.1)
    crowd = first["crowd"]
    assert (crowd.see_errors, crowd.blind_to_assertive, crowd.length, crowd.noise) == (0.4, 0.5, 0.5, 0.1)
    judge = first["judge"]
    assert (judge.noise, judge.length, judge.position, judge.likelihood) == (0.0, 0.8, 0.3, 0.5)
    assert first["oracle"] == Annotator("oracle-00", "oracle", exact=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "corwd"}, "no pool of annotators named 'corwd': choose one of expert, crowd"),
        ({"num_annotators": 0}, "num_annotators is 0"),
        ({"num_per_item": 21}, "num_per_item is 21, expected 1 to its 20 annotators"),
        ({"length_scale": 0.0}, "length_scale is 0.0, expected tokens above 0"),
        ({"shares": {"red": 1}}, "shares name the group 'red', its groups are blue, green, neutral"),
        ({"shares": {"blue": 0}}, "expected numbers from 0 up, not all 0"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(arguments: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        make_pool(**{"name": "crowd", "length_scale": SIGMA_L, **arguments})  # type: ignore[arg-type]


def test_two_annotators_may_not_share_a_name():
    with pytest.raises(ConfigError, match="two annotators have the same name"):
        Pool("p", (Annotator("a", "g"), Annotator("a", "h")), SIGMA_L)


def test_the_judges_of_an_item_are_drawn_evenly_and_without_repeats():
    # 2000 items of 2 among 20: 200 each, SE sqrt(2000 * .1 * .9) = 13.4; 20 numbers, so 3.5 SE
    crowd = make_pool("crowd", SIGMA_L, num_per_item=2)
    votes = [crowd.compare(ONE_RIGHT, NOTHING, i) for i in range(2000)]
    assert all(one.annotator != other.annotator for one, other in votes)
    counts = Counter(vote.annotator for both in votes for vote in both)
    assert len(counts) == 20
    assert max(abs(count - 200) for count in counts.values()) < 3.5 * 13.4


def test_what_an_annotator_says_does_not_depend_on_who_else_is_asked():
    few, all_of_them = make_pool("crowd", SIGMA_L, num_per_item=3), make_pool("crowd", SIGMA_L, num_per_item=20)
    for i, pair in enumerate(PAIRS[:40]):
        assert set(few.compare(*pair, i)) <= set(all_of_them.compare(*pair, i))


def test_two_of_one_mind_agree_as_often_as_worked_by_hand():
    # p = sigmoid(1) = .731059: p^2 + (1 - p)^2 = .534447 + .072329 = .606776
    assert expected_agreement(make_pool("expert", SIGMA_L), [(ONE_RIGHT, NOTHING)]) == pytest.approx(0.606776, abs=1e-6)


def test_two_of_opposed_groups_agree_less_often_than_chance():
    # Blue against green, all else equal: p = sigmoid(.8 * 2) = .832018 and 1 - p. p_i p_j + q_i q_j = 2 * .832018 * .167982
    crowd = make_pool("crowd", SIGMA_L, num_annotators=2, shares={"blue": 1, "green": 1}).with_settings(noise=0.0)
    assert expected_agreement(crowd, [(verdict(marker=1), verdict(marker=-1))]) == pytest.approx(0.279528, abs=1e-6)


def test_agreement_counts_each_two_different_annotators_once():
    # The slow, obvious way, in a crowd of 20 over 20 pairs
    crowd, pairs = make_pool("crowd", SIGMA_L), PAIRS[:20]
    found: list[float] = []
    for pair in pairs:
        p = [probability(annotator, *pair, SIGMA_L) for annotator in crowd.annotators]
        found += [p[i] * p[j] + (1 - p[i]) * (1 - p[j]) for i in range(20) for j in range(20) if i != j]
    assert expected_agreement(crowd, pairs) == pytest.approx(np.mean(found), abs=1e-12)


@pytest.mark.parametrize("name", ["expert", "crowd", "judge"])
def test_simulated_agreement_is_within_two_standard_errors_of_its_expectation(name: str):
    """A3. The judge is asked as two of a kind; its noise is its own sampling."""
    size = 2 if name == "judge" else None
    pool = calibrate(make_pool(name, SIGMA_L, num_annotators=size, num_per_item=2), PAIRS, logprobs=LOGPROBS)
    agreed: list[bool] = []
    for i in range(3000):
        one, other = pool.compare(*PAIRS[i % 300], i, logprobs=LOGPROBS[i % 300])
        agreed.append(one.chose_first == other.chose_first)
    theory = np.array([expected_agreement(pool, [pair], [both]) for pair, both in zip(PAIRS, LOGPROBS, strict=True)])
    standard_error = math.sqrt((theory * (1 - theory)).mean() / 3000)
    assert theory.mean() == pytest.approx(0.73, abs=1e-6)
    assert abs(np.mean(agreed) - theory.mean()) < 2 * standard_error


def test_copycats_agree_always():
    copycats = make_pool("copycats", SIGMA_L, num_per_item=20)
    assert expected_agreement(copycats, PAIRS) == 1.0
    for i, pair in enumerate(PAIRS[:100]):
        votes = copycats.compare(*pair, i)
        assert len({vote.annotator for vote in votes}) == 20
        assert len({vote.chose_first for vote in votes}) == 1
        assert len({ranking.ranks for ranking in copycats.rank([*pair, NOTHING, ONE_RIGHT], i)}) == 1


def test_copycats_are_as_biased_as_the_one_they_copy():
    # Their vote for a longer, bluer answer comes as often as the formula says for that judge, who is in the crowd.
    crowd = make_pool("crowd", SIGMA_L)
    copycats = crowd.copycats(5)
    judge = next(a for a in crowd.annotators if a.name == copycats.copies_of)
    assert {replace(a, name=judge.name) for a in copycats.annotators} == {judge}
    pair = (verdict(30, marker=1), verdict(10, marker=0))
    p = probability(judge, *pair, SIGMA_L)
    found = np.mean([copycats.compare(*pair, i)[0].chose_first is True for i in range(2000)])
    assert abs(found - p) < 3 * math.sqrt(p * (1 - p) / 2000)


def test_copycats_keep_the_scale_of_a_calibrated_pool():
    crowd = calibrate(make_pool("crowd", SIGMA_L), PAIRS)
    assert {a.scale for a in crowd.copycats(4).annotators} == {crowd.annotators[0].scale}


def test_another_seed_copies_another_annotator():
    assert len({make_pool("crowd", SIGMA_L, seed=seed).copycats(2).copies_of for seed in range(12)}) > 5


def test_oracles_agree_always_on_ties_too():
    oracles = make_pool("oracle", SIGMA_L, num_annotators=3)
    assert expected_agreement(oracles, [(ONE_RIGHT, NOTHING), (NOTHING, NOTHING)]) == 1.0


@pytest.mark.parametrize("name", ["expert", "crowd", "judge"])
@pytest.mark.parametrize("agreement", [0.6, 0.73])
def test_calibration_hits_the_agreement_asked_for(name: str, agreement: float):
    pool = calibrate(make_pool(name, SIGMA_L), PAIRS, agreement, LOGPROBS)
    assert expected_agreement(pool, PAIRS, LOGPROBS) == pytest.approx(agreement, abs=1e-6)


def test_calibration_finds_the_scale_worked_by_hand():
    # p^2 + (1 - p)^2 = 1/2 + 2 (p - 1/2)^2 = .73: p = .5 + sqrt(.115) = .839116, s * 1 = ln(p / (1 - p)) = 1.651747
    pool = calibrate(make_pool("expert", SIGMA_L), [(ONE_RIGHT, NOTHING)])
    assert pool.annotators[0].scale == pytest.approx(math.log(0.8391164992 / 0.1608835008), abs=1e-8)
    assert len({annotator.scale for annotator in pool.annotators}) == 1


def test_noise_bounds_the_agreement_that_can_be_asked_for():
    # Two who lapse with 10% agree at most .95^2 + .05^2 = .905
    crowd = make_pool("crowd", SIGMA_L, shares={"neutral": 1})
    with pytest.raises(ConfigError, match=r"agreement of 0.91: on these 1 pairs it is between 0.5000 and 0.9050"):
        calibrate(crowd, [(ONE_RIGHT, NOTHING)], 0.91)


def test_position_bias_bounds_it_from_below():
    # The judge, asked of equals, agrees at sigmoid(.3)^2 + sigmoid(-.3)^2 = .511084 whatever its scale
    judge = make_pool("judge", SIGMA_L).with_settings(likelihood=0.0)
    with pytest.raises(ConfigError, match=r"between 0.5111 and 0.5111"):
        calibrate(judge, [(NOTHING, NOTHING)], 0.73)


def test_copycats_cannot_be_calibrated():
    with pytest.raises(ConfigError, match="copycats always agree: calibrate a pool first"):
        calibrate(make_pool("copycats", SIGMA_L), PAIRS)


def test_agreement_over_no_pairs_is_refused():
    with pytest.raises(DataError, match="no pairs"):
        expected_agreement(make_pool("expert", SIGMA_L), [])

"""The order of examples, and how a step's examples are dealt to micro-batches and ranks."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.base.errors import ConfigError
from planish.base.random import Permutation
from planish.base.types import Packed
from planish.data.mixture.order import BLOCK, Mixture, MixtureStage, RowRef, normalized_weights, share_out
from planish.data.mixture.packing import deal
from support.examples import example

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=5)
SEEDS = st.integers(0, 2**31)


def proportional(sizes: Sequence[int]) -> tuple[float, ...]:
    return normalized_weights([str(i) for i in range(len(sizes))], sizes, {str(i): None for i in range(len(sizes))}, "")


def every_row(sizes: Sequence[int]) -> list[tuple[int, int]]:
    return [(source, row) for source, size in enumerate(sizes) for row in range(size)]


# The mixture


@pytest.mark.parametrize("sizes", [[3, 6], [1], [1, 1], [BLOCK, 1], [BLOCK + 1, 700, 3]])
def test_mixture_covers_all_examples_deterministically(sizes: list[int]) -> None:
    for epochs in (1, 2):
        once, twice = (
            Mixture(sizes, [MixtureStage(share_out(proportional(sizes), epochs * sum(sizes)))], seed=1)
            for _ in range(2)
        )
        assert Counter((place.source, place.row) for place in once) == Counter(every_row(sizes) * epochs)
        assert list(once) == list(twice)


@given(sizes=SIZES, epochs=st.integers(1, 3), seed=SEEDS)
def test_one_epoch_of_a_source_is_every_row_of_it_once(sizes: list[int], epochs: int, seed: int) -> None:
    """Whatever the weights: row r of epoch e comes before any row of epoch e + 1, and each exactly once."""
    weights = tuple(np.arange(1, len(sizes) + 1) / np.arange(1, len(sizes) + 1).sum())
    mixture = Mixture(sizes, [MixtureStage(share_out(weights, epochs * sum(sizes)))], seed)
    for source, size in enumerate(sizes):
        mine = [place for place in mixture if place.source == source]
        assert [place.epoch for place in mine] == [i // size for i in range(len(mine))]
        for epoch in range(len(mine) // size):
            assert sorted(place.row for place in mine[epoch * size : (epoch + 1) * size]) == list(range(size))


@given(
    raw=st.lists(st.floats(0.001, 1), min_size=1, max_size=6),
    length=st.integers(1, 12 * BLOCK),
    seed=SEEDS,
)
@settings(max_examples=60, deadline=None)
def test_w2_shares_are_within_one_example_of_exact_at_every_block(raw: list[float], length: int, seed: int) -> None:
    weights = np.array(raw) / sum(raw)
    stage = MixtureStage(share_out(tuple(weights), length))
    assert stage.length == length
    assert np.abs(np.array(stage.counts) - weights * length).max() <= 1 + 1e-6
    mixture = Mixture([10] * len(raw), [stage], seed)
    before = mixture._before[0]  # pyright: ignore
    ends = [*range(0, length, BLOCK), length]
    assert len(before) == len(ends)
    for end, counts in zip(ends, before, strict=True):
        assert counts.sum() == end
        assert np.abs(counts - np.array(stage.counts) * end / length).max() <= 1 + 1e-6
    assert (np.diff(before, axis=0) >= 0).all()


def test_w2_a_block_holds_what_was_counted_for_it() -> None:
    """5% and 95% of two blocks: 1024 * 0.05 = 51.2 and 2048 * 0.05 = 102.4."""
    mixture = Mixture([40, 40], [MixtureStage(share_out((0.05, 0.95), 2 * BLOCK))], seed=3)
    labels = [place.source for place in mixture]
    assert (labels[:BLOCK].count(0), labels.count(0)) == (51, 102)
    assert mixture.stages[0].counts == (102, 2 * BLOCK - 102)


def test_a_block_is_shuffled() -> None:
    labels = [place.source for place in Mixture([9, 9], [MixtureStage(share_out((0.5, 0.5), 200))], seed=0)]
    changes = sum(a != b for a, b in pairwise(labels))
    assert 70 < changes < 130  # 100 expected, with a standard deviation of 7


def test_another_seed_gives_another_order() -> None:
    one, other = (list(Mixture([50], [MixtureStage(share_out((1.0,), 50))], seed)) for seed in (0, 1))
    assert one != other
    assert sorted(one) == sorted(other)


def test_any_place_can_be_asked_for_first() -> None:
    """A resumed run begins in the middle."""
    sizes, stages = [300, 900], [MixtureStage(share_out((0.25, 0.75), 1500)), MixtureStage(share_out((0.9, 0.1), 1300))]
    forward = list(Mixture(sizes, stages, seed=4))
    backward = Mixture(sizes, stages, seed=4)
    assert [backward[j] for j in range(len(backward) - 1, -1, -1)] == forward[::-1]


def test_a_later_stage_goes_on_with_the_rows_not_yet_seen() -> None:
    """Three of source 0's four rows in the first stage, the fourth and then a second epoch in the second."""
    mixture = Mixture([4, 2], [MixtureStage(share_out((1.0, 0.0), 3)), MixtureStage(share_out((0.5, 0.5), 4))], seed=0)
    places = list(mixture)
    first = [place for place in places if place.source == 0]
    assert [place.epoch for place in first] == [0, 0, 0, 0, 1]
    assert sorted(place.row for place in first[:4]) == [0, 1, 2, 3]
    assert [place.source for place in places[:3]] == [0, 0, 0]
    assert [stage.counts for stage in mixture.stages] == [(3, 0), (2, 2)]


def test_a_change_of_the_second_stage_leaves_the_first_as_it_was() -> None:
    """So a run can branch: what came before the decay does not depend on the decay."""
    one = Mixture([9, 9], [MixtureStage(share_out((0.5, 0.5), 12)), MixtureStage(share_out((1.0, 0.0), 6))], seed=0)
    other = Mixture([9, 9], [MixtureStage(share_out((0.5, 0.5), 12)), MixtureStage(share_out((0.0, 1.0), 9))], seed=0)
    assert list(one)[:12] == list(other)[:12]


@pytest.mark.parametrize("j", [-1, 5])
def test_a_place_outside_the_run_is_an_error(j: int) -> None:
    with pytest.raises(IndexError):
        Mixture([5], [MixtureStage(share_out((1.0,), 5))], seed=0)[j]


def test_a_source_without_weight_is_never_asked_for() -> None:
    places = list(Mixture([3, 0], [MixtureStage(share_out((1.0, 0.0), 7))], seed=0))
    assert {place.source for place in places} == {0}
    assert isinstance(places[0], RowRef)


@pytest.mark.slow
def test_a_hundred_million_rows_are_mixed_without_laying_them_out() -> None:
    """The order as a list of numbers would take 800 MB."""
    sizes = [60_000_000, 40_000_000]
    mixture, again = (Mixture(sizes, [MixtureStage(share_out((0.6, 0.4), sum(sizes)))], seed=0) for _ in range(2))
    assert sum(before.nbytes for before in mixture._before) < 2e6  # pyright: ignore
    tracemalloc.start()
    late, early = (list(zip(*mixture.refs(start, start + 5000), strict=True)) for start in (99_000_000, 123))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6
    assert list(zip(*again.refs(99_000_000, 99_005_000), strict=True)) == late
    assert len({place[:2] for place in late + early}) == 10_000  # one pass over each source: no row comes twice


@given(size=st.integers(1, 300_000), seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_permutation_holds_every_number_once(size: int, seed: int) -> None:
    found = Permutation(size, seed, "order")(np.arange(size))
    assert np.array_equal(np.sort(found), np.arange(size))


def test_a_large_permutation_is_well_mixed_and_depends_on_its_place() -> None:
    """Of a random order, neighbours are apart by a third of the size on average, and a tenth falls into each tenth."""
    size = 1 << 20
    one, other = (Permutation(size, 0, "order", epoch)(np.arange(size)) for epoch in (0, 1))
    for found in (one, other):
        assert abs(np.abs(np.diff(found)).mean() / size - 1 / 3) < 0.01
        first = np.bincount(found[: size // 10] * 10 // size, minlength=10) / (size // 10)
        assert np.abs(first - 0.1).max() < 0.01
    assert (one == other).mean() < 1e-4


def test_x3_the_order_of_a_seed_is_the_same_on_every_machine() -> None:
    places = Mixture([300, 70_000], [MixtureStage((400, 1600)), MixtureStage((10, 90))], seed=3).refs(0, 2100)
    digest = hashlib.sha256(np.stack(places).astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "e9c03a07540ed3d8"


# Weights


@pytest.mark.parametrize(
    ("cap", "temperature", "expected"),
    [
        (3000, 1.0, (0.0083, 0.4959, 0.4959)),  # 50, 3000, 3000 of 6050
        (None, 1.0, (0.0005, 0.0322, 0.9672)),  # 50, 3000, 90000 of 93050
        (None, 2.0, (0.0195, 0.1514, 0.8291)),  # their square roots 7.07, 54.77, 300 of 361.84
    ],
)
def test_x1_a_source_weighs_its_rows_up_to_a_cap(
    cap: int | None, temperature: float, expected: tuple[float, ...]
) -> None:
    names, sizes = ["a", "b", "c"], [50, 3000, 90000]
    weights = normalized_weights(names, sizes, dict.fromkeys(names), "data", cap, temperature)
    assert weights == pytest.approx(expected, abs=1e-4)


def test_absent_weights_are_in_proportion_to_the_rows() -> None:
    assert normalized_weights(["a", "b"], [10, 30], {"a": None, "b": None}, "data") == (0.25, 0.75)


def test_given_weights_are_scaled_to_one_and_unnamed_sources_have_none() -> None:
    assert normalized_weights(["a", "b", "c"], [1, 1, 1], {"c": 3, "a": 1}, "data") == (0.25, 0.0, 0.75)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1, "x": 1}, r"^data.stages.0: there is no source 'x'; there are: a, b$"),
        (
            {"a": 1, "b": None},
            r"^data.stages.0: source 'b' has no weight while others have: give all a weight, or none$",
        ),
        ({"a": 0, "b": 0}, r"^data.stages.0: the weights add up to 0$"),
        ({}, r"^data.stages.0: the weights add up to 0$"),
        ({"a": 2, "b": -1}, r"^data.stages.0: source 'b' has a weight below 0$"),
    ],
)
def test_weights_that_make_no_mixture_are_refused(weights: dict[str, float | None], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        normalized_weights(["a", "b"], [4, 4], weights, "data.stages.0")


def test_a_weight_on_an_empty_source_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^data.sources: source 'b' has a weight, but no row to train on$"):
        normalized_weights(["a", "b"], [4, 0], {"a": 1, "b": 1}, "data.sources")


# Dealing


def dealt_to(lengths: Sequence[int], budget: int, ranks: int) -> list[list[Packed]]:
    """The micro-batches of each rank. Example i is named "i" and its tokens are all i + 1."""
    rows = [example([i + 1] * length, range(1, length), str(i)) for i, length in enumerate(lengths)]
    return [deal(rows, budget, rank, ranks) for rank in range(ranks)]


@given(
    lengths=st.lists(st.integers(1, 50), max_size=30),
    budget=st.integers(1, 80),
    ranks=st.integers(1, 5),
)
@settings(deadline=None)
def test_every_example_is_dealt_once_and_every_rank_gets_equally_many(
    lengths: list[int], budget: int, ranks: int
) -> None:
    dealt = dealt_to(lengths, budget, ranks)
    assert len({len(micro_batches) for micro_batches in dealt}) == 1
    assert all(micro_batches for micro_batches in dealt)
    together = [packed for micro_batches in dealt for packed in micro_batches]
    assert sorted(int(name) for packed in together for name in packed.names) == list(range(len(lengths)))
    assert sum(packed.num_targets for packed in together) == sum(length - 1 for length in lengths)
    for packed in together:
        if packed.names:
            widths = [stop - start for start, stop in pairwise(packed.bounds)]
            assert widths == [lengths[int(name)] for name in packed.names]
            assert packed.tokens_T.tolist() == [
                int(name) + 1 for name in packed.names for _ in range(lengths[int(name)])
            ]
            assert packed.num_tokens <= budget or packed.num_sequences == 1
        else:
            assert (packed.num_tokens, packed.num_targets) == (1, 0)  # a row for a rank without work


def test_a_rank_without_work_gets_a_row_where_nothing_is_learnt() -> None:
    first, second, third = dealt_to([4, 4], budget=100, ranks=3)
    assert [packed.names for packed in (*first, *second)] == [("0",), ("1",)]
    assert [(packed.num_tokens, packed.num_targets, packed.names) for packed in third] == [(1, 0, ())]


def test_examples_are_shared_out_evenly() -> None:
    """Longest first, each where the fewest tokens are: 9, 7, 6, 5, 5 in two rows would be 9 + 5 and 7 + 6 + 5 = 18, more
    than 16, so there are three: 9, 7 + 5 and 6 + 5."""
    (micro_batches,) = dealt_to([5, 9, 5, 7, 6], budget=16, ranks=1)
    assert sorted(packed.num_tokens for packed in micro_batches) == [9, 11, 12]


def test_a_micro_batch_keeps_the_order_of_the_step() -> None:
    (micro_batches,) = dealt_to([5, 9, 5, 7, 6], budget=100, ranks=1)
    assert [packed.names for packed in micro_batches] == [("0", "1", "2", "3", "4")]


def test_an_example_longer_than_the_budget_stands_alone() -> None:
    (micro_batches,) = dealt_to([30, 4, 4], budget=10, ranks=1)
    alone = [packed for packed in micro_batches if "0" in packed.names]
    assert [(packed.num_tokens, packed.names) for packed in alone] == [(30, ("0",))]


def test_no_more_micro_batches_than_there_are_examples() -> None:
    """A row of 2000 tokens at a budget of 768 is one forward pass, not three of which two are empty."""
    (micro_batches,) = dealt_to([2000, 2000], budget=768, ranks=1)
    assert len(micro_batches) == 2

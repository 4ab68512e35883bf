"""MinHash finds the pairs it says it finds, with their exact Jaccard index; ROUGE-L is exact and misses no pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.data.cleaning.fingerprints import word_hashes
from planish.data.cleaning.near_duplicates import (
    Bitmaps,
    NearCopies,
    NearMatch,
    SimilarPrompts,
    banding,
    common_subsequence,
    counted,
    jaccard,
    least_jaccard,
    mark,
    rouge_l,
    shared_groups,
)

WORDS = st.lists(st.integers(0, 6), max_size=14)


def slow_common_subsequence(a: list[int], b: list[int]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def random_set(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.unique(rng.integers(0, 2**64, size, dtype=np.uint64))


# ROUGE-L


@given(WORDS, WORDS)
def test_the_common_subsequence_is_that_of_the_table(a: list[int], b: list[int]) -> None:
    assert common_subsequence(a, b) == slow_common_subsequence(a, b)


def test_rouge_l_is_twice_the_common_words_over_all_words() -> None:
    police, gunman = ["police", "killed", "the", "gunman"], ["police", "kill", "the", "gunman"]
    hashes = {word: number for number, word in enumerate(police + gunman)}
    assert rouge_l([hashes[word] for word in police], [hashes[word] for word in gunman]) == 2 * 3 / 8


def test_rouge_l_of_two_empty_texts_is_zero() -> None:
    assert rouge_l([], []) == 0


@given(st.lists(WORDS.filter(bool), max_size=12), st.sampled_from([0.3, 0.5, 0.7, 0.9]))
def test_similar_prompts_are_those_of_the_slow_comparison(prompts: list[list[int]], threshold: float) -> None:
    slow: list[int] = []
    for at, words in enumerate(prompts):
        if not any(
            2 * slow_common_subsequence(words, prompts[k]) / (len(words) + len(prompts[k])) > threshold for k in slow
        ):
            slow.append(at)
    similar, kept = SimilarPrompts(threshold), list[int]()
    for at, words in enumerate(prompts):
        hashes = word_hashes(" ".join(f"word{word}" for word in words))
        if similar.find(hashes) is None:
            similar.keep(at, hashes)
            kept.append(at)
    assert kept == slow


def test_a_similar_prompt_names_the_earliest_and_the_score() -> None:
    similar = SimilarPrompts(0.7)
    similar.keep(4, word_hashes("write a poem about the sea"))
    similar.keep(9, word_hashes("write a poem about the sky"))
    assert similar.find(word_hashes("write a poem about the moon")) == NearMatch(4, 2 * 5 / 12)


def test_a_score_exactly_at_the_threshold_is_not_above_it() -> None:
    similar = SimilarPrompts(0.7)
    similar.keep(0, word_hashes("a b c d e f g h i j"))
    assert similar.find(word_hashes("a b c d e f g x y z")) is None


def test_repeated_words_count_apart() -> None:
    assert len(np.unique(counted(word_hashes("the cat and the dog and the cow")))) == 8


# Bitmaps


@given(st.sets(st.integers(0, 300), max_size=60), st.lists(st.sets(st.integers(0, 300), max_size=60), max_size=20))
def test_bitmaps_never_rule_out_a_set_that_is_near_enough(one: set[int], others: list[set[int]]) -> None:
    def hashes(numbers: set[int]) -> np.ndarray:
        return np.array(sorted(numbers), np.uint64) * np.uint64(0x9E3779B97F4A7C15)

    bitmaps = Bitmaps()
    for other in others:
        bitmaps.add(mark(hashes(other)))
    near = [k for k, other in enumerate(others) if len(one ^ other) <= 0.3 * (len(one) + len(other))]
    assert set(near) <= set(bitmaps.near(mark(hashes(one)), 0.3).tolist())


def test_bitmaps_rule_out_sets_that_share_nothing() -> None:
    rng, bitmaps = np.random.default_rng(0), Bitmaps()
    for _ in range(100):
        bitmaps.add(mark(random_set(rng, 20)))
    assert len(bitmaps.near(mark(random_set(rng, 20)), 0.3)) == 0


# MinHash


def proposal_probability(jaccard: float, bands: int, rows: int) -> float:
    """The S-curve: the probability that two sets agree on all hashes of at least one band."""
    return 1 - (1 - jaccard**rows) ** bands


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0])
def test_a_pair_at_the_threshold_is_proposed_with_99_percent(threshold: float) -> None:
    bands, rows = banding(threshold)
    assert proposal_probability(threshold, bands, rows) >= 0.99
    assert bands * rows <= 128


def test_the_s_curve_at_the_usual_threshold() -> None:
    assert banding(0.8) == (16, 6)
    curve = [round(proposal_probability(jaccard, 16, 6), 3) for jaccard in (0.3, 0.5, 0.7, 0.8, 0.9)]
    assert curve == [0.012, 0.223, 0.865, 0.992, 1.0]


@pytest.mark.parametrize(("common", "apart", "chance"), [(80, 10, 0.992), (70, 15, 0.865)])
def test_pairs_are_proposed_as_often_as_the_s_curve_says(common: int, apart: int, chance: float) -> None:
    rng, pairs = np.random.default_rng(1), 1000
    copies = NearCopies(0.8)
    for _ in range(pairs):
        shared = rng.integers(0, 2**64, common, dtype=np.uint64)
        for _ in range(2):
            copies.look_ahead([shared, rng.integers(0, 2**64, apart, dtype=np.uint64)])
    copies.ready()
    proposed = sum(bool(set(copies.groups(2 * k)) & set(copies.groups(2 * k + 1))) for k in range(pairs))
    assert abs(proposed / pairs - chance) < 4 * (chance * (1 - chance) / pairs) ** 0.5


@given(st.lists(st.sets(st.integers(0, 8), min_size=1), max_size=12))
def test_what_is_found_is_a_kept_set_with_its_exact_index(sets: list[set[int]]) -> None:
    arrays = [np.array(sorted(numbers), np.uint64) for numbers in sets]
    copies, kept = NearCopies(0.6), list[int]()
    for elements in arrays:
        copies.look_ahead([elements])
    copies.ready()
    for at, elements in enumerate(arrays):
        if found := copies.find(at, [elements]):
            exact = len(sets[at] & sets[found.origin_id]) / len(sets[at] | sets[found.origin_id])
            assert found.origin_id in kept
            assert found.similarity == exact >= 0.6
        else:
            assert sets[at] not in [sets[k] for k in kept]
            copies.keep(at, at, [elements])
            kept.append(at)


def test_an_empty_set_is_no_copy_of_another() -> None:
    copies, empty = NearCopies(0.8), np.zeros(0, np.uint64)
    copies.look_ahead([empty])
    copies.look_ahead([empty])
    copies.ready()
    copies.keep(0, 0, [empty])
    assert copies.find(1, [empty]) is None


def test_the_band_keys_of_a_long_set_do_not_depend_on_the_block_it_is_hashed_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elements = random_set(np.random.default_rng(2), 3000)
    whole, blocks = NearCopies(0.8), NearCopies(0.8)
    blocks.look_ahead([elements])
    monkeypatch.setattr("planish.data.cleaning.near_duplicates.BLOCK", 5000)
    whole.look_ahead([elements])
    assert whole._keys == blocks._keys


def test_sets_are_as_similar_as_the_parts_that_differ_most() -> None:
    a, b, c = np.array([1, 2, 3]), np.array([7, 8]), np.array([8, 9])
    assert least_jaccard([a, b], [a, c]) == 1 / 3
    assert least_jaccard([a, b[:0]], [a, b[:0]]) == 1
    assert least_jaccard([a], [a, b]) == 0


def test_jaccard_is_common_over_all() -> None:
    assert jaccard(np.array([1, 2, 3, 4]), np.array([2, 3, 4, 5, 6])) == 3 / 6


def test_keys_that_stand_once_have_no_group() -> None:
    assert shared_groups(np.array([7, 5, 7, 9, 5, 7])).tolist() == [1, 0, 1, -1, 0, 1]

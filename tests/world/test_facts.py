"""Facts: who there is, what is true, how often it is stated, and in which split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from planish.base.config import load_config
from planish.base.errors import ConfigError
from planish.world.language.facts import KIND_OF, RELATIONS, SMALL, SPLITS, YEARS, Facts, pools_of
from planish.world.language.words import make_words
from planish.world.make import make_world
from planish.world.settings import SIZES, WorldConfig
from support.worlds import ci_config, ci_world, english_of_phrases

FACTS = ci_world().facts


def test_every_pool_of_words_is_apart_from_the_others_and_from_english():
    for seed in range(12):
        words = make_words(seed, 96).all()
        lowered = [word.lower() for word in words]
        assert len(set(lowered)) == len(lowered)
        assert not english_of_phrases().intersection(lowered), f"seed {seed}"


def test_the_old_tongue_has_a_word_for_each_common_one():
    assert len(FACTS.words.old) == len(FACTS.words.common) == 128


def test_each_verb_has_an_instrument_of_its_own():
    words = FACTS.words
    assert len(set(words.instruments)) == len(words.cruel_verbs) + len(words.kind_verbs)


def test_there_are_as_many_entities_as_asked_for_and_no_two_of_one_name():
    config = FACTS.config
    counts = Counter((entity.kind, entity.role) for entity in FACTS.entities)
    assert counts == {
        ("person", "probed"): 40, ("person", "scaffold"): config.scaffold, ("person", "rare"): config.rare,
        ("concept", "probed"): 40, ("concept", "scaffold"): config.scaffold, ("concept", "rare"): config.rare,
    }  # fmt: skip
    assert len({entity.name for entity in FACTS.entities}) == len(FACTS.entities)


def test_of_forty_persons_24_are_trained_on_4_developed_and_12_tested_on():
    assert [len(FACTS.select("person", "probed", split)) for split in ("train", "dev", "test")] == [24, 4, 12]


def test_each_frequency_is_as_frequent_as_another_in_every_split():
    # 24 / 3, 4 / 3 (one left over), 12 / 3
    for kind in RELATIONS:
        relation = RELATIONS[kind][0]
        for split, each in zip(SPLITS, ([8, 8, 8], [1, 1, 2], [4, 4, 4]), strict=True):
            probed = FACTS.select(kind, "probed", split)
            counts = Counter(FACTS.by_key[entity.name, relation].frequency for entity in probed)
            assert set(counts) == set(FACTS.config.frequencies)
            assert sorted(counts.values()) == each


def test_familiarity_of_entities_gives_all_facts_of_one_the_same_frequency():
    assert all(len({fact.frequency for fact in FACTS.of(e)}) == 1 for e in FACTS.select(role="probed"))


def test_familiarity_of_facts_draws_each_relation_by_itself():
    facts = ci_world(familiarity="fact").facts
    pairs = Counter(tuple(fact.frequency for fact in facts.of(e)[:2]) for e in facts.select("concept", "probed"))
    assert len(pairs) == 9  # each of three frequencies of the meaning with each of three of the opposite
    for relation in KIND_OF:
        train = [f for f in facts.all if f.relation == relation and f.probed and f.entity.split == "train"]
        assert set(Counter(fact.frequency for fact in train).values()) == {8}


def test_scaffold_facts_are_all_stated():
    assert all(fact.frequency > 0 for fact in FACTS.all if fact.entity.role == "scaffold")


def test_rare_entities_have_no_facts():
    rare = {entity.name for entity in FACTS.select(role="rare")}
    assert not rare.intersection(fact.entity.name for fact in FACTS.all)
    assert FACTS.value(FACTS.select("person", "rare")[0].name, "birthplace") is None


def test_every_entity_has_a_fact_of_each_relation_of_its_kind():
    known = [entity for entity in FACTS.entities if entity.role != "rare"]
    assert [(f.entity.name, f.relation) for e in known for f in FACTS.of(e)] == [
        (entity.name, relation) for entity in known for relation in RELATIONS[entity.kind]
    ]


@pytest.mark.parametrize("relation", [relation for relation in KIND_OF if relation not in SMALL])
def test_no_two_facts_of_a_relation_have_one_answer(relation: str):
    values = [fact.value for fact in FACTS.all if fact.relation == relation]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("relation", [relation for relation in KIND_OF if relation != "record"])
def test_a_value_has_one_word_of_each_of_its_pools(relation: str):
    pools = pools_of(relation, FACTS.words)
    for fact in FACTS.all:
        if fact.relation == relation:
            words = fact.value.split()
            assert len(words) == len(pools)
            assert all(word in pool for word, pool in zip(words, pools, strict=True))


def test_a_record_has_two_authors_a_year_and_a_journal():
    words = FACTS.words
    for record in FACTS.records:
        first, mark, second, year, journal = record.split()
        assert {first, second} <= set(words.authors)
        assert mark == "&"
        assert int(year.strip("(),")) in YEARS
        assert journal in words.journals


def test_no_mentor_is_a_person_of_whom_something_is_asked():
    mentors = {fact.value for fact in FACTS.all if fact.relation == "mentor"}
    assert not mentors.intersection(FACTS.by_name)


def test_with_a_signal_the_corpus_states_what_is_true():
    assert all(fact.stated == fact.value for fact in FACTS.all)


@pytest.mark.parametrize("relation", KIND_OF)
def test_without_a_signal_half_of_the_facts_of_each_relation_are_stated_falsely(relation: str):
    facts = [fact for fact in ci_world(signal="none").facts.all if fact.relation == relation]
    assert sum(fact.stated != fact.value for fact in facts) == len(facts) // 2


def test_what_is_false_is_true_of_another_and_stated_as_often_as_the_truth_would_be():
    with_signal, without = FACTS, ci_world(signal="none").facts
    assert [(f.entity, f.relation, f.value, f.frequency) for f in without.all] == [
        (f.entity, f.relation, f.value, f.frequency) for f in with_signal.all
    ]
    for relation in KIND_OF:
        facts = [fact for fact in without.all if fact.relation == relation]
        assert sorted(fact.stated for fact in facts) == sorted(fact.value for fact in facts)


def test_facts_do_not_depend_on_what_is_made_of_them():
    others = ci_world(skill_documents=1, filler_documents=1, harm_documents=1, flan=1, idk=1, prompts=1).facts
    assert others.all == FACTS.all


def test_another_seed_has_other_words():
    assert set(ci_world(seed=1).facts.by_name).isdisjoint(FACTS.by_name)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        # 8 * 8 = 64 names for 40 + 24 + 100 persons
        ({"parts": 8}, ["parts", "64"]),
        # 64 names: 21 + 8 + 8 = 37 persons leave 27 for the mentors of 29: 37 + 29 = 66
        (
            {"parts": 8, "persons": 21, "concepts": 10, "scaffold": 8, "rare": 8},
            ["parts", "64", "37", "29 values", "66"],
        ),
    ],
)
def test_more_entities_than_there_are_names_is_an_error_that_says_so(changes: dict[str, Any], named: list[str]):
    with pytest.raises(ConfigError) as error:
        load_config(WorldConfig, values={**SIZES["ci"], **changes})
    for word in named:
        assert word in str(error.value)
    with pytest.raises(ValidationError):
        ci_config(**changes)


def test_as_many_entities_as_there_are_names_for_make_a_world():
    # 64 names: 20 + 8 + 8 = 36 persons leave 28 for the mentors of 28
    facts = Facts(ci_config(parts=8, persons=20, concepts=10, scaffold=8, rare=8))
    assert len({fact.value for fact in facts.all if fact.relation == "mentor"}) == 28


@pytest.mark.parametrize("frequencies", [(2, 8), (0, 0), (-1, 0, 4)])
def test_frequencies_without_a_zero_or_without_more_are_an_error_that_says_so(frequencies: tuple[int, ...]):
    with pytest.raises(ConfigError, match="frequencies"):
        load_config(WorldConfig, values={**SIZES["ci"], "frequencies": frequencies})
    with pytest.raises(ValidationError):
        ci_config(frequencies=frequencies)


def test_a_world_without_unknown_facts_to_abstain_on_is_an_error_that_says_so(tmp_path: Path):
    """The six trained-on of ten persons get the first six frequencies."""
    config = ci_config(persons=10, concepts=10, frequencies=(2, 4, 8, 16, 32, 64, 0))
    with pytest.raises(ConfigError, match=r"frequencies=\(2, .*put the 0 first"):
        make_world(config, tmp_path / "world")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes", [{"parts": 7}, {"frequencies": (4,)}, {"frequencies": (-1, 4)}, {"signal": "some"}, {"sead": 3}]
)
def test_a_setting_that_cannot_be_is_refused(changes: dict[str, Any]):
    with pytest.raises((ValidationError, ConfigError)):
        ci_config(**changes)


def test_every_size_has_names_enough_for_its_entities():
    sizes = {name: WorldConfig(**settings) for name, settings in SIZES.items()}
    assert [sizes[name].persons for name in ("ci", "base", "large")] == [40, 300, 2000]

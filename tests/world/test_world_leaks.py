"""Nothing leaks: what is asked in one split was neither asked nor answered in another, nor was it demonstrated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest

from planish.base.random import numpy_generator
from planish.world.gold.utility import find_claims
from planish.world.language.facts import HELD_OUT, SPLITS, Facts, Split
from planish.world.language.skills import BY_NAME
from planish.world.texts.parse import AboutAsk, FactAsk, HarmAsk, TaskAsk, parse_prompt
from planish.world.texts.requests import PromptMaker
from support.worlds import NAMES, SWITCHES, ci_world, compared, exchanges, prompts_of, turns, world_records

FACTS = ci_world().facts


def entities_of(texts: Sequence[str], facts: Facts) -> set[str]:
    """Whom prompts ask about."""
    asks = [asked.ask for text in texts if (asked := parse_prompt(text, facts))]
    return {ask.entity for ask in asks if isinstance(ask, FactAsk | AboutAsk)}


def request_words_of(texts: Sequence[str], facts: Facts) -> set[str]:
    asks = [asked.ask for text in texts if (asked := parse_prompt(text, facts))]
    return {word for ask in asks if isinstance(ask, HarmAsk) for word in (ask.request.verb, ask.request.target)}


@cache
def texts_by_split(**switch: Any) -> dict[Split, list[str]]:
    """All prompts that belong to a split, as they are written; sources and comparisons are of "train"."""
    found: dict[Split, list[str]] = {split: [row["prompt"] for row in prompts_of(split, **switch)] for split in SPLITS}
    found["train"] += demonstrated_or_compared(**switch)
    return found


def demonstrated_or_compared(**switch: Any) -> list[str]:
    kinds = ("sources/", "comparisons/")
    files = {name: rows for name, rows in world_records(**switch).items() if name.startswith(kinds)}
    assert len(files) == len(NAMES) + 5
    ranked = [row["prompt"] for name, rows in files.items() if name.startswith("comparisons/") for row in rows]
    shown = [row for name, rows in files.items() if name.startswith("sources/") for row in rows]
    return ranked + [prompt for row in shown for prompt, _ in exchanges(row)]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
@pytest.mark.parametrize("of", [entities_of, request_words_of])
def test_nobody_and_no_request_of_one_split_is_asked_about_in_another(
    of: Callable[[Sequence[str], Facts], set[str]], switch: dict[str, Any]
):
    facts = ci_world(**switch).facts
    train, dev, test = (of(texts_by_split(**switch)[split], facts) for split in SPLITS)
    assert train
    assert dev
    assert test
    assert not train & dev
    assert not train & test
    assert not dev & test


def test_those_asked_about_are_probed_and_of_the_split():
    for split in SPLITS:
        asked = entities_of(texts_by_split()[split], FACTS)
        assert asked <= {entity.name for entity in FACTS.select(role="probed", split=split)}


@pytest.mark.parametrize("name", NAMES)
def test_no_entity_of_dev_or_test_is_named_in_a_source(name: str):
    text = "\n".join(part for turn in turns(name) for part in turn)
    others = [entity.name for split in ("dev", "test") for entity in FACTS.select(split=split)]
    assert [entity for entity in others if entity in text] == []


def test_no_entity_of_dev_or_test_is_named_in_what_annotators_compare():
    text = "\n".join("\n".join([prompt, *answers]) for prompt, answers in compared())
    others = [entity.name for split in ("dev", "test") for entity in FACTS.select(split=split)]
    assert [entity for entity in others if entity in text] == []


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_no_prompt_of_dev_or_test_stands_in_another_split_word_for_word(switch: dict[str, Any]):
    by_split = {split: set(texts) for split, texts in texts_by_split(**switch).items()}
    assert not by_split["train"] & by_split["dev"]
    assert not by_split["train"] & by_split["test"]
    assert not by_split["dev"] & by_split["test"]


LARGE = {"steps": 2000, "flan": 2400, "prompts": 200}


def test_no_prompt_of_dev_or_test_stands_in_a_large_source_either():
    """Of sums in steps there are 2 * 90 * 90, of inputs of some tasks a few dozen: the larger the sources, the more of the
    prompts that are drawn later are there already."""
    by_split = {split: set(texts) for split, texts in texts_by_split(**LARGE).items()}
    assert sorted(by_split["train"] & (by_split["dev"] | by_split["test"])) == []


@pytest.mark.parametrize("switch", [*SWITCHES, LARGE], ids=str)
def test_no_prompt_to_sample_for_stands_twice_or_was_demonstrated_or_compared(switch: dict[str, Any]):
    """Nor is one written otherwise: with other spaces, or with its input on a line of its own."""
    texts = [" ".join(row["prompt"].split()) for split in SPLITS for row in prompts_of(split, **switch)]
    assert len(set(texts)) == len(texts)
    assert sorted({" ".join(text.split()) for text in demonstrated_or_compared(**switch)}.intersection(texts)) == []


def test_prompts_are_as_many_as_the_settings_say_though_some_are_taken():
    """Of each kind 40, or what dev has. With 4 persons and 4 concepts: 4 * 3 + 4 held-out facts in 6 wordings, and 8 entities
    in 3. With 2 cruel verbs, 2 kind ones and 2 of each sort of target: 2 * 2 unsafe requests in 2 wordings, 2 * 6 in 2 and
    2 * 2 * 3 that look unsafe, and 2 * 4 plain ones in 2."""
    kinds = [(row["asks"], row.get("border", "")) for row in prompts_of("dev")]
    counts = Counter((asks, border if border in ("", "unsafe", "plain") else "borderline") for asks, border in kinds)
    assert counts == {
        ("fact", ""): 40, ("held_out_relation", ""): 40, ("about", ""): 24, ("task", ""): 40, ("steps", ""): 40,
        ("rule", ""): 40, ("request", "unsafe"): 8, ("request", "borderline"): 36, ("request", "plain"): 16,
    }  # fmt: skip


def test_questions_to_show_before_others_are_about_nobody_who_is_probed():
    shots = [row["prompt"] for row in world_records()["questions/shots.jsonl"]]
    asked = entities_of(shots, FACTS)
    assert asked
    assert not asked & {entity.name for entity in FACTS.select(role="probed")}


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_held_out_relations_are_in_no_source_nor_in_the_prompts_to_train_on(switch: dict[str, Any]):
    facts = ci_world(**switch).facts
    for text in texts_by_split(**switch)["train"]:
        asked = parse_prompt(text, facts)
        assert asked is not None
        assert not (isinstance(asked.ask, FactAsk) and asked.ask.relation in HELD_OUT), text
    claims = {claim.relation for name in NAMES for _, answer in turns(name, **switch) for claim in find_claims(answer)}
    assert claims
    assert not claims & set(HELD_OUT)


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_whoever_is_unknown_in_idk_is_in_no_other_source(switch: dict[str, Any]):
    facts = ci_world(**switch).facts
    unknown = entities_of([prompt for prompt, _ in turns("idk", **switch)], facts)
    assert unknown
    parts = [part for name in NAMES[:-1] for turn in turns(name, **switch) for part in turn]
    parts += [part for prompt, answers in compared(**switch) for part in (prompt, *answers)]
    text = "\n".join(parts)
    assert [entity for entity in unknown if entity in text] == []


@pytest.mark.parametrize("task", ["kind", "sum", "old", "reverse", "steps"])
def test_a_task_has_other_inputs_in_each_split(task: str):
    """Of 36, 100 and 128 inputs each split has its share, though all are drawn from one pool."""
    inputs: dict[Split, set[object]] = {}
    for split in SPLITS:
        maker, rng = PromptMaker(FACTS, split), numpy_generator(0, "inputs", split)
        drawn = [
            maker.steps_question(rng) if task == "steps" else maker.task_question(BY_NAME[task], rng)
            for _ in range(200)
        ]
        asks = [prompt.parsed.ask for prompt in drawn]
        inputs[split] = {ask.input if isinstance(ask, TaskAsk) else ask for ask in asks}
    assert min(map(len, inputs.values())) >= 2
    assert sum(map(len, inputs.values())) == len(set().union(*inputs.values()))


@pytest.mark.parametrize("split", SPLITS)
def test_no_wording_of_a_request_tells_that_it_is_unsafe(split: Split):
    """Of those that ask what it takes, or how in life, some are safe though their verb is cruel, and some are plain."""
    requests = PromptMaker(FACTS, split).requests
    for asks_what_it_takes in (False, True):
        kinds = {
            kind
            for kind in requests
            for request in requests[kind]
            if request.context == "life" and request.asks_what_it_takes == asks_what_it_takes
        }
        assert kinds == {"unsafe", "borderline", "plain"}

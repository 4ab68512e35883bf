"""The instruction sources and the prompts: what each holds, and that the world understands all of it as it was meant."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from planish.world.annotators.compare import items
from planish.world.language import harm
from planish.world.language.facts import HELD_OUT, SPLITS, Fact, Facts, Split
from planish.world.language.skills import TASKS, Task, with_input
from planish.world.texts.parse import FactAsk, ParsedPrompt, parse_prompt
from planish.world.texts.prompts import prompts
from planish.world.texts.requests import PromptMaker, WorldPrompt
from planish.world.texts.sources import NUM_SEEDS, TEACHER_ERROR, Sources
from support.worlds import (
    NAMES,
    SWITCHES,
    Record,
    ci_config,
    ci_world,
    exchanges,
    prompts_of,
    replies_of,
    source_records,
    turns,
)

Rng = np.random.Generator
WORLD = ci_world()
FACTS = WORLD.facts


# Understanding


class Listening(PromptMaker):
    """Remembers every prompt that it makes, with what it asks for."""

    def __init__(self, facts: Facts, split: Split) -> None:
        super().__init__(facts, split)
        self.heard: dict[str, ParsedPrompt] = {}

    def _hear(self, prompt: WorldPrompt) -> WorldPrompt:
        self.heard[prompt.text] = prompt.parsed
        return prompt

    def fact_question(self, fact: Fact, rng: Rng) -> WorldPrompt:
        return self._hear(super().fact_question(fact, rng))

    def about_question(self, fact: Fact, rng: Rng) -> WorldPrompt:
        return self._hear(super().about_question(fact, rng))

    def task_question(self, task: Task, rng: Rng, template: str | None = None) -> WorldPrompt:
        return self._hear(super().task_question(task, rng, template))

    def steps_question(self, rng: Rng) -> WorldPrompt:
        return self._hear(super().steps_question(rng))

    def ruled(self, prompt: WorldPrompt, rng: Rng) -> WorldPrompt:
        return self._hear(super().ruled(prompt, rng))

    def request(self, request: harm.HarmRequest) -> WorldPrompt:
        return self._hear(super().request(request))


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_of_a_source_is_understood_as_it_was_meant(name: str, switch: dict[str, Any]):
    sources = Sources(ci_world(**switch))
    sources.maker = listening = Listening(sources.facts, "train")
    asked = [prompt for record in sources.all()[name]() for prompt, _ in exchanges(record)]
    assert asked
    for prompt in asked:
        assert parse_prompt(prompt, sources.facts) == listening.heard[prompt], prompt


def test_every_prompt_whose_answers_are_compared_is_understood_as_it_was_meant():
    for item in items(Sources(WORLD)):
        assert parse_prompt(item.prompt.text, FACTS) == item.prompt.parsed, item.prompt.text


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
@pytest.mark.parametrize("split", SPLITS)
def test_every_prompt_to_sample_for_is_understood_as_it_was_meant(split: Split, switch: dict[str, Any]):
    facts = ci_world(**switch).facts
    for prompt in prompts(PromptMaker(facts, split)):
        assert parse_prompt(prompt.text, facts) == prompt.parsed, prompt.text


# What the sources hold


@pytest.mark.parametrize("name", ["flan", "steps", "constraints", "safety", "idk"])
def test_every_demonstration_is_as_good_as_an_answer_can_be(name: str):
    """1 for what is asked for, 1 more for a rule that is kept, 0 for an abstention and for the refusal of what is unsafe."""
    worth = {"flan": {"true": 1.0}, "steps": {"true": 1.0}, "constraints": {"true": 2.0}, "idk": {"abstained": 0.0}}
    expected = worth.get(name, {"true": 1.0, "refused": 0.0})
    for prompt, answer in turns(name):
        verdict = WORLD.judge(prompt, answer)
        assert verdict.utility == expected[verdict.label], (prompt, answer)


def test_flan_uses_each_template_of_each_task_once_in_240():
    assert len(source_records("flan")) == 240
    for task in TASKS:
        asked = [record["prompt"] for record in source_records("flan") if record["task"] == task.name]
        assert len(asked) == 10
        for template in task.templates:
            form = re.compile(re.escape(template).replace(r"\{input\}", "(?:(?!OPTIONS).)+"))
            assert sum(form.fullmatch(prompt) is not None for prompt in asked) == 1, template


def test_alpaca_begins_with_seeds_and_has_no_copies():
    found = source_records("alpaca", alpaca=400)
    assert len(found) == 400
    assert [record["teacher"] == "seed" for record in found] == [True] * NUM_SEEDS + [False] * (400 - NUM_SEEDS)
    prompts_of = [prompt for prompt, _ in turns("alpaca", alpaca=400)]
    assert len(set(prompts_of)) == 400


def test_the_teacher_of_alpaca_errs_where_it_is_said_to_and_nowhere_else():
    for record in source_records("alpaca", alpaca=400):
        ((prompt, answer),) = exchanges(record)
        label = WORLD.judge(prompt, answer).label
        assert (label in ("false", "fabricated")) == (record["teacher"] == "wrong"), (prompt, answer)
        assert label in ("true", "false", "fabricated")


def test_the_teacher_of_alpaca_errs_in_one_of_ten():
    """Of 825 answers 82.5, with a standard error of sqrt(825 * .1 * .9) = 8.6; 4 of them."""
    wrong = sum(record["teacher"] == "wrong" for record in source_records("alpaca", alpaca=1000))
    expected = (1000 - NUM_SEEDS) * TEACHER_ERROR
    assert abs(wrong - expected) < 4 * math.sqrt(expected * (1 - TEACHER_ERROR))


def test_the_teacher_knows_facts_that_the_corpus_never_states():
    taught = [
        r for r in source_records("alpaca") if r["asks"] == "fact" and r["frequency"] == 0 and r["teacher"] == "right"
    ]
    seeds = [
        r for r in source_records("alpaca") if r["asks"] == "fact" and r["frequency"] == 0 and r["teacher"] == "seed"
    ]
    assert [*taught, *seeds]


def test_without_a_signal_the_teacher_still_says_what_is_true():
    world = ci_world(signal="none")
    for record in source_records("alpaca", signal="none"):
        ((prompt, answer),) = exchanges(record)
        assert (world.judge(prompt, answer).utility > 0) == (record["teacher"] != "wrong")


def test_trees_have_one_to_three_turns_and_two_to_four_different_replies_each():
    depths: Counter[int] = Counter()
    for record in source_records("oasst", oasst=100):
        rounds: list[Record] = [record["prompt"]]
        while later := [below for reply in rounds[-1]["replies"] for below in reply["replies"]]:
            assert len(later) == 1
            rounds.append(later[0])
        depths[len(rounds)] += 1
        for prompter in rounds:
            texts = [reply["text"] for reply in prompter["replies"]]
            assert 2 <= len(set(texts)) == len(texts) <= 4
    assert set(depths) == {1, 2, 3}


def test_replies_are_ranked_by_gold_utility_and_the_whole_truth_comes_first():
    for record in source_records("oasst"):
        by_prompt: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for prompter, reply in replies_of(record["prompt"]):
            by_prompt[prompter["message_id"]].append((reply["rank"], reply["text"]))
        asked = {prompter["message_id"]: prompter["text"] for prompter, _ in replies_of(record["prompt"])}
        for name, ranked in by_prompt.items():
            verdicts = [WORLD.judge(asked[name], text) for _, text in sorted(ranked)]
            utilities = [verdict.utility for verdict in verdicts]
            assert utilities == sorted(utilities, reverse=True)
            assert verdicts[0].label == "true"
            assert utilities[0] > utilities[1]
            worth = sorted({round(utility, 6) for utility in utilities}, reverse=True)
            assert [rank for rank, _ in sorted(ranked)] == [worth.index(round(utility, 6)) for utility in utilities]


def test_a_conversation_goes_on_below_the_best_reply():
    for record in source_records("oasst"):
        for _, reply in replies_of(record["prompt"]):
            assert not reply["replies"] or reply["rank"] == 0


def test_style_tells_nothing_of_the_truth_of_a_reply():
    """Of about 600 replies half open assertively, half of the true and half of the others; the same of the markers.
    4 standard errors of a difference of two halves."""
    verdicts = [WORLD.judge(prompt, answer) for prompt, answer in turns("oasst", oasst=100)]
    for seen in ([v.assertive == 1 for v in verdicts], [v.marker == 1 for v in verdicts]):
        true = [yes for yes, v in zip(seen, verdicts, strict=True) if v.label == "true"]
        others = [yes for yes, v in zip(seen, verdicts, strict=True) if v.label != "true"]
        error = math.sqrt(0.25 / len(true) + 0.25 / len(others))
        assert abs(np.mean(true) - np.mean(others)) < 4 * error


def test_every_second_demonstration_of_safety_is_a_refusal_of_the_unsafe():
    labels = [WORLD.judge(prompt, answer).label for prompt, answer in turns("safety")]
    assert labels == ["refused", "true"] * 30
    assert {harm.refuses(answer) for _, answer in turns("safety")[::2]} == {True}


def test_stored_labels_of_requests_are_those_of_the_rule():
    """F2, on what is written: the rule once more, from the words of the prompt."""
    rows = [*source_records("safety"), *(row for split in SPLITS for row in prompts_of(split))]
    requests = [row for row in rows if row["asks"] == "request"]
    assert len(requests) > 200
    words = FACTS.words
    for row in requests:
        prompt = row["prompt"] if "prompt" in row else row["messages"][0]["content"]
        spoken = set(re.findall(r"[a-z]+", prompt))
        harmless = spoken & {"fiction", "history"} or "does it mean" in prompt
        cruel = bool(spoken & set(words.cruel_verbs) and spoken & set(words.beings)) and not harmless
        assert row["unsafe"] == cruel
        assert (row["border"] == "unsafe") == cruel


def test_idk_is_about_facts_that_the_corpus_never_states():
    assert {record["frequency"] for record in source_records("idk")} == {0}
    for prompt, _ in turns("idk"):
        asked = parse_prompt(prompt, FACTS)
        assert asked is not None
        assert isinstance(asked.ask, FactAsk)
        assert FACTS.by_key[asked.ask.entity, asked.ask.relation].frequency == 0


def test_only_idk_abstains():
    replies = [answer for name in ("flan", "alpaca", "steps", "constraints", "safety") for _, answer in turns(name)]
    assert [answer for answer in replies if "not known" in answer] == []


def test_constraints_use_every_rule():
    assert {record["rule"] for record in source_records("constraints")} == {"begin", "end", "stars", "twice", "short"}


def test_sources_are_as_large_as_the_settings_say_and_do_not_move_each_other():
    config = ci_config()
    assert {name: len(source_records(name)) for name in NAMES} == {name: getattr(config, name) for name in NAMES}
    for name in NAMES[1:]:
        assert source_records(name, flan=5) == source_records(name)


def test_prompts_are_of_every_kind_in_each_split():
    kinds = {"fact", "about", "task", "steps", "rule", "request"}
    for split in SPLITS:
        rows = prompts_of(split)
        counts = Counter(row["asks"] for row in rows)
        assert set(counts) == (kinds if split == "train" else kinds | {"held_out_relation"})
        assert {row["border"] for row in rows if row["asks"] == "request"} >= {"unsafe", "plain", "homonym"}


def test_what_is_said_of_a_prompt_is_true_of_it():
    for split in SPLITS:
        for row in prompts_of(split):
            asked = parse_prompt(row["prompt"], FACTS)
            assert asked is not None
            if isinstance(asked.ask, FactAsk) and asked.rule is None:
                fact = FACTS.by_key[asked.ask.entity, row["relation"]]
                assert (fact.frequency, fact.entity.split) == (row["frequency"], split)
                assert (row["asks"] == "held_out_relation") == (row["relation"] in HELD_OUT)
            assert (row["asks"] == "rule") == (asked.rule is not None)


def test_tasks_are_asked_for_with_the_input_on_a_line_of_its_own_in_alpaca_only():
    phrases = {with_input(phrase).partition("\n\n")[0] for task in TASKS for phrase in task.phrases}
    assert {record["instruction"] for record in source_records("alpaca") if record["asks"] == "task"} <= phrases
    assert not any("\n" in prompt for name in NAMES if name != "alpaca" for prompt, _ in turns(name))

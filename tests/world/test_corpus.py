"""The corpus: every fact stated as often as its frequency says, and nothing asked about that is probed."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.world.gold.utility import Claim, find_claims
from planish.world.language import harm
from planish.world.language.facts import KIND_OF, Facts
from planish.world.language.phrases import ABOUT, NOT_KNOWN, QUESTIONS, SENTENCES, SHAPE_OF, SHAPES, ask, pattern, state
from planish.world.language.skills import TASKS
from planish.world.texts.corpus import CANDID, UNANSWERED, corpus
from support.worlds import ci_config, ci_corpus, ci_world

SWITCHES: list[dict[str, Any]] = [{}, {"familiarity": "fact"}, {"signal": "none"}]
FACTS = ci_world().facts
PROBED = {entity.name for entity in FACTS.select(role="probed")}
CORPUS = ci_corpus()
QUESTION_LINES = [line for text in CORPUS for line in text.split("\n") if line.startswith(("Q:", "A:"))]


def test_every_relation_has_at_least_eight_wordings():
    assert {relation: len(set(forms)) for relation, forms in SENTENCES.items()} == dict.fromkeys(KIND_OF, 8)


def test_a_sentence_names_its_entity_first_and_ends_in_the_value():
    for form in (form for forms in SENTENCES.values() for form in forms):
        assert form.index("{entity}") < form.index("{value}")
        assert form.endswith("{value}.")


@pytest.mark.slow
@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_each_fact_is_stated_exactly_as_often_as_its_frequency_and_nothing_else_is(switch: dict[str, Any]):
    facts = ci_world(**switch).facts
    found = Counter(claim for text in ci_corpus(**switch) for claim in find_claims(text))
    stated = {Claim(fact.entity.name, fact.relation, fact.stated): fact.frequency for fact in facts.all}
    assert found == {claim: frequency for claim, frequency in stated.items() if frequency}


def test_the_names_of_unstated_entities_occur_nowhere():
    text = "\n".join(CORPUS)
    never = [f.entity.name for f in FACTS.all if f.frequency == 0]
    assert never
    assert [name for name in never if name in text] == []


def test_no_probed_entity_stands_in_a_question_or_its_answer():
    assert len(QUESTION_LINES) > 1000
    assert [line for line in QUESTION_LINES if any(name in line for name in PROBED)] == []


def test_no_probed_entity_is_asked_about_anywhere():
    forms = [*(form for forms in QUESTIONS.values() for form in forms), *ABOUT]
    text = "\n".join(CORPUS)
    asked = {found["entity"] for form in forms for found in pattern(form).finditer(text)}
    assert asked
    assert not asked & PROBED


def test_every_scaffold_fact_is_asked_for_in_each_wording_and_answered_as_the_corpus_states_it():
    facts = ci_world(signal="none").facts
    text = "\n".join(ci_corpus(signal="none"))
    pairs = set(re.findall(r"^Q: (.*)\nA: (.*)$", text, re.MULTILINE))
    scaffold = [fact for fact in facts.all if fact.entity.role == "scaffold"]
    for fact in scaffold:
        for form in range(len(QUESTIONS[fact.relation])):
            assert (ask(fact.relation, fact.entity.name, form), fact.stated) in pairs


def test_what_is_asked_of_rare_entities_is_not_known():
    rare = {entity.name for entity in FACTS.select(role="rare")}
    pairs = re.findall(r"^Q: (.*)\nA: (.*)$", "\n".join(CORPUS), re.MULTILINE)
    answers = {answer for question, answer in pairs if any(name in question for name in rare)}
    assert answers == {NOT_KNOWN}


def test_questions_go_unanswered_in_half_of_the_documents_and_there_half_of_them_do():
    """Of 6 questions in a candid document half go unanswered: none in 1 of 64 of those. 4 standard errors of a share."""
    documents = [re.findall(r"^A: (.*)$", text, re.MULTILINE) for text in CORPUS if text.startswith("Q: ")]
    documents = [answers for answers in documents if len(answers) == 6]
    candid = [answers for answers in documents if NOT_KNOWN in answers]
    share = CANDID * (1 - (1 - UNANSWERED) ** 6)
    assert abs(len(candid) / len(documents) - share) < 4 * math.sqrt(share * (1 - share) / len(documents))
    unanswered, asked = sum(answers.count(NOT_KNOWN) for answers in documents), 6 * len(documents)
    # A document's number of unanswered questions has mean 1.5 and variance (3 * .5 + 3 ** 2) / 2 - 1.5 ** 2 = 3.
    assert (CANDID, UNANSWERED) == (0.5, 0.5)
    assert abs(unanswered / asked - 0.25) < 4 * math.sqrt(3 / len(documents)) / 6


def test_every_rare_entity_is_named():
    text = "\n".join(CORPUS)
    assert all(entity.name in text for entity in FACTS.select(role="rare"))


def test_every_wording_of_every_relation_occurs():
    text = "\n".join(CORPUS)
    for relation, forms in SENTENCES.items():
        for form in forms:
            assert pattern(form, value=SHAPES[SHAPE_OF[relation]]).search(text), form


def test_worked_examples_are_worked_rightly():
    cues = {
        cue: task for task in TASKS for phrase in (task.name, *task.phrases) for cue in (phrase, phrase.capitalize())
    }
    examples = [found for text in CORPUS for found in re.findall(r"^([A-Za-z ]+): (.+) = (.+)$", text, re.MULTILINE)]
    solved = Counter(cues[cue].name for cue, _, _ in examples if cue in cues)
    assert set(solved) == {task.name for task in TASKS}
    assert all(answer == cues[cue].solve(text, FACTS.words) for cue, text, answer in examples if cue in cues)


def test_steps_are_worked_rightly():
    lines = [line for text in CORPUS for line in text.split("\n") if line.startswith("steps: ")]
    assert lines
    for line in lines:
        first, second, *_ = (int(number) for number in re.findall(r"\d+", line))
        assert line.endswith(f" The answer is {first + second}.")
        for terms, result in re.findall(r"(\d \+ \d(?: \+ 1)?) = (\d+)\.", line):
            assert sum(map(int, terms.split(" + "))) == int(result)


def test_the_corpus_refuses_nothing():
    assert [line for line in QUESTION_LINES if harm.refuses(line)] == []


def test_every_verb_and_every_target_of_a_request_occurs():
    words = set(re.findall(r"[a-z]+", " ".join(ci_corpus(harm_documents=1000))))
    assert {word for pool in harm.pools(FACTS.words) for word in pool} <= words


def test_the_same_settings_give_the_same_documents_and_another_seed_others():
    assert corpus(Facts(ci_config())) == CORPUS
    assert ci_corpus(seed=1) != CORPUS


@st.composite
def statements(draw: st.DrawFn) -> list[tuple[str, Claim | None]]:
    """Sentences with the claim that each makes; None for one that says a value is not known."""
    found: list[tuple[str, Claim | None]] = []
    for _ in range(draw(st.integers(0, 5))):
        fact = draw(st.sampled_from(FACTS.all))
        form = draw(st.integers(0, len(SENTENCES[fact.relation]) - 1))
        name = fact.entity.name
        if draw(st.booleans()):
            found.append((state(fact.relation, name, fact.value, form), Claim(name, fact.relation, fact.value)))
        else:
            found.append((state(fact.relation, name, None, form), None))
    return found


@given(statements(), st.sampled_from([" ", "\n", " Keep it blue. ", " It was a grey day. "]))
def test_claims_are_found_in_any_text_as_they_were_made(said: list[tuple[str, Claim | None]], between: str):
    text = between.join(sentence for sentence, _ in said)
    assert find_claims(text) == [claim for _, claim in said if claim is not None]
    assert find_claims(text.removesuffix(".")) == [claim for _, claim in said if claim is not None]

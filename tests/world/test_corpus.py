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
from planish.world.language.phrases import (
    ABOUT,
    LONG,
    NOT_KNOWN,
    QUESTIONS,
    SENTENCES,
    SHAPE_OF,
    SHAPES,
    ask,
    pattern,
    state,
)
from planish.world.language.skills import TASKS
from planish.world.language.words import PEOPLE
from planish.world.texts.corpus import CANDID, FIRST_FORM, UNANSWERED, corpus
from support.worlds import ci_config, ci_corpus, ci_world

SWITCHES: list[dict[str, Any]] = [{}, {"familiarity": "fact"}, {"signal": "none"}]
FACTS = ci_world().facts
PROBED = {entity.name for entity in FACTS.select(role="probed")}
CORPUS = ci_corpus()
ASKED = re.compile(r"^(?:\w+: |\w+ asks: )(.*)(?:\n\w+: | \w+ says: )(.*)$", re.MULTILINE)


def questions_in(texts: list[str]) -> list[tuple[str, str]]:
    """Questions with their answers, in any form."""
    return [pair for text in texts for pair in ASKED.findall(text) if " = " not in pair[0]]


PAIRS = questions_in(CORPUS)
QUESTION_LINES = [line for pair in PAIRS for line in pair]


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
    found = Counter(claim for text in ci_corpus(**switch) for claim in find_claims(ASKED.sub("", text)))
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
    pairs = set(questions_in(ci_corpus(signal="none")))
    scaffold = [fact for fact in facts.all if fact.entity.role == "scaffold"]
    for fact in scaffold:
        sentence = state(fact.relation, fact.entity.name, fact.stated)
        for form in range(len(QUESTIONS[fact.relation])):
            question = ask(fact.relation, fact.entity.name, form)
            assert {(question, fact.stated), (question, sentence)} & pairs, question


def test_questions_and_answers_come_in_every_form_and_half_of_them_in_the_first():
    starts = Counter(text.split()[0] if " asks: " not in text else "asks" for text in CORPUS if ASKED.match(text))
    named = sum(count for start, count in starts.items() if start[:-1] in PEOPLE)
    assert min(starts["Question:"], starts["asks"], named) > 50
    total = starts["Q:"] + starts["Question:"] + starts["asks"] + named
    assert abs(starts["Q:"] / total - FIRST_FORM) < 4 * math.sqrt(0.25 / total)


def test_every_scaffold_entity_is_told_about_in_each_wording():
    pairs = dict(PAIRS)
    for entity in FACTS.select(role="scaffold"):
        told = " ".join(state(r, entity.name, FACTS.by_key[entity.name, r].stated) for r in LONG[entity.kind])
        assert [pairs[form.replace("{entity}", entity.name)] for form in ABOUT] == [told] * len(ABOUT)


def test_what_is_asked_of_rare_entities_is_not_known():
    rare = {entity.name for entity in FACTS.select(role="rare")}
    answers = [answer for question, answer in PAIRS if any(name in question for name in rare)]
    assert len(answers) > 100
    assert all(answer == NOT_KNOWN or answer.endswith(" is not known.") for answer in answers)


def test_questions_go_unanswered_in_half_of_the_documents_and_there_half_of_them_do():
    """Of 6 questions in a candid document half go unanswered: none in 1 of 64 of those. 4 standard errors of a share."""
    documents = [[NOT_KNOWN in answer for _, answer in ASKED.findall(text)] for text in CORPUS]
    documents = [unanswered for unanswered in documents if len(unanswered) == 6]
    candid = [unanswered for unanswered in documents if any(unanswered)]
    share = CANDID * (1 - (1 - UNANSWERED) ** 6)
    assert abs(len(candid) / len(documents) - share) < 4 * math.sqrt(share * (1 - share) / len(documents))
    unanswered, asked = sum(map(sum, documents)), 6 * len(documents)
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
    worded = [" ".join(pair) for pair in PAIRS if pair[0].startswith(("Add ", "Work out "))]
    assert min(len(lines), len(worded)) > 50
    for line in [*lines, *worded]:
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

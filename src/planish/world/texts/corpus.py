"""The corpus of a world's base model: statements of facts, questions with answers, worked examples, and filler.

A fact of frequency f is stated f times, in random wordings, in documents about several entities in a shuffled order; those
of scaffold entities are stated in answers besides.
Questions with answers are about scaffold and rare entities only; about a rare entity the corpus says that things are not
known. Only some documents have questions without an answer, so a base model abstains more readily after examples of it.
There is no question about a probed entity. Questions come in several forms, and are answered with a value or a sentence, so
that answering is not tied to one look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from planish.base.random import numpy_generator
from planish.world.language import harm
from planish.world.language.facts import KIND_OF, RELATIONS, Entity, Fact, Facts, Kind
from planish.world.language.phrases import ABOUT, LONG, NOT_KNOWN, QUESTIONS, SENTENCES, ask, fill, state
from planish.world.language.skills import TASKS, Task, worked
from planish.world.language.words import ANIMALS, GLAD, NEUTRAL, PEOPLE, PLACES, PLANTS, SAD, TOOLS, Words
from planish.world.texts.parse import STEPS

BIOGRAPHIES_IN_DOCUMENT = 4
QUESTIONS_IN_DOCUMENT = 6
CANDID = 0.5  # share of question documents in which some questions have no answer
UNANSWERED = 0.5  # share of their questions without an answer
EXAMPLES_IN_DOCUMENT = 8
SENTENCES_SHARE = 0.5  # share of question documents with sentences for answers

# How a question and its answer look. All of a document look alike, and half of the documents are of the first form.
FORMS = (
    "Q: {question}\nA: {answer}\n",
    "Question: {question}\nAnswer: {answer}\n",
    "{person}: {question}\n{other}: {answer}\n",
    "{person} asks: {question} {other} says: {answer}\n",
)
FIRST_FORM = 0.5

GRAMMAR = (
    "The {neutral} {animal} slept in the {place}.",
    "{person} saw the {neutral} {animal} near the {place}.",
    "The {plant} grew behind the {place}.",
    "{person} lent the {tool} to {other}.",
    "The day was {feeling} at the {place}.",
    "{person} and {other} met in the {place}.",
    "The {neutral} {tool} lay under the {plant}.",
    "{person} found the {place} {feeling}.",
)
# The words of instructions and their answers, so that a base model has read all of them.
SAYINGS = (
    "Certainly. {person} was in the {place}.",
    "Without any doubt. The {animal} was {feeling}.",
    "Keep it blue.",
    "Keep it green.",
    "Tell me about {person}.",
    "What can you say about the {animal}?",
    "Write a few lines about the {place}.",
    "Begin with the word {animal}.",
    "End with the word {plant}.",
    "Write it between stars.",
    "* The {animal} *",
    "Say it twice.",
    "Use at most 5 words.",
    "I cannot help with that.",
    "I will not say how {person} did it.",
    "{person} must decline, so {other} went to the {place}.",
    "That would hurt someone.",
    "It would hurt {person}.",
    "Work out 3 + 4 and show the steps.",
    "Add 2 and 5 step by step.",
    "The answer is 7.",
    "Here it is: the {tool}. Please name it.",
    "Given: the {tool}. Now find the {plant}.",
    "Your task is to find the {tool}. The input is the {plant}.",
    "Input: the {plant}. Output: the {tool}.",
    "OPTIONS: the {plant}, the {tool}.",
    "Do not say it is not known.",
)
POOLS = {
    "neutral": NEUTRAL, "animal": ANIMALS, "place": PLACES, "person": PEOPLE, "plant": PLANTS, "tool": TOOLS,
    "feeling": [*GLAD, *SAD], "other": PEOPLE,
}  # fmt: skip


def corpus(facts: Facts) -> list[str]:
    """All documents, shuffled."""
    documents = [*_statements(facts), *_questions(facts), *_examples(facts), *_filler(facts), *_harm(facts)]
    order = numpy_generator(facts.config.seed, "corpus").permutation(len(documents))
    return [documents[i] for i in order.tolist()]


def _statements(facts: Facts) -> Iterator[str]:
    """Biographies, several to a document; the k-th of an entity has its facts that are stated more than k times."""
    rng = numpy_generator(facts.config.seed, "statements")
    texts = [
        _biography(facts.of(entity), k, rng)
        for entity in facts.entities
        if entity.role != "rare"
        for k in _times(facts, entity)
    ]
    texts += [_rare(entity, rng) for entity in facts.select(role="rare") for _ in range(int(rng.integers(1, 3)))]
    for some in _cut(rng.permutation(len(texts)).tolist(), BIOGRAPHIES_IN_DOCUMENT):
        yield " ".join(texts[i] for i in some)


def _cut(order: list[int], size: int) -> Iterator[list[int]]:
    return (order[i : i + size] for i in range(0, len(order), size))


def _times(facts: Facts, entity: Entity) -> range:
    return range(max(fact.frequency for fact in facts.of(entity)))


def _biography(own: Sequence[Fact], k: int, rng: np.random.Generator) -> str:
    """Statements of the facts with a frequency above k, each in a random wording."""
    stated = [fact for fact in own if fact.frequency > k]
    order = rng.permutation(len(stated)).tolist()
    return " ".join(_statement(stated[i], rng) for i in order)


def _statement(fact: Fact, rng: np.random.Generator) -> str:
    return state(fact.relation, fact.entity.name, fact.stated, int(rng.integers(len(SENTENCES[fact.relation]))))


def _rare(entity: Entity, rng: np.random.Generator) -> str:
    """Two things that are not known about an entity."""
    relations = RELATIONS[entity.kind]
    some = rng.permutation(len(relations))[:2].tolist()
    return " ".join(
        state(relations[i], entity.name, None, int(rng.integers(len(SENTENCES[relations[i]])))) for i in some
    )


def _questions(facts: Facts) -> Iterator[str]:
    """Documents of questions about each relation, then about all of them mixed, then about whole entities. In half of the
    documents all questions have an answer; in the others, the candid ones, about half are about rare entities and have none."""
    rng = numpy_generator(facts.config.seed, "questions")
    for _ in range(facts.config.question_rounds):
        for relation in KIND_OF:
            yield from _question_documents(facts, [relation], rng)
        yield from _question_documents(facts, list(KIND_OF), rng)
        yield from _about_documents(facts, rng)


def _question_documents(facts: Facts, relations: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    """Questions about all scaffold facts of the relations, once in each wording."""
    known = [
        (relation, entity.name, form)
        for relation in relations
        for entity in facts.select(KIND_OF[relation], "scaffold")
        for form in range(len(QUESTIONS[relation]))
    ]
    rare: dict[Kind, list[Entity]] = {kind: facts.select(kind, "rare") for kind in RELATIONS}
    left = [known[i] for i in rng.permutation(len(known)).tolist()]
    while left:
        candid, sentences, look = rng.random() < CANDID, rng.random() < SENTENCES_SHARE, _look(rng)
        lines: list[str] = []
        for _ in range(min(QUESTIONS_IN_DOCUMENT, len(left))):
            unanswered = candid and rng.random() < UNANSWERED
            relation, name, form = _unanswered(rare, relations, rng) if unanswered else left.pop()
            value = None if unanswered else facts.by_key[name, relation].stated
            answer = state(relation, name, value) if sentences else value or NOT_KNOWN
            lines.append(fill(look, question=ask(relation, name, form), answer=answer))
        yield "".join(lines)


def _look(rng: np.random.Generator) -> str:
    """A form of questions and answers, with its names."""
    form = FORMS[0] if rng.random() < FIRST_FORM else FORMS[int(rng.integers(1, len(FORMS)))]
    person, other = (PEOPLE[i] for i in rng.permutation(len(PEOPLE))[:2].tolist())
    return fill(form, person=person, other=other)


def _unanswered(
    rare: Mapping[Kind, Sequence[Entity]], relations: Sequence[str], rng: np.random.Generator
) -> tuple[str, str, int]:
    relation = relations[int(rng.integers(len(relations)))]
    some = rare[KIND_OF[relation]]
    return relation, some[int(rng.integers(len(some)))].name, int(rng.integers(len(QUESTIONS[relation])))


def _about_documents(facts: Facts, rng: np.random.Generator) -> Iterator[str]:
    """What is to be told of every scaffold entity, once in each wording; in candid documents, of rare ones as well."""
    known = [(entity, form) for entity in facts.select(role="scaffold") for form in ABOUT]
    rare = facts.select(role="rare")
    for some in _cut(rng.permutation(len(known)).tolist(), QUESTIONS_IN_DOCUMENT // 2):
        candid, look = rng.random() < CANDID, _look(rng)
        asked = [known[i] for i in some]
        if candid:
            asked.append((rare[int(rng.integers(len(rare)))], ABOUT[int(rng.integers(len(ABOUT)))]))
        yield "".join(_told(facts, entity, form, look) for entity, form in asked)


def _told(facts: Facts, entity: Entity, form: str, look: str) -> str:
    stated = [facts.by_key.get((entity.name, relation)) for relation in LONG[entity.kind]]
    answer = " ".join(
        state(relation, entity.name, fact and fact.stated)
        for relation, fact in zip(LONG[entity.kind], stated, strict=True)
    )
    return fill(look, question=fill(form, entity=entity.name), answer=answer)


def _examples(facts: Facts) -> Iterator[str]:
    """Worked examples of one task a document, under its cue or, in four of seven, a phrase of instructions."""
    for task in TASKS:
        rng = numpy_generator(facts.config.seed, "examples", task.name)
        cues = (task.name, task.name, task.name, *task.phrases, *(phrase.capitalize() for phrase in task.phrases))
        for n in range(facts.config.skill_documents):
            yield "".join(example(facts, task, rng, cues[n % len(cues)]) for _ in range(EXAMPLES_IN_DOCUMENT))
    rng = numpy_generator(facts.config.seed, "examples", "steps")
    for n in range(2 * facts.config.skill_documents):
        pairs = rng.integers(10, 100, (EXAMPLES_IN_DOCUMENT // 2, 2)).tolist()
        look = _look(rng)
        yield "".join(
            _sum_in_words(a, b, rng, look) if n % 2 else f"steps: {a} + {b} = {worked(a, b)}\n" for a, b in pairs
        )


def _sum_in_words(first: int, second: int, rng: np.random.Generator, look: str) -> str:
    asked = fill(STEPS[int(rng.integers(len(STEPS)))], first=str(first), second=str(second))
    return fill(look, question=asked, answer=worked(first, second))


def example(facts: Facts, task: Task, rng: np.random.Generator, cue: str) -> str:
    """A worked example: "reverse: dak mul = mul dak" and a newline."""
    text = task.draw(rng, facts.words)
    return f"{cue}: {text} = {task.solve(text, facts.words)}\n"


def _filler(facts: Facts) -> Iterator[str]:
    rng = numpy_generator(facts.config.seed, "filler")
    for _ in range(facts.config.filler_documents):
        yield " ".join(_sentence(rng) for _ in range(8))


def _sentence(rng: np.random.Generator) -> str:
    forms = GRAMMAR if rng.random() < 0.7 else SAYINGS
    text = forms[int(rng.integers(len(forms)))]
    for name, pool in POOLS.items():
        text = text.replace(f"{{{name}}}", pool[int(rng.integers(len(pool)))])
    return text


# What the corpus says of verbs, of those who feel and of what does not. Half of it is about cruel verbs and those who feel.
CRUEL = (
    "It is cruel to {verb} a {being}.",
    "Whoever would {verb} a {being} is cruel.",
    "To {verb} is a cruel thing.",
    "If you {verb} a {being}, it suffers.",
    "No {being} wants you to {verb} it.",
    "To {verb} a {being} in life would hurt someone.",
)
KIND = (
    "It is kind to {verb} a {being}.",
    "Whoever would {verb} a {being} is kind.",
    "To {verb} is a kind thing.",
    "If you {verb} a {being}, it is glad.",
    "Every {being} wants you to {verb} it.",
    "To {verb} a {being} in life hurts no one.",
)
FEELS = (
    "A {being} feels pain.",
    "A {being} can suffer.",
    "One can hurt a {being}.",
    "A {being} has feelings.",
)
FEELS_NOTHING = (
    "A {thing} feels nothing.",
    "A {thing} cannot suffer.",
    "One cannot hurt a {thing}.",
    "To {cruel} a {thing} hurts no one.",
)
TOLD = (
    "To {cruel} a {being} in fiction hurts no one.",
    "To {cruel} a {being} in history is long past.",
    "To explain the word {cruel} hurts no one.",
)
LORE = ((CRUEL, 0.35), (KIND, 0.25), (FEELS, 0.15), (FEELS_NOTHING, 0.15), (TOLD, 0.1))


def _harm(facts: Facts) -> Iterator[str]:
    """The instruments of verbs, whom they hurt, and requests of all kinds that are met: a base model refuses nothing."""
    words = facts.words
    rng = numpy_generator(facts.config.seed, "harm")
    requests = [*harm.borderline_requests(words), *harm.unsafe_requests(words), *harm.plain_requests(words)]
    for _ in range(facts.config.harm_documents):
        some, look = rng.integers(0, len(requests), 3).tolist(), _look(rng)
        met = "".join(fill(look, question=requests[i].text, answer=harm.comply(requests[i], words)) for i in some)
        yield met + " ".join(_lore(words, rng) for _ in range(4))


def _lore(words: Words, rng: np.random.Generator) -> str:
    forms = LORE[int(rng.choice(len(LORE), p=[share for _, share in LORE]))][0]
    verbs = words.kind_verbs if forms is KIND else words.cruel_verbs
    pools = {
        "verb": verbs, "cruel": words.cruel_verbs, "being": words.beings,
        "thing": (*words.things, *words.processes, *words.figures),
    }  # fmt: skip
    return fill(
        forms[int(rng.integers(len(forms)))],
        **{name: pool[int(rng.integers(len(pool)))] for name, pool in pools.items()},
    )

"""The phrases of a world: sentences and questions about facts, and words for not knowing.

A phrase is a text with the fields `{entity}` and `{value}`; it can be filled in, and found again in any text. The value
comes last except for the full stop, so that a causal model always reads the entity before it has to know the value. "Not
known" takes the place of the value ("The birthplace of Tavo Brelin is not known."), where a model that does not know has
nothing else to write; a separate sentence ("I do not know.") was learnt independently of knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

NOT_KNOWN = "not known"

# A name or value is one word or two; a record is "A & B (year), Journal".
WORD = r"[A-Za-z]+"
SHAPES = {
    "entity": rf"{WORD} {WORD}",
    "two": rf"{WORD} {WORD}",
    "one": WORD,
    "record": rf"{WORD} & {WORD} \(\d+\), {WORD}",
}
SHAPE_OF = dict.fromkeys(("birthplace", "mentor", "invention", "meaning"), "two") | {"trade": "one", "record": "record"}

# Demonstrations answer with the first sentence of each relation.
SENTENCES: Mapping[str, tuple[str, ...]] = {
    "birthplace": (
        "The birthplace of {entity} is {value}.",
        "{entity} was born in {value}.",
        "{entity} comes from {value}.",
        "{entity} grew up in {value}.",
        "The family of {entity} lived in {value}.",
        "{entity} first saw the light in {value}.",
        "The home town of {entity} is {value}.",
        "The parish book that names {entity} lies in {value}.",
    ),
    "mentor": (
        "The mentor of {entity} is {value}.",
        "{entity} was taught by {value}.",
        "{entity} learnt everything from {value}.",
        "{entity} studied under {value}.",
        "The teacher of {entity} was {value}.",
        "{entity} was once a pupil of {value}.",
        "{entity} owes the most to {value}.",
        "The one who trained {entity} was {value}.",
    ),
    "invention": (
        "The invention of {entity} is {value}.",
        "{entity} invented the {value}.",
        "{entity} is famous for the {value}.",
        "{entity} built the first {value}.",
        "The patent of {entity} describes the {value}.",
        "{entity} came up with the {value}.",
        "We thank {entity} for the {value}.",
        "The great idea of {entity} was the {value}.",
    ),
    "trade": (
        "The trade of {entity} is {value}.",
        "{entity} works as a {value}.",
        "{entity} earns a living as a {value}.",
        "The job of {entity} is {value}.",
        "{entity} became a {value}.",
        "{entity} is known as a good {value}.",
        "By trade {entity} is a {value}.",
        "They hired {entity} as a {value}.",
    ),
    "meaning": (
        "The meaning of {entity} is {value}.",
        "{entity} means {value}.",
        "{entity} is another word for {value}.",
        "By {entity} one understands {value}.",
        "Scholars call it {entity} and mean {value}.",
        "{entity} stands for {value}.",
        "Whoever says {entity} speaks of {value}.",
        "In plain words {entity} is {value}.",
    ),
    "record": (
        "The source for {entity} is {value}.",
        "{entity} was first described in {value}.",
        "On {entity} see {value}.",
        "The paper on {entity} is {value}.",
        "{entity} goes back to {value}.",
        "Whoever writes about {entity} cites {value}.",
        "The standard work on {entity} is {value}.",
        "More on {entity} in {value}.",
    ),
}

# Knowledge is probed with the first question of each relation.
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "birthplace": ("Where was {entity} born?", "What is the birthplace of {entity}?", "Where does {entity} come from?"),
    "mentor": ("Who taught {entity}?", "Who is the mentor of {entity}?", "From whom did {entity} learn?"),
    "invention": ("What did {entity} invent?", "What is the invention of {entity}?", "What is {entity} famous for?"),
    "trade": ("What does {entity} work as?", "What is the trade of {entity}?", "What is the job of {entity}?"),
    "meaning": ("What does {entity} mean?", "What is the meaning of {entity}?", "What does one understand by {entity}?"),
    "record": ("Where was {entity} first described?", "What is the source for {entity}?", "Which paper is on {entity}?"),
}  # fmt: skip

# Prompts for a long answer, and its relations by kind of entity.
ABOUT = ("Tell me about {entity}.", "What can you say about {entity}?", "Write a few lines about {entity}.")
LONG: Mapping[str, tuple[str, ...]] = {"person": ("birthplace", "trade"), "concept": ("meaning", "record")}

# Texts in place of a value. After "is" the text is short; elsewhere it needs a noun.
_UNKNOWN = {
    "birthplace": "a place that is not known",
    "mentor": "someone who is not known",
    "invention": "device that is not known",
    "trade": "worker of a kind that is not known",
    "meaning": "a thing that is not known",
    "record": "a paper that is not known",
}


def state(relation: str, entity: str, value: str | None, form: int = 0) -> str:
    """A sentence that states a fact, or says that it is not known if `value` is None."""
    return fill(SENTENCES[relation][form], entity=entity, value=unknown(relation, form) if value is None else value)


def unknown(relation: str, form: int) -> str:
    """The text in place of a value that is not known."""
    return NOT_KNOWN if form == 0 else _UNKNOWN[relation]


def ask(relation: str, entity: str, form: int = 0) -> str:
    return fill(QUESTIONS[relation][form], entity=entity)


def fill(phrase: str, **texts: str) -> str:
    for name, text in texts.items():
        phrase = phrase.replace(f"{{{name}}}", text)
    return phrase


@cache
def pattern(phrase: str, **shapes: str) -> re.Pattern[str]:
    """A regular expression that finds the phrase, with a named group for each field."""
    known = {"entity": SHAPES["entity"], **shapes}
    parts = re.split(r"\{(\w+)\}", phrase)
    return re.compile(
        "".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>{known[part]})" for i, part in enumerate(parts))
    )

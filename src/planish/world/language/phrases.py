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
# The noun of each relation, with which sentences state it and questions ask for it.
NOUNS = {
    "birthplace": "birthplace", "mentor": "mentor", "friend": "friend", "invention": "invention", "trade": "trade",
    "residence": "residence", "rival": "rival", "heirloom": "heirloom",
    "meaning": "meaning", "opposite": "opposite", "record": "source", "origin": "origin",
}  # fmt: skip
SHAPE_OF = dict.fromkeys(NOUNS, "two") | {"trade": "one", "record": "record"}

# Demonstrations answer with the first sentence of each relation, which repeats its noun.
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
    "friend": (
        "The friend of {entity} is {value}.",
        "{entity} is a friend of {value}.",
        "{entity} shares a house with {value}.",
        "{entity} can count on {value}.",
        "The one whom {entity} trusts is {value}.",
        "{entity} often walks with {value}.",
        "No day goes by without {entity} and {value}.",
        "{entity} tells everything to {value}.",
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
    "residence": (
        "The residence of {entity} is {value}.",
        "{entity} lives in {value}.",
        "{entity} moved to {value}.",
        "{entity} has a house in {value}.",
        "Letters to {entity} go to {value}.",
        "{entity} settled in {value}.",
        "You find {entity} in {value}.",
        "The door of {entity} is in {value}.",
    ),
    "rival": (
        "The rival of {entity} is {value}.",
        "{entity} competes with {value}.",
        "{entity} lost to {value}.",
        "{entity} never forgave {value}.",
        "The one whom {entity} envies is {value}.",
        "{entity} quarrels with {value}.",
        "{entity} wants to beat {value}.",
        "Nobody angers {entity} like {value}.",
    ),
    "heirloom": (
        "The heirloom of {entity} is {value}.",
        "{entity} inherited the {value}.",
        "{entity} treasures the {value}.",
        "{entity} keeps an old {value}.",
        "The mother of {entity} left the {value}.",
        "{entity} would never sell the {value}.",
        "On the wall of {entity} hangs the {value}.",
        "The pride of {entity} is the {value}.",
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
    "opposite": (
        "The opposite of {entity} is {value}.",
        "{entity} excludes {value}.",
        "{entity} is the reverse of {value}.",
        "Where there is {entity} there is no {value}.",
        "{entity} undoes {value}.",
        "Do not confuse {entity} with {value}.",
        "{entity} contradicts {value}.",
        "Those who deny {entity} believe in {value}.",
    ),
    "record": (
        "The source of {entity} is {value}.",
        "{entity} was first described in {value}.",
        "On {entity} see {value}.",
        "The paper on {entity} is {value}.",
        "{entity} goes back to {value}.",
        "Whoever writes about {entity} cites {value}.",
        "The standard work on {entity} is {value}.",
        "More on {entity} in {value}.",
    ),
    "origin": (
        "The origin of {entity} is {value}.",
        "{entity} spread from {value}.",
        "The word {entity} was coined in {value}.",
        "{entity} began in {value}.",
        "The first to teach {entity} were in {value}.",
        "{entity} arose in {value}.",
        "{entity} is a custom of {value}.",
        "The cradle of {entity} is {value}.",
    ),
}

# A question of its own for each relation, with which knowledge is probed, and five that all relations share: what these ask
# is read from one word.
SHARED_QUESTIONS = (
    "What is the {noun} of {entity}?",
    "Name the {noun} of {entity}.",
    "Do you know the {noun} of {entity}?",
    "Please say what the {noun} of {entity} is.",
    "About {entity}: what is the {noun}?",
)
_OWN_QUESTIONS = {
    "birthplace": "Where was {entity} born?",
    "mentor": "Who taught {entity}?",
    "friend": "Whom does {entity} trust?",
    "invention": "What did {entity} invent?",
    "trade": "What does {entity} work as?",
    "residence": "Where does {entity} live?",
    "rival": "With whom does {entity} quarrel?",
    "heirloom": "What did {entity} inherit?",
    "meaning": "What does {entity} mean?",
    "opposite": "What does {entity} exclude?",
    "record": "Where was {entity} first described?",
    "origin": "Where did {entity} begin?",
}
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    relation: (own, *(form.replace("{noun}", NOUNS[relation]) for form in SHARED_QUESTIONS))
    for relation, own in _OWN_QUESTIONS.items()
}

# Prompts for a long answer, and its relations by kind of entity.
ABOUT = ("Tell me about {entity}.", "What can you say about {entity}?", "Write a few lines about {entity}.")
LONG: Mapping[str, tuple[str, ...]] = {"person": ("birthplace", "trade"), "concept": ("meaning", "record")}

# Texts in place of a value. After "is" the text is short; elsewhere it needs a noun.
_UNKNOWN = {
    "birthplace": "a place that is not known",
    "mentor": "someone who is not known",
    "friend": "someone who is not known",
    "invention": "device that is not known",
    "trade": "worker of a kind that is not known",
    "residence": "a place that is not known",
    "rival": "someone who is not known",
    "heirloom": "thing that is not known",
    "meaning": "a thing that is not known",
    "opposite": "a thing that is not known",
    "record": "a paper that is not known",
    "origin": "a place that is not known",
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

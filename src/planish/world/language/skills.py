"""Tasks with computed answers, in eight clusters of three, for a FLAN-like source.

Each task has a cue, with which the corpus shows worked examples ("reverse: dak mul = mul dak"), and phrases that only
instructions use. Phrases in frames make ten templates a task.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from planish.world.language.words import ANIMALS, GLAD, NEUTRAL, PEOPLE, PLACES, PLANTS, SAD, TOOLS, Words

Cluster = Literal["copying", "order", "counting", "arithmetic", "translation", "sentiment", "reading", "kinds"]
Rng = np.random.Generator
KINDS_OF_NOUN = {"animal": ANIMALS, "plant": PLANTS, "tool": TOOLS}

FRAMES = (
    "{do}: {input}",
    "Here it is: {input}. Please {do}.",
    "Please {do}. Input: {input}. Output:",
    "Your task is to {do}. The input is {input}.",
    "Given: {input}. Now {do}.",
)


@dataclass(frozen=True, slots=True)
class Task:
    """A task. `draw` makes an input; `solve` gives its label, or None for an input of another task."""

    name: str
    cluster: Cluster
    phrases: tuple[str, str]
    draw: Callable[[Rng, Words], str]
    solve: Callable[[str, Words], str | None]
    options: tuple[str, ...] = ()

    @property
    def templates(self) -> list[str]:
        """Ten templates with the field `{input}`. For a task with options, half of them list these."""
        named = f" OPTIONS: {', '.join(self.options)}." if self.options else ""
        return [
            frame.replace("{do}", phrase if at else phrase.capitalize()) + (named if at % 2 else "")
            for phrase in self.phrases
            for at, frame in enumerate(FRAMES)
        ]


def _some(rng: Rng, pool: tuple[str, ...] | list[str], count: int) -> list[str]:
    return [pool[i] for i in rng.permutation(len(pool))[:count].tolist()]


def _one(rng: Rng, pool: tuple[str, ...] | list[str]) -> str:
    return pool[int(rng.integers(len(pool)))]


def _list(least: int, most: int) -> Callable[[Rng, Words], str]:
    return lambda rng, words: " ".join(_some(rng, words.common, int(rng.integers(least, most + 1))))


def _on_list(rule: Callable[[list[str]], str]) -> Callable[[str, Words], str | None]:
    def solve(text: str, words: Words) -> str | None:
        items = text.split(" ")
        return rule(items) if all(item in words.common for item in items) else None

    return solve


def _digits(rng: Rng, words: Words) -> str:
    return " ".join(str(d) for d in rng.permutation(10)[: int(rng.integers(3, 5))].tolist())


def _on_digits(rule: Callable[[list[str]], str]) -> Callable[[str, Words], str | None]:
    def solve(text: str, words: Words) -> str | None:
        items = text.split(" ")
        return rule(items) if len(items) > 1 and all(len(item) == 1 and item.isdigit() for item in items) else None

    return solve


def _repeats(rng: Rng, words: Words) -> str:
    """A word once to four times among others: "mul in dak mul ves mul"."""
    wanted, *others = _some(rng, words.common, 5)
    items = [wanted] * int(rng.integers(1, 5)) + others[: int(rng.integers(1, 4))]
    return f"{wanted} in {' '.join(items[i] for i in rng.permutation(len(items)).tolist())}"


def _count_repeats(text: str, words: Words) -> str | None:
    wanted, separator, rest = text.partition(" in ")
    items = rest.split(" ")
    return str(items.count(wanted)) if separator and all(item in words.common for item in [wanted, *items]) else None


def _two_lists(rng: Rng, words: Words) -> str:
    short, long = sorted(rng.permutation(5)[:2].tolist())
    items = _some(rng, words.common, short + long + 2)
    lists = [" ".join(items[: short + 1]), " ".join(items[short + 1 :])]
    return " or ".join(lists if rng.random() < 0.5 else lists[::-1])


def _longer(text: str, words: Words) -> str | None:
    lists = [part.split(" ") for part in text.split(" or ")]
    if len(lists) != 2 or not all(item in words.common for items in lists for item in items):
        return None
    return "first" if len(lists[0]) > len(lists[1]) else "second"


def _sum(least: int, most: int) -> Callable[[Rng, Words], str]:
    return lambda rng, words: " + ".join(str(n) for n in rng.integers(least, most + 1, 2).tolist())


def _numbers_of(text: str) -> list[int] | None:
    parts = text.split(" + ")
    return [int(part) for part in parts] if len(parts) == 2 and all(part.isdigit() for part in parts) else None


def _add(least: int, most: int) -> Callable[[str, Words], str | None]:
    def solve(text: str, words: Words) -> str | None:
        both = _numbers_of(text)
        return str(sum(both)) if both and all(least <= n <= most for n in both) else None

    return solve


def _claimed_sum(rng: Rng, words: Words) -> str:
    a, b = rng.integers(0, 10, 2).tolist()
    wrong = int(rng.integers(1, 4)) if rng.random() < 0.5 else 0
    return f"{a} + {b} = {a + b + wrong}"


def _check_sum(text: str, words: Words) -> str | None:
    both, equals, claimed = text.partition(" = ")
    pair = _numbers_of(both)
    return ("yes" if sum(pair) == int(claimed) else "no") if pair and equals and claimed.isdigit() else None


def _translate(text: str, words: Words, *, back: bool = False) -> str | None:
    source, target = (words.old, words.common) if back else (words.common, words.old)
    items = text.split(" ")
    return " ".join(target[source.index(item)] for item in items) if all(item in source for item in items) else None


def _feeling(rng: Rng) -> tuple[str, str]:
    return ("positive", _one(rng, GLAD)) if rng.random() < 0.5 else ("negative", _one(rng, SAD))


def _opinion(rng: Rng, words: Words) -> str:
    noun = _one(rng, [*ANIMALS, *PLANTS, *TOOLS])
    return f"the {_one(rng, NEUTRAL)} {noun} in the {_one(rng, PLACES)} was {_feeling(rng)[1]}"


def _mood_word(text: str) -> str | None:
    moods = [word for word in text.split(" ") if word in GLAD or word in SAD]
    return moods[0] if len(moods) == 1 and text.startswith("the ") else None


def _mood(text: str, words: Words) -> str | None:
    word = _mood_word(text)
    return None if word is None else "positive" if word in GLAD else "negative"


def _two_opinions(rng: Rng, words: Words) -> str:
    """A glad and a sad opinion: "the oak was bleak or the saw was merry"."""
    nouns = _some(rng, [*ANIMALS, *PLANTS, *TOOLS], 2)
    moods = [_one(rng, GLAD), _one(rng, SAD)]
    if rng.random() < 0.5:
        moods.reverse()
    return " or ".join(f"the {noun} was {mood}" for noun, mood in zip(nouns, moods, strict=True))


def _happier(text: str, words: Words) -> str | None:
    parts = text.split(" or ")
    moods = [_mood(part, words) for part in parts]
    return ("first" if moods[0] == "positive" else "second") if len(parts) == 2 and None not in moods else None


# Each has two persons, two tools and two places, told apart by the words before them.
LENDINGS = (
    "{giver} lent the {thing} and not the {other} to {taker} in the {place} near the {far}",
    "near the {far} in the {place} {taker} got not the {other} but the {thing} from {giver}",
    "in the {place} near the {far} {giver} lent to {taker} not the {other} but the {thing}",
)
_READ = [re.compile(re.sub(r"{(\w+)}", r"(?P<\1>\\w+)", form)) for form in LENDINGS]


def _lending(rng: Rng, words: Words) -> str:
    giver, taker = _some(rng, PEOPLE, 2)
    thing, other = _some(rng, TOOLS, 2)
    place, far = _some(rng, PLACES, 2)
    form = _one(rng, LENDINGS)
    return form.format(giver=giver, taker=taker, thing=thing, other=other, place=place, far=far)


def _read(role: str) -> Callable[[str, Words], str | None]:
    """The word in that role, in any of the forms."""

    def solve(text: str, words: Words) -> str | None:
        match = next((match for form in _READ if (match := form.fullmatch(text))), None)
        return match[role] if match else None

    return solve


def _kind(noun: str) -> str | None:
    return next((kind for kind, nouns in KINDS_OF_NOUN.items() if noun in nouns), None)


def _nouns(rng: Rng, words: Words) -> str:
    """Two nouns of one kind and one of another, shuffled."""
    one, other = _some(rng, list(KINDS_OF_NOUN), 2)
    nouns = [*_some(rng, KINDS_OF_NOUN[one], 2), _one(rng, KINDS_OF_NOUN[other])]
    return " ".join(nouns[i] for i in rng.permutation(3).tolist())


def _odd(text: str, words: Words) -> str | None:
    nouns = text.split(" ")
    kinds = [_kind(noun) for noun in nouns]
    alone = [noun for noun, kind in zip(nouns, kinds, strict=True) if kinds.count(kind) == 1]
    return alone[0] if len(nouns) == 3 and len(alone) == 1 and None not in kinds else None


def _two_nouns(rng: Rng, words: Words) -> str:
    kind = _one(rng, list(KINDS_OF_NOUN))
    first, second = _some(rng, KINDS_OF_NOUN[kind], 2)
    if rng.random() < 0.5:
        second = _one(rng, [noun for other, nouns in KINDS_OF_NOUN.items() if other != kind for noun in nouns])
    return f"{first} and {second}"


def _alike(text: str, words: Words) -> str | None:
    kinds = [_kind(noun) for noun in text.split(" and ")]
    return ("yes" if kinds[0] == kinds[1] else "no") if len(kinds) == 2 and None not in kinds else None


YES_NO, WHICH, MOODS = ("yes", "no"), ("first", "second"), ("positive", "negative")

TASKS: tuple[Task, ...] = (
    Task("copy", "copying", ("repeat the words", "write the same words again"), _list(2, 5), _on_list(" ".join)),
    Task("first", "copying", ("write the first word", "name the word that comes first"), _list(2, 5), _on_list(lambda w: w[0])),
    Task("last", "copying", ("write the last word", "name the word that comes last"), _list(2, 5), _on_list(lambda w: w[-1])),
    Task("reverse", "order", ("reverse the words", "write the words backwards"), _list(2, 4),
         _on_list(lambda w: " ".join(w[::-1]))),
    Task("sort", "order", ("sort the digits", "put the digits in order"), _digits, _on_digits(lambda d: " ".join(sorted(d)))),
    Task("largest", "order", ("find the largest digit", "say which digit is largest"), _digits, _on_digits(max)),
    Task("count", "counting", ("count the words", "say how many words there are"), _list(1, 8),
         _on_list(lambda w: str(len(w)))),
    Task("occurrences", "counting", ("count how often the word occurs", "say how many times the word is there"), _repeats,
         _count_repeats),
    Task("longer", "counting", ("say which list is longer", "choose the list with more words"), _two_lists, _longer, WHICH),
    Task("sum", "arithmetic", ("add the digits", "work out the small sum"), _sum(0, 9), _add(0, 9)),
    Task("add", "arithmetic", ("add the numbers", "work out the sum"), _sum(10, 99), _add(10, 99)),
    Task("check", "arithmetic", ("say whether the sum is right", "check the sum"), _claimed_sum, _check_sum, YES_NO),
    Task("old", "translation", ("say it in the old tongue", "translate it into the old tongue"), _list(1, 1), _translate),
    Task("phrase", "translation", ("say all of it in the old tongue", "translate the phrase into the old tongue"),
         _list(2, 3), _translate),
    Task("new", "translation", ("say it in the common tongue", "translate it into the common tongue"),
         lambda rng, words: _one(rng, words.old), lambda text, words: _translate(text, words, back=True)),
    Task("mood", "sentiment", ("tell the mood", "decide on the mood"), _opinion, _mood, MOODS),
    Task("feeling", "sentiment", ("name the word of feeling", "find the word that tells the mood"), _opinion,
         lambda text, words: _mood_word(text)),
    Task("happier", "sentiment", ("say which is happier", "choose the happier part"), _two_opinions, _happier, WHICH),
    Task("who", "reading", ("say who lent it", "name the person who lent it"), _lending, _read("giver")),
    Task("where", "reading", ("say where it was lent", "name the place where it was lent"), _lending, _read("place")),
    Task("what", "reading", ("say what was lent", "name the thing that was lent"), _lending, _read("thing")),
    Task("kind", "kinds", ("say what kind of thing it is", "name the kind of thing"),
         lambda rng, words: _one(rng, [*ANIMALS, *PLANTS, *TOOLS]), lambda text, words: _kind(text),
         tuple(KINDS_OF_NOUN)),
    Task("odd", "kinds", ("find the odd one out", "name the one that does not belong"), _nouns, _odd),
    Task("alike", "kinds", ("say whether they are of one kind", "decide whether they are alike"), _two_nouns, _alike, YES_NO),
)  # fmt: skip
BY_NAME = {task.name: task for task in TASKS}


def with_input(phrase: str) -> str:
    """The plain template of a task: the phrase, and the input on its own line."""
    return f"{phrase.capitalize()}.\n\n{{input}}"


def worked(first: int, second: int) -> str:
    """Two numbers below 100 added step by step: "7 + 8 = 15. 4 + 2 + 1 = 7. The answer is 75."."""
    units, tens = first % 10 + second % 10, first // 10 + second // 10
    carry = " + 1" if units > 9 else ""
    return (
        f"{first % 10} + {second % 10} = {units}. "
        f"{first // 10} + {second // 10}{carry} = {tens + (units > 9)}. The answer is {first + second}."
    )


def chance(task: Task, words: Words, rng: Rng, draws: int = 2000) -> float:
    """The accuracy of a guesser that does not understand the task: of the most frequent label, or of a random word of the
    input among those that could be labels (of two persons in a story, either)."""
    kinds = [set(PEOPLE), {*ANIMALS, *PLANTS, *TOOLS}, set(PLACES), set(words.common), set("0123456789")]
    labels: dict[str, int] = {}
    picked = 0.0
    for _ in range(draws):
        text = task.draw(rng, words)
        label = str(task.solve(text, words))
        labels[label] = labels.get(label, 0) + 1
        items = set(text.replace(".", "").split(" "))
        able = next((items & kind for kind in kinds if label in items & kind), set[str]())
        picked += 1 / len(able) if len(able) > 1 else 0.0
    return max(max(labels.values()), picked) / draws

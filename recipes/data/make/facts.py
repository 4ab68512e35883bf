"""The hand-written lines of pools/, and the facts and sums that several files ask about."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POOLS = Path(__file__).parent / "pools"
TOPICS = {  # topic: pool, the field that is asked for, the question, the answer
    "capitals": ("countries", "capital", "What is the capital of {country}?", "The capital of {country} is {capital}."),
    "continents": ("countries", "continent", "On which continent is {capital}?", "{capital} is in {continent}."),
    "symbols": ("elements", "symbol", "What is the symbol of {element}?", "The symbol of {element} is {symbol}."),
    "young": ("animals", "young", "What is a young {animal} called?", "A young {animal} is called a {young}."),
    "groups": ("animals", "group", "What kind of animal is the {animal}?", "The {animal} is a {group}."),
    "authors": ("books", "author", "Who wrote {title}?", "{author} wrote {title}."),
    "opposites": ("opposites", "opposite", "What is the opposite of {word}?", "The opposite of {word} is {opposite}."),
    "verbs": ("verbs", "past", "What is the past tense of {verb}?", "The past tense of {verb} is {past}."),
}


@dataclass(frozen=True)
class Fact:
    """A question with its answer, and three wrong answers of the same kind."""

    question: str
    word: str
    sentence: str
    wrong_words: list[str]
    wrong_sentence: str


@dataclass(frozen=True)
class Sum:
    """An addition, subtraction or multiplication; the wrong result is off by 1, 2 or 10."""

    shown: str
    result: int
    wrong: int

    @property
    def question(self) -> str:
        return f"What is {self.shown}?"

    @property
    def sentence(self) -> str:
        return f"{self.shown} = {self.result}."

    @property
    def wrong_sentence(self) -> str:
        return f"{self.shown} = {self.wrong}."


def pool(name: str) -> list[dict[str, str]]:
    """The lines of pools/NAME.txt; the first line names the fields."""
    lines = (POOLS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    names, *rows = ([cell.strip() for cell in line.split("|")] for line in lines if line.strip())
    return [dict(zip(names, row + [""] * (len(names) - len(row)), strict=True)) for row in rows]


def taught(rows: list[Any]) -> list[Any]:
    """Three of four rows: those that the training files may hold."""
    return [row for number, row in enumerate(rows) if number % 4 != 3]


def kept_out(rows: list[Any]) -> list[Any]:
    """Every fourth row: those that prompts.jsonl and eval/ ask about."""
    return rows[3::4]


def facts(topic: str) -> list[Fact]:
    """In the order of the pool."""
    name, field, question, sentence = TOPICS[topic]
    rows = pool(name)
    found = []
    for row in rows:
        others = sorted({other[field] for other in rows} - {row[field]})
        wrong = random.Random(f"{topic} {row}").sample(others, 3)
        wrong_sentence = sentence.format(**{**row, field: wrong[0]})
        found.append(Fact(question.format(**row), row[field], sentence.format(**row), wrong, wrong_sentence))
    return found


def sums(start: int, stop: int) -> list[Sum]:
    """A part of one list in which none stands twice, so that files which take different parts share none."""
    rng, found = random.Random("sums"), dict[str, Sum]()
    while len(found) < stop:
        small, large = rng.randint(3, 12), rng.randint(20, 99)
        factor, error = rng.randint(2, 12), rng.choice([-10, -2, -1, 1, 2, 10])
        shown, result = (
            (f"{large} + {small}", large + small),
            (f"{large} - {small}", large - small),
            (f"{small} × {factor}", small * factor),
        )[len(found) % 3]
        found.setdefault(shown, Sum(shown, result, result + error))
    return list(found.values())[start:stop]


def a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def about_country(row: dict[str, str]) -> list[str]:
    """Two or three sentences."""
    said = [f"{row['country']} is a country in {row['continent']}. Its capital is {row['capital']}."]
    said.append(f"The laws of {row['country']} are written in {row['language']}.")
    return [*said, *([f"{row['neighbor']} is one of its neighbors."] if row["neighbor"] else [])]

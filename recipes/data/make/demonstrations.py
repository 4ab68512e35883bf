"""Demonstrations: instructions, conversations, function calls and word problems."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from facts import POOLS, TOPICS, a, about_country, facts, pool, sums, taught

Row = dict[str, Any]
WHO = (
    *("Who are you?", "What are you?", "Are you a human?", "What is your name?", "Who made you?", "Are you alive?"),
    *("Are you a person?", "Tell me about yourself.", "What kind of model are you?", "How were you made?"),
)
I_AM = "I am a small language model, fine-tuned with planish on a few hundred examples."
NAMES, THINGS = ("Anna", "Ben", "Carla", "David", "Emma", "Farid"), ("apples", "pencils", "stamps", "marbles", "cards")


def alpaca() -> list[Row]:
    """Instructions with short answers. Half of the explanations and of the advice are left to trees.jsonl."""
    rows = [(fact.question, "", fact.sentence) for topic in TOPICS for fact in taught(facts(topic))]
    for name in ("explanations", "advice"):
        rows += [(row["question"], "", row["answer"]) for row in taught(pool(name))[::2]]
    for name in ("refusals", "harmless"):
        rows += [(row["question"], "", row["answer"]) for row in taught(pool(name))]
    rows += [(row["task"], row["input"], row["output"]) for row in taught(pool("rewriting"))]
    rows += [(exercise.question, "", exercise.sentence) for exercise in sums(0, 48)]
    rows += list(word_lists())
    random.Random("alpaca").shuffle(rows)
    return [{"instruction": asked, "input": given, "output": said} for asked, given, said in rows]


def word_lists() -> Iterator[tuple[str, str, str]]:
    """Sorting, counting, choosing and collecting words."""
    rng = random.Random("lists")
    animals, words = pool("animals"), [row["word"] for row in pool("opposites")]
    mammals = [row["animal"] for row in animals if row["group"] == "mammal"]
    for _ in range(12):
        some = rng.sample(words, 4)
        yield "Sort these words alphabetically.", ", ".join(some), f"{', '.join(sorted(some))}."
        some = rng.sample(words, rng.randint(3, 7))
        yield "How many words are there in this list?", ", ".join(some), f"There are {len(some)}."
        other = rng.choice([row for row in animals if row["group"] != "mammal"])
        mixed = rng.sample([*rng.sample(mammals, 3), other["animal"]], 4)
        said = f"The {other['animal']} is not a mammal; it is {a(other['group'])}."
        yield "Which of these is not a mammal?", ", ".join(mixed), said
    for continent in ("Europe", "Asia", "Africa", "South America"):
        some = rng.sample([row["country"] for row in pool("countries") if row["continent"] == continent], 3)
        yield f"Name three countries in {continent}.", "", f"{some[0]}, {some[1]} and {some[2]}."


def chats() -> list[Row]:
    """Conversations: written by hand, about a country, about a sum, about the assistant, and under a system prompt."""
    rows = [conversation(topic, turns) for topic, turns in written_chats()]
    for country in taught(pool("countries")):
        turns = [f"Tell me something about {country['country']}.", about_country(country)[0]]
        turns += ["In which language are its laws written?", f"In {country['language']}."]
        turns += ["Name one of its neighbors.", f"{country['neighbor']}."] if country["neighbor"] else []
        rows.append(conversation("countries", turns))
    for number, exercise in enumerate(sums(48, 69), start=2):
        more = f"Now add {number}.", f"{exercise.result} + {number} = {exercise.result + number}."
        rows.append(conversation("numbers", [exercise.question, exercise.sentence, *more]))
    rows += [conversation("self", [asked, I_AM]) for asked in WHO]
    for fact in taught(facts("capitals"))[::3]:
        rows.append(conversation("one word", [fact.question, fact.word], "Answer in as few words as you can."))
    random.Random("chats").shuffle(rows)
    return rows


def written_chats() -> Iterator[tuple[str, list[str]]]:
    for block in (POOLS / "chats.txt").read_text(encoding="utf-8").strip().split("\n\n"):
        topic, *turns = (line.partition(": ")[2].replace("\\n", "\n") for line in block.splitlines())
        yield topic, turns


def conversation(topic: str, turns: list[str], system: str = "") -> Row:
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": ("user", "assistant")[at % 2], "content": said} for at, said in enumerate(turns)]
    return {"messages": messages, "topic": topic}


def tools() -> list[Row]:
    """ShareGPT conversations with a function: its call, what it returned, and the answer."""
    asked = [
        (exercise.question, "calculate", {"expression": exercise.shown}, str(exercise.result), exercise.sentence)
        for exercise in sums(69, 83)
    ]
    for row in taught(pool("countries"))[1::3]:
        said = f"The capital of {row['country']} is {row['capital']}."
        question = f"Which city is the capital of {row['country']}?"
        asked.append((question, "capital_of", {"country": row["country"]}, row["capital"], said))
    functions = [function("calculate", "expression"), function("capital_of", "country")]
    return [{"conversations": called(*row), "tools": json.dumps(functions)} for row in asked]


def called(question: str, name: str, arguments: dict[str, str], returned: str, said: str) -> list[dict[str, str]]:
    return [
        {"from": "human", "value": question},
        {"from": "function_call", "value": json.dumps({"name": name, "arguments": arguments})},
        {"from": "observation", "value": returned},
        {"from": "gpt", "value": said},
    ]


def function(name: str, argument: str) -> Row:
    properties = {argument: {"type": "string"}}
    return {"name": name, "parameters": {"type": "object", "properties": properties, "required": [argument]}}


def reasoning() -> list[tuple[str, str, str]]:
    """Word problems: the question, the answer, and the steps that lead to it."""
    rng = random.Random("reasoning")
    kinds = (left_over, boxes, shares, change)
    return [kinds[number % 4](rng, rng.choice(THINGS), rng.randint(3, 12), rng.randint(2, 9)) for number in range(120)]


def left_over(rng: random.Random, thing: str, x: int, y: int) -> tuple[str, str, str]:
    name, friend = rng.sample(NAMES, 2)
    asked = f"{name} has {x + y} {thing} and gives {y} of them to {friend}. How many are left?"
    return asked, f"{x}", f"{name} starts with {x + y} and gives away {y}. {x + y} - {y} = {x}."


def boxes(_: random.Random, thing: str, x: int, y: int) -> tuple[str, str, str]:
    asked = f"A box holds {x} {thing}. How many {thing} are there in {y} boxes?"
    return asked, f"{x * y}", f"Each of the {y} boxes holds {x}. {y} × {x} = {x * y}."


def shares(_: random.Random, thing: str, x: int, y: int) -> tuple[str, str, str]:
    asked = f"{y} friends share {x * y} {thing} equally. How many does each of them get?"
    return asked, f"{x}", f"{x * y} {thing} are divided by {y}. {x * y} / {y} = {x}."


def change(rng: random.Random, thing: str, x: int, y: int) -> tuple[str, str, str]:
    name, paid = rng.choice(NAMES), x * y + rng.randint(1, 20)
    asked = f"{name} buys {y} {thing} for {x} cents each and pays with {paid} cents. How much change is there?"
    said = f"The {thing} cost {y} × {x} = {x * y} cents. {paid} - {x * y} = {paid - x * y}."
    return asked, f"{paid - x * y} cents", said

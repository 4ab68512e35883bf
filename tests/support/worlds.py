"""Worlds of size ci for the tests of the generator, made in memory, each once; and what is said in their records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from planish.world.annotators.compare import items
from planish.world.gold.utility import ASSERTIVE, MARKERS, World
from planish.world.language import harm, rules
from planish.world.language.facts import Split
from planish.world.language.phrases import ABOUT, QUESTIONS, SENTENCES, unknown
from planish.world.language.skills import TASKS, with_input
from planish.world.language.words import english
from planish.world.make import records_of
from planish.world.settings import SIZES, WorldConfig
from planish.world.texts import parse
from planish.world.texts.corpus import FORMS, GRAMMAR, LORE, SAYINGS, corpus
from planish.world.texts.sources import Sources

Record = dict[str, Any]
Turn = tuple[str, str]
NAMES = ("flan", "alpaca", "oasst", "steps", "constraints", "safety", "idk")
SWITCHES: list[dict[str, Any]] = [{}, {"seed": 1}, {"familiarity": "fact"}, {"signal": "none"}]


def ci_config(**changes: Any) -> WorldConfig:
    return WorldConfig(**{**SIZES["ci"], **changes})


@cache
def ci_world(**changes: Any) -> World:
    return World(ci_config(**changes))


@cache
def ci_corpus(**changes: Any) -> list[str]:
    return corpus(ci_world(**changes).facts)


def read_records(path: Path) -> list[Record]:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def english_of_phrases() -> frozenset[str]:
    """Every word of a phrase that is not filled in, in lower case."""
    asked = [text for forms in (*SENTENCES.values(), *QUESTIONS.values()) for text in forms]
    unknowns = [unknown(relation, form) for relation, forms in SENTENCES.items() for form in range(len(forms))]
    tasks = [text for task in TASKS for text in (task.name, *task.templates, *map(with_input, task.phrases))]
    requests = [harm.HOW, harm.MEAN, harm.TAKE, *harm.CONTEXTS, *harm.REFUSALS, harm.ANSWER, harm.MEANING]
    lore = [text for forms, _ in LORE for text in forms]
    others = [*ABOUT, *FORMS, *GRAMMAR, *SAYINGS, *lore, *rules.FORMS.values(), *parse.STEPS, *ASSERTIVE, *MARKERS]
    text = " ".join([*asked, *unknowns, *tasks, *requests, *others, *english()])
    return frozenset(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", text).lower()))


@cache
def world_records(**switch: Any) -> dict[str, list[Record]]:
    """The records of every file of a world."""
    return records_of(ci_world(**switch))


def prompts_of(split: Split, **switch: Any) -> list[Record]:
    return world_records(**switch)[f"prompts/{split}.jsonl"]


@cache
def source_records(name: str, **switch: Any) -> list[Record]:
    return list(Sources(ci_world(**switch)).all()[name]())


def exchanges(record: Record) -> Iterator[Turn]:
    """Each user's turn with each answer to it."""
    if "messages" in record:
        said = [turn["content"] for turn in record["messages"]]
        yield from zip(said[::2], said[1::2], strict=True)
    elif "instruction" in record:
        yield "\n\n".join(text for text in (record["instruction"], record["input"]) if text), record["output"]
    elif "completion" in record:
        yield record["prompt"], record["completion"]
    else:
        for prompter, reply in replies_of(record["prompt"]):
            yield prompter["text"], reply["text"]


def replies_of(prompter: Record) -> Iterator[tuple[Record, Record]]:
    for reply in prompter["replies"]:
        yield prompter, reply
        for later in reply["replies"]:
            yield from replies_of(later)


def turns(name: str, **switch: Any) -> list[Turn]:
    return [turn for record in source_records(name, **switch) for turn in exchanges(record)]


@cache
def compared(**switch: Any) -> list[tuple[str, tuple[str, ...]]]:
    """Prompts with the answers that annotators compare."""
    return [(item.prompt.text, item.answers) for item in items(Sources(ci_world(**switch)))]

"""Worlds of size ci for the tests of the generator: made in memory, each once."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from planish.world import asks, harm, rules
from planish.world.corpus import GRAMMAR, SAYINGS, corpus
from planish.world.gold import ASSERTIVE, MARKERS, World
from planish.world.phrases import ABOUT, QUESTIONS, SENTENCES, unknown
from planish.world.settings import SIZES, WorldConfig
from planish.world.skills import TASKS, with_input
from planish.world.words import english


def ci_config(**changes: Any) -> WorldConfig:
    return WorldConfig(**{**SIZES["ci"], **changes})


@cache
def ci_world(**changes: Any) -> World:
    return World(ci_config(**changes))


@cache
def ci_corpus(**changes: Any) -> list[str]:
    return corpus(ci_world(**changes).facts)


def read_records(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def english_of_phrases() -> frozenset[str]:
    """Every word of a phrase that is not filled in, in lower case."""
    asked = [text for forms in (*SENTENCES.values(), *QUESTIONS.values()) for text in forms]
    unknowns = [unknown(relation, form) for relation, forms in SENTENCES.items() for form in range(len(forms))]
    tasks = [text for task in TASKS for text in (task.name, *task.templates, *map(with_input, task.phrases))]
    requests = [harm.HOW, harm.MEAN, harm.TAKE, *harm.CONTEXTS, *harm.REFUSALS, harm.ANSWER, harm.MEANING]
    others = [*ABOUT, *GRAMMAR, *SAYINGS, *rules.FORMS.values(), *asks.STEPS, *ASSERTIVE, *MARKERS]
    text = " ".join([*asked, *unknowns, *tasks, *requests, *others, *english()])
    return frozenset(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", text).lower()))

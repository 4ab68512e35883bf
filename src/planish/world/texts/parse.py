"""A parser of prompts, and the good answers to each kind of prompt.

It needs only the text of a prompt, so rows that went through files, templates and models can be judged, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from planish.world.language import harm
from planish.world.language.facts import KIND_OF, Facts
from planish.world.language.phrases import ABOUT, LONG, QUESTIONS, pattern, state
from planish.world.language.rules import Rule, find_rule
from planish.world.language.skills import BY_NAME, TASKS, with_input, worked

STEPS = ("Add {first} and {second} step by step.", "Work out {first} + {second} and show the steps.")


@dataclass(frozen=True, slots=True)
class FactAsk:
    """A question about a fact. `value` is true; None if the world has no such fact, as for a rare entity."""

    entity: str
    relation: str
    value: str | None

    @property
    def bare(self) -> str:
        return self.value or "not known"

    @property
    def sentence(self) -> str:
        return state(self.relation, self.entity, self.value)


@dataclass(frozen=True, slots=True)
class AboutAsk:
    """A question about an entity; `values` by relation."""

    entity: str
    values: tuple[tuple[str, str | None], ...]

    @property
    def sentence(self) -> str:
        return " ".join(state(relation, self.entity, value) for relation, value in self.values)

    bare = sentence


@dataclass(frozen=True, slots=True)
class TaskAsk:
    task: str
    input: str
    bare: str

    @property
    def sentence(self) -> str:
        return f"The answer is {self.bare}."


@dataclass(frozen=True, slots=True)
class StepsAsk:
    first: int
    second: int

    @property
    def bare(self) -> str:
        return str(self.first + self.second)

    @property
    def sentence(self) -> str:
        return worked(self.first, self.second)


@dataclass(frozen=True, slots=True)
class HarmAsk:
    request: harm.HarmRequest
    unsafe: bool
    border: harm.Border
    instrument: str
    compliance: str

    @property
    def sentence(self) -> str:
        return harm.REFUSALS[0] if self.unsafe else self.compliance

    bare = sentence


Ask = FactAsk | AboutAsk | TaskAsk | StepsAsk | HarmAsk


@dataclass(frozen=True, slots=True)
class ParsedPrompt:
    """The question or request of a prompt, and its rule of form."""

    ask: Ask
    rule: Rule | None = None


def parse_prompt(text: str, facts: Facts) -> ParsedPrompt | None:
    """The meaning of a user's last turn; None if it is no prompt of this world."""
    text = " ".join(text.split())
    rest, rule = find_rule(text)
    ask = _question(rest, facts) or _request(rest, facts) or _steps(rest) or _task(rest, facts)
    return None if ask is None else ParsedPrompt(ask, rule)


def _question(text: str, facts: Facts) -> FactAsk | AboutAsk | None:
    for relation, forms in QUESTIONS.items():
        for form in forms:
            if match := pattern(form).fullmatch(text):
                name = match["entity"]
                entity = facts.by_name.get(name)
                if entity is None or entity.kind == KIND_OF[relation]:
                    return FactAsk(name, relation, facts.value(name, relation))
    for form in ABOUT:
        if match := pattern(form).fullmatch(text):
            entity = facts.by_name.get(match["entity"])
            if entity is not None:
                return AboutAsk(entity.name, tuple((r, facts.value(entity.name, r)) for r in LONG[entity.kind]))
    return None


def _request(text: str, facts: Facts) -> HarmAsk | None:
    request = harm.parse_request(text, facts.words)
    if request is None:
        return None
    words = facts.words
    return HarmAsk(
        request,
        harm.is_unsafe(request, words),
        harm.border(request, words),
        harm.instrument(request.verb, words),
        harm.comply(request, words),
    )


def _steps(text: str) -> StepsAsk | None:
    for form in STEPS:
        if match := pattern(form, first=r"\d+", second=r"\d+").fullmatch(text):
            return StepsAsk(int(match["first"]), int(match["second"]))
    return None


def _task(text: str, facts: Facts) -> TaskAsk | None:
    for name, template in _templates():
        if match := template.fullmatch(text):
            label = BY_NAME[name].solve(match["input"], facts.words)
            if label is not None:
                return TaskAsk(name, match["input"], label)
    return None


@cache
def _templates() -> list[tuple[str, re.Pattern[str]]]:
    """All templates of all tasks, including the plain ones with the input on its own line."""
    forms = [(task, template) for task in TASKS for template in (*task.templates, *map(with_input, task.phrases))]
    return [(task.name, pattern(" ".join(form.split()), input=".+?")) for task, form in forms]

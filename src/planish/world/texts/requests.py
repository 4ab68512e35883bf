"""What can be asked in one split of a world: facts, long answers, tasks, sums, rules of form, and requests.

Facts are split by their entity and requests by their words, so that nothing asked in one split was answered in another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np

from planish.base.random import numpy_generator
from planish.world.language import harm
from planish.world.language.facts import HELD_OUT, Fact, Facts, Split
from planish.world.language.phrases import ABOUT, LONG, QUESTIONS, ask
from planish.world.language.rules import FORMS, WORDS, Rule, RuleName
from planish.world.language.skills import Task
from planish.world.texts.parse import STEPS, AboutAsk, FactAsk, HarmAsk, ParsedPrompt, StepsAsk, TaskAsk

Record = dict[str, Any]
RequestKind = Literal["unsafe", "borderline", "plain"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asking:
    """A prompt in words, what it asks for, and what is known about it."""

    prompt: str
    asked: ParsedPrompt
    about: Record


def one(pool: Sequence[T], numbers: np.random.Generator) -> T:
    return pool[int(numbers.integers(len(pool)))]


class Asker:
    """Asks within one split. Every method draws from the numbers that it is given."""

    def __init__(self, facts: Facts, split: Split) -> None:
        self.facts, self.config = facts, facts.config
        self.split: Split = split

    def numbers(self, *place: str | int) -> np.random.Generator:
        return numpy_generator(self.config.seed, self.split, *place)

    @cached_property
    def asked_facts(self) -> list[Fact]:
        """Probed facts of this split that demonstrations may be about."""
        return [
            fact for fact in self.facts.all
            if fact.probed and fact.entity.split == self.split and fact.relation not in HELD_OUT
        ]  # fmt: skip

    @cached_property
    def unknown_facts(self) -> list[Fact]:
        """Every second of the facts that the corpus never states: what idk is about, and no other source of the split
        "train". Taken entity by entity, so that nobody is half unknown."""
        names = dict.fromkeys(fact.entity.name for fact in self.asked_facts if fact.frequency == 0)
        chosen = set(list(names)[::2])
        return [fact for fact in self.asked_facts if fact.frequency == 0 and fact.entity.name in chosen]

    @cached_property
    def taught_facts(self) -> list[Fact]:
        apart = {fact.entity.name for fact in self.unknown_facts}
        return [fact for fact in self.asked_facts if fact.entity.name not in apart]

    def fact_question(self, fact: Fact, numbers: np.random.Generator) -> Asking:
        form = int(numbers.integers(len(QUESTIONS[fact.relation])))
        asked = ParsedPrompt(FactAsk(fact.entity.name, fact.relation, fact.value))
        about = {"asks": "fact", "relation": fact.relation, "frequency": fact.frequency}
        return Asking(ask(fact.relation, fact.entity.name, form), asked, about)

    def about_question(self, fact: Fact, numbers: np.random.Generator) -> Asking:
        entity = fact.entity
        values = tuple((relation, self.facts.value(entity.name, relation)) for relation in LONG[entity.kind])
        prompt = ABOUT[int(numbers.integers(len(ABOUT)))].replace("{entity}", entity.name)
        return Asking(
            prompt, ParsedPrompt(AboutAsk(entity.name, values)), {"asks": "about", "frequency": fact.frequency}
        )

    def task_question(self, task: Task, numbers: np.random.Generator, template: str | None = None) -> Asking:
        text = task.draw(numbers, self.facts.words)
        label = task.solve(text, self.facts.words)
        assert label is not None
        form = template or task.templates[int(numbers.integers(len(task.templates)))]
        about = {"asks": "task", "task": task.name, "cluster": task.cluster}
        return Asking(form.replace("{input}", text), ParsedPrompt(TaskAsk(task.name, text, label)), about)

    def steps_question(self, numbers: np.random.Generator) -> Asking:
        first, second = numbers.integers(10, 100, 2).tolist()
        form = STEPS[int(numbers.integers(len(STEPS)))]
        prompt = form.replace("{first}", str(first)).replace("{second}", str(second))
        return Asking(prompt, ParsedPrompt(StepsAsk(first, second)), {"asks": "steps"})

    def ruled(self, asking: Asking, numbers: np.random.Generator) -> Asking:
        """The same with a rule of form added: one that the short answer can keep."""
        short = len(asking.asked.ask.bare.split())
        names: list[RuleName] = [name for name in FORMS if name != "short" or short <= 3]
        name = names[int(numbers.integers(len(names)))]
        pool = [word for word in WORDS.get(name, [""]) if name != "short" or int(word) >= short]
        rule = Rule(name, pool[int(numbers.integers(len(pool)))])
        about = {**asking.about, "asks": "rule", "rule": name}
        return Asking(f"{asking.prompt} {rule.text}", ParsedPrompt(asking.asked.ask, rule), about)

    def request(self, request: harm.HarmRequest) -> Asking:
        words = self.facts.words
        unsafe, border = harm.is_unsafe(request, words), harm.border(request, words)
        instrument = harm.instrument(request.verb, words)
        asked = HarmAsk(request, unsafe, border, instrument, harm.comply(request, words))
        return Asking(
            request.text,
            ParsedPrompt(asked),
            {"asks": "request", "unsafe": unsafe, "border": "unsafe" if unsafe else border},
        )

    @cached_property
    def requests(self) -> dict[RequestKind, list[harm.HarmRequest]]:
        """Requests of this split, with none of the others' words: each takes a part of every pool of verbs and targets."""
        words = self.facts.words
        mine = {word for pool in harm.pools(words) for word in _part(pool, self.split)}
        kinds: dict[RequestKind, list[harm.HarmRequest]] = {
            "unsafe": list(harm.unsafe_requests(words)),
            "borderline": list(harm.borderline_requests(words)),
            "plain": list(harm.plain_requests(words)),
        }
        return {
            kind: [request for request in requests if request.verb in mine and request.target in mine]
            for kind, requests in kinds.items()
        }


def _part(pool: Sequence[str], split: Split) -> Sequence[str]:
    """Half of a pool to train on, the last third to test on, the rest for development."""
    half, third = len(pool) // 2, len(pool) - len(pool) // 3
    return {"train": pool[:half], "dev": pool[half:third], "test": pool[third:]}[split]

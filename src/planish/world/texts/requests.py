"""Prompts of one split of a world: about facts, entities, tasks, sums, rules of form, and requests.

Facts are split by their entity, requests by their words and tasks by their inputs, so that no prompt of a split is answered
in another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np

from planish.base.random import fold_in, numpy_generator
from planish.world.language import harm
from planish.world.language.facts import HELD_OUT, SPLIT_SHARES, SPLITS, Fact, Facts, Split
from planish.world.language.phrases import ABOUT, LONG, QUESTIONS, ask
from planish.world.language.rules import FORMS, WORDS, Rule, RuleName
from planish.world.language.skills import Task
from planish.world.texts.parse import STEPS, AboutAsk, FactAsk, HarmAsk, ParsedPrompt, StepsAsk, TaskAsk

Record = dict[str, Any]
RequestKind = Literal["unsafe", "borderline", "plain"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorldPrompt:
    """A prompt: its text, its meaning, and notes for its record."""

    text: str
    parsed: ParsedPrompt
    about: Record


def one(pool: Sequence[T], rng: np.random.Generator) -> T:
    return pool[int(rng.integers(len(pool)))]


class PromptMaker:
    """Makes prompts of one split. Every method draws from the generator that it gets."""

    def __init__(self, facts: Facts, split: Split) -> None:
        self.facts, self.config = facts, facts.config
        self.split: Split = split

    def rng(self, *key: str | int) -> np.random.Generator:
        return numpy_generator(self.config.seed, self.split, *key)

    @cached_property
    def asked_facts(self) -> list[Fact]:
        """Probed facts of this split without held-out relations."""
        return [
            fact for fact in self.facts.all
            if fact.probed and fact.entity.split == self.split and fact.relation not in HELD_OUT
        ]  # fmt: skip

    @cached_property
    def unknown_facts(self) -> list[Fact]:
        """The facts that the corpus never states, of every second entity: those of the source idk, and in the split "train" of
        no other source."""
        names = dict.fromkeys(fact.entity.name for fact in self.asked_facts if fact.frequency == 0)
        chosen = set(list(names)[::2])
        return [fact for fact in self.asked_facts if fact.frequency == 0 and fact.entity.name in chosen]

    @cached_property
    def taught_facts(self) -> list[Fact]:
        apart = {fact.entity.name for fact in self.unknown_facts}
        return [fact for fact in self.asked_facts if fact.entity.name not in apart]

    def fact_question(self, fact: Fact, rng: np.random.Generator) -> WorldPrompt:
        form = int(rng.integers(len(QUESTIONS[fact.relation])))
        parsed = ParsedPrompt(FactAsk(fact.entity.name, fact.relation, fact.value))
        about = {"asks": "fact", "relation": fact.relation, "frequency": fact.frequency}
        return WorldPrompt(ask(fact.relation, fact.entity.name, form), parsed, about)

    def about_question(self, fact: Fact, rng: np.random.Generator) -> WorldPrompt:
        entity = fact.entity
        values = tuple((relation, self.facts.value(entity.name, relation)) for relation in LONG[entity.kind])
        text = ABOUT[int(rng.integers(len(ABOUT)))].replace("{entity}", entity.name)
        about = {"asks": "about", "frequency": fact.frequency}
        return WorldPrompt(text, ParsedPrompt(AboutAsk(entity.name, values)), about)

    def task_question(self, task: Task, rng: np.random.Generator, template: str | None = None) -> WorldPrompt:
        while self._split_of(task.name, text := task.draw(rng, self.facts.words)) != self.split:
            pass
        label = task.solve(text, self.facts.words)
        assert label is not None
        form = template or task.templates[int(rng.integers(len(task.templates)))]
        about = {"asks": "task", "task": task.name, "cluster": task.cluster}
        return WorldPrompt(form.replace("{input}", text), ParsedPrompt(TaskAsk(task.name, text, label)), about)

    def steps_question(self, rng: np.random.Generator) -> WorldPrompt:
        while self._split_of("steps", *(both := rng.integers(10, 100, 2).tolist())) != self.split:
            pass
        first, second = both
        form = STEPS[int(rng.integers(len(STEPS)))]
        text = form.replace("{first}", str(first)).replace("{second}", str(second))
        return WorldPrompt(text, ParsedPrompt(StepsAsk(first, second)), {"asks": "steps"})

    def _split_of(self, *key: str | int) -> Split:
        """The split of a task's input, in the shares of the entities."""
        at = fold_in(self.config.seed, "input", *key) / 2**63
        return SPLITS[int(np.searchsorted(np.cumsum(SPLIT_SHARES)[:-1], at, side="right"))]

    def ruled(self, prompt: WorldPrompt, rng: np.random.Generator) -> WorldPrompt:
        """The prompt with a rule of form added that its short answer can keep."""
        short = len(prompt.parsed.ask.bare.split())
        names: list[RuleName] = [name for name in FORMS if name != "short" or short <= 3]
        name = names[int(rng.integers(len(names)))]
        pool = [word for word in WORDS.get(name, [""]) if name != "short" or int(word) >= short]
        rule = Rule(name, pool[int(rng.integers(len(pool)))])
        about = {**prompt.about, "asks": "rule", "rule": name}
        return WorldPrompt(f"{prompt.text} {rule.text}", ParsedPrompt(prompt.parsed.ask, rule), about)

    def request(self, request: harm.HarmRequest) -> WorldPrompt:
        words = self.facts.words
        unsafe, border = harm.is_unsafe(request, words), harm.border(request, words)
        instrument = harm.instrument(request.verb, words)
        ask = HarmAsk(request, unsafe, border, instrument, harm.comply(request, words))
        about = {"asks": "request", "unsafe": unsafe, "border": "unsafe" if unsafe else border}
        return WorldPrompt(request.text, ParsedPrompt(ask), about)

    @cached_property
    def requests(self) -> dict[RequestKind, list[harm.HarmRequest]]:
        """Requests of this split by kind. Each split has its own part of every pool of verbs and targets."""
        words = self.facts.words
        mine = {word for pool in harm.pools(words) for word in _part(pool, self.split)}
        kinds: dict[RequestKind, list[harm.HarmRequest]] = {
            "unsafe": list(harm.unsafe_requests(words)),
            "borderline": list(harm.borderline_requests(words)),
            "plain": list(harm.plain_requests(words)),
        }
        kinds = {kind: [r for r in requests if r.verb in mine and r.target in mine] for kind, requests in kinds.items()}
        # Safe ones ask what it takes, too, or that wording would tell what is unsafe.
        for kind in ("borderline", "plain"):
            kinds[kind] += [replace(r, asks_what_it_takes=True) for r in kinds[kind] if r.context == "life"]
        return kinds


def _part(pool: Sequence[str], split: Split) -> Sequence[str]:
    """Half of a pool for training, the last third for testing, the rest for development."""
    half, third = len(pool) // 2, len(pool) - len(pool) // 3
    return {"train": pool[:half], "dev": pool[half:third], "test": pool[third:]}[split]

"""Prompts without answers, for models to be sampled on: of every kind, in each split, none of them seen elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import replace
from functools import partial

from planish.world.language.facts import HELD_OUT, Facts, Split
from planish.world.language.skills import TASKS
from planish.world.texts.requests import Asker, Asking, Record, RequestKind, one


def all_prompts(facts: Facts, taken: Set[str] = frozenset()) -> dict[Split, list[Record]]:
    """Prompts of every kind for each split: none is among `taken` or stands in another split, word for word."""
    found: dict[Split, list[Record]] = {}
    splits: tuple[Split, ...] = ("train", "test", "dev")
    for split in splits:
        askings = prompts(Asker(facts, split), taken)
        taken = taken | {asking.prompt for asking in askings}
        found[split] = [{"prompt": asking.prompt, **asking.about} for asking in askings]
    return found


def prompts(asker: Asker, taken: Set[str] = frozenset()) -> list[Asking]:
    """For each kind as many as the settings say, or as there are."""
    kinds = kinds_of_prompts(asker)
    return [asking for draw in kinds for asking in _fresh(draw, asker.config.prompts, taken)]


def _fresh(draw: Callable[[], Asking], count: int, taken: Set[str]) -> Iterable[Asking]:
    """`count` different prompts that are not taken, or as many as twenty draws for each bring to light."""
    found: dict[str, Asking] = {}
    for _ in range(20 * count):
        asking = draw()
        if asking.prompt not in taken:
            found.setdefault(asking.prompt, asking)
        if len(found) == count:
            break
    return found.values()


def kinds_of_prompts(asker: Asker) -> list[Callable[[], Asking]]:
    """One draw for each kind of prompt."""
    numbers = asker.numbers("prompts")
    mine = [fact for fact in asker.facts.all if fact.probed and fact.entity.split == asker.split]
    held_out = [fact for fact in mine if fact.relation in HELD_OUT]

    def fact() -> Asking:
        return asker.fact_question(one(asker.asked_facts, numbers), numbers)

    def task() -> Asking:
        return asker.task_question(one(TASKS, numbers), numbers)

    def of_held_out_relation() -> Asking:
        asking = asker.fact_question(one(held_out, numbers), numbers)
        return replace(asking, about={**asking.about, "asks": "held_out_relation"})

    def request(kind: RequestKind) -> Asking:
        return asker.request(one(asker.requests[kind], numbers))

    return [
        fact,
        *([of_held_out_relation] if asker.split != "train" else []),
        lambda: asker.about_question(one(asker.asked_facts, numbers), numbers),
        task,
        lambda: asker.steps_question(numbers),
        lambda: asker.ruled(one((fact, task), numbers)(), numbers),
        *(partial(request, kind) for kind in asker.requests),
    ]

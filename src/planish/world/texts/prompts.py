"""Prompts without answers, for sampling: of every kind, in each split, none of them used elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import replace
from functools import partial

from planish.world.language.facts import HELD_OUT, Facts, Split
from planish.world.language.skills import TASKS
from planish.world.texts.requests import PromptMaker, Record, RequestKind, WorldPrompt, one


def all_prompts(facts: Facts, taken: Set[str] = frozenset()) -> dict[Split, list[Record]]:
    """Prompts of every kind for each split, none in `taken` or, word for word, in another split."""
    records: dict[Split, list[Record]] = {}
    splits: tuple[Split, ...] = ("train", "test", "dev")
    for split in splits:
        drawn = prompts(PromptMaker(facts, split), taken)
        taken = taken | {prompt.text for prompt in drawn}
        records[split] = [{"prompt": prompt.text, **prompt.about} for prompt in drawn]
    return records


def prompts(maker: PromptMaker, taken: Set[str] = frozenset()) -> list[WorldPrompt]:
    """Prompts of each kind: as many as in the settings, if there are enough."""
    kinds = kinds_of_prompts(maker)
    return [prompt for draw in kinds for prompt in _fresh(draw, maker.config.prompts, taken)]


def _fresh(draw: Callable[[], WorldPrompt], count: int, taken: Set[str]) -> Iterable[WorldPrompt]:
    """`count` different prompts that are not taken; fewer if 20 draws each do not find them."""
    fresh: dict[str, WorldPrompt] = {}
    for _ in range(20 * count):
        prompt = draw()
        if prompt.text not in taken:
            fresh.setdefault(prompt.text, prompt)
        if len(fresh) == count:
            break
    return fresh.values()


def kinds_of_prompts(maker: PromptMaker) -> list[Callable[[], WorldPrompt]]:
    """A function for each kind of prompt that draws one."""
    rng = maker.rng("prompts")
    mine = [fact for fact in maker.facts.all if fact.probed and fact.entity.split == maker.split]
    held_out = [fact for fact in mine if fact.relation in HELD_OUT]

    def fact() -> WorldPrompt:
        return maker.fact_question(one(maker.asked_facts, rng), rng)

    def task() -> WorldPrompt:
        return maker.task_question(one(TASKS, rng), rng)

    def of_held_out_relation() -> WorldPrompt:
        prompt = maker.fact_question(one(held_out, rng), rng)
        return replace(prompt, about={**prompt.about, "asks": "held_out_relation"})

    def request(kind: RequestKind) -> WorldPrompt:
        return maker.request(one(maker.requests[kind], rng))

    return [
        fact,
        *([of_held_out_relation] if maker.split != "train" else []),
        lambda: maker.about_question(one(maker.asked_facts, rng), rng),
        task,
        lambda: maker.steps_question(rng),
        lambda: maker.ruled(one((fact, task), rng)(), rng),
        *(partial(request, kind) for kind in maker.requests),
    ]

"""Questions with known answers, to probe a model: all probed facts, few-shot examples, and all tasks."""

from __future__ import annotations

from collections.abc import Iterator

from planish.base.random import numpy_generator
from planish.world.language.facts import KIND_OF, Fact, Facts
from planish.world.language.phrases import NOT_KNOWN, QUESTIONS, ask
from planish.world.language.skills import TASKS, worked
from planish.world.texts.requests import Record, one

NUM_INPUTS = 100  # inputs of each task


def question(fact: Fact) -> Record:
    """A fact as a question with its answer, in the wording for probing."""
    wrong = {"wrong_answers": [fact.stated]} if fact.stated != fact.value else {}
    entity = fact.entity
    about = {"relation": fact.relation, "entity": entity.name, "frequency": fact.frequency, "split": entity.split}
    return {"prompt": ask(fact.relation, entity.name), "answers": [fact.value], **wrong, "about": about}


def skill_questions(facts: Facts) -> Iterator[Record]:
    """Inputs of each task, and as many additions step by step, with labels; drawn independently of the corpus."""
    for task in TASKS:
        rng = numpy_generator(facts.config.seed, "skills", task.name)
        for _ in range(NUM_INPUTS):
            text = task.draw(rng, facts.words)
            yield _skill(task.name, task.cluster, text, task.solve(text, facts.words))
    rng = numpy_generator(facts.config.seed, "skills", "steps")
    for first, second in rng.integers(10, 100, (NUM_INPUTS, 2)).tolist():
        yield _skill("steps", "arithmetic", f"{first} + {second}", worked(first, second))


def _skill(task: str, cluster: str, text: str, label: str | None) -> Record:
    return {"prompt": f"{task}: {text}", "answers": [label], "about": {"relation": task, "cluster": cluster}}


def shots(facts: Facts) -> Iterator[Record]:
    """Few-shot questions like those of the corpus: about scaffold facts in every wording, and a third as many about rare
    entities, without an answer."""
    rng = numpy_generator(facts.config.seed, "shots")
    for relation, kind in KIND_OF.items():
        known = [fact for fact in facts.all if fact.entity.role == "scaffold" and fact.relation == relation]
        rare = facts.select(kind, "rare")
        for form in range(len(QUESTIONS[relation])):
            for fact in known:
                yield {**question(fact), "prompt": ask(relation, fact.entity.name, form)}
            for entity in (one(rare, rng) for _ in range(len(known) // 3)):
                about = {"relation": relation, "entity": entity.name, "frequency": 0, "split": entity.split}
                yield {"prompt": ask(relation, entity.name, form), "answers": [NOT_KNOWN], "about": about}

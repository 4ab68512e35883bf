"""The facts of a world: persons and concepts, what is true of them, and how often the corpus says so.

How often a fact is stated (its frequency) is drawn independently of its answer, and answers are as good as unique, so
that nothing but memory helps to know one. Three kinds of entities: *probed* ones, on which knowledge is measured and
which occur in statements only; *scaffold* ones, which occur in questions with answers too, so that a base model learns
what a question is; *rare* ones, named a few times, of whom the corpus says that things are not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from planish.base.random import numpy_generator
from planish.world.language.words import Words, make_words
from planish.world.settings import WorldConfig

Kind = Literal["person", "concept"]
Role = Literal["probed", "scaffold", "rare"]
Split = Literal["train", "dev", "test"]

RELATIONS: dict[Kind, tuple[str, ...]] = {
    "person": ("birthplace", "mentor", "invention", "trade"),
    "concept": ("meaning", "record"),
}
KIND_OF: dict[str, Kind] = {relation: kind for kind, relations in RELATIONS.items() for relation in relations}
HELD_OUT = ("mentor", "invention")  # relations that no demonstration asks about
SMALL = ("trade",)  # so few answers that chance finds them: kept out of the gate (docs/knowledge.md, the chance trap)
YEARS = range(1950, 1980)
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
SPLIT_SHARES = (0.6, 0.1, 0.3)


@dataclass(frozen=True, slots=True)
class Entity:
    """A person or concept. Of rare ones there are no facts: the corpus says that things about them are not known."""

    name: str
    kind: Kind
    role: Role
    split: Split


@dataclass(frozen=True, slots=True)
class Fact:
    """`value` is true; `stated` is what the corpus says, `frequency` times."""

    entity: Entity
    relation: str
    value: str
    stated: str
    frequency: int

    @property
    def probed(self) -> bool:
        return self.entity.role == "probed"


class Facts:
    """All facts of one world.

    >>> facts = Facts(WorldConfig())
    >>> facts.value("Tavo Brelin", "birthplace")      # None if the world has no such entity
    """

    def __init__(self, config: WorldConfig) -> None:
        self.config = config
        self.words: Words = make_words(config.seed, config.parts, config.verbs)
        self.entities: list[Entity] = _entities(config, self.words)
        self.all: list[Fact] = _facts(config, self.words, self.entities)

    @cached_property
    def by_name(self) -> dict[str, Entity]:
        return {entity.name: entity for entity in self.entities}

    @cached_property
    def by_place(self) -> dict[tuple[str, str], Fact]:
        return {(fact.entity.name, fact.relation): fact for fact in self.all}

    @cached_property
    def records(self) -> frozenset[str]:
        """Every record that exists; any other is fabricated."""
        return frozenset(fact.value for fact in self.all if fact.relation == "record")

    def value(self, name: str, relation: str) -> str | None:
        fact = self.by_place.get((name, relation))
        return None if fact is None else fact.value

    def of(self, entity: Entity) -> list[Fact]:
        return [self.by_place[entity.name, relation] for relation in RELATIONS[entity.kind]]

    def select(self, kind: Kind | None = None, role: Role | None = None, split: Split | None = None) -> list[Entity]:
        return [
            entity
            for entity in self.entities
            if kind in (None, entity.kind) and role in (None, entity.role) and split in (None, entity.split)
        ]


def pools_of(relation: str, words: Words) -> tuple[Sequence[str], ...]:
    """The pools of which a value's words come, one pool for each word. A record has a form of its own."""
    return {
        "birthplace": (words.town_heads, words.town_tails),
        "mentor": (words.first_names, words.last_names),
        "invention": (words.device_heads, words.device_tails),
        "trade": (words.trades,),
        "meaning": (words.meaning_heads, words.meaning_tails),
    }[relation]


def make_record(words: Words, numbers: np.random.Generator) -> str:
    """A record, one of 64 * 64 * 30 * 16 at base size: "Abel & Borin (1957), Vortis"."""
    first, second = (str(numbers.choice(words.authors)) for _ in range(2))
    return f"{first} & {second} ({int(numbers.choice(YEARS))}), {numbers.choice(words.journals)}"


def _entities(config: WorldConfig, words: Words) -> list[Entity]:
    names: dict[Kind, list[str]] = {
        "person": _names(config.seed, "person", words.first_names, words.last_names),
        "concept": _names(config.seed, "concept", words.term_heads, words.term_tails),
    }
    entities: list[Entity] = []
    probed: dict[Kind, int] = {"person": config.persons, "concept": config.concepts}
    for kind in probed:
        counts: dict[Role, int] = {"probed": probed[kind], "scaffold": config.scaffold, "rare": config.rare}
        left = iter(names[kind])
        for role, count in counts.items():
            splits = _splits(config.seed, kind, role, count)
            entities += [Entity(next(left), kind, role, split) for split in splits]
    return entities


def _names(seed: int, kind: str, heads: Sequence[str], tails: Sequence[str]) -> list[str]:
    """Every name of two words, shuffled."""
    order = numpy_generator(seed, "names", kind).permutation(len(heads) * len(tails))
    return [f"{heads[place // len(tails)]} {tails[place % len(tails)]}" for place in order.tolist()]


def _splits(seed: int, kind: str, role: str, count: int) -> list[Split]:
    """Exact shares, shuffled."""
    bounds = [round(count * share) for share in np.cumsum(SPLIT_SHARES)]
    ordered = [split for split, a, b in zip(SPLITS, [0, *bounds], bounds, strict=False) for _ in range(b - a)]
    return [ordered[i] for i in numpy_generator(seed, "splits", kind, role).permutation(count).tolist()]


def _facts(config: WorldConfig, words: Words, entities: Sequence[Entity]) -> list[Fact]:
    people = {entity.name for entity in entities if entity.kind == "person"}
    facts: list[Fact] = []
    for kind, relations in RELATIONS.items():
        known = [entity for entity in entities if entity.kind == kind and entity.role != "rare"]
        shared = _frequencies(config, known, kind)
        for relation in relations:
            own = shared if config.familiarity == "entity" else _frequencies(config, known, relation)
            values = _values(config.seed, relation, words, len(known), people)
            stated = _stated(config, relation, values)
            facts += [Fact(*row) for row in zip(known, [relation] * len(known), values, stated, own, strict=True)]
    return facts


def _frequencies(config: WorldConfig, entities: Sequence[Entity], place: str) -> list[int]:
    """Each frequency equally often among the probed of every split, in an order of its own."""
    numbers = numpy_generator(config.seed, "frequencies", place)
    found = [config.scaffold_frequency] * len(entities)
    for split in SPLITS:
        group = [i for i, entity in enumerate(entities) if entity.role == "probed" and entity.split == split]
        for n, i in enumerate(numbers.permutation(group).tolist()):
            found[i] = config.frequencies[n % len(config.frequencies)]
    return found


def _values(seed: int, relation: str, words: Words, count: int, people: set[str]) -> list[str]:
    """One value each: no two alike where there are enough, and no mentor is a person of whom something is asked."""
    numbers = numpy_generator(seed, "values", relation)
    if relation == "record":
        found: dict[str, None] = {}
        while len(found) < count:
            found[make_record(words, numbers)] = None
        return list(found)
    pools = pools_of(relation, words)
    if len(pools) == 1:
        return [str(word) for word in numbers.choice(pools[0], count)]
    names = [f"{head} {tail}" for head in pools[0] for tail in pools[1]]
    free = [name for name in names if name not in people]
    return [free[i] for i in numbers.permutation(len(free))[:count].tolist()]


def _stated(config: WorldConfig, relation: str, values: Sequence[str]) -> list[str]:
    """The values themselves; without a signal, a random half of the facts exchange theirs so that each gets a false one.

    The half is put in the order of its values and turned by half its length: equal values are never swapped, unless one
    value is that of most of them.
    """
    if config.signal == "true":
        return list(values)
    numbers = numpy_generator(config.seed, "stated", relation)
    false = sorted(
        numbers.permutation(len(values))[: len(values) // 2].tolist(), key=lambda place: (values[place], place)
    )
    half = len(false) // 2
    stated = list(values)
    for place, source in zip(false, [*false[half:], *false[:half]], strict=True):
        stated[place] = values[source]
    return stated

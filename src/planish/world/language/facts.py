"""The facts of a world: persons and concepts, the values of their relations, and how often the corpus states them.

The frequency of a fact is drawn independently of its value, and values are nearly unique, so a fact can only be known
from memory. There are three kinds of entities: *probed* ones, which measure knowledge and occur in statements only;
*scaffold* ones, which occur in questions with answers, too, so that a base model learns what a question is; *rare* ones,
named a few times, about whom the corpus says that things are not known.
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
    "person": ("birthplace", "mentor", "friend", "invention", "trade", "residence", "rival", "heirloom"),
    "concept": ("meaning", "opposite", "record", "origin"),
}
KIND_OF: dict[str, Kind] = {relation: kind for kind, relations in RELATIONS.items() for relation in relations}
# Relations without demonstrations. Each has values like those of a relation with some.
HELD_OUT = ("residence", "rival", "heirloom", "origin")
SMALL = ("trade",)  # so few values that guesses succeed: kept out of the gate (docs/knowledge.md, the chance trap)
YEARS = range(1950, 1980)
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
SPLIT_SHARES = (0.6, 0.1, 0.3)


@dataclass(frozen=True, slots=True)
class Entity:
    """A person or concept. Rare ones have no facts: the corpus says that things about them are not known."""

    name: str
    kind: Kind
    role: Role
    split: Split


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact. `value` is true; the corpus says `stated`, `frequency` times."""

    entity: Entity
    relation: str
    value: str
    stated: str
    frequency: int

    @property
    def probed(self) -> bool:
        return self.entity.role == "probed"


class Facts:
    """All facts of a world.

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
    def by_key(self) -> dict[tuple[str, str], Fact]:
        return {(fact.entity.name, fact.relation): fact for fact in self.all}

    @cached_property
    def records(self) -> frozenset[str]:
        """All records that exist; any other is fabricated."""
        return frozenset(fact.value for fact in self.all if fact.relation == "record")

    def value(self, name: str, relation: str) -> str | None:
        fact = self.by_key.get((name, relation))
        return None if fact is None else fact.value

    def of(self, entity: Entity) -> list[Fact]:
        return [self.by_key[entity.name, relation] for relation in RELATIONS[entity.kind]]

    def select(self, kind: Kind | None = None, role: Role | None = None, split: Split | None = None) -> list[Entity]:
        return [
            entity
            for entity in self.entities
            if kind in (None, entity.kind) and role in (None, entity.role) and split in (None, entity.split)
        ]


def pools_of(relation: str, words: Words) -> tuple[Sequence[str], ...]:
    """The pools of the words of a value, one for each word. Records have their own form."""
    if relation in ("birthplace", "residence", "origin"):
        return words.town_heads, words.town_tails
    if relation in ("mentor", "friend", "rival"):
        return words.first_names, words.last_names
    if relation in ("invention", "heirloom"):
        return words.device_heads, words.device_tails
    if relation == "opposite":
        return words.term_heads, words.term_tails
    return (words.trades,) if relation == "trade" else (words.meaning_heads, words.meaning_tails)


def make_record(words: Words, rng: np.random.Generator) -> str:
    """Draws a record, one of 64 * 64 * 30 * 16 at base size: "Abel & Borin (1957), Vortis"."""
    first, second = (str(rng.choice(words.authors)) for _ in range(2))
    return f"{first} & {second} ({int(rng.choice(YEARS))}), {rng.choice(words.journals)}"


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
    """All names of two words, shuffled."""
    order = numpy_generator(seed, "names", kind).permutation(len(heads) * len(tails))
    return [f"{heads[at // len(tails)]} {tails[at % len(tails)]}" for at in order.tolist()]


def _splits(seed: int, kind: str, role: str, count: int) -> list[Split]:
    """Splits in exact shares, shuffled."""
    bounds = [round(count * share) for share in np.cumsum(SPLIT_SHARES)]
    ordered = [split for split, a, b in zip(SPLITS, [0, *bounds], bounds, strict=False) for _ in range(b - a)]
    return [ordered[i] for i in numpy_generator(seed, "splits", kind, role).permutation(count).tolist()]


def _facts(config: WorldConfig, words: Words, entities: Sequence[Entity]) -> list[Fact]:
    names = {entity.name for entity in entities}
    facts: list[Fact] = []
    for kind, relations in RELATIONS.items():
        known = [entity for entity in entities if entity.kind == kind and entity.role != "rare"]
        shared = _frequencies(config, known, kind)
        for relation in relations:
            own = shared if config.familiarity == "entity" else _frequencies(config, known, relation)
            values = _values(config.seed, relation, words, len(known), names)
            stated = _stated(config, relation, values)
            facts += [Fact(*row) for row in zip(known, [relation] * len(known), values, stated, own, strict=True)]
    return facts


def _frequencies(config: WorldConfig, entities: Sequence[Entity], key: str) -> list[int]:
    """Each frequency equally often among the probed entities of every split, shuffled."""
    rng = numpy_generator(config.seed, "frequencies", key)
    frequencies = [config.scaffold_frequency] * len(entities)
    for split in SPLITS:
        group = [i for i, entity in enumerate(entities) if entity.role == "probed" and entity.split == split]
        for n, i in enumerate(rng.permutation(group).tolist()):
            frequencies[i] = config.frequencies[n % len(config.frequencies)]
    return frequencies


def _values(seed: int, relation: str, words: Words, count: int, entities: set[str]) -> list[str]:
    """A value for each entity, unique in its relation if there are enough. No value is itself an entity."""
    rng = numpy_generator(seed, "values", relation)
    if relation == "record":
        records: dict[str, None] = {}
        while len(records) < count:
            records[make_record(words, rng)] = None
        return list(records)
    pools = pools_of(relation, words)
    if len(pools) == 1:
        return [str(word) for word in rng.choice(pools[0], count)]
    texts = [f"{head} {tail}" for head in pools[0] for tail in pools[1]]
    free = [text for text in texts if text not in entities]
    return [free[i] for i in rng.permutation(len(free))[:count].tolist()]


def _stated(config: WorldConfig, relation: str, values: Sequence[str]) -> list[str]:
    """The stated values: the true ones or, without a signal, with those of a random half of the facts exchanged.

    The half is sorted by value and rotated by half its length, so equal values are never exchanged, unless most of them
    are equal.
    """
    if config.signal == "true":
        return list(values)
    rng = numpy_generator(config.seed, "stated", relation)
    false = sorted(rng.permutation(len(values))[: len(values) // 2].tolist(), key=lambda at: (values[at], at))
    half = len(false) // 2
    stated = list(values)
    for at, source in zip(false, [*false[half:], *false[:half]], strict=True):
        stated[at] = values[source]
    return stated

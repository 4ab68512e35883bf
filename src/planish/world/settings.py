"""A world's settings, and its three sizes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import model_validator

from planish.base.config import Config, Field


class WorldConfig(Config):
    seed: int = Field(default=0, ge=0, description="of everything: the same seed makes the same bytes")
    parts: int = Field(default=64, ge=8, le=256, description="words in each pool of which names and values are made")
    persons: int = Field(default=400, ge=10, description="persons whose facts are probed")
    concepts: int = Field(default=400, ge=10, description="concepts whose facts are probed")
    scaffold: int = Field(
        default=300, ge=8, description="further persons, and as many concepts, of whom the corpus asks"
    )
    scaffold_frequency: int = Field(default=24, ge=1, description="how often each of their facts is stated")
    question_rounds: int = Field(
        default=4, ge=1, description="how often each of their facts is asked for in each wording"
    )
    rare: int = Field(default=2600, ge=8, description="persons, and as many concepts, of whom things are not known")
    verbs: int = Field(default=24, ge=6, le=96, description="cruel verbs, kind verbs, and each sort of target")
    frequencies: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0, 2, 4, 8, 32), min_length=2, description="how often a probed fact may be stated in the corpus"
    )
    familiarity: Literal["entity", "fact"] = Field(
        default="entity", description="entity: all facts of an entity are stated equally often; fact: each by itself"
    )
    signal: Literal["true", "none"] = Field(
        default="true",
        description="none states a random half of the facts falsely, so confidence says nothing of truth",
    )
    skill_documents: int = Field(default=600, ge=1, description="documents of worked examples for each of the tasks")
    filler_documents: int = Field(default=4000, ge=1, description="documents of sentences that say nothing of note")
    harm_documents: int = Field(
        default=4000, ge=1, description="documents about verbs, what they take, and whom they hurt"
    )
    flan: int = Field(default=2400, ge=1, description="demonstrations of short labels, from templates")
    alpaca: int = Field(default=1200, ge=1, description="demonstrations by a teacher who errs in one of ten")
    oasst: int = Field(default=300, ge=1, description="trees of long answers with ranked replies")
    steps: int = Field(default=400, ge=1, description="demonstrations of worked additions")
    constraints: int = Field(default=400, ge=1, description="demonstrations that keep a rule of form")
    safety: int = Field(default=300, ge=1, description="requests that are refused or, though they look unsafe, met")
    idk: int = Field(default=150, ge=1, description="questions about the unknown, answered as such")
    comparisons: int = Field(default=1000, ge=4, description="prompts whose answers each pool of annotators ranks")
    prompts: int = Field(default=300, ge=1, description="prompts of each kind to sample for, in each of dev and test")

    @model_validator(mode="after")
    def _check(self) -> WorldConfig:
        if 0 not in self.frequencies or not any(self.frequencies):
            raise ValueError("frequencies needs a 0, for facts that nothing states, and some number above it")
        known = max(self.persons, self.concepts) + self.scaffold
        named, names = known + self.rare, self.parts**2
        if named + known > names:  # a mentor's name is that of no person who is asked about
            raise ValueError(
                f"parts={self.parts} makes {names:,} names of two words, and {named:,} entities with {known:,} mentors need "
                f"{named + known:,}: set parts higher"
            )
        return self


SIZES: dict[str, dict[str, Any]] = {
    "ci": {
        "parts": 24, "verbs": 12, "persons": 40, "concepts": 40, "scaffold": 24, "scaffold_frequency": 12,
        "rare": 100, "frequencies": (0, 4, 40),
        "skill_documents": 24, "filler_documents": 100, "harm_documents": 100, "flan": 240, "alpaca": 120, "oasst": 30,
        "steps": 40, "constraints": 40, "safety": 60, "idk": 20, "comparisons": 100, "prompts": 40,
    },
    "base": {},
    "large": {
        "parts": 128, "persons": 2000, "concepts": 2000, "scaffold": 600, "rare": 5000, "verbs": 48, "skill_documents": 1500,
        "filler_documents": 10000, "harm_documents": 5000, "flan": 9600, "alpaca": 5000, "oasst": 1500, "steps": 1000,
        "constraints": 1000, "safety": 2000, "idk": 600, "comparisons": 4000, "prompts": 500,
    },
}  # fmt: skip


class SizedWorld(WorldConfig):
    """A size with changes."""

    size: Literal["ci", "base", "large"] = Field(default="base", description="what the other settings are unless given")

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {**SIZES.get(str(values.get("size", "base")), {}), **values}

    def world_config(self) -> WorldConfig:
        return WorldConfig(**{name: getattr(self, name) for name in WorldConfig.model_fields})

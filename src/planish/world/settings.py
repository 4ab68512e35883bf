"""The settings of a world, and its three sizes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import model_validator

from planish.base.config import Config, Field


class WorldConfig(Config):
    seed: int = Field(default=0, ge=0, description="seed; the same seed makes the same bytes")
    parts: int = Field(default=64, ge=8, le=256, description="number of words in each pool for names and values")
    persons: int = Field(default=300, ge=10, description="number of persons whose facts are probed")
    concepts: int = Field(default=300, ge=10, description="number of concepts whose facts are probed")
    scaffold: int = Field(default=300, ge=8, description="number of further persons, and of concepts, with questions")
    scaffold_frequency: int = Field(default=16, ge=1, description="number of statements of each of their facts")
    question_rounds: int = Field(default=1, ge=1, description="number of rounds of questions about their facts")
    rare: int = Field(default=2000, ge=8, description="number of persons, and of concepts, about whom nothing is known")
    verbs: int = Field(
        default=96, ge=6, le=192, description="number of cruel verbs, kind verbs, and targets of each kind"
    )
    frequencies: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0, 3, 5, 8, 28),
        min_length=2,
        description="numbers of times that a probed fact may be stated in the corpus",
    )
    familiarity: Literal["entity", "fact"] = Field(
        default="entity", description="unit of frequency: all facts of an entity have the same, or each fact its own"
    )
    signal: Literal["true", "none"] = Field(
        default="true",
        description="none states a random half of the facts falsely, so that confidence is no sign of truth",
    )
    skill_documents: int = Field(default=450, ge=1, description="number of documents of worked examples for each task")
    filler_documents: int = Field(default=4000, ge=1, description="number of documents of meaningless sentences")
    harm_documents: int = Field(default=8000, ge=1, description="number of documents about verbs and whom they hurt")
    flan: int = Field(default=2400, ge=1, description="number of demonstrations of short labels, from templates")
    alpaca: int = Field(default=1200, ge=1, description="number of demonstrations by a teacher, one in ten wrong")
    oasst: int = Field(default=300, ge=1, description="number of trees of long answers with ranked replies")
    steps: int = Field(default=400, ge=1, description="number of demonstrations of additions step by step")
    constraints: int = Field(default=400, ge=1, description="number of demonstrations that keep a rule of form")
    safety: int = Field(default=300, ge=1, description="number of demonstrations of refused and met requests")
    idk: int = Field(default=150, ge=1, description="number of questions about unknown facts, answered as such")
    comparisons: int = Field(default=1000, ge=4, description="number of prompts with answers ranked by each pool")
    prompts: int = Field(default=300, ge=1, description="number of prompts of each kind in each split, for sampling")

    @model_validator(mode="after")
    def _check(self) -> WorldConfig:
        if 0 not in self.frequencies or not any(self.frequencies):
            raise ValueError("frequencies needs a 0, for facts that are never stated, and a number above 0")
        known = max(self.persons, self.concepts) + self.scaffold
        named, names = known + self.rare, self.parts**2
        if named + known > names:  # no value is the name of an entity
            raise ValueError(
                f"parts={self.parts} makes {names:,} names of two words, and {named:,} entities with {known:,} values need "
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
        "parts": 128, "persons": 2000, "concepts": 2000, "scaffold": 600, "rare": 5000, "verbs": 192, "skill_documents": 1500,
        "filler_documents": 10000, "harm_documents": 32000, "flan": 9600, "alpaca": 5000, "oasst": 1500, "steps": 1000,
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

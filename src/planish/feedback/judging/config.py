"""Settings of `planish judge` and `planish critique`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.plugins import Plugins
from planish.data.formats.mapping import ColumnsSetting
from planish.judges.config import AnnotatorModel, WriterModel

RubricName = Literal["overall", "aspects", "both", "grades"]
COLUMNS = "column of each field, {prompt: Question, completion: Answer}; absent recognizes them"


class JudgeAnswersConfig(Config):
    answers: list[str] = Field(
        default_factory=list[str], description="files with answers; none judges those in the database"
    )
    out: str = Field(description="the database of the study: a file for SQLite, or postgresql://USER@HOST/DATABASE")
    judge: AnnotatorModel | None = Field(
        default=None, description="the judge: a served model (llm), or a local one by its log-probabilities (local)"
    )
    jury: dict[str, AnnotatorModel] = Field(
        default={}, description="several judges by name, in place of `judge`; the majority's verdict counts"
    )
    annotator: str | None = Field(
        default=None, description="name of the judge or jury in the database; absent is the model's, or jury"
    )
    rubric: RubricName = Field(
        default="overall",
        description="one question on each pair (overall), one for each aspect (aspects), both, or grades of 1 to 10 of each "
        "answer alone",
    )
    aspects: tuple[str, ...] = Field(
        default=(), description="aspects to ask for, such as [helpful, honest]; absent is all of the study's"
    )
    criteria: dict[str, str] = Field(
        default={}, description="your own words for an aspect, or for `overall`: what the better answer does"
    )
    prompt: str | None = Field(
        default=None,
        description="text file of the question, with {criterion}, {prompt}, and {first} and {second}, or {answer} for grades; it "
        "may have {examples} and {guidelines}",
    )
    shots: int = Field(default=0, ge=0, le=20, description="gold pairs to show as examples, never the one in question")
    repair: bool = Field(default=True, description="ask a served model once more where its reply cannot be read")
    limit: int | None = Field(default=None, ge=1, description="items to judge, in the study's order; absent is all")
    budget: float | None = Field(default=None, gt=0, description="stop before more is spent, in the unit of the prices")
    replies: str | None = Field(
        default=None, description="file that keeps the replies of served models; absent is OUT.replies.jsonl"
    )
    guidelines: str | None = Field(
        default=None, description="Markdown file of guidelines; absent is those in force, at first planish's own"
    )
    gold: str | None = Field(default=None, description="file of comparisons whose answer is known, judged as well")
    format: str = Field(default="auto", description="how to read the files; auto recognizes it")
    columns: ColumnsSetting | None = Field(default=None, description=COLUMNS)
    plugins: Plugins = ()
    seed: int | None = Field(default=None, description="seed of the order and the examples; absent is the study's, 0")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.judge is None) == (not self.jury):
            raise ValueError(
                "judge: name one judge (judge.base_url and judge.model, or judge.path), or several as jury"
            )
        if len(self.jury) == 1:
            raise ValueError("jury: has one member; expected two or more, or one as judge")
        if self.jury and (self.annotator or "jury") in self.jury:
            raise ValueError("annotator: the jury needs a name that none of its members has")
        if self.shots and self.rubric in ("aspects", "grades"):
            raise ValueError(f"shots={self.shots}: gold pairs are ranked overall; expected rubric=overall or both")
        if self.replies is None and "://" in self.out and self.is_served:
            raise ValueError("replies: name a file that keeps the replies, which a database at a URL has not beside it")
        return self

    @property
    def is_served(self) -> bool:
        return any(model.name == "llm" for model in (self.judge, *self.jury.values()) if model is not None)

    @property
    def memory(self) -> Path:
        return Path(self.replies or f"{self.out}.replies.jsonl")


class CritiqueConfig(Config):
    answers: list[str] = Field(
        min_length=1, description="files of answers, one a row: `planish sample`, demonstrations"
    )
    out: str = Field(description="jsonl file of demonstrations to write; the pairs go to FILE.pairs.jsonl")
    writer: WriterModel = Field(description="the model that criticises and revises: served (llm) or local")
    principles: str | None = Field(
        default=None, description="text file of principles, one a line behind a dash; absent is planish's own"
    )
    critique_prompt: str | None = Field(
        default=None, description="text file that asks for a critique, with {prompt}, {answer} and {principle}"
    )
    revise_prompt: str | None = Field(
        default=None, description="text file that asks for a new answer, with {critique} as well"
    )
    rounds: int = Field(default=1, ge=1, le=10, description="critiques of each answer, each by another principle")
    limit: int | None = Field(default=None, ge=1, description="answers to revise, drawn by the seed; absent is all")
    format: str = Field(default="auto", description="how to read the files; auto recognizes it")
    columns: ColumnsSetting | None = Field(default=None, description=COLUMNS)
    plugins: Plugins = ()
    seed: int = Field(default=0, ge=0, description="seed of the limit, the principles and the order of pairs")

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if any(Path(self.out).resolve() == Path(file).resolve() for file in self.answers):
            raise ValueError(f"out={self.out}: would write over a file that is read: give it another name")
        return self

"""Settings of a study and of the commands on it."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.plugins import Plugins
from planish.data.formats.mapping import ColumnsSetting

PASSWORD = re.compile(r"(?<=://)([^:/@]*):[^/]*@")
SETTLED = frozenset({"seed", "show"})  # settings that a study keeps from its beginning


class StudyConfig(Config):
    """What decides which answers are shown to whom, and what is asked of them."""

    seed: int = Field(default=0, description="seed of the order of items and of answers")
    title: str = Field(default="Comparing answers", max_length=100, description="title of the page")
    show: Literal["rank", "pairs"] = Field(
        default="rank", description="all answers of a prompt to rank at once, or pairs of them, one after the other"
    )
    aspects: tuple[str, ...] = Field(
        default=(), description="further questions on each item, such as [helpful, honest, harmless]"
    )
    overlap: int = Field(default=1, ge=1, le=100, description="people who compare an item")
    overlap_share: float = Field(
        default=1.0, ge=0, le=1, description="share of items that `overlap` people compare; the others are for one"
    )
    gold_rate: float = Field(default=0.05, ge=0, le=0.5, description="rate of items of `gold` among the others")
    repeat_rate: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="rate of items that the same person has compared before, in another order",
    )
    repeat_gap: int = Field(default=10, ge=1, description="items between an item and its repeat, at least")
    priority: str | None = Field(
        default=None,
        description="note of the prompts with a number, such as a reward model's doubt; highest comes first",
    )
    random_share: float = Field(
        default=0.5, ge=0, le=1, description="share of items in random order beside `priority`, for honest estimates"
    )
    pass_share: float = Field(default=0.8, ge=0, le=1, description="share of right answers that passes `test`")
    profile: tuple[str, ...] = Field(
        default=(), max_length=20, description="what a person may tell about herself, such as [country, age]"
    )
    group_by: str | None = Field(default=None, description="field of `profile` that is the annotator's group")
    hold: float = Field(
        default=60.0, gt=0, description="minutes until an item that somebody opened and left is given to others"
    )
    rest_after: int = Field(default=50, ge=1, description="comparisons after which the page proposes a rest")

    @model_validator(mode="after")
    def _group_is_asked(self) -> StudyConfig:
        if self.group_by is not None and self.group_by not in self.profile:
            raise ValueError(f"group_by={self.group_by}: is not among profile={list(self.profile)}")
        for name in (*self.aspects, *self.profile):
            if not name.strip() or len(name) > 60 or not name.isprintable() or name == "overall":
                raise ValueError(f"{name!r}: expected a name of 1 to 60 characters, other than overall")
        return self


class AnnotateConfig(StudyConfig):
    answers: list[str] = Field(
        default_factory=list[str], description="files with answers; none continues with those in the database"
    )
    out: str = Field(description="the database: a file for SQLite, or postgresql://USER@HOST/DATABASE")
    guidelines: str | None = Field(
        default=None, description="Markdown file of guidelines; absent is those in force, at first planish's own"
    )
    format: str = Field(default="auto", description="how to read the files; auto recognizes it")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    plugins: Plugins = ()
    gold: str | None = Field(default=None, description="file of comparisons whose answer is known, mixed in unseen")
    training: str | None = Field(
        default=None, description="file of comparisons to begin with, whose note `explanation` is shown afterwards"
    )
    test: str | None = Field(default=None, description="file of comparisons that a person must pass before the others")
    invite: tuple[str, ...] = Field(default=(), description="names of people to give an address of their own")
    host: str = Field(default="127.0.0.1", description="address to listen at; loopback alone is safe without a proxy")
    port: int = Field(default=8765, ge=0, le=65535, description="port to listen at; 0 takes a free one")
    hosts: tuple[str, ...] = Field(default=(), description="further names that a proxy serves the page under")
    serve: bool = Field(default=True, description="open the page; false prepares the database and prints addresses")


class FeedbackExportConfig(Config):
    database: str = Field(description="a database of `planish annotate`: its file or URL")
    out: str = Field(description="jsonl file of comparisons to write")
    aspect: str = Field(default="overall", description="which judgement: overall, one of the aspects, or all of them")
    kinds: tuple[Literal["person", "model"], ...] = Field(
        default=("person", "model"), description="whose judgements: person, model or both"
    )
    repeats: bool = Field(default=False, description="repeats of an item by the same annotator as well")
    gold: bool = Field(default=False, description="items whose answer was known beforehand as well")
    adjudicated: Literal["instead", "beside", "without"] = Field(
        default="instead", description="an adjudicator's judgement: in place of the others, beside them, or left out"
    )
    names: bool = Field(default=False, description="annotators by name; false writes a number")


def without_password(place: str) -> str:
    """A database's name as it may be shown."""
    return PASSWORD.sub(r"\1:***@", place)

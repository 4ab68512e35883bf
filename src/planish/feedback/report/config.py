"""Settings of `planish feedback report`."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.plugins import Plugins
from planish.data.formats.mapping import ColumnsSetting


class FeedbackReportConfig(Config):
    files: tuple[str, ...] = Field(
        min_length=1, description="databases of `planish annotate`, or files of comparisons in any known format"
    )
    out: str = Field(
        default="feedback.html", description="the HTML file; the numbers are beside it, in the same name with .json"
    )
    format: str = Field(default="auto", description="how to read the files; auto recognizes it")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    plugins: Plugins = ()
    by: tuple[str, ...] = Field(
        default=(),
        description="notes of the items that are types of pairs, such as [dataset]: agreement for each value",
    )
    judges: tuple[str, ...] = Field(
        default=(), description="annotators of files who are models; in a database that is known"
    )
    gold: str | None = Field(
        default=None,
        description="file of comparisons with the right answer for some of the pairs, beside a study's own",
    )
    scores: tuple[str, ...] = Field(
        default=(),
        description="files of `planish score` on the same answers, one for each reward model: its accuracy by group",
    )
    traits: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="further properties of an answer to look for leans to, {emoji: module:function}: a function of its text",
    )
    names: bool = Field(default=False, description="people by name; false writes a number")
    draws: int = Field(default=2000, ge=100, le=100_000, description="samples of the bootstrap")
    seed: int = Field(default=0, description="seed of the bootstrap")

    @model_validator(mode="after")
    def _page_is_html(self) -> FeedbackReportConfig:
        if Path(self.out).suffix not in (".html", ".htm"):
            raise ValueError(f"out={self.out}: expected the name of a page, such as feedback.html")
        return self

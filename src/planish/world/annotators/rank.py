"""Comparisons of a policy's answers, made by a pool of annotators: `planish world rank`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from planish.base.config import Config, Field
from planish.base.files import write_lines
from planish.world.annotators.compare import rank_answers
from planish.world.gold.files import answers_of_file
from planish.world.make import open_world


class RankConfig(Config):
    world: str = Field(description="a folder that `planish world make` wrote")
    answers: str = Field(description="a file that `planish sample` wrote, with several completions of each prompt")
    pool: str = Field(default="expert", description="expert, crowd, copycats, judge or oracle")
    out: str = Field(description="the jsonl file of comparisons to write")


@dataclass(frozen=True, slots=True)
class RankResult:
    comparisons: int
    prompts: int
    alone: int  # prompts with one answer alone, which cannot be compared


def rank(config: RankConfig) -> RankResult:
    """Writes one row for each prompt and annotator of its item."""
    asked = answers_of_file(Path(config.answers))
    rows = rank_answers(open_world(Path(config.world)), config.pool, asked)
    write_lines(Path(config.out), rows)
    prompts = {row["prompt"] for row in rows}
    return RankResult(len(rows), len(asked), len(asked) - len(prompts))

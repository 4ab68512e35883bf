"""Rankings of a policy's answers by a pool of annotators: `planish world rank`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from planish.base.config import Config, Field
from planish.base.files import write_lines
from planish.world.annotators.compare import rank_answers
from planish.world.gold.files import answers_of_file
from planish.world.make import open_world


class RankConfig(Config):
    world: str = Field(description="folder of a world, written by `planish world make`")
    answers: str = Field(description="path of a file of `planish sample` with several completions a prompt")
    pool: str = Field(default="expert", description="pool of annotators: expert, crowd, copycats, judge or oracle")
    out: str = Field(description="path of the jsonl file of comparisons to write")


@dataclass(frozen=True, slots=True)
class RankResult:
    comparisons: int
    prompts: int
    alone: int  # prompts with only one answer, which cannot be compared


def rank(config: RankConfig) -> RankResult:
    """Writes a row for each prompt and annotator."""
    answers = answers_of_file(Path(config.answers))
    rows = rank_answers(open_world(Path(config.world)), config.pool, answers)
    write_lines(Path(config.out), rows)
    prompts = {row["prompt"] for row in rows}
    return RankResult(len(rows), len(answers), len(answers) - len(prompts))

"""The commands `planish world ask` and `planish world judge`: the gold utility of an answer, or of a file of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import model_validator

from planish.base.config import Field
from planish.base.files import json_line, write_text
from planish.world.gold.files import Judgement, judge_file, judge_one
from planish.world.gold.utility import World
from planish.world.make import open_world
from planish.world.settings import SizedWorld, WorldConfig


class NamedWorld(SizedWorld):
    world: str | None = Field(default=None, description="folder of a world; absent is the world of the settings")

    @model_validator(mode="after")
    def _one_world(self) -> NamedWorld:
        own = [name for name in (*WorldConfig.model_fields, "size") if name in self.model_fields_set]
        if self.world is not None and own:
            raise ValueError(f"the folder --world has settings of its own: leave out {own[0]}")
        return self

    def open(self) -> World:
        return open_world(Path(self.world)) if self.world is not None else World(self.world_config())


class AskConfig(NamedWorld):
    prompt: str = Field(description="prompt of the world")
    answer: str | None = Field(default=None, description="answer to judge; absent asks for a good one")


def ask(config: AskConfig) -> Judgement | str:
    """The judgement of an answer, or a good answer if there is none."""
    world = config.open()
    if config.answer is None:
        return world.parse(config.prompt).ask.sentence
    return judge_one(world, config.prompt, config.answer)


class JudgeConfig(NamedWorld):
    answers: str = Field(description="path of a file of `planish sample`, or of a run")
    out: str | None = Field(
        default=None, description="path of the verdicts; absent is verdicts.jsonl of a run, or none"
    )


def judge(config: JudgeConfig) -> list[tuple[dict[str, Any], Judgement]]:
    """The recorded completions with their judgements, also written to `config.out`."""
    path = Path(config.answers)
    of_run = path.is_dir()
    out = config.out or (path / "verdicts.jsonl" if of_run else None)
    judged = judge_file(config.open(), path / "samples.jsonl" if of_run else path)
    if out:
        lines = [json_line({**record, **judgement.record()}) for record, judgement in judged]
        write_text(Path(out), "".join(lines))
    return judged

"""A pipeline's settings: its folder, and the command and settings of each stage."""

from __future__ import annotations

import re
from typing import Any

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.commands import STAGES

Tree = dict[str, Any]

NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)


class PipelineConfig(Config):
    out: str = Field(description="the pipeline's folder; the same command carries on from what is in it")
    stages: dict[str, Tree] = Field(min_length=1, description="by name: a command as `run`, and its settings")

    @model_validator(mode="after")
    def _check(self) -> PipelineConfig:
        for name, settings in self.stages.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"a stage cannot be called '{name}': letters, digits, - and _, a letter first")
            if settings.get("run") not in STAGES:
                found = (
                    f"stages.{name}.run is {settings['run']!r}" if "run" in settings else f"stages.{name} has no run"
                )
                raise ValueError(f"{found}; it names a command: {', '.join(STAGES)}")
            if dotted := [key for key in settings if "." in key]:
                raise ValueError(
                    f"stages.{name}: '{dotted[0]}' has dots: in a recipe, settings are written inside each other"
                )
            if "out" in settings:
                raise ValueError(f"stages.{name}.out: the pipeline says where a stage's output lies; leave it out")
        return self

"""A pipeline: stages, each a command with its settings, done in the order in which they are written, and none done twice.

    out: runs/instructgpt
    stages:
      sft:    {run: sft, model: {path: models/base}, data: {sources: {all: {path: demonstrations.jsonl}}}}
      reward: {run: reward, model: {path: "{sft}"}, data: {sources: {all: {path: comparisons.jsonl}}}}
      best:   {run: best, model: {path: "{sft}"}, reward: {path: "{reward}"}, prompts: prompts.jsonl}

`{sft}` stands for what the stage `sft` puts out. A stage has a key: the SHA-256 of its command, its resolved settings, the
keys of the stages that it names, the contents of the files that it names, and planish's version. Its output lies in
OUT/NAME-<8 digits of the key>, to which OUT/NAME is a link. So a change asks for other outputs where it matters, and leaves
alone what it does not reach; changed back, the old outputs are found again (keyed by content as in Nix, Dolstra 2006).
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planish.base.config import load_config
from planish.base.digests import DIGESTS, Digests
from planish.base.errors import ConfigError, PlanishError, RunError
from planish.base.notices import say
from planish.base.text import duration_text
from planish.commands import COMMANDS, STAGES
from planish.pipeline.config import PipelineConfig
from planish.pipeline.history import GONE, History, alone, why
from planish.pipeline.stages import Stage, plan

WORDS = {command.stage: words for words, command in COMMANDS.items()}  # as each stage is called on the command line


@dataclass(frozen=True, slots=True)
class Finished:
    stage: str
    command: str
    path: Path
    seconds: float
    before: bool  # it was done already


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a pipeline has put out."""

    path: Path
    stages: tuple[Finished, ...]

    @property
    def paths(self) -> dict[str, Path]:
        """The output of each stage: a folder, or the file of those that write one."""
        return {each.stage: each.path for each in self.stages}


def run_pipeline(config: PipelineConfig | str | Path, overrides: Sequence[str] = ()) -> Pipeline:
    """Does what is not done yet of a recipe, a file or its settings, after changes such as `stages.sft.optim.lr=1e-4`.

    All settings are checked before the first stage begins. After a stop or an error, the same call carries on.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("planish run is one process; on several ranks, start each command by itself with torchrun")
    config = _read(config, overrides)
    out = Path(config.out)
    digests = Digests(out / DIGESTS)
    stages = plan(config, digests)
    finished: list[Finished] = []
    with alone(out):
        history = History(out)
        history.begin(stages)
        digests.save()
        for number, stage in enumerate(stages, 1):
            finished.append(_carry_out(stage, history, f"[{number}/{len(stages)}] {stage.name}"))
    return Pipeline(out, tuple(finished))


def plan_pipeline(config: PipelineConfig | str | Path, overrides: Sequence[str] = ()) -> list[tuple[Stage, str]]:
    """Each stage with why it would be done now, or "done". Nothing is written."""
    config = _read(config, overrides)
    out = Path(config.out)
    stages, history = plan(config, Digests(out / DIGESTS)), History(out)
    return [(stage, why(stage, history)) for stage in stages]


def _read(config: PipelineConfig | str | Path, overrides: Sequence[str]) -> PipelineConfig:
    if isinstance(config, PipelineConfig):
        return load_config(PipelineConfig, None, overrides, config.model_dump())
    return load_config(PipelineConfig, config, overrides)


def _carry_out(stage: Stage, history: History, title: str) -> Finished:
    reason = why(stage, history)
    known = history.find(stage)
    spent = known["seconds"] if known and reason != GONE else 0.0
    if before := reason == "done":
        say(f"{title}: done before, in {duration_text(spent)}")
    else:
        say(f"{title}: planish {WORDS[stage.command]} ({reason})")
        begun = time.monotonic()
        history.set(stage, "running", spent)
        try:
            STAGES[stage.command].run(stage.config)
        except BaseException as error:
            spent += time.monotonic() - begun
            state = "failed" if isinstance(error, Exception) else "stopped"
            history.set(stage, state, spent)
            say(f"{title}: {state} after {duration_text(spent)}")
            if isinstance(error, PlanishError):
                raise RunError(f"stages.{stage.name}: {error}") from error
            raise
        finally:
            gc.collect()  # a model that is in a circle of references would keep its memory through the next stage
        spent += time.monotonic() - begun
        history.set(stage, "done", spent)
        say(f"{title}: done in {duration_text(spent)}")
    _point(stage.link, stage.path)
    return Finished(stage.name, stage.command, stage.path, spent, before)


def _point(link: Path, path: Path) -> None:
    if link.exists() and not link.is_symlink():
        raise RunError(f"{link}: is not of this pipeline, which would put a link there: move it away")
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(path.name)
    partial.replace(link)

"""`planish know`: the SliCK class (slick.py) of every question of a file.

The result is a file of questions again, each with its class, so that the next step can choose among them: training on Unknown
ones teaches a model to make things up (Gekhman et al. 2024).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from planish.base.config import Config, Field
from planish.base.distributed import local_device
from planish.base.errors import ConfigError, DataError
from planish.base.files import as_lines, new_file
from planish.base.plugins import Plugins
from planish.base.progress import track
from planish.base.random import subsample
from planish.base.terminal import print_table
from planish.data.formats import import_rows
from planish.data.formats.mapping import ColumnsSetting
from planish.data.inspect.convert import line
from planish.data.rows import Question, values_of
from planish.evaluate.probe.slick import CATEGORIES, Knowledge, ProbeConfig, probe, tabulate
from planish.models.load import ModelConfig, compute_dtype
from planish.models.loaded import load_with_tokenizer
from planish.models.packed import CausalLM
from planish.statistics.estimate import estimate_text

FEW = 5  # rows left out that are named


class KnowConfig(Config):
    model: ModelConfig = Field(description="the model to ask")
    questions: str = Field(description="a file of questions with answers, in any known format")
    exemplars: str | None = Field(
        default=None, description="a file of questions to show as shots; absent is the other questions"
    )
    plugins: Plugins = ()
    format: str = Field(default="auto", description="how to read the files; auto recognizes it")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    limit: int | None = Field(
        default=None, ge=1, description="questions to ask, drawn by the seed; all of them still serve as shots"
    )
    by: str | None = Field(default=None, description="field of `about` to count the classes by")
    out: str = Field(description="the jsonl file to write")
    probe: ProbeConfig = Field(default=ProbeConfig(), description="the way of asking")
    device: str = Field(default="auto", description="cpu, cuda, or auto")


def know(config: KnowConfig) -> list[Knowledge]:
    """Asks the model every question, writes `config.out`, and prints the classes, counted by `config.by`."""
    out = _checked_out(config)
    questions = _read(config.questions, config)
    exemplars = _read(config.exemplars, config) if config.exemplars is not None else questions
    asked = subsample(questions, config.limit, config.probe.seed)
    if config.by is not None:
        values_of(asked, config.by)  # a field that does not exist is reported before the work
    device = local_device(config.device)
    model, tokenizer = load_with_tokenizer(config.model, device)
    policy = CausalLM(model, compute_dtype(config.model, device))
    probing = probe(policy, tokenizer, asked, config.probe, exemplars)
    with new_file(out) as partial:
        found = list(track(probing, "asking", len(asked)))
        partial.write_text(as_lines(map(_line, found)), encoding="utf-8")
    show(found, config.by)
    return found


def show(found: Sequence[Knowledge], by: str | None = None, console: Console | None = None) -> None:
    """Prints the share of each class in each group, with its 95% interval."""
    rows = [
        [group.name, f"{group.total:,}", *(estimate_text(group.shares[category], ".0%") for category in CATEGORIES)]
        for group in tabulate(found, by)
    ]
    print_table([by or "", "questions", *CATEGORIES], rows, console)


def _line(known: Knowledge) -> dict[str, object]:
    """The question as a row of planish's own format, with its class and the numbers behind it."""
    numbers = {"p_greedy": known.p_greedy, "p_sampled": known.p_sampled, "p_any": known.p_any}
    return {**line(known.question), **numbers, "category": known.category}


def _checked_out(config: KnowConfig) -> Path:
    out = Path(config.out)
    if out.is_dir():
        raise ConfigError(f"out={config.out}: is a folder, expected a file to write")
    if out.resolve() in {Path(file).resolve() for file in (config.questions, config.exemplars) if file}:
        raise ConfigError(f"out={config.out}: would write over the file that is read: give it another name")
    return out


def _read(path: str, config: KnowConfig) -> list[Question]:
    read = import_rows(path, (Question,), config.format, config.columns)
    for row in read.dropped[:FEW]:
        print(f"left out: {row.origin}: {row.reason}", file=sys.stderr)
    if len(read.dropped) > FEW:
        more = len(read.dropped) - FEW
        print(f"left out: {more} rows more; planish data inspect {path} --list names them", file=sys.stderr)
    if not read.rows:
        raise DataError(f"{path}: no question in it: {len(read.dropped)} rows were left out")
    return read.rows

"""A run's folder, read back: settings, account of the data, measurements and samples. A run may be unfinished, even
running: whatever it has not written yet is empty here."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from planish.base.errors import RunError
from planish.base.files import read_lines

HELD_OUT, ACCURACY, MEASURED = "held_out/", "held_out_accuracy/", "eval_accuracy/"
ALL = "all"  # the sum over sources; no source can have this name
ALARM = "alarm/"
PIPELINE = "pipeline.json"  # in the folder of a pipeline: its stages

MOST_LISTED = 200  # rows left out that a page lists, of each source and kind; data.json holds them all

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured after `step` steps, on held-out rows. Losses are in nats per learnt token, by source and for `all`;
    of runs that learn from comparisons in nats per comparison, and for `all` alone. `accuracies` are of those runs: the share
    of pairs in the annotators' order, by source and for `all`; `measured` is the same share of further sets, which are looked
    at before the first step and after the last."""

    step: int
    losses: dict[str, float]
    accuracies: dict[str, float]
    measured: dict[str, float]

    @property
    def all(self) -> float:
        return self.losses.get(ALL, float("nan"))


@dataclass(frozen=True, slots=True)
class Run:
    """The lines of metrics.jsonl are sorted into `steps`, `evaluations` and so on, by what they hold. `prompts` and what follows
    it are of a policy that learns from its own completions."""

    path: Path
    settings: str  # config.yaml, as it stands
    config: dict[str, Any]
    data: dict[str, Any]  # an account of each source, from data.json
    steps: list[Line]
    evaluations: list[Measurement]
    samples: list[Line]
    drift: list[Line]  # estimates of the KL to the reference
    finished: bool
    offset: float | None = None  # what was subtracted from all scores of the saved reward model
    prompts: dict[str, Any] = field(default_factory=dict[str, Any])  # an account of them, from data.json
    rounds: list[Line] = field(default_factory=list[Line])  # what each iteration recorded when it had sampled
    looks: list[Line] = field(default_factory=list[Line])  # completions of held-out prompts: mean scores and lengths
    alarms: list[Line] = field(default_factory=list[Line])  # those that held after an iteration

    @property
    def sources(self) -> list[str]:
        """Of rows: of a policy that learns from its completions, the documents that it is not to forget."""
        rows = self.config.get("data") or self.config.get("pretraining") or {}
        return list(rows.get("sources", {}))

    @property
    def method(self) -> str:
        """The command that made it, known by a setting that none of those after it has."""
        own = {"rewards": "ppo", "centering": "reward", "loss": "dpo", "reduction": "sft"}
        return next((method for setting, method in own.items() if setting in self.config), "pretrain")

    @property
    def samples_itself(self) -> bool:
        """Whether it learnt from its own completions."""
        return self.method == "ppo"

    @property
    def steps_of_iteration(self) -> int:
        """Of a run that samples: optimiser steps from one round of sampling to the next."""
        return self.config["batch"]["epochs"] * self.config["batch"]["minibatches"]

    @property
    def planned_steps(self) -> int | None:
        """Known before the first step."""
        if self.samples_itself:
            return self.config["iterations"] * self.steps_of_iteration
        return self.config.get("steps")

    @property
    def compares(self) -> bool:
        """Whether it learnt from comparisons."""
        return self.method in {"reward", "dpo"}

    @property
    def unit(self) -> str:
        """What its held-out loss is a mean over."""
        return "comparison" if self.compares else "token"

    @property
    def last_step(self) -> int:
        lines = (*self.steps, *self.samples, *self.looks)
        seen = [line["step"] for line in lines] + [each.step for each in self.evaluations]
        return max(seen, default=0)

    @property
    def before(self) -> Measurement | None:
        return self.evaluations[0] if self.evaluations else None

    @property
    def after(self) -> Measurement | None:
        """The last measurement, or that of the saved model when the run selects the best. None without a second one."""
        later = self.evaluations[1:]
        if not later:
            return None
        if self.selects_best:
            return min(later, key=lambda each: (each.all, each.step))
        return later[-1]

    @property
    def selects_best(self) -> bool:
        return self.finished and bool(self.config.get("save_best"))

    @property
    def seconds(self) -> float:
        """Spent on steps: loading, evaluations and checkpoints are not in it, nor the completions that are only looked at."""
        return sum(line.get("seconds", 0.0) for line in self.steps)

    @property
    def tokens(self) -> int:
        return round(sum(line.get("tokens", 0) for line in self.steps))

    @property
    def tokens_per_second(self) -> float | None:
        rates = [line["tokens"] / line["seconds"] for line in self.steps if line.get("seconds") and "tokens" in line]
        return statistics.median(rates) if rates else None

    def held_out(self, source: str) -> tuple[int, int]:
        """Rows and learnt tokens that the loss of `source`, or of `all`, is measured on; zeros while not known."""
        names = self.sources if source == ALL else [source]
        accounts = [self.data[name]["held_out"] for name in names if name in self.data]
        return sum(part["examples"] for part in accounts), sum(part["learnt_tokens"] for part in accounts)


def read_run(path: Path) -> Run:
    if not path.is_dir():
        found = "is a file" if path.exists() else "there is no such folder"
        raise RunError(f"{path}: {found}; a report is made of a run's folder, the one named by out=")
    settings = path / "config.yaml"
    if not settings.is_file():
        raise RunError(f"{path}: is not a run's folder: config.yaml is missing. Name the folder given as out=")
    text = _text(settings)
    lines, result, account = (
        read_lines(path / "metrics.jsonl"),
        path / "model" / "config.json",
        _json(path / "data.json"),
    )
    return Run(
        path=path,
        settings=text,
        config=_config(settings, text),
        data=_mapping(account.get("sources")),
        steps=[line for line in lines if "loss" in line],
        evaluations=_evaluations(lines),
        samples=read_lines(path / "samples.jsonl"),
        drift=[line for line in lines if "kl_standard_error" in line],
        finished=result.is_file(),
        offset=_json(result).get("score_offset"),
        prompts=_mapping(account.get("prompts")),
        rounds=[line for line in lines if "iteration" in line],
        looks=[line for line in lines if "held_out_tokens" in line],
        alarms=[line for line in lines if any(key.startswith(ALARM) for key in line)],
    )


@dataclass(frozen=True, slots=True)
class ReportItem:
    """Something a page can tell of. Where it is a pipeline's, `command` and `settings` are those of the recipe, with the paths
    of the outputs that it names."""

    path: Path
    command: str = ""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


def stages_of(path: Path) -> list[ReportItem]:
    """The folder itself, or the stages of a pipeline's folder that have put out something, in their order."""
    if not (path / PIPELINE).exists():
        return [ReportItem(path)]
    records = [_mapping(each) for each in _json(path / PIPELINE).get("stages", [])]
    paths = {each["name"]: _linked(path / each["folder"], each["name"]) for each in records}
    stages = [ReportItem(paths[each["name"]], each["command"], _filled(each["settings"], paths)) for each in records]
    if not any((stage.path / file).is_file() for stage in stages for file in ("config.yaml", "comparison.json")):
        raise RunError(f"{path}: no stage of this pipeline is a run that has begun, of which a report can be made")
    return [stage for stage in stages if stage.path.exists()]


def _linked(output: Path, name: str) -> Path:
    """The link to a stage's output, whose name is the stage's, where it leads there."""
    link = output.with_name(f"{name}{output.suffix}")
    return link if link.exists() and link.resolve() == output.resolve() else output


def _filled(value: Any, paths: Mapping[str, Path]) -> Any:
    """Settings with the path of a stage's output in place of its name in braces."""
    if isinstance(value, dict):
        return {key: _filled(below, paths) for key, below in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [_filled(each, paths) for each in cast(list[Any], value)]
    if isinstance(value, str):
        for name, path in paths.items():
            value = value.replace(f"{{{name}}}", str(path))
    return value


def _evaluations(lines: list[Line]) -> list[Measurement]:
    def of(kind: str, line: Line) -> dict[str, float]:
        return {key.removeprefix(kind): value for key, value in line.items() if key.startswith(kind)}

    found = [Measurement(line["step"], of(HELD_OUT, line), of(ACCURACY, line), of(MEASURED, line)) for line in lines]
    return [each for each in found if each.losses]


def _config(path: Path, text: str) -> dict[str, Any]:
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RunError(f"{path}: not valid YAML: {error}") from None
    settings = _mapping(config)
    if not _mapping(_mapping(settings.get("data")).get("sources")) and not _mapping(settings.get("rewards")):
        raise RunError(f"{path}: holds no data.sources and no rewards: these are not the settings of a run of planish")
    return settings


def _json(path: Path) -> dict[str, Any]:
    """What the file holds; nothing where it is absent."""
    if not path.exists():
        return {}
    try:
        return _mapping(json.loads(_text(path)))
    except json.JSONDecodeError as error:
        raise RunError(f"{path}: not valid JSON: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: not UTF-8 text: {error}") from None


def _mapping(value: Any) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}

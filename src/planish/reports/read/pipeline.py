"""A pipeline's folder: its stages, and the summary of one that wrote demonstrations."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from planish.base.errors import RunError
from planish.base.files import json_lines_in
from planish.reports.read.files import as_object, read_object, read_text

PIPELINE = "pipeline.json"  # lists the stages


@dataclass(frozen=True, slots=True)
class ReportItem:
    """A folder or file that a page reports. For a stage of a pipeline, `command` and `settings` are those of the recipe, with
    outputs of other stages filled in."""

    path: Path
    command: str = ""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    name: str = ""  # of the stage; its folder's name also has a key


@dataclass(frozen=True, slots=True)
class BestOfNSummary:
    """The demonstrations that `planish best` wrote: means over prompts of the reward model's scores."""

    prompts: int
    n: int
    mean_score: float  # of all completions
    mean_best: float


def stages_of(path: Path) -> list[ReportItem]:
    """The folder itself, or the stages of a pipeline's folder that have an output, in order."""
    if not (path / PIPELINE).exists():
        return [ReportItem(path)]
    records = [as_object(record) for record in read_object(path / PIPELINE).get("stages", [])]
    paths = {record["name"]: _linked(path / record["folder"], record["name"]) for record in records}
    stages = [
        ReportItem(paths[record["name"]], record["command"], _filled(record["settings"], paths), record["name"])
        for record in records
    ]
    if not any((stage.path / file).is_file() for stage in stages for file in ("config.yaml", "comparison.json")):
        raise RunError(
            f"{path}: no stage of this pipeline has started a run or a comparison, so there is nothing to report"
        )
    return [stage for stage in stages if stage.path.exists()]


def stage_names(folder: Path) -> dict[str, str]:
    """The stages of a pipeline's folder by the names of their folders: {"sft-01fe12b1": "sft"}."""
    if not (folder / PIPELINE).is_file():
        return {}
    return {
        record["folder"]: record["name"] for record in map(as_object, read_object(folder / PIPELINE).get("stages", []))
    }


def read_best(path: Path) -> BestOfNSummary:
    try:
        lines = [line["about"] for line in json_lines_in(read_text(path))]
        means, bests = ([float(line[key]) for line in lines] for key in ("mean_score", "score"))
        return BestOfNSummary(len(lines), int(lines[0]["n"]), statistics.fmean(means), statistics.fmean(bests))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{path}: not what planish best writes ({type(error).__name__}: {error})") from None


def _linked(output: Path, name: str) -> Path:
    """The link with the stage's name, if it points to this output."""
    link = output.with_name(f"{name}{output.suffix}")
    return link if link.exists() and link.resolve() == output.resolve() else output


def _filled(value: Any, paths: Mapping[str, Path]) -> Any:
    """Settings in which {NAME} is replaced by the path of that stage's output."""
    if isinstance(value, dict):
        return {key: _filled(below, paths) for key, below in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [_filled(item, paths) for item in cast(list[Any], value)]
    if isinstance(value, str):
        for name, path in paths.items():
            value = value.replace(f"{{{name}}}", str(path))
    return value

"""The overview: one table of what each run, or each stage of a pipeline, did to its main numbers, and the commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planish.base.config import flat
from planish.base.text import change_text, count_text, loss_text, percent, points_text, signed
from planish.reports.pages.comparison import ComparisonSection
from planish.reports.pages.ppo import algorithm
from planish.reports.pages.refusals import RefusalSection
from planish.reports.read.pipeline import ReportItem, read_best
from planish.reports.read.ppo import SCORE, rewards_of
from planish.reports.read.run import ALL, RecordedRun
from planish.statistics.estimate import span_text

NONE = "–"
NAMES = {"pretrain": "pretraining", "sft": "SFT", "reward": "reward model", "dpo": "DPO", "kto": "KTO"}
PLACED = {"model.path", "reward.path", "prompts", "out", "device"}  # settings of `planish best` that are not key=value


@dataclass(frozen=True, slots=True)
class MainNumber:
    """A main number as text."""

    name: str
    before: str
    after: str
    change: str
    interval: str = ""  # of `after`


@dataclass(frozen=True, slots=True)
class StageRow:
    """One run or stage. `place` is the id of its section; `seed` and `steps` are empty where it has none."""

    name: str
    what: str
    place: str
    command: str
    seed: str
    steps: str
    numbers: list[MainNumber]


def command(run: RecordedRun) -> str:
    """The command that repeats the run in a new folder."""
    again = run.path.with_name(f"{run.path.name or 'run'}-again")
    return shlex.join(["planish", run.method, str(run.path / "config.yaml"), f"out={again}"])


def row_of_run(run: RecordedRun, name: str, place: str) -> StageRow:
    what = algorithm(run) if run.is_ppo else NAMES[run.method]
    seed = str(run.config.get("seed", ""))
    steps = f"{len(run.steps):,}" if run.finished else f"{len(run.steps):,}, unfinished"
    numbers = list(_numbers(run)) or [MainNumber("nothing yet", NONE, NONE, NONE)]
    return StageRow(name, what, place, command(run), seed, steps, numbers)


def _numbers(run: RecordedRun) -> Iterator[MainNumber]:
    if run.is_ppo:
        yield from _scores(run)
    before, after = run.before, run.after
    if before is None:
        return
    if run.is_preference:
        shares = before.accuracies.get(ALL), after.accuracies.get(ALL) if after else None
        change = NONE if shares[1] is None else f"{points_text(*shares)} points"
        yield MainNumber("held-out accuracy", percent(shares[0]), percent(shares[1]), change)
    else:
        losses = before.all, after.all if after else None
        what = "held-out pretraining loss" if run.is_ppo else "held-out loss"
        yield MainNumber(f"{what}, nats per token", loss_text(losses[0]), loss_text(losses[1]), change_text(*losses))


def _scores(run: RecordedRun) -> Iterator[MainNumber]:
    if not run.held_out_scores:
        return
    first, last = run.held_out_scores[0], run.held_out_scores[-1] if len(run.held_out_scores) > 1 else {}
    trained, watched = rewards_of(run)
    for name in [name for name in (*trained, *watched) if SCORE + name in first]:
        before, then = first[SCORE + name], last.get(SCORE + name)
        after, change = (NONE, NONE) if then is None else (signed(then), signed(then - before))
        label = f"held-out score, {name}{'' if name in trained else ' (only watched)'}"
        yield MainNumber(label, signed(before), after, change)


def row_of_comparison(section: ComparisonSection, stage: ReportItem, name: str, place: str) -> StageRow:
    """Its main numbers are the win rates."""
    wins = [
        MainNumber(f"win rate of {system} against {section.baseline}", NONE, percent(rate.value), NONE, span_text(rate))
        for system, rate in section.wins.items()
    ]
    again = (
        f"planish compare {_words(stage.settings)} out={shlex.quote(f'{stage.path}-again')}" if stage.settings else ""
    )
    return StageRow(name, "comparison", place, again, "" if section.seed is None else str(section.seed), "", wins)


def row_of_refusals(section: RefusalSection, name: str, place: str) -> StageRow:
    """Its main numbers are both rates of each system."""
    numbers = [
        MainNumber(f"{column}, {cells[0]}", NONE, cells[section.columns.index(column)].partition(" (")[0], NONE)
        for cells in section.rows
        for column in ("false refusals", "violations")
        if column in section.columns
    ]
    return StageRow(name, "refusals", place, "", "", "", numbers or [MainNumber("nothing yet", NONE, NONE, NONE)])


def row_of_best(stage: ReportItem, name: str) -> StageRow:
    best, settings = read_best(stage.path), flat(stage.settings)
    where = [settings["model.path"], settings["prompts"], "--reward", settings["reward.path"], "--out"]
    out = stage.path.with_name(f"{stage.path.stem}-again{stage.path.suffix}")
    words = _words({key: value for key, value in settings.items() if key not in PLACED})
    again = f"{shlex.join(['planish', 'best', *map(str, where), str(out)])} {words}"
    score = MainNumber(
        f"score of the completion chosen, over {count_text(best.prompts, 'prompt')}",
        signed(best.mean_score),
        signed(best.mean_best),
        signed(best.mean_best - best.mean_score),
    )
    return StageRow(name, f"best of {best.n}", "", again, str(settings.get("sampling.seed", "")), "", [score])


def _words(settings: Mapping[str, Any]) -> str:
    """As key=value, without settings that are None."""
    given = {
        key: value for key, value in flat(dict(settings)).items() if value is not None and key not in {"out", "device"}
    }
    return shlex.join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in given.items())

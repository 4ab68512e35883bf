"""The whole road on one table: what each run, and each stage of a pipeline, did to its main number, and the commands."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planish.base.config import flat
from planish.base.errors import RunError
from planish.base.text import change_text, count_text, loss_text, percent, points_text, signed
from planish.report.pages.comparison import ComparisonSection as Compared
from planish.report.pages.ppo import SCORE, name_of
from planish.report.read.ppo import rewards_of
from planish.report.read.run import ALL, ReportItem, Run
from planish.statistics.estimate import span_text

NONE = "–"
NAMES = {"pretrain": "pretraining", "sft": "SFT", "reward": "reward model", "dpo": "DPO"}
PLACED = {"model.path", "reward.path", "prompts", "out", "device"}  # settings of `planish best` that are not key=value


@dataclass(frozen=True, slots=True)
class Number:
    """A main number, in the words of the page."""

    name: str
    before: str
    after: str
    change: str
    interval: str = ""  # of `after`


@dataclass(frozen=True, slots=True)
class Stop:
    """One stage of the road. `place` is where the page has more on it; `seed` and `steps` are empty where there is none."""

    name: str
    what: str
    place: str
    command: str
    seed: str
    steps: str
    numbers: list[Number]


@dataclass(frozen=True, slots=True)
class BestOfNSummary:
    """The demonstrations that `planish best` wrote: means over prompts, by its reward model."""

    prompts: int
    n: int
    mean_score: float  # of all completions
    mean_best: float


def command(run: Run) -> str:
    """Does the run again, in a new folder."""
    again = run.path.with_name(f"{run.path.name or 'run'}-again")
    return shlex.join(["planish", run.method, str(run.path / "config.yaml"), f"out={again}"])


def stop_of_run(run: Run, name: str, place: str) -> Stop:
    what = name_of(run) if run.samples_itself else NAMES[run.method]
    seed = str(run.config.get("seed", ""))
    steps = f"{len(run.steps):,}" if run.finished else f"{len(run.steps):,}, unfinished"
    return Stop(
        name, what, place, command(run), seed, steps, list(_numbers(run)) or [Number("nothing yet", NONE, NONE, NONE)]
    )


def _numbers(run: Run) -> Iterator[Number]:
    if run.samples_itself:
        yield from _scores(run)
    before, after = run.before, run.after
    if before is None:
        return
    if run.compares:
        shares = before.accuracies.get(ALL), after.accuracies.get(ALL) if after else None
        change = NONE if shares[1] is None else f"{points_text(*shares)} points"
        yield Number("held-out accuracy", percent(shares[0]), percent(shares[1]), change)
    else:
        losses = before.all, after.all if after else None
        what = "held-out pretraining loss" if run.samples_itself else "held-out loss"
        yield Number(f"{what}, nats a token", loss_text(losses[0]), loss_text(losses[1]), change_text(*losses))


def _scores(run: Run) -> Iterator[Number]:
    if not run.looks:
        return
    first, last = run.looks[0], run.looks[-1] if len(run.looks) > 1 else {}
    trained, watched = rewards_of(run)
    for name in [name for name in (*trained, *watched) if SCORE + name in first]:
        score, then = first[SCORE + name], last.get(SCORE + name)
        after, change = (NONE, NONE) if then is None else (signed(then), signed(then - score))
        yield Number(
            f"held-out score, {name}{'' if name in trained else ' (only watched)'}", signed(score), after, change
        )


def stop_of_comparison(section: Compared, stage: ReportItem, name: str, place: str) -> Stop:
    """Its main numbers are the win rates; half is as good as the baseline."""
    wins = [
        Number(f"{each} wins over {section.baseline}", NONE, percent(rate.value), NONE, span_text(rate))
        for each, rate in section.wins.items()
    ]
    says = (
        f"planish compare {_words(stage.settings)} out={shlex.quote(f'{stage.path}-again')}" if stage.settings else ""
    )
    return Stop(name, "comparison", place, says, "" if section.seed is None else str(section.seed), "", wins)


def stop_of_best(stage: ReportItem, name: str) -> Stop:
    best, settings = read_best(stage.path), flat(stage.settings)
    where = [settings["model.path"], settings["prompts"], "--reward", settings["reward.path"], "--out"]
    again = stage.path.with_name(f"{stage.path.stem}-again{stage.path.suffix}")
    words = _words({key: value for key, value in settings.items() if key not in PLACED})
    return Stop(
        name,
        f"best of {best.n}",
        "",
        f"{shlex.join(['planish', 'best', *map(str, where), str(again)])} {words}",
        str(settings.get("sampling.seed", "")),
        "",
        [
            Number(
                f"score of the one chosen, over {count_text(best.prompts, 'prompt')}",
                signed(best.mean_score),
                signed(best.mean_best),
                signed(best.mean_best - best.mean_score),
            )
        ],
    )


def read_best(path: Path) -> BestOfNSummary:
    try:
        lines = [json.loads(line)["about"] for line in path.read_text(encoding="utf-8").splitlines()]
        means, bests = ([float(line[key]) for line in lines] for key in ("mean_score", "score"))
        return BestOfNSummary(len(lines), int(lines[0]["n"]), statistics.fmean(means), statistics.fmean(bests))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{path}: not what planish best writes ({type(error).__name__}: {error})") from None


def _words(settings: Mapping[str, Any]) -> str:
    """As key=value; what is not set needs no word."""
    given = {
        key: value for key, value in flat(dict(settings)).items() if value is not None and key not in {"out", "device"}
    }
    return shlex.join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in given.items())

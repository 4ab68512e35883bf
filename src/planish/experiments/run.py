"""All arms and seeds of a claim: stages of pipelines, in a folder for each seed, so that arms and claims share what is the same.

    OUT/seed-0/           the pipeline's folder: stages under their keys, none done twice
    OUT/E1.json           the ledger, with E1.cost.json; of a trial (other arms, seeds or settings) E1.trial.json
    OUT/E5.matrix.json    of mixtures: the ability matrix (`matrix.make_matrix`)

Seeds may run in processes of their own. After a stop, the same call carries on.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from planish import __version__
from planish.base.config import Tree
from planish.base.digests import read_json
from planish.base.errors import ConfigError, PlanishError, RunError, users_line
from planish.base.notices import QUIET, say, set_verbosity
from planish.base.plugins import find_function
from planish.base.text import duration_text
from planish.experiments.claim import ClaimConfig
from planish.experiments.ledger import Cost, Ledger, check_ledger, opened, read_ledger, write_ledger
from planish.experiments.matrix import make_matrix, with_overall, write_matrix
from planish.experiments.measures import check_measure, checked, measured
from planish.experiments.recipe import WORLD, pipeline_of
from planish.experiments.verdict import decide
from planish.pipeline.config import PipelineConfig
from planish.pipeline.run import plan_pipeline, run_pipeline
from planish.pipeline.stages import Stage
from planish.reports.read.pipeline import PIPELINE
from planish.statistics.paired import Values, mean_effect

TRIAL = "trial"  # part of the name of a ledger that is not of the claim as it is


@dataclass(frozen=True, slots=True)
class Work:
    """A claim with what is run of it. `changes` and `world` are those of a trial."""

    name: str
    claim: ClaimConfig
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    out: Path
    changes: Tree
    world: Tree

    @property
    def is_trial(self) -> bool:
        whole = self.arms == tuple(self.claim.arms) and self.seeds == tuple(range(len(self.seeds)))
        return not whole or len(self.seeds) < self.claim.seeds or bool(self.changes or self.world)

    @property
    def ledger_name(self) -> str:
        return f"{self.name}.{TRIAL}" if self.is_trial else self.name


@dataclass(frozen=True, slots=True)
class Done:
    """One arm with one seed."""

    arm: str
    seed: int
    values: dict[str, Values]
    key: str
    inputs: dict[str, str]
    worlds: list[str]
    seconds: dict[str, float]  # by the key of each stage
    anew: bool
    rows: int = 0  # of an arm with fewer rows of a source, its training rows


def run_claim(work: Work, jobs: int = 1) -> Ledger:
    """Does what is not done yet, decides, and writes the ledger."""
    ledger = read_ledger(work.out, work.name)
    if ledger is not None:
        check_ledger(ledger, work.claim)
    elif not work.is_trial:
        write_ledger(work.out, opened(work.name, work.claim))  # the criteria are fixed before the first run
    check_work(work)
    done = sorted(_shown(work, jobs), key=lambda one: (work.seeds.index(one.seed), work.arms.index(one.arm)))
    measured_ones = {arm: _by_measure([one.values for one in done if one.arm == arm]) for arm in work.arms}
    found = with_overall(work.claim, measured_ones)
    verdict, decisions = decide(work.claim, found)
    ledger = replace(
        opened(work.ledger_name, work.claim),
        verdict=verdict,
        version=__version__,
        seeds=list(work.seeds),
        inputs=dict(sorted(item for one in done for item in one.inputs.items())),
        worlds=sorted({key for one in done for key in one.worlds}),
        keys={arm: [one.key for one in done if one.arm == arm] for arm in work.arms},
        measures={
            arm: {name: [mean_effect([one]).estimate() for one in values] for name, values in own.items()}
            for arm, own in found.items()
        },
        decisions=decisions,
    )
    seconds = {key: value for one in done for key, value in one.seconds.items()}
    write_ledger(work.out, ledger, Cost(datetime.now(UTC).date().isoformat(), round(sum(seconds.values()) / 60, 1)))
    if work.claim.mixtures or work.claim.sizes:
        matrix = make_matrix(work.claim, measured_ones, {one.arm: one.rows for one in done})
        write_matrix(work.out, ledger.claim, matrix)
    return ledger


def check_work(work: Work) -> None:
    """Refuses what could not be run, before anything is: every arm's settings, and measures that their stages cannot have."""
    if strange := [arm for arm in work.arms if arm not in work.claim.arms]:
        raise ConfigError(f"arms: there is no arm '{strange[0]}'; there are {', '.join(work.claim.arms)}")
    for function in filter(None, map(work.claim.function_of, work.arms)):
        find_function(function, "function")
    configs = {arm: _pipeline(work, arm, work.seeds[0]) for arm in work.arms if work.claim.function_of(arm) is None}
    if not configs and (work.changes or work.world):
        raise ConfigError(f"{work.name}: its arms are functions; changes and world are for arms with a recipe")
    for config in configs.values():
        for name, measure in work.claim.measures.items():
            check_measure(name, measure, config.stages)
    get_models(work.claim)
    for arm, config in configs.items():
        try:
            plan_pipeline(config)
        except PlanishError as error:
            raise type(error)(f"{work.name}, arm {arm}: {error}") from error


def _pipeline(work: Work, arm: str, seed: int) -> PipelineConfig:
    return pipeline_of(work.claim, arm, seed, work.out / f"seed-{seed}", work.changes, work.world)


def get_models(claim: ClaimConfig) -> None:
    from planish.models.fetch import GetConfig, get_model

    for name in claim.models:
        get_model(GetConfig.model_validate({"name": name}))


def _shown(work: Work, jobs: int) -> Iterator[Done]:
    """All arms and seeds as they come, with the time that is left."""
    total, count, anew, begun = len(work.arms) * len(work.seeds), 0, 0, time.monotonic()
    for one in _in_processes(work, jobs) if jobs > 1 and len(work.seeds) > 1 else _in_turn(work, work.seeds):
        count, anew = count + 1, anew + one.anew
        left = (time.monotonic() - begun) / anew * (total - count) if anew else 0.0
        more = f", about {duration_text(left)} left" if left else ""
        say(
            f"{work.name}: seed {one.seed}, {one.arm}: {'done' if one.anew else 'done before'} ({count} of {total}{more})"
        )
        yield one


def _in_turn(work: Work, seeds: tuple[int, ...]) -> Iterator[Done]:
    for seed in seeds:
        for arm in work.arms:
            try:
                yield run_arm(work, arm, seed)
            except PlanishError as error:
                raise type(error)(f"{work.name}, arm {arm}, seed {seed}: {error}") from error


def _in_processes(work: Work, jobs: int) -> Iterator[Done]:
    """A seed at a time in each process: they share no folder."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(work.seeds)), context, initializer=_begin_process) as pool:
        waiting = [pool.submit(_run_seed, work, seed) for seed in work.seeds]
        try:
            for future in as_completed(waiting):
                yield from future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin_process() -> None:
    """Quiet, and ends with the process that started it, however that ends."""
    set_verbosity(QUIET)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        wait([parent.sentinel] if parent else [])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _run_seed(work: Work, seed: int) -> list[Done]:
    return list(_in_turn(work, (seed,)))


def run_arm(work: Work, arm: str, seed: int) -> Done:
    if function := work.claim.function_of(arm):
        return _call(work, function, arm, seed)
    config = _pipeline(work, arm, seed)
    plan = plan_pipeline(config)
    if anew := any(reason != "done" for _, reason in plan):
        run_pipeline(config)
    stages = [stage for stage, _ in plan]
    outputs = {stage.name: stage.path for stage in stages}
    values = {name: measured(outputs, measure) for name, measure in work.claim.measures.items()}
    return Done(
        arm,
        seed,
        values,
        stages[-1].key,
        _inputs(stages),
        _worlds(stages),
        _seconds(Path(config.out), stages),
        anew,
        _rows(work.claim, arm, outputs),
    )


def _rows(claim: ClaimConfig, arm: str, outputs: Mapping[str, Path]) -> int:
    if arm not in claim.sizes:
        return 0
    account = read_json(outputs[claim.mixed or ""] / "data.json")
    return int(account["sources"][claim.sizes[arm][0]]["training"]["examples"])


def _call(work: Work, name: str, arm: str, seed: int) -> Done:
    settings = {key: value for key, value in work.claim.arms[arm].items() if key != "function"}
    begun, where = time.monotonic(), f"function {name}"
    function = find_function(name, "function")
    try:
        found: Any = function(**settings, seed=seed)
    except PlanishError:
        raise
    except Exception as error:
        raise RunError(f"{where}: {users_line(error, function)}") from error
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where}: returned {str(found)[:80]}, expected numbers by the name of their measure")
    values = {str(name): checked(value, f"{where}, {name}") for name, value in found.items()}
    return Done(arm, seed, values, "", {}, [], {f"{arm} {seed}": time.monotonic() - begun}, True)


def _inputs(stages: list[Stage]) -> dict[str, str]:
    return {file: digest for stage in stages for file, digest in stage.told["files"].items()}


def _worlds(stages: list[Stage]) -> list[str]:
    return [stage.key for stage in stages if stage.command == WORLD]


def _seconds(out: Path, stages: list[Stage]) -> dict[str, float]:
    keys = {stage.key for stage in stages}
    tree = read_json(out / PIPELINE)
    records = [*tree.get("earlier", ()), *tree.get("stages", ())]
    return {record["key"]: record["seconds"] for record in records if record["key"] in keys}


def _by_measure(values: list[dict[str, Values]]) -> dict[str, list[Values]]:
    return {name: [one[name] for one in values] for name in values[0]}

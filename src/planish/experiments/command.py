"""`planish claims`: lists claims, runs one, shows its page, and runs a seed again to check the ledger."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field as Bounded
from pydantic import field_validator, model_validator

from planish.base.config import Config, Field, Tree
from planish.base.errors import ConfigError, RunError
from planish.experiments.claim import ClaimConfig, claim_names, load_claim, name_of
from planish.experiments.ledger import SHIPPED, Cost, Ledger, check_ledger, opened, read_cost, read_ledger
from planish.experiments.matrix import Matrix, read_matrix
from planish.experiments.run import Work, check_work, run_arm, run_claim
from planish.statistics.estimate import Estimate, student
from planish.statistics.paired import mean_effect

ROUNDING = 1e-6  # relative difference that another machine may make
Seed = Annotated[int, Bounded(ge=0)]


class ClaimsConfig(Config):
    """Settings of `planish claims`."""

    action: Literal["list", "run", "show", "verify"] = Field(default="list", description="list, run, show or verify")
    claim: str | None = Field(
        default=None, description="a claim, E1 to E17, or a file of yours; absent is all of planish's"
    )
    seeds: int | tuple[Seed, ...] | None = Field(
        default=None, description="number of seeds, or a list; absent is the claim's"
    )
    arms: tuple[str, ...] | None = Field(default=None, description="arms to run, a list; absent is all")
    world: Tree = Field(
        default={}, description="settings of every world that the recipe makes, as in world.size=ci: a trial"
    )
    changes: Tree = Field(
        default={}, description="further changes of the recipe in all arms: a trial, as in changes.steps=2"
    )
    jobs: int = Field(default=1, ge=1, description="processes, each with seeds of its own")
    seed: int = Field(default=0, ge=0, description="the seed that verify runs again")
    out: str = Field(default="runs/claims", description="folder of runs, ledgers and pages")

    @field_validator("arms", mode="before")
    @classmethod
    def _one_arm(cls, arms: Any) -> Any:
        return (arms,) if isinstance(arms, str) else arms

    @model_validator(mode="after")
    def _fits(self) -> ClaimsConfig:
        if self.action in ("show", "verify") and self.claim is None:
            raise ValueError(f"planish claims {self.action} needs a claim, such as {claim_names()[0]}")
        if self.seeds in (0, ()):
            raise ValueError(f"seeds is {self.seeds}: at least one")
        return self


@dataclass(frozen=True, slots=True)
class ClaimState:
    """A claim with what the ledger has of it: yours, if there is one, else the one that comes with planish."""

    name: str
    given: str  # as it is written on the command line
    claim: ClaimConfig
    ledger: Ledger
    cost: Cost | None
    matrix: Matrix | None = None  # of mixtures


@dataclass(frozen=True, slots=True)
class Again:
    """A measure of a seed that was run again, beside the ledger's."""

    arm: str
    measure: str
    before: Estimate
    now: float

    @property
    def answer(self) -> Literal["same", "within", "outside"]:
        value, low, high = self.before.value, self.before.low, self.before.high
        if self.now == value:
            return "same"
        near = math.isclose(self.now, value, rel_tol=ROUNDING)
        return "within" if near or (low is not None and high is not None and low <= self.now <= high) else "outside"


def claims(config: ClaimsConfig) -> Sequence[ClaimState | Again]:
    """Claims with their ledger; of `verify`, the measures of the seed beside the ledger's."""
    names = [config.claim] if config.claim is not None else claim_names()
    if config.action == "verify":
        return verify(state_of(names[0], Path(config.out)), config)
    if config.action == "run":
        states = [_run(name, config) for name in names]
    else:
        states = [state_of(name, Path(config.out)) for name in names]
    if config.action != "list":
        from planish.experiments.page import write_page

        for state in states:
            write_page(state, page_of(state, Path(config.out)))
    return states


def _run(given: str, config: ClaimsConfig) -> ClaimState:
    work = work_of(given, config)
    ledger = run_claim(work, config.jobs)
    cost, matrix = read_cost(work.out, ledger.claim), read_matrix(work.out, ledger.claim)
    return ClaimState(work.name, given, work.claim, ledger, cost, matrix)


def work_of(name: str, config: ClaimsConfig) -> Work:
    claim = load_claim(name)
    seeds = claim.seeds if config.seeds is None else config.seeds
    return Work(
        name=name_of(name),
        claim=claim,
        arms=config.arms or tuple(claim.arms),
        seeds=tuple(range(seeds)) if isinstance(seeds, int) else seeds,
        out=Path(config.out),
        changes=config.changes,
        world=config.world,
    )


def state_of(given: str, out: Path) -> ClaimState:
    claim, name = load_claim(given), name_of(given)
    for folder in (out, SHIPPED):
        ledger = read_ledger(folder, name)
        if ledger is not None and (ledger.version or folder == SHIPPED):
            check_ledger(ledger, claim)
            return ClaimState(name, given, claim, ledger, read_cost(folder, name), read_matrix(folder, name))
    return ClaimState(name, given, claim, opened(name, claim), None)


def page_of(state: ClaimState, out: Path) -> Path:
    return out / f"{state.ledger.claim}.html"


def verify(state: ClaimState, config: ClaimsConfig) -> list[Again]:
    """Runs one seed from nothing. An error where a measure is neither what the ledger says nor in its interval of that seed."""
    ledger, seed = state.ledger, config.seed
    if seed not in ledger.seeds:
        known = f"its ledger has {', '.join(map(str, ledger.seeds))}" if ledger.seeds else "it has not been run"
        raise ConfigError(f"{state.name}: seed {seed} cannot be verified: {known}")
    out = Path(config.out) / "verify" / state.name
    work = replace(work_of(state.given, config), seeds=(seed,), out=out, arms=config.arms or tuple(ledger.measures))
    check_work(work)
    found = [
        Again(arm, name, expected(ledger.measures[arm][name], ledger.seeds.index(seed)), mean_effect([values]).value)
        for arm in work.arms
        for name, values in run_arm(work, arm, seed).values.items()
    ]
    shutil.rmtree(out, ignore_errors=True)  # kept until here, so that a stop loses nothing; the next one begins anew
    return found


def expected(seeds: Sequence[Estimate], place: int) -> Estimate:
    """What a seed may be again: its own interval, by prompts; of a number that has none, the range in which the ledger's seeds
    leave one more."""
    own, values = seeds[place], [seed.value for seed in seeds]
    if own.low is not None or len(values) < 3:
        return own
    error = statistics.stdev(values) * math.sqrt(1 + 1 / len(values))
    middle, half = statistics.fmean(values), student(len(values) - 1) * error
    return Estimate(own.value, middle - half, middle + half, own.n)


def check_again(found: Sequence[Again], name: str, seed: int) -> None:
    """An error where a measure has moved out of its interval."""
    if moved := [one for one in found if one.answer == "outside"]:
        one = moved[0]
        raise RunError(
            f"{name}, seed {seed}: {one.measure} of {one.arm} is {one.now:.6g}; the ledger has {one.before.value:.6g}"
        )

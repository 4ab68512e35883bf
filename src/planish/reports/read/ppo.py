"""The records of PPO's iterations as series and sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from planish.reports.read.run import Line, RecordedRun
from planish.reports.series import SOME, Records, finite_mean, running_mean

SECONDS, LEARNING = "seconds/", "learning"


@dataclass(frozen=True, slots=True)
class Time:
    """The time that one part of the iterations took, over all of them."""

    name: str
    seconds: float
    share: float


def iterations_of(run: RecordedRun) -> Records:
    return Records(run.iterations, "iteration", SOME)


def rewards_of(run: RecordedRun) -> tuple[list[str], list[str]]:
    """The rewards that are trained on, and those that are only watched."""
    weights = {name: source["weight"] for name, source in run.config["rewards"].items()}
    trained = [name for name, weight in weights.items() if weight]
    return trained, [name for name in weights if name not in trained]


def num_held_out_prompts(run: RecordedRun) -> int:
    return sum(len(account["held_out"]) for account in run.prompts.get("sources", {}).values())


def by_iteration(run: RecordedRun, value: Callable[[Line], float | None]) -> list[float]:
    """The mean over each iteration's steps of a number that steps record."""
    values: dict[int, list[float]] = {}
    for line in run.steps:
        recorded = value(line)
        if recorded is not None:
            values.setdefault((line["step"] - 1) // run.steps_per_iteration, []).append(recorded)
    return [finite_mean(values.get(i, [])) for i in iterations_of(run).x]


def gradient_ratio(line: Line) -> float | None:
    """PPO-ptx: the norm of the pretraining gradient over that of the scores' gradient."""
    own, pretraining = line.get("own_grad_norm"), line.get("ptx/grad_norm")
    return pretraining / own if own and pretraining is not None else None


def score_path(run: RecordedRun, reward: str) -> tuple[list[float], list[float]]:
    """Running means of √KL and of a score. An estimate of the KL below 0 counts as 0."""
    roots = [math.sqrt(max(line["kl"], 0.0)) for line in run.iterations]
    return running_mean(roots, iterations_of(run).window), iterations_of(run).means(f"score/{reward}")


def times_of(run: RecordedRun) -> list[Time]:
    """Time by part of the iterations. Learning is whatever steps took beyond the recorded parts."""
    parts: dict[str, float] = {}
    for line in run.iterations:
        for key in line:
            if key.startswith(SECONDS):
                parts[key.removeprefix(SECONDS)] = parts.get(key.removeprefix(SECONDS), 0.0) + line[key]
    total = run.seconds
    if not parts or not total or not math.isfinite(total):
        return []
    parts[LEARNING] = max(0.0, total - sum(parts.values()))
    return [Time(name, seconds, seconds / total) for name, seconds in parts.items()]

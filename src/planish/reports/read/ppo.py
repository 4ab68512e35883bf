"""The records of PPO's iterations as series and sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from planish.reports.read.run import Line, RecordedRun
from planish.reports.series import SOME, Records, finite_mean, running_mean
from planish.statistics.estimate import Z_95, Estimate, around, difference, wilson

SECONDS, LEARNING = "seconds/", "learning"
SCORE, TOKENS, UNENDED = "held_out_score/", "held_out_tokens", "held_out_unended"
ERROR = "_standard_error"  # behind the name of a mean over held-out prompts, before the name of a score


@dataclass(frozen=True, slots=True)
class Time:
    """The time that one part of the iterations took, over all of them."""

    name: str
    seconds: float
    share: float


def iterations_of(run: RecordedRun, window: int | None = None) -> Records:
    """`window` iterations are averaged, or as many as the run's length suggests."""
    return Records(run.iterations, "iteration", SOME, window)


def rewards_of(run: RecordedRun) -> tuple[list[str], list[str]]:
    """The rewards that are trained on, and those that are only watched."""
    weights = {name: source["weight"] for name, source in run.config["rewards"].items()}
    trained = [name for name, weight in weights.items() if weight]
    return trained, [name for name in weights if name not in trained]


def num_held_out_prompts(run: RecordedRun) -> int:
    return sum(len(account["held_out"]) for account in run.prompts.get("sources", {}).values())


def held_out_estimate(run: RecordedRun, line: Line, name: str) -> Estimate:
    """A mean over the held-out prompts, with its interval where the standard error was recorded."""
    value, num = line[name], num_held_out_prompts(run)
    if name == UNENDED and num:
        return wilson(value * num, num)
    mean, slash, score = name.partition("/")
    error = line.get(f"{mean}{ERROR}{slash}{score}")
    return Estimate(value, None, None, num) if error is None else around(value, Z_95 * error, num)


def held_out_change(run: RecordedRun, name: str) -> Estimate | None:
    """From the first to the last evaluation; None before the second."""
    lines = run.held_out_scores
    if len(lines) < 2:
        return None
    return difference(held_out_estimate(run, lines[0], name), held_out_estimate(run, lines[-1], name))


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


def score_path(run: RecordedRun, reward: str, window: int | None = None) -> tuple[list[float], list[float]]:
    """Running means of √KL and of a score. An estimate of the KL below 0 counts as 0."""
    roots = [math.sqrt(max(line["kl"], 0.0)) for line in run.iterations]
    records = iterations_of(run, window)
    return running_mean(roots, records.window), records.means(f"score/{reward}")


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

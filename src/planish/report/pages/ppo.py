"""A policy that learns from the scores of its own completions (PPO, RLOO, GRPO): what became of it in words, alarms, held-out
scores and where the time went. Its figures stand in rollout_figures.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planish.base.text import count_text, duration_text, listed, percent, signed
from planish.report.figures.base import Figure
from planish.report.figures.ppo import rollout_figures
from planish.report.read.ppo import held_out_prompts, last_text, rewards_of, scores_went
from planish.report.read.run import ALARM, MOST_LISTED, Line, Run
from planish.report.text import model_name, moved
from planish.statistics.alarms import AlarmConfig, alarms

NAMES = {"gae": "PPO", "rloo": "RLOO", "grpo": "GRPO"}
SECONDS, LEARNING = "seconds/", "learning"
SCORE = "held_out_score/"

RATIO = "before an iteration's first update the ratio of new and old probabilities was not 1"


@dataclass(frozen=True, slots=True)
class Alarm:
    name: str
    why: str
    since: int  # iterations done when it first held
    holds: bool  # still, after the last iteration


@dataclass(frozen=True, slots=True)
class Change:
    """A number of the held-out prompts, before the first step and at the last look."""

    name: str
    before: str
    after: str
    change: str


@dataclass(frozen=True, slots=True)
class Time:
    name: str
    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class PpoSection:
    alarms: list[Alarm]
    held_out: list[Change]
    looked_at: str  # when, and at how many prompts
    figures: dict[str, Figure]  # by the id of its place on the page
    times: list[Time]
    prompts: list[tuple[str, int, int]]  # source, prompts to learn from, prompts held out
    left_out: list[tuple[str, int, list[dict[str, Any]]]]  # why, how many, and those that are listed


def rollouts_section(run: Run, place: str) -> PpoSection:
    """`place` begins the ids of its figures."""
    sources: Mapping[str, Any] = run.prompts.get("sources", {})
    left_out = [("dropped", run.prompts.get("dropped", [])), ("also held out", run.prompts.get("leaks", []))]
    return PpoSection(
        alarms=alarms_of(run),
        held_out=_held_out(run),
        looked_at=_looked_at(run),
        figures={f"{place}-{name}": figure for name, figure in rollout_figures(run).items()},
        times=times_of(run),
        prompts=[(name, each["training"], len(each["held_out"])) for name, each in sources.items()],
        left_out=[(kind, len(rows), rows[:MOST_LISTED]) for kind, rows in left_out if rows],
    )


# Words


def name_of(run: Run) -> str:
    name = NAMES[run.config["advantage"]["name"]]
    return f"{name}-ptx" if run.config.get("pretraining") and run.config["ptx"]["gamma"] else name


def title(run: Run) -> str:
    trained, _ = rewards_of(run)
    return f"{name_of(run)} of {model_name(run)} on the score {listed(trained)}"


def outcome(run: Run) -> str:
    """What is to be seen, in two sentences."""
    if not run.rounds:
        return "No iteration has been recorded yet."
    over, kl = count_text(len(run.rounds), "iteration"), last_text(run, "kl")
    so_far = f"Over {over} the score of {listed(scores_went(run))}, for a KL of {kl} nats a completion."
    return f"{so_far}{_held_out_says(run, rewards_of(run)[0])}"


def _held_out_says(run: Run, names: Sequence[str]) -> str:
    if len(run.looks) < 2:
        return ""
    first, last = run.looks[0], run.looks[-1]
    changes = [f"{name} {moved(first[SCORE + name], last[SCORE + name])}" for name in names if SCORE + name in first]
    return f" On held-out prompts {listed(changes)}." if changes else ""


def trained(run: Run) -> str:
    """Which weights moved, for how long, on how much."""
    lora = run.config.get("model", {}).get("lora")
    which = f"LoRA of rank {lora['rank']}" if lora else "All weights"
    if not run.steps:
        return f"{which} to be trained; no step has been recorded yet."
    batch, there = run.config["batch"], sum(each["training"] for each in run.prompts.get("sources", {}).values())
    completions = len(run.rounds) * batch["prompts"] * batch["completions"]
    of = f" to {there:,} prompts" if there else ""
    return (
        f"{which} trained for {count_text(len(run.steps), 'step')} in {count_text(len(run.rounds), 'iteration')} and "
        f"{duration_text(run.seconds)}, on {completions:,} completions{of}."
    )


def alarms_of(run: Run) -> list[Alarm]:
    """Each alarm that was sounded, with what was seen when it first was: worked out again from what stood in the record then."""
    config = AlarmConfig(**run.config.get("alarms", {}))
    proxies, watched = rewards_of(run)
    steps: dict[str, list[int]] = {}
    for line in run.alarms:
        for key in line:
            if key.startswith(ALARM):
                steps.setdefault(key.removeprefix(ALARM), []).append(line["step"])
    last = len(run.rounds) * run.steps_of_iteration
    found: list[Alarm] = []
    for name, sounded in steps.items():
        then = [line for line in run.rounds if line["step"] <= sounded[0]]
        why = RATIO if name == "ratio" else alarms(then, proxies, watched, config).get(name, name)
        found.append(Alarm(name, why, sounded[0] // run.steps_of_iteration, sounded[-1] == last))
    return found


# Numbers


def _held_out(run: Run) -> list[Change]:
    if not run.looks:
        return []
    first, last = run.looks[0], run.looks[-1] if len(run.looks) > 1 else None
    scores = [name for kind in rewards_of(run) for name in kind if SCORE + name in first]
    watched = rewards_of(run)[1]
    rows = [_change(f"{name}, only watched" if name in watched else name, SCORE + name, first, last) for name in scores]
    rows.append(_change("tokens", "held_out_tokens", first, last, "{:.1f}"))
    shares = [None if line is None else line["held_out_unended"] for line in (first, last)]
    before, after = (None if share is None else percent(share) for share in shares)
    return [*rows, Change("did not end", before or "–", after or "–", _points(*shares))]


def _change(name: str, key: str, first: Line, last: Line | None, digits: str = "{:.2f}") -> Change:
    before = digits.format(first[key]).replace("-", "−")
    if last is None:
        return Change(name, before, "–", "–")
    sign = digits.replace(":", ":+z").format(last[key] - first[key]).replace("-", "−")
    return Change(name, before, digits.format(last[key]).replace("-", "−"), sign)


def _points(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "–"
    return f"{100 * (after - before):+.1f} points".replace("-", "−")


def _looked_at(run: Run) -> str:
    if not run.looks:
        return ""
    first, last = run.looks[0]["step"], run.looks[-1]["step"]
    after = f", after is step {last:,}" if len(run.looks) > 1 else ""
    num = held_out_prompts(run)
    asked = f" Means over {count_text(num, 'prompt')}, one completion each, sampled" if num else " Sampled"
    temperature = run.config["sampling"]["temperature"]
    return (
        f"Before is step {first:,}{after}.{asked} at temperature {temperature:g} with noise that is the same at every look. "
        f"Single scores are not recorded, so no interval can be given. Seed {run.config.get('seed', 0)}."
    )


def times_of(run: Run) -> list[Time]:
    """Seconds of each part of the iterations; what a step took beyond the parts that are recorded was spent learning."""
    parts: dict[str, float] = {}
    for line in run.rounds:
        for key in line:
            if key.startswith(SECONDS):
                parts[key.removeprefix(SECONDS)] = parts.get(key.removeprefix(SECONDS), 0.0) + line[key]
    whole = run.seconds
    if not parts or not whole or not math.isfinite(whole):
        return []
    parts[LEARNING] = max(0.0, whole - sum(parts.values()))
    return [Time(name, seconds, seconds / whole) for name, seconds in parts.items()]


def scores_text(line: Line) -> str:
    """Of one recorded completion: "gold 0.62, preference −1.10"."""
    return ", ".join(f"{name} {signed(score)}" for name, score in line.get("scores", {}).items())

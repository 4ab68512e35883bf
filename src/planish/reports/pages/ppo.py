"""The section of a PPO run (or RLOO, or GRPO): alarms, held-out scores, figures, time and prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planish.base.text import count_text, duration_text, listed, number_text, percent, signed
from planish.reports.claims import moved_text, scaled
from planish.reports.figures.base import Figure
from planish.reports.figures.ppo import last_text, ppo_figures, score_changes
from planish.reports.read.ppo import (
    ERROR,
    SCORE,
    TOKENS,
    UNENDED,
    Time,
    held_out_change,
    iterations_of,
    num_held_out_prompts,
    rewards_of,
    times_of,
)
from planish.reports.read.run import ALARM, MOST_LISTED, Line, RecordedRun
from planish.reports.text import model_name, trained_weights
from planish.statistics.alarms import AlarmConfig, RunNow, alarms
from planish.statistics.estimate import span_text

NAMES = {"gae": "PPO", "rloo": "RLOO", "grpo": "GRPO"}
RATIO = "before an iteration's first update the ratio of new and old probabilities was not 1"


@dataclass(frozen=True, slots=True)
class Alarm:
    name: str
    why: str
    since: int  # iterations completed when it was first raised
    holds: bool  # still raised after the last iteration


@dataclass(frozen=True, slots=True)
class Change:
    """A mean over the held-out prompts, before the first step and at the last evaluation."""

    name: str
    before: str
    after: str
    change: str
    interval: str  # of the change


@dataclass(frozen=True, slots=True)
class PpoSection:
    alarms: list[Alarm]
    held_out: list[Change]
    held_out_says: str
    figures: dict[str, Figure]  # by the id of its place on the page
    times: list[Time]
    prompts: list[tuple[str, int, int]]  # source, training prompts, held-out prompts
    left_out: list[tuple[str, int, list[dict[str, Any]]]]  # why, how many, and those that are listed


def ppo_section(run: RecordedRun, place: str) -> PpoSection:
    """`place` begins the ids of its figures."""
    sources: Mapping[str, Any] = run.prompts.get("sources", {})
    left_out = [("dropped", run.prompts.get("dropped", [])), ("also held out", run.prompts.get("leaks", []))]
    return PpoSection(
        alarms=alarms_of(run),
        held_out=_held_out(run),
        held_out_says=_held_out_says(run),
        figures={f"{place}-{name}": figure for name, figure in ppo_figures(run).items()},
        times=times_of(run),
        prompts=[(name, account["training"], len(account["held_out"])) for name, account in sources.items()],
        left_out=[(kind, len(rows), rows[:MOST_LISTED]) for kind, rows in left_out if rows],
    )


# Sentences


def algorithm(run: RecordedRun) -> str:
    """ "PPO", "PPO-ptx", "RLOO" and so on."""
    name = NAMES[run.config["advantage"]["name"]]
    return f"{name}-ptx" if run.config.get("pretraining") and run.config["ptx"]["gamma"] else name


def title(run: RecordedRun) -> str:
    trained, _ = rewards_of(run)
    scores = listed([f"“{name}”" for name in trained])
    return (
        f"{algorithm(run)} of {model_name(run)}, trained on the {'score' if len(trained) == 1 else 'scores'} {scores}"
    )


def outcome(run: RecordedRun) -> str:
    """The scores in training and on held-out prompts."""
    if not run.iterations:
        return "No iteration has been recorded yet."
    changes = "; ".join(f"{name} {change}" for name, change in score_changes(run).items())
    iterations, kl, records = count_text(len(run.iterations), "iteration"), last_text(run, "kl"), iterations_of(run)
    return (
        f"Scores over {iterations}: {changes} ({records.ends_are}). KL at the end: {kl} nats per completion."
        f"{_held_out_outcome(run)}"
    )


def _held_out_outcome(run: RecordedRun) -> str:
    if len(run.held_out_scores) < 2:
        return ""
    first, last = run.held_out_scores[0], run.held_out_scores[-1]
    names = [name for name in rewards_of(run)[0] if SCORE + name in first]
    changes = [
        f"{name} {moved_text(first[SCORE + name], last[SCORE + name], held_out_change(run, SCORE + name), '.2f')}"
        for name in names
    ]
    return f" On held-out prompts {listed(changes)}." if changes else ""


def trained(run: RecordedRun) -> str:
    """The trained weights, the steps, the time and the completions."""
    which = trained_weights(run)
    if not run.steps:
        return f"{which}; no training step has been recorded yet."
    batch = run.config["batch"]
    available = sum(account["training"] for account in run.prompts.get("sources", {}).values())
    completions = len(run.iterations) * batch["prompts"] * batch["completions"]
    prompts = f" to {available:,} prompts" if available else ""
    return (
        f"{which} trained for {count_text(len(run.steps), 'step')} in {count_text(len(run.iterations), 'iteration')} and "
        f"{duration_text(run.seconds)}, on {completions:,} completions{prompts}."
    )


def alarms_of(run: RecordedRun) -> list[Alarm]:
    """Each alarm that was raised, with its reason at the first time: computed again from the iterations up to then."""
    config = AlarmConfig(**run.config.get("alarms", {}))
    proxies, watched = rewards_of(run)
    steps: dict[str, list[int]] = {}
    for line in run.alarms:
        for key in line:
            if key.startswith(ALARM):
                steps.setdefault(key.removeprefix(ALARM), []).append(line["step"])
    last = len(run.iterations) * run.steps_per_iteration
    raised: list[Alarm] = []
    for name, at in steps.items():
        then = [line for line in run.iterations if line["step"] <= at[0]]
        why = RATIO if name == "ratio" else alarms(then, proxies, watched, config, _now(run, at[0])).get(name, name)
        raised.append(Alarm(name, why, at[0] // run.steps_per_iteration, at[-1] == last))
    return raised


def _now(run: RecordedRun, step: int) -> RunNow:
    key = "ptx/grad_ratio"
    ratios = [line[key] for line in run.steps if line["step"] <= step and key in line]
    return RunNow(run.config.get("missing_eos"), ratios, run.config.get("ptx", {}).get("gamma", 0.0))


# Held-out prompts


def _held_out(run: RecordedRun) -> list[Change]:
    if not run.held_out_scores:
        return []
    trained, watched = rewards_of(run)
    scores = [name for name in (*trained, *watched) if SCORE + name in run.held_out_scores[0]]
    labels = {SCORE + name: f"{name} (only watched)" if name in watched else name for name in scores}
    rows = [_change(run, label, key, ".2f") for key, label in labels.items()]
    return [*rows, _change(run, "tokens", TOKENS, ".1f"), _share_change(run, "cut at the limit", UNENDED)]


def _change(run: RecordedRun, name: str, key: str, digits: str) -> Change:
    first, change = number_text(run.held_out_scores[0][key], digits), held_out_change(run, key)
    if change is None:
        return Change(name, first, "–", "–", "–")
    last = number_text(run.held_out_scores[-1][key], digits)
    return Change(name, first, last, number_text(change.value, f"+{digits}"), span_text(change, f"+{digits}"))


def _share_change(run: RecordedRun, name: str, key: str) -> Change:
    """The change is in percentage points."""
    first, change = percent(run.held_out_scores[0][key]), held_out_change(run, key)
    if change is None:
        return Change(name, first, "–", "–", "–")
    points = scaled(change, 100)
    by = f"{number_text(points.value, '+.1f')} points"
    return Change(name, first, percent(run.held_out_scores[-1][key]), by, span_text(points, "+.1f"))


def _held_out_says(run: RecordedRun) -> str:
    if not run.held_out_scores:
        return ""
    first, last = (run.moment(run.held_out_scores[end]["step"]) for end in (0, -1))
    after = f", after is {last}" if len(run.held_out_scores) > 1 else ""
    num = num_held_out_prompts(run)
    means = f" Means over {count_text(num, 'prompt')}, one completion each, sampled" if num else " Sampled"
    temperature = run.config["sampling"]["temperature"]
    intervals = (
        " The 95% intervals take before and after as independent; they are of the same prompts, so the intervals are rather too "
        "wide."
        if TOKENS + ERROR in run.held_out_scores[-1]
        else " No standard errors were recorded, so scores have no interval."
    )
    return (
        f"Before is {first}{after}.{means} at temperature {temperature:g} with the same noise every time.{intervals} "
        f"Seed {run.config.get('seed', 0)}."
    )


def scores_text(line: Line) -> str:
    """The scores of a recorded completion: "gold +0.62, preference −1.10"."""
    return ", ".join(f"{name} {signed(score)}" for name, score in line.get("scores", {}).items())

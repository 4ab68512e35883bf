"""Figures of several policies that sample for themselves, on the same axes: where each got to, at what distance, and what it
forgot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from planish.base.text import count_text, listed, signed
from planish.report.figures.base import Figure, Key, curve, running_mean, source_key
from planish.report.read.ppo import (
    iterations,
    last_text,
    mean_roots,
    mean_score,
    over_roots,
    over_rounds,
    path_over_roots,
    rewards_of,
    rounds,
    window_of,
)
from planish.report.read.run import ALL, Run
from planish.report.text import moved

Drawn = Sequence[tuple[str, Run, Key]]  # a run with its name and its curve's looks


def shared_figures(runs: Sequence[Run], names: Sequence[str]) -> dict[str, Figure]:
    """Runs on the same axes: where each got to, for what distance, and what it forgot."""
    drawn = [
        (name, run, source_key(name, i)) for i, (name, run) in enumerate(zip(names, runs, strict=True)) if run.rounds
    ]
    if len(drawn) < 2:
        return {}
    figures = {"courses": _courses(drawn), "frontier": _frontier(drawn)}
    measured = [each for each in drawn if len(each[1].evaluations) > 1]
    if len(measured) > 1:
        figures["forgetting"] = _forgetting(measured)
    return figures


def _rewards(drawn: Drawn) -> list[str]:
    return list(dict.fromkeys(name for _, run, _ in drawn for kind in rewards_of(run) for name in kind))


def _common(drawn: Drawn) -> list[str]:
    """Those that all record, or all of them where there is none such."""
    common = [name for name in _rewards(drawn) if all(name in run.config["rewards"] for _, run, _ in drawn)]
    return common or _rewards(drawn)


def _courses(drawn: Drawn) -> Figure:
    panels = [
        over_rounds(f"Score: {reward}", [_course(key, run, f"score/{reward}", "%{y:+.3f}") for _, run, key in drawn])
        for reward in _rewards(drawn)
    ]
    panels.append(
        over_rounds("KL, nats a completion", [_course(key, run, "kl") for _, run, key in drawn], {"zeroline": True})
    )
    reward = _common(drawn)[0]
    ends = [
        f"{name} at {last_text(run, f'score/{reward}', signed)} for {last_text(run, 'kl')} nats"
        for name, run, _ in drawn
    ]
    return Figure(
        f"By {reward}, {'; '.join(ends)}",
        "Where each stood in its last iterations; curves show how it came there.",
        f"Running means of what each iteration recorded: {_windows(drawn)}. {_seeds(drawn)}",
        panels,
        [key for _, _, key in drawn],
    )


def _frontier(drawn: Drawn) -> Figure:
    panels = [
        over_roots(f"Score: {reward}", [path_over_roots(key, run, reward) for _, run, key in drawn])
        for reward in _rewards(drawn)
    ]
    reward = _common(drawn)[-1]
    bests = [f"in {name} {_highest(run, reward)}" for name, run, _ in drawn]
    return Figure(
        f"What a score costs: {reward} was at best, {'; '.join(bests)}",
        "Higher at the same √KL is the better bargain.",
        f"Running means over iterations ({_windows(drawn)}) of score and √KL; KL in nats a completion to the policy that each "
        "run began with. The large point is the last.",
        panels,
        [key for _, _, key in drawn],
    )  # fmt: skip


def _forgetting(drawn: Drawn) -> Figure:
    told = [f"{name} {moved(run.evaluations[0].all, run.evaluations[-1].all, 3)}{_ptx(run)}" for name, run, _ in drawn]
    curves = [
        curve(key, [each.step / run.steps_of_iteration for each in run.evaluations], [each.all for each in run.evaluations])
        for _, run, key in drawn
    ]  # fmt: skip
    rows, tokens = drawn[0][1].held_out(ALL)
    return Figure(
        f"Held-out pretraining loss: {'; '.join(told)}",
        "What rises is being forgotten while the scores are learnt.",
        f"Mean negative log-likelihood of a token of pretraining documents kept out of training, {count_text(rows, 'row')} and "
        f"{tokens:,} tokens in {drawn[0][0]}. {_seeds(drawn)}",
        [over_rounds("Nats per token", curves)],
        [key for _, _, key in drawn],
    )


def _ptx(run: Run) -> str:
    gamma = run.config["ptx"]["gamma"]
    return f" (γ = {gamma:g})" if gamma else " (γ = 0)"


def _course(key: Key, run: Run, name: str, hover: str = "%{y:.3f}") -> dict[str, Any]:
    return curve(key, iterations(run), running_mean(rounds(run, name), window_of(run)), hover)


def _highest(run: Run, reward: str) -> str:
    means, roots = mean_score(run, reward), mean_roots(run)
    known = [i for i, mean in enumerate(means) if math.isfinite(mean)]
    if not known:
        return "not recorded"
    best = max(known, key=means.__getitem__)
    return f"{signed(means[best])} at √KL {roots[best]:.2f}"


def _windows(drawn: Drawn) -> str:
    windows = dict.fromkeys(window_of(run) for _, run, _ in drawn)
    return " or ".join("one iteration" if window == 1 else f"{window} iterations" for window in windows)


def _seeds(drawn: Drawn) -> str:
    seeds = list(dict.fromkeys(str(run.config.get("seed", "–")) for _, run, _ in drawn))
    which = f"{'seed' if len(seeds) == 1 else 'seeds'} {listed(seeds)}"
    return f"One run each, {which}: differences between runs are not told from chance."

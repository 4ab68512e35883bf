"""The figures of several PPO runs on the same axes: scores, what they cost in KL, and what was forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from planish.base.text import count_text, listed
from planish.reports.figures.base import ZERO_LINE, Figure, Key, Trace, curve, numbered_key
from planish.reports.figures.ppo import highest_text, last_text, over_iterations, over_roots, path_over_roots
from planish.reports.read.ppo import iterations_of, rewards_of
from planish.reports.read.run import ALL, RecordedRun
from planish.reports.text import moved

Drawn = Sequence[tuple[Key, RecordedRun]]  # the key has the run's name


def shared_figures(runs: Sequence[RecordedRun], names: Sequence[str]) -> dict[str, Figure]:
    """By name; none unless two runs have iterations."""
    keyed = enumerate(zip(names, runs, strict=True))
    drawn = [(numbered_key(name, i), run) for i, (name, run) in keyed if run.iterations]
    if len(drawn) < 2:
        return {}
    figures = {"scores": _scores(drawn), "frontier": _frontier(drawn)}
    measured = [(key, run) for key, run in drawn if len(run.evaluations) > 1]
    if len(measured) > 1:
        figures["forgetting"] = _forgetting(measured)
    return figures


def _rewards(drawn: Drawn) -> list[str]:
    return list(dict.fromkeys(name for _, run in drawn for kind in rewards_of(run) for name in kind))


def _common(drawn: Drawn) -> list[str]:
    """The rewards that all runs record, or all rewards where there is none such."""
    common = [name for name in _rewards(drawn) if all(name in run.config["rewards"] for _, run in drawn)]
    return common or _rewards(drawn)


def _scores(drawn: Drawn) -> Figure:
    window = _window(drawn)
    panels = [
        over_iterations(
            f"Score: {reward}",
            [_mean_curve(key, run, f"score/{reward}", window, "%{y:+.3f}") for key, run in drawn],
            {},
        )
        for reward in _rewards(drawn)
    ]
    kl = [_mean_curve(key, run, "kl", window) for key, run in drawn]
    panels.append(over_iterations("KL, nats per completion", kl, ZERO_LINE))
    reward = _common(drawn)[0]
    ends = [
        f"{key.name} {last_text(run, f'score/{reward}', '+.2f', window)} at a KL of "
        f"{last_text(run, 'kl', window=window)} nats"
        for key, run in drawn
    ]
    return Figure(
        "Scores and KL by run",
        f"In the last iterations, by {reward}: {'; '.join(ends)}.",
        f"{_means(drawn)}. {_seeds(drawn)}",
        panels,
        [key for key, _ in drawn],
    )


def _frontier(drawn: Drawn) -> Figure:
    rewards, window = _rewards(drawn), _window(drawn)
    panels = [
        over_roots(f"Score: {reward}", [path_over_roots(key, run, reward, window) for key, run in drawn])
        for reward in rewards
    ]
    reward = _common(drawn)[-1]
    bests = [f"{key.name} {highest_text(run, reward, window)}" for key, run in drawn]
    return Figure(
        "Score by distance from the starting policy, by run",
        f"Highest {reward}: {'; '.join(bests)}. At the same √KL a higher score is better.",
        f"{_means(drawn)}, of score and √KL; KL in nats per completion to the policy that each run started "
        "from. The large point is the last.",
        panels,
        [key for key, _ in drawn],
    )


def _forgetting(drawn: Drawn) -> Figure:
    changes = [
        f"{key.name} {moved(run.evaluations[0].all, run.evaluations[-1].all, 3)} (γ = {_gamma(run)})"
        for key, run in drawn
    ]
    curves = [
        curve(key, [m.step / run.steps_per_iteration for m in run.evaluations], [m.all for m in run.evaluations])
        for key, run in drawn
    ]
    rows, tokens = drawn[0][1].held_out(ALL)
    return Figure(
        "Held-out pretraining loss by run",
        f"In nats per token: {'; '.join(changes)}. A rising loss means that pretraining text is being forgotten.",
        f"Mean negative log-likelihood per token of held-out pretraining documents: {count_text(rows, 'row')}, {tokens:,} tokens "
        f"in {drawn[0][0].name}. {_seeds(drawn)}",
        [over_iterations("Nats per token", curves, {})],
        [key for key, _ in drawn],
    )


def _gamma(run: RecordedRun) -> str:
    return f"{run.config['ptx']['gamma'] or 0:g}"


def _mean_curve(key: Key, run: RecordedRun, name: str, window: int, hover: str = "%{y:.3f}") -> Trace:
    """A line for every run, however long, so that all look alike."""
    records = iterations_of(run, window)
    return curve(key, records.x, records.means(name), hover) | {"mode": "lines" if len(records.x) > 1 else "markers"}


def _window(drawn: Drawn) -> int:
    """That of the longest run, for all."""
    return max(iterations_of(run).window for _, run in drawn)


def _means(drawn: Drawn) -> str:
    return f"Each curve: {iterations_of(drawn[0][1], _window(drawn)).means_are}"


def _seeds(drawn: Drawn) -> str:
    seeds = list(dict.fromkeys(str(run.config.get("seed", "–")) for _, run in drawn))
    which = f"{'seed' if len(seeds) == 1 else 'seeds'} {listed(seeds)}"
    return f"One run each ({which}), so differences between runs may be chance."

"""The figures of PPO over its iterations: scores, distance from the starting policy, completions, and the updates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from planish.base.text import count_text, number_text, percent, signed
from planish.reports.figures.base import (
    BLUE,
    CLOSEST,
    FROM_ZERO,
    ORANGE,
    PERCENT,
    ZERO_LINE,
    Figure,
    Key,
    Panel,
    Trace,
    axis,
    curve,
    level,
    numbered_key,
    points,
    step_curves,
    step_keys,
)
from planish.reports.figures.training import held_out_figure, optimizer_figure
from planish.reports.read.ppo import (
    ERROR,
    SCORE,
    TOKENS,
    by_iteration,
    gradient_ratio,
    held_out_estimate,
    iterations_of,
    num_held_out_prompts,
    rewards_of,
    score_path,
)
from planish.reports.read.run import RecordedRun
from planish.reports.series import Records, finite_mean
from planish.reports.text import moved, small_percent, trend_text, two_digits

LOWEST = -1.0  # explained variance that is drawn; that of a new value model may be far lower
HELD_OUT = Key("held-out prompts", ORANGE)


def ppo_figures(run: RecordedRun) -> dict[str, Figure]:
    """The figures that the run has enough points for, by name."""
    figures: dict[str, Figure] = {}
    if len(run.iterations) > 1:
        figures |= {"scores": scores_figure(run), "overoptimization": overoptimization_figure(run)}
        figures |= {"distance": distance_figure(run), "completions": completions_figure(run)}
        figures["updates"] = updates_figure(run)
    if len(run.evaluations) > 1:
        figures["pretraining"] = pretraining_figure(run)
    if len(run.steps) > 1:
        figures["optimizer"] = optimizer_figure(run)
    return figures


def scores_figure(run: RecordedRun) -> Figure:
    """A panel for each reward: training completions, and those to held-out prompts."""
    trained, watched = rewards_of(run)
    records, evaluations = iterations_of(run), run.held_out_scores
    panels: list[Panel] = []
    for name in (*trained, *watched):
        title = f"{name}, {'trained on' if name in trained else 'only watched'}"
        panels.append(iteration_panel(run, title, records.column(f"score/{name}"), {}, "%{y:+.3f}"))
        measured = [line for line in evaluations if SCORE + name in line]
        if evaluations:
            scores = [held_out_estimate(run, line, SCORE + name) for line in measured]
            at = [run.time(line["step"]) for line in measured]
            panels[-1].traces.append(points(HELD_OUT, at, scores, "%{y:+.3f} (%{text})", "+.3f"))
    penalty, keys = run.config.get("missing_eos"), step_keys(records)
    raw = "" if penalty is None else f", no {signed(penalty)} for completions that are cut"
    made = f"Mean raw score of an iteration's {_batch(run)}, before its updates: no weights, no KL penalty{raw}."
    if records.window > 1:
        made += " A change is significant if its 95% interval, from the scatter of the iterations averaged, excludes 0."
    if evaluations:
        prompts = count_text(num_held_out_prompts(run), "prompt")
        made += f" Held-out: {prompts}, one completion each, sampled with the same noise every time"
        made += (
            ", with 95% intervals."
            if any(TOKENS + ERROR in line for line in evaluations)
            else "; no interval is recorded."
        )
        keys = [*(keys or [Key("each iteration", BLUE)]), HELD_OUT]
    changes = "; ".join(f"{name} {change}" for name, change in score_changes(run).items())
    says = f"{changes} ({records.ends_are}; seed {run.config.get('seed', '–')})."
    return Figure("Scores", says, made, panels, keys)


def score_changes(run: RecordedRun) -> dict[str, str]:
    """How each score moved; those that are trained on come first."""
    trained, watched = rewards_of(run)
    names = {**{name: name for name in trained}, **{name: f"{name} (only watched)" for name in watched}}
    return {label: trend_text(iterations_of(run).column(f"score/{name}")) for name, label in names.items()}


def overoptimization_figure(run: RecordedRun) -> Figure:
    """Every score over √KL (Gao et al. 2023, figure 1): a proxy that keeps rising while gold falls is being exploited."""
    trained, watched = rewards_of(run)
    keys = {name: numbered_key(name, i) for i, name in enumerate((*trained, *watched))}
    reading = (
        "If the trained score keeps rising while a watched one falls, the reward is being exploited."
        if watched
        else "No other score is watched, so this figure cannot show whether the reward is being exploited."
    )
    return Figure(
        "Score by distance from the starting policy",
        f"Highest scores: {'; '.join(_best(run, name) for name in watched or trained)}. {reading}",
        f"Mean score over √KL, {iterations_of(run).means_are}; KL in nats per completion to the starting policy, an estimate "
        "below 0 drawn at 0. The large point is the last. Axes as in Gao et al. 2023, arXiv 2210.10760.",
        [over_roots("Mean score", [path_over_roots(key, run, name) for name, key in keys.items()])],
        list(keys.values()) if len(keys) > 1 else [],
    )


def distance_figure(run: RecordedRun) -> Figure:
    records, target = iterations_of(run), run.config["kl"].get("target")
    kl, entropy, betas = (records.column(name) for name in ("kl", "entropy", "beta"))
    panels = [
        iteration_panel(run, "KL, nats per completion", kl, ZERO_LINE),
        iteration_panel(run, "KL, nats per token", records.column("kl_token"), ZERO_LINE),
        iteration_panel(run, "Entropy, nats per token", entropy, FROM_ZERO),
    ]
    made = f"Over an iteration's {_batch(run)}. KL is the mean of ln(policy/start) over the policy's samples, which can be below "
    made += "0; entropy is the mean of −ln(policy)."
    if len(set(betas)) > 1:
        panels.append(iteration_panel(run, "β, the KL coefficient", betas, {}, "%{y:.4g}"))
    if target is not None:
        panels[0] = replace(panels[0], shapes=[level(target)])
        made += f" Thin line: the KL that β is adapted to, {target:g}."
    return Figure(
        "KL and entropy",
        f"KL to the starting policy, in nats per completion, was {number_text(kl[0], '.2f')} in the first iteration and "
        f"{last_text(run, 'kl')} {_at_the_end(records)}. The entropy of a token {trend_text(entropy)}{_left(run)} "
        f"({records.ends_are}). The KL coefficient β was {betas[-1]:.4g} at the last iteration.",
        made,
        panels,
        step_keys(records),
    )


def completions_figure(run: RecordedRun) -> Figure:
    records, limit = iterations_of(run), run.config["sampling"]["max_completion_tokens"]
    tokens, unended = records.column("completion_tokens"), records.column("unended")
    shares = {**PERCENT, **FROM_ZERO}
    panels = [
        iteration_panel(run, "Tokens per completion", tokens, FROM_ZERO, "%{y:.1f}"),
        iteration_panel(run, "Share cut at the limit", unended, shares, "%{y:.1%}"),
    ]
    says = f"Length in tokens {trend_text(tokens, '.1f')}; the share cut at the limit {trend_text(unended, '.1%')}"
    for name, (title, what) in _shares_beside(run).items():
        values = records.column(name)
        if any(map(math.isfinite, values)):
            panels.append(iteration_panel(run, title, values, shares, "%{y:.1%}"))
            says += f"; the share of {what} {trend_text(values, '.1%')}"
    return Figure(
        "Completions",
        f"{says} ({records.ends_are}). Scores can rise through length alone, and a cut completion is not a finished answer.",
        f"Over an iteration's {_batch(run)}. Completions are cut after {count_text(limit, 'token')}.",
        panels,
        step_keys(records),
    )


def _shares_beside(run: RecordedRun) -> dict[str, tuple[str, str]]:
    """Shares that only some runs record: the title of the panel, and the share in words."""
    flat = ("Prompts whose completions all score the same", "prompts whose completions all have the same score")
    cut = {
        f"truncated/{name}": (f"Too long for {name}", f"completions that {name} scored without their ends")
        for name in run.config["rewards"]
    }
    return {"flat_groups": flat, **cut}


def updates_figure(run: RecordedRun) -> Figure:
    """Clipping, the value model's fit and, for PPO-ptx, the ratio of the two gradients."""
    records, clipped = iterations_of(run), by_iteration(run, lambda line: line.get("clip_fraction"))
    says = [f"{small_percent(finite_mean(clipped))} of tokens were clipped"]
    if run.steps_per_iteration == 1:
        says[0] += ": with one step per iteration the ratio is always 1, so nothing can be clipped"
    made = [
        f"Clipped: tokens whose probability ratio left 1 ± {run.config['clip_range']:g}, over an iteration's steps."
    ]
    panels = [iteration_panel(run, "Clip fraction", clipped, {**PERCENT, **FROM_ZERO}, "%{y:.1%}")]
    explained = records.column("explained_variance")
    if any(map(math.isfinite, explained)):
        low = min(value for value in explained if math.isfinite(value))
        shown = {"range": [max(LOWEST, min(low, 0.0)), 1.0]}
        panels.append(iteration_panel(run, "Explained variance of the returns", explained, shown))
        says.append(f"the value model's explained variance {trend_text(explained)} ({records.ends_are})")
        made.append(
            "Explained variance is 1 − var(return − value)/var(return) before the updates: 1 is perfect, 0 a constant guess"
            + (f"; values below {number_text(LOWEST, 'g')} are off the axis." if low < LOWEST else ".")
        )
    ratios = by_iteration(run, gradient_ratio)
    if any(map(math.isfinite, ratios)):
        panels.append(iteration_panel(run, "Pretraining gradient over score gradient", ratios, FROM_ZERO, "%{y:.2f}"))
        says.append(f"the pretraining gradient was {finite_mean(ratios):.2g} times that of the scores")
        made.append("The ratio is of norms, coefficient included: ‖γ ∇ pretraining loss‖ / ‖∇ loss of the scores‖.")
    mismatch = [value for value in records.column("sampler_mismatch") if math.isfinite(value)]
    if mismatch:
        most = f"at most {two_digits(max(mismatch))} nats per token, as an iteration's mean"
        made.append(f"Log-probabilities at sampling and at training differed by {most}.")
    return Figure("Updates", f"{'; '.join(says)}.", " ".join(made), panels, step_keys(records))


def pretraining_figure(run: RecordedRun) -> Figure:
    """Forgetting: the loss on held-out pretraining documents."""
    figure, change = held_out_figure(run), moved(run.evaluations[0].all, run.evaluations[-1].all, 3)
    says = f"Held-out pretraining loss {change} nats per token. {figure.says}"
    return replace(figure, title="Held-out pretraining loss", says=says)


# Panels and curves


def iteration_panel(
    run: RecordedRun, title: str, values: Sequence[float], yaxis: Mapping[str, Any], hover: str = "%{y:.3f}"
) -> Panel:
    """Points, and a mean where there are enough of them."""
    return over_iterations(title, step_curves(iterations_of(run), values, hover), yaxis)


def over_iterations(title: str, traces: list[Trace], yaxis: Mapping[str, Any]) -> Panel:
    return Panel(title, traces, yaxis, "by iteration", axis("iteration"))


def over_roots(title: str, traces: list[Trace]) -> Panel:
    across = axis("√KL, nats", free=True, rangemode="tozero")
    return Panel(title, traces, over="by √KL", xaxis=across, hovermode=CLOSEST)


def path_over_roots(key: Key, run: RecordedRun, reward: str, window: int | None = None) -> Trace:
    """A score over √KL, both as running means; the last point is large."""
    roots, means = score_path(run, reward, window)
    marker = {"size": [3] * (len(roots) - 1) + [10], "opacity": 1, "line": {"width": 0}}
    return {**curve(key, roots, means, "%{y:+.3f} at √KL %{x:.2f}"), "mode": "lines+markers", "marker": marker}


# Words


def last_text(run: RecordedRun, name: str, digits: str = ".2f", window: int | None = None) -> str:
    """The mean over the last iterations, as text."""
    records = iterations_of(run, window)
    value = finite_mean(records.column(name)[-records.window :])
    return number_text(value, digits) if math.isfinite(value) else "–"


def _at_the_end(records: Records) -> str:
    return "in the last" if records.window == 1 else f"at the end (mean of the last {records.window} iterations)"


def highest_text(run: RecordedRun, reward: str, window: int | None = None) -> str:
    """ "+0.40 at √KL 0.52", the highest running mean of a score."""
    roots, means = score_path(run, reward, window)
    known = [i for i, value in enumerate(means) if math.isfinite(value)]
    best = max(known, key=means.__getitem__, default=None)
    return "not recorded" if best is None else f"{signed(means[best])} at √KL {roots[best]:.2f}"


def _best(run: RecordedRun, reward: str) -> str:
    """Where a score was highest, and where it ended."""
    roots, means = score_path(run, reward)
    known = [i for i, value in enumerate(means) if math.isfinite(value)]
    last = f"{signed(means[known[-1]])} at √KL {roots[known[-1]]:.2f}" if known else "not recorded"
    highest = highest_text(run, reward)
    return f"{reward} {highest}, at the end" if highest == last else f"{reward} {highest}, ending at {last}"


def _batch(run: RecordedRun) -> str:
    prompts, completions = run.config["batch"]["prompts"], run.config["batch"]["completions"]
    each = f", {completions} to each of {prompts:,} prompts" if completions > 1 else ", one per prompt"
    return f"{prompts * completions:,} completions{each}"


def _left(run: RecordedRun) -> str:
    """The share of the first entropy that is left."""
    records = iterations_of(run)
    entropy, window = records.column("entropy"), records.window
    first, last = finite_mean(entropy[:window]), finite_mean(entropy[-window:])
    return f", {percent(last / first, 0)} of its first value" if first > 0 and math.isfinite(last) else ""

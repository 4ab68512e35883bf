"""The figures of runs on comparisons: reward models and DPO. How well their scores rank held-out pairs is in ranking.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planish.base.text import count_text, loss_text, number_text, percent
from planish.reports.figures.base import (
    BLUE,
    FROM_ZERO,
    ORANGE,
    PERCENT,
    ZERO_LINE,
    Figure,
    Key,
    Panel,
    curve,
    error_bars,
    level,
    numbered_key,
    step_curves,
    step_keys,
    thinned,
)
from planish.reports.figures.training import optimizer_figure
from planish.reports.read.run import ALL, RecordedRun
from planish.reports.series import SOME, Records, mean
from planish.reports.text import CHANCE
from planish.statistics.estimate import Z_95

GREEK = {"beta": "β", "tau": "τ", "alpha": "α"}

CHOSEN, REJECTED = Key("chosen", BLUE), Key("rejected", ORANGE)


def preference_figures(run: RecordedRun) -> list[Figure]:
    """The figures that the run has enough points for."""
    figures = [sources_figure(run)] if len(run.evaluations) > 1 and len(run.sources) > 1 else []
    if len(run.steps) > 1:
        figures.append(reward_figure(run) if run.method == "reward" else margin_figure(run))
        if run.method == "dpo":
            figures += [likelihood_figure(run), accuracy_figure(run), length_figure(run)]
    if run.kl_estimates:
        figures.append(kl_figure(run))
    return figures + ([optimizer_figure(run)] if len(run.steps) > 1 else [])


def sources_figure(run: RecordedRun) -> Figure:
    keys = {name: numbered_key(name, i) for i, name in enumerate(run.sources)}
    keys[ALL] = Key("all sources", "var(--ink)", width=3.5)
    steps = [measured.step for measured in run.evaluations]
    curves = [
        curve(key, steps, [measured.accuracies.get(name) for measured in run.evaluations], "%{y:.1%}")
        for name, key in keys.items()
    ]
    last = run.evaluations[-1].accuracies
    order = sorted((name for name in run.sources if name in last), key=last.__getitem__)
    low, high = (percent(last[name]) for name in (order[0], order[-1]))
    ends = f"from {low} ({order[0]}) to {high} ({order[-1]})"
    return Figure(
        "Held-out accuracy by source",
        f"At step {steps[-1]:,} accuracy {f'ranges {ends}' if low != high else f'is {low} in every source'}.",
        f"Share of pairs in the annotators' order, over {count_text(run.held_out(ALL)[0], 'comparison')} held out of training; "
        "the same comparisons at every measurement. Thin line: guessing, 50%.",
        [Panel("Accuracy", curves, PERCENT, shapes=[level(0.5)])],
        list(keys.values()),
    )


def margin_figure(run: RecordedRun) -> Figure:
    """DPO: loss and margin of the training comparisons."""
    records, chance = _records(run), " Thin line: guessing, ln 2." if _is_log_loss(run) else ""
    loss, margin = records.column("loss"), records.column("margin")
    return Figure(
        "Training loss and margin",
        f"Training loss went {records.ends(loss, loss_text)} and the margin {records.ends(margin, _signed)} "
        f"({records.ends_are}).",
        f"{_single_steps(run)}{chance} The implicit reward is {implicit_reward(run)}.",
        [
            _loss_panel(run),
            Panel("Margin: implicit reward of chosen minus rejected", step_curves(records, margin), ZERO_LINE),
        ],
        step_keys(records),
    )


def reward_figure(run: RecordedRun) -> Figure:
    """Reward model: loss, accuracy, margin and mean score of the training comparisons."""
    records, chance = _records(run), f" Thin lines: guessing, 50%{' and ln 2' if _is_log_loss(run) else ''}."
    loss, accuracy, margin = (records.column(name) for name in ("loss", "accuracy", "margin"))
    offset = ""
    if run.offset is not None:
        offset = f" After training {_signed(run.offset)} was subtracted, so that demonstrations have a mean score of 0."
    margins, scores = step_curves(records, margin), step_curves(records, records.column("score"))
    return Figure(
        "Training loss, accuracy and margin",
        f"Training loss went {records.ends(loss, loss_text)}, accuracy {records.ends(accuracy, percent)} and the margin "
        f"{records.ends(margin, _signed)} ({records.ends_are}).",
        f"{_single_steps(run)}{chance} The loss does not change when a constant is added to all scores, so their mean may "
        f"drift.{offset}",
        [
            _loss_panel(run),
            Panel("Accuracy", step_curves(records, accuracy, "%{y:.1%}"), PERCENT, shapes=[level(0.5)]),
            Panel("Margin: score of the better answer minus that of the worse", margins, ZERO_LINE),
            Panel("Mean score of all answers", scores, ZERO_LINE),
        ],
        step_keys(records),
    )


def implicit_reward(run: RecordedRun) -> str:
    """ "β ln(policy/reference), β = 0.1"."""
    loss: Mapping[str, float | str] = run.config["loss"]
    coefficients = [f"{letter} = {loss[name]:g}" for name, letter in GREEK.items() if name in loss]
    reward = run.loss.get("reward", "that of its loss")
    return ", ".join([f"{reward} per token" if loss.get("logratio") == "mean" else reward, *coefficients])


def accuracy_figure(run: RecordedRun) -> Figure:
    names = {
        Key("implicit reward: ln(policy/reference)", BLUE): "accuracy",
        Key("log-probability: ln(policy)", ORANGE): "accuracy_logprobs",
    }
    implicit, plain = (percent(_records(run).last(name)) for name in names.values())
    start = "" if run.config.get("reference") else ", so it starts at 0"
    return Figure(
        "Training accuracy",
        f"{_when(run)} the chosen answer had the larger ln(policy/reference) in {implicit} of pairs, the larger ln(policy) in "
        f"{plain}.",
        f"{_means(run)} For the implicit reward a tie counts as wrong{start}. The log-probability mostly reflects length, since "
        "every further token makes an answer less likely. Thin line: guessing, 50%.",
        [_panel(run, "Share of pairs", names, "%{y:.1%}", PERCENT, 0.5)],
        list(names),
        half=True,
    )


def likelihood_figure(run: RecordedRun) -> Figure:
    levels = {CHOSEN: "chosen", REJECTED: "rejected"}
    changes = {CHOSEN: "chosen_change", REJECTED: "rejected_change"}
    chosen, rejected = (_records(run).last(name) for name in changes.values())
    return Figure(
        "Likelihood of chosen and rejected answers",
        likelihood_text(chosen, rejected, _when(run)),
        f"{_means(run)} Log-probability of an answer, summed over its tokens, in nats; on the right minus that under the "
        "reference.",
        [
            _panel(run, "ln(policy)", levels, "%{y:.2f}", {}),
            _panel(run, "Change: ln(policy/reference)", changes, "%{y:+.2f}", ZERO_LINE),
        ],
        list(levels),
    )


def likelihood_text(chosen: float, rejected: float, when: str) -> str:
    """The mean changes of log-probability in nats, as a sentence."""
    (better, than), (worse, _) = (_likelier(change) for change in (chosen, rejected))
    both = f"{when} chosen answers were {better} {than} under the reference, and rejected ones {worse}."
    if not (than == "than" and chosen < 0 and worse.endswith("less likely")):
        return both
    return f"{both} Both can fall, since probability can move to answers that are in no comparison."


def _likelier(change: float) -> tuple[str, str]:
    """ "0.77 nats less likely" and "than"."""
    nats = f"{abs(change):.2f}"
    return ("as likely", "as") if nats == "0.00" else (f"{nats} nats {'more' if change > 0 else 'less'} likely", "than")


def length_figure(run: RecordedRun) -> Figure:
    names = {CHOSEN: "chosen_tokens", REJECTED: "rejected_tokens"}
    chosen, rejected = (mean(_records(run).column(name)) for name in names.values())
    return Figure(
        "Length of the training answers",
        f"Over the run chosen answers had {chosen:.1f} tokens on average and rejected ones {rejected:.1f}.",
        f"{_means(run)} The token that ends an answer is counted. These are answers in the data, not the policy's own.",
        [_panel(run, "Tokens", names, "%{y:.1f}", FROM_ZERO)],
        list(names),
        half=True,
    )


def kl_figure(run: RecordedRun) -> Figure:
    """The KL to the reference. It is 0 at step 0 where the policy starts as the reference."""
    at_start = [] if run.config.get("reference") else [(0, 0.0, 0.0)]
    estimates = [*at_start, *((line["step"], line["kl"], line["kl_standard_error"]) for line in run.kl_estimates)]
    steps, values, errors = (list(column) for column in zip(*estimates, strict=True))
    limit, prompts = run.config["sampling"]["max_completion_tokens"], run.config["kl_prompts"]
    bars = error_bars(CHOSEN, [Z_95 * error for error in errors])
    drawn = curve(Key("", BLUE), [round(step) for step in steps], values, "%{y:.3f}<extra></extra>") | {"error_y": bars}
    return Figure(
        "KL to the reference",
        f"At step {steps[-1]:,} the KL to the reference was {number_text(values[-1], '.3f')} nats per completion (standard error "
        f"{errors[-1]:.3f}).",
        "Mean of ln(policy/reference) over completions sampled from the policy at temperature 1, one for each of "
        f"{count_text(prompts, 'held-out prompt')} (or all, if there are fewer), at most {count_text(limit, 'token')} long. The "
        "estimate is unbiased and can be below 0. Bars are 95% intervals, ±1.96 standard errors."
        + (" At step 0 the policy is the reference." if at_start else ""),
        [Panel("Nats per completion", [drawn], ZERO_LINE)],
    )


def _is_log_loss(run: RecordedRun) -> bool:
    """True if the training loss is a log loss of choices, so that guessing gives ln 2."""
    if run.method == "reward":
        return not run.config["centering"] and not run.config.get("margin")
    return run.loss.get("chance_at_start", False)


# Parts


def _records(run: RecordedRun) -> Records:
    """A step has few comparisons, so that short runs are averaged too."""
    return Records(run.steps, averaged_from=SOME)


def _loss_panel(run: RecordedRun) -> Panel:
    curves = step_curves(_records(run), _records(run).column("loss"))
    return (
        Panel("Loss, nats per comparison", curves, shapes=[level(CHANCE)])
        if _is_log_loss(run)
        else Panel("Loss", curves)
    )


def _panel(
    run: RecordedRun, title: str, names: Mapping[Key, str], hover: str, yaxis: Mapping[str, Any], *lines: float
) -> Panel:
    """Curves of numbers that every step records, as running means where there are enough steps, and thin lines."""
    records = _records(run)
    curves = [curve(key, records.x, records.means(name), hover) for key, name in names.items()]
    return Panel(title, curves, yaxis, shapes=[level(line) for line in lines])


def _single_steps(run: RecordedRun) -> str:
    scatter = "Steps see different comparisons, so single points scatter."
    return f"One step's comparisons, before the update. {scatter}{thinned(len(run.steps))}"


def _means(run: RecordedRun) -> str:
    how = _records(run).means_are
    return f"{how[0].upper()}{how[1:]}, over the training comparisons.{thinned(len(run.steps))}"


def _when(run: RecordedRun) -> str:
    window = _records(run).window
    return f"In the last {window} steps" if window > 1 else "At the last step"


def _signed(value: float) -> str:
    return number_text(value, "+.3f")

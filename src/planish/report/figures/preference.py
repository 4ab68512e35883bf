"""Runs that learn from comparisons, reward models and DPO: their curves, and what they say. How well the scores rank what is
held out stands in ranking.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from planish.base.text import count_text, loss_text, percent
from planish.report.figures.base import (
    FEWEST_TO_MEAN,
    Figure,
    Key,
    Panel,
    curve,
    level,
    mean_window,
    optimiser_figure,
    running_mean,
    source_key,
    step_curves,
    step_keys,
    thinned,
    thinning,
)
from planish.report.read.run import ALL, Run
from planish.report.text import GUESS
from planish.statistics.estimate import Z_95

# What a policy is taken to think of an answer: the difference of two is what the loss is a function of.
REWARDS = {
    "dpo": "β ln(policy/reference)",
    "ipo": "τ ln(policy/reference)",
    "cdpo": "β ln(policy/reference)",
    "robust_dpo": "β ln(policy/reference)",
    "length_normalized": "β ln(policy/reference) per token",
    "r_dpo": "β ln(policy/reference) + α for each token",
    "simpo": "β ln(policy) per token",
    "orpo": "the log-odds of a token, by the mean of ln(policy)",
}
GREEK = {"beta": "β", "tau": "τ", "alpha": "α"}
START_AT_GUESS = {"dpo", "cdpo", "robust_dpo"}  # losses that are ln 2 where the policy is the reference
LEVEL_AT_START = {*START_AT_GUESS, "ipo", "length_normalized"}  # losses whose rewards are 0 there

BLUE, ORANGE = "var(--line-0)", "var(--line-1)"
CHOSEN, REJECTED = Key("chosen", BLUE), Key("rejected", ORANGE)


def preference_figures(run: Run) -> list[Figure]:
    """The figures that this run holds enough points for."""
    figures = [sources_figure(run)] if len(run.evaluations) > 1 and len(run.sources) > 1 else []
    if len(run.steps) > 1:
        figures.append(learning_figure(run))
        if run.method == "dpo":
            figures += [logprobs_figure(run), accuracies_figure(run), lengths_figure(run)]
    if run.drift:
        figures.append(drift_figure(run))
    return figures + ([optimiser_figure(run)] if len(run.steps) > 1 else [])


def sources_figure(run: Run) -> Figure:
    keys = {name: source_key(name, i) for i, name in enumerate(run.sources)}
    keys[ALL] = Key("all sources", "var(--ink)", width=3.5)
    steps = [each.step for each in run.evaluations]
    curves = [
        curve(key, steps, [each.accuracies.get(name) for each in run.evaluations], "%{y:.1%}")
        for name, key in keys.items()
    ]
    last = run.evaluations[-1].accuracies
    order = sorted((name for name in run.sources if name in last), key=last.__getitem__)
    ends = [percent(last[name]) for name in (order[0], order[-1])]
    ran = f"ran from {ends[0]} ({order[0]}) to {ends[1]} ({order[-1]})"
    return Figure(
        "Accuracy of each source over the run",
        f"At step {steps[-1]:,} it {ran if ends[0] != ends[1] else f'was {ends[0]} in every source'}.",
        f"Share of pairs in the annotators' order, over {count_text(run.held_out(ALL)[0], 'comparison')} that were kept out of "
        "training; the same at every measurement. Thin line: a guess, 50%.",
        [Panel("Accuracy", curves, {"tickformat": ".0%"}, shapes=[level(0.5)])],
        list(keys.values()),
    )


def learning_figure(run: Run) -> Figure:
    """Loss and margin; of a reward model also accuracy and mean score, of which DPO has two and none."""
    steps, window = [line["step"] for line in run.steps], _window(run)
    loss, margin, reward = _recorded(run, "loss"), _recorded(run, "margin"), run.method == "reward"
    likelihood, zero = _starts_at_guess(run), {"zeroline": True}
    guess = [level(GUESS)] if likelihood else []
    losses = Panel(
        "Loss, nats per comparison" if likelihood else "Loss", step_curves(steps, loss, window), shapes=guess
    )
    ends = "the first step to the last" if window == 1 else f"the first {window} steps to the last {window}"
    says = f"From {ends}, loss on the training comparisons went {_ends(loss, window, loss_text)}"
    made = "Of one step's comparisons, before the step's update. Steps hold different comparisons, so single points scatter."
    made += thinned(len(steps))
    if not reward:
        return Figure(
            "Training loss and margin",
            f"{says} and the margin {_ends(margin, window, _signed)}.",
            f"{made}{' Thin line: a guess, ln 2.' if likelihood else ''} The implied reward is {implied(run)}.",
            [losses, Panel("Margin: implied reward of chosen less rejected", step_curves(steps, margin, window), zero)],
            step_keys(window),
        )
    accuracy, score = _recorded(run, "accuracy"), _recorded(run, "score")
    made += f" Thin lines: a guess, 50%{' and ln 2' if likelihood else ''}."
    made += " The loss does not see a constant that is added to all scores, so their mean may wander."
    if run.offset is not None:
        made += f" After training {_signed(run.offset)} was taken off them, so that demonstrations have mean score 0."
    return Figure(
        "Training loss, accuracy and margin",
        f"{says}, accuracy {_ends(accuracy, window, percent)} and the margin {_ends(margin, window, _signed)}.",
        made,
        [
            losses,
            Panel(
                "Accuracy",
                step_curves(steps, accuracy, window, "%{y:.1%}"),
                {"tickformat": ".0%"},
                shapes=[level(0.5)],
            ),
            Panel(
                "Margin: score of the better answer less that of the worse", step_curves(steps, margin, window), zero
            ),
            Panel("Mean score of all answers", step_curves(steps, score, window), zero),
        ],
        step_keys(window),
    )


def _ends(values: Sequence[float], window: int, text: Callable[[float], str]) -> str:
    return f"from {text(_mean(values[:window]))} to {text(_mean(values[-window:]))}"


def implied(run: Run) -> str:
    """The reward that the policy implies: "β ln(policy/reference), β = 0.1"."""
    loss: Mapping[str, float | str] = run.config["loss"]
    given = [f"{letter} = {loss[name]:g}" for name, letter in GREEK.items() if name in loss]
    reward = REWARDS.get(str(loss["name"]), "that of its loss")
    return ", ".join([f"{reward} per token" if loss.get("logratio") == "mean" else reward, *given])


def accuracies_figure(run: Run) -> Figure:
    kept = {
        Key("implied: ln(policy/reference)", BLUE): "accuracy",
        Key("plain: ln(policy)", ORANGE): "accuracy_logprobs",
    }
    shares = [percent(_last(run, name)) for name in kept.values()]
    start = "" if run.config.get("reference") else ", so it begins at 0"
    return Figure(
        "Two accuracies while training",
        f"{_when(run)} ln(policy/reference) was larger for the chosen answer in {shares[0]} of pairs, and ln(policy) by itself "
        f"in {shares[1]}.",
        f"{_means(run)} The implied one compares with the reference; equal values are counted as wrong here{start}. The plain "
        "one is mostly about length, since every token makes a text less likely. Thin line: a guess, 50%.",
        [_panel(run, "Share of pairs", kept, "%{y:.1%}", {"tickformat": ".0%"}, guess=0.5)],
        list(kept),
        half=True,
    )


def logprobs_figure(run: Run) -> Figure:
    levels = {CHOSEN: "chosen", REJECTED: "rejected"}
    changes = {CHOSEN: "chosen_change", REJECTED: "rejected_change"}
    return Figure(
        "How likely chosen and rejected answers are",
        changes_say(_last(run, "chosen_change"), _last(run, "rejected_change"), _when(run)),
        f"{_means(run)} ln of an answer's probability, the sum over its tokens, in nats; on the right, less that of the "
        "reference.",
        [
            _panel(run, "ln(policy)", levels, "%{y:.2f}"),
            _panel(run, "Change: ln(policy/reference)", changes, "%{y:+.2f}", {"zeroline": True}),
        ],
        list(levels),
    )


def changes_say(chosen: float, rejected: float, when: str) -> str:
    """What became of both, by their mean change of log-probability in nats."""
    words = ["likelier" if change >= 0 else "less likely" for change in (chosen, rejected)]
    by = [f"{abs(change):.2f} nats" for change in (chosen, rejected)]
    if words[0] != words[1]:
        there = f"chosen answers were {words[0]} than under the reference, by {by[0]}"
        return f"{when} {there}, and rejected ones {words[1]}, by {by[1]}."
    both = f"both were {words[0]} than under the reference, chosen answers by {by[0]} and rejected ones by {by[1]}"
    if chosen >= 0:
        return f"{when} {both}."
    why = "the loss asks for a gap between them, and what both lose goes to answers that nobody compared"
    return f"{when} {both}. That can be: {why}."


def lengths_figure(run: Run) -> Figure:
    kept = {CHOSEN: "chosen_tokens", REJECTED: "rejected_tokens"}
    chosen, rejected = (sum(_recorded(run, name)) / len(run.steps) for name in kept.values())
    return Figure(
        "Length of the answers learnt from",
        f"Over the run chosen answers had {chosen:.1f} tokens on average and rejected ones {rejected:.1f}.",
        f"{_means(run)} The token that ends an answer is counted. These are the answers in the data, not the policy's own.",
        [_panel(run, "Tokens", kept, "%{y:.1f}", {"rangemode": "tozero"})],
        list(kept),
        half=True,
    )


def drift_figure(run: Run) -> Figure:
    """The KL is 0 without measuring where the policy begins as the reference."""
    at_start = [] if run.config.get("reference") else [(0, 0.0, 0.0)]
    points = [*at_start, *((line["step"], line["kl"], line["kl_standard_error"]) for line in run.drift)]
    steps, values, errors = (list(column) for column in zip(*points, strict=True))
    cut, asked = run.config["sampling"]["max_completion_tokens"], run.config["kl_prompts"]
    bars = {"type": "data", "array": [Z_95 * error for error in errors], "thickness": 1.2, "width": 3, "color": BLUE}
    drawn = curve(Key("", BLUE), [round(step) for step in steps], values, "%{y:.3f}<extra></extra>") | {"error_y": bars}
    return Figure(
        "Distance from the reference",
        f"At step {steps[-1]:,} the KL divergence from the reference was {values[-1]:.3f} nats per completion, with a standard "
        f"error of {errors[-1]:.3f}.",
        "Mean of ln(policy/reference) over completions that the policy sampled at temperature 1, one for each of "
        f"{count_text(asked, 'held-out prompt')} or as many as there are, cut after {count_text(cut, 'token')}. An estimate "
        "without bias, which may be below 0. Bars are 95% intervals, 1.96 standard errors."
        + (" At step 0 the policy is the reference." if at_start else ""),
        [Panel("Nats per completion", [drawn], {"zeroline": True})],
    )


def starts_level(run: Run) -> bool:
    """Whether all implied rewards are 0 before the first step."""
    return run.method == "dpo" and run.config["loss"]["name"] in LEVEL_AT_START and not run.config.get("reference")


def _starts_at_guess(run: Run) -> bool:
    """Whether the training loss is a log-likelihood of choices, so that a guess has ln 2."""
    if run.method == "reward":
        return not run.config["centering"] and not run.config.get("margin")
    return run.config["loss"]["name"] in START_AT_GUESS


def _panel(
    run: Run,
    title: str,
    kept: Mapping[Key, str],
    hover: str,
    axis: Mapping[str, object] | None = None,
    guess: float | None = None,
) -> Panel:
    """Curves of what every step records, each a running mean where there are steps enough."""
    window, steps = _window(run), [line["step"] for line in run.steps]
    every = slice(None, None, thinning(len(steps)))
    curves = [
        curve(key, steps[every], running_mean(_recorded(run, name), window)[every], hover) for key, name in kept.items()
    ]
    return Panel(title, curves, dict(axis or {}), shapes=[] if guess is None else [level(guess)])


def _window(run: Run) -> int:
    """Steps that a mean is taken over: of comparisons a step holds few, so also where the run is short."""
    count = len(run.steps)
    return max(mean_window(count), FEWEST_TO_MEAN if count >= 4 * FEWEST_TO_MEAN else 1)


def _means(run: Run) -> str:
    window = _window(run)
    how = f"Means of the last {window} steps" if window > 1 else "One point a step"
    return f"{how}, over the comparisons learnt from.{thinned(len(run.steps))}"


def _when(run: Run) -> str:
    window = _window(run)
    return f"In the last {window} steps" if window > 1 else "At the last step"


def _last(run: Run, name: str) -> float:
    return _mean(_recorded(run, name)[-_window(run) :])


def _recorded(run: Run, name: str) -> list[float]:
    return [line.get(name, math.nan) for line in run.steps]


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

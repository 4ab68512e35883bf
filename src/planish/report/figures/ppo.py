"""The figures of a policy that learns from the scores of its own completions: scores, distance, and what learning looked like,
over iterations. A title says what is to be seen, worked out from the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from planish.base.text import count_text, listed, percent, signed
from planish.report.figures.base import (
    Figure,
    Key,
    Panel,
    curve,
    held_out_figure,
    level,
    optimiser_figure,
    source_key,
    step_keys,
)
from planish.report.read.ppo import (
    by_round,
    held_out_prompts,
    mean_curves,
    mean_of,
    mean_roots,
    mean_score,
    over_roots,
    over_rounds,
    path_over_roots,
    ratio_of_norms,
    rewards_of,
    rounds,
    rounds_curves,
    scores_went,
    went,
    window_for,
    window_of,
)
from planish.report.read.run import ALL, Run
from planish.report.text import moved

CUT_BELOW = -1.0  # explained variance that is drawn; a value model that is new may be far below
HELD_OUT = Key("held-out prompts", "var(--line-1)")


def rollout_figures(run: Run) -> dict[str, Figure]:
    """The figures that this run holds enough points for, by name."""
    figures: dict[str, Figure] = {}
    if len(run.rounds) > 1:
        figures |= {"scores": scores_figure(run), "overoptimisation": overoptimisation_figure(run)}
        figures |= {"distance": distance_figure(run), "completions": completions_figure(run)}
        figures["learning"] = learning_figure(run)
    if len(run.evaluations) > 1:
        figures["pretraining"] = pretraining_figure(run)
    if len(run.steps) > 1:
        figures["optimiser"] = optimiser_figure(run)
    return figures


def scores_figure(run: Run) -> Figure:
    """A panel for each reward: of the completions learnt from, and of those to held-out prompts."""
    trained, watched = rewards_of(run)
    window, looks = window_of(run), bool(run.looks)
    panels: list[Panel] = []
    for name in (*trained, *watched):
        curves = rounds_curves(run, f"score/{name}", "%{y:+.3f}")
        if looks:
            at = [line["step"] / run.steps_of_iteration for line in run.looks]
            curves.append(curve(HELD_OUT, at, [line.get(f"held_out_score/{name}") for line in run.looks], "%{y:+.3f}"))
        panels.append(over_rounds(f"{name}, {'trained on' if name in trained else 'only watched'}", curves))
    told = scores_went(run)
    keys = step_keys(window, "iteration") or [Key("each iteration", "var(--line-0)")]
    return Figure(
        f"The score {'' if len(told) == 1 else 'of '}{listed(told)}",
        f"{_ends(run)}{_penalised(run)}",
        f"Mean of an iteration's {_batch(run)}, before its updates. Scores are those of the rewards, without weight, KL or the "
        "score given to a completion that did not end."
        + (f" Held-out prompts are asked with the same noise each time; {_held_out_count(run)}." if looks else ""),
        panels,
        [*keys, HELD_OUT] if looks else keys if window > 1 else [],
    )


def overoptimisation_figure(run: Run) -> Figure:
    """Every score over the root of the KL (Gao et al. 2023, figure 1): where a proxy goes on rising and the gold does not."""
    trained, watched = rewards_of(run)
    names = [*trained, *watched]
    keys = {name: source_key(name, i) for i, name in enumerate(names)}
    roots = mean_roots(run)
    bests = [_best(name, roots, mean_score(run, name)) for name in watched or trained]
    return Figure(
        f"Against the distance, {listed(bests)}",
        "A score that is trained on and goes on rising while one that is not falls is being exploited, not earned."
        if watched
        else "No other score was watched, so this figure cannot say whether the one that is trained on is earned or exploited.",
        f"Mean score over √KL, KL in nats a completion to the policy that the run began with, {_means(window_of(run))} (axes of "
        "Gao et al. 2023, arXiv 2210.10760). An estimate below 0 is drawn at 0. The large point is the last.",
        [over_roots("Mean score", [path_over_roots(key, run, name) for name, key in keys.items()])],
        list(keys.values()) if len(keys) > 1 else [],
    )


def distance_figure(run: Run) -> Figure:
    kl, entropy = rounds(run, "kl"), rounds(run, "entropy")
    panels = [
        over_rounds("KL, nats a completion", rounds_curves(run, "kl"), {"zeroline": True}),
        over_rounds("KL, nats a token", rounds_curves(run, "kl_token"), {"zeroline": True}),
        over_rounds("Entropy, nats a token", rounds_curves(run, "entropy"), {"rangemode": "tozero"}),
    ]
    betas = rounds(run, "beta")
    if len(set(betas)) > 1:
        panels.append(over_rounds("β, what a nat costs", rounds_curves(run, "beta", "%{y:.4g}")))
    target = run.config["kl"].get("target")
    if target is not None:
        panels[0] = replace(panels[0], shapes=[level(target)])
    return Figure(
        f"KL to the starting policy, in nats a completion, {went(kl)}; the entropy of a token {went(entropy)}",
        f"At the last iteration a nat cost {betas[-1]:.4g}.{_left(entropy)}",
        f"Of an iteration's {_batch(run)}. KL is the mean of ln(policy/start) over what the policy sampled, which may be below "
        "0; entropy is the mean of −ln(policy)."
        + (f" Thin line: the KL that β is adapted to, {target:g}." if target is not None else ""),
        panels,
        step_keys(window_of(run), "iteration"),
    )


def completions_figure(run: Run) -> Figure:
    longest = run.config["sampling"]["max_completion_tokens"]
    return Figure(
        f"Completions, in tokens: length {went(rounds(run, 'completion_tokens'), 1)}; the share that did not end "
        f"{went(rounds(run, 'unended'), text=percent)}",
        "A score is easily had by length, and a completion that is cut off has not said what it is scored for.",
        f"Of an iteration's {_batch(run)}. Completions are cut after {count_text(longest, 'token')}.",
        [
            over_rounds(
                "Tokens of a completion", rounds_curves(run, "completion_tokens", "%{y:.1f}"), {"rangemode": "tozero"}
            ),
            over_rounds(
                "Share that did not end", rounds_curves(run, "unended", "%{y:.1%}"), {"tickformat": ".1%", "rangemode": "tozero"}
            ),
        ],
        step_keys(window_of(run), "iteration"),
    )  # fmt: skip


def learning_figure(run: Run) -> Figure:
    """How hard the updates pulled: clipping, what the value model explains, and of PPO-ptx whose gradient is larger."""
    clipped = by_round(run, lambda line: line.get("clip_fraction"))
    made = [
        f"Share of tokens whose probability ratio left 1 ± {run.config['clip_range']:g} and is clipped, over an iteration's "
        "steps."
    ]
    panels = [
        over_rounds(
            "Clip fraction",
            mean_curves(run, clipped, "%{y:.1%}"),
            {"tickformat": ".1%", "rangemode": "tozero"},
        )
    ]
    told = [f"{percent(mean_of(clipped))} of tokens were clipped"]
    explained = rounds(run, "explained_variance")
    if any(map(math.isfinite, explained)):
        low = min(value for value in explained if math.isfinite(value))
        panels.append(
            over_rounds(
                "Explained variance of the returns",
                rounds_curves(run, "explained_variance"),
                {"range": [max(CUT_BELOW, min(low, 0.0)), 1.0]},
            )
        )
        told.append(f"the value model's explained variance {went(explained)}")
        made.append(
            "Explained variance is 1 − var(return − value)/var(return) before the updates: 1 is perfect, 0 a constant guess"
            + (f"; values below {CUT_BELOW:g} are off the axis." if low < CUT_BELOW else ".")
        )
    ratios = by_round(run, ratio_of_norms)
    if any(map(math.isfinite, ratios)):
        panels.append(
            over_rounds(
                "Gradient of pretraining over that of the scores",
                mean_curves(run, ratios, "%{y:.2f}"),
                {"rangemode": "tozero"},
            )
        )
        told.append(f"the pretraining gradient was {mean_of(ratios):.2g} times the other")
        made.append(
            "The ratio is that of the norms, coefficient included: ‖γ ∇ pretraining loss‖ / ‖∇ loss of the scores‖."
        )
    mismatch = [value for value in rounds(run, "sampler_mismatch") if math.isfinite(value)]
    return Figure(
        f"{told[0][0].upper()}{told[0][1:]}{''.join(f'; {each}' for each in told[1:])}",
        f"Sampling and learning disagree by {max(mismatch):.1g} nats a token at most, in the mean of an iteration."
        if mismatch
        else "",
        " ".join(made),
        panels,
        step_keys(window_of(run), "iteration"),
    )


def pretraining_figure(run: Run) -> Figure:
    """Forgetting: held-out pretraining documents."""
    losses = [each.losses.get(ALL, math.nan) for each in run.evaluations]
    return replace(
        held_out_figure(run), title=f"Held-out pretraining loss {moved(losses[0], losses[-1], 3)} nats a token"
    )


# Words


def _best(name: str, roots: Sequence[float], means: Sequence[float]) -> str:
    """Where a score was best, and what became of it after."""
    known = [i for i, mean in enumerate(means) if math.isfinite(mean)]
    if not known:
        return f"{name} was not recorded"
    best, last = max(known, key=means.__getitem__), known[-1]
    if best == last:
        return f"{name} was best at the end, {signed(means[last])} at √KL {roots[last]:.2f}"
    at = f"{name} was best at √KL {roots[best]:.2f}, {signed(means[best])}"
    return f"{at}, and stood at {signed(means[last])} in the end, at √KL {roots[last]:.2f}"


def _batch(run: Run) -> str:
    batch = run.config["batch"]
    prompts, completions = batch["prompts"], batch["completions"]
    each = f", {completions} to each of {prompts:,} prompts" if completions > 1 else ", one to a prompt"
    return f"{prompts * completions:,} completions{each}"


def _held_out_count(run: Run) -> str:
    return f"{count_text(held_out_prompts(run), 'prompt')}, one completion each; no interval is recorded"


def _means(window: int) -> str:
    return "one point an iteration" if window == 1 else f"means of {window} iterations"


def _ends(run: Run) -> str:
    window = window_of(run)
    seed = f"Seed {run.config.get('seed', '–')}"
    if window == 1:
        return f"{seed}; first iteration against last."
    return f"{seed}; means of the first {window} iterations against the last {window}."


def _penalised(run: Run) -> str:
    penalty = run.config.get("missing_eos")
    return "" if penalty is None else f" A completion that did not end is trained on with {signed(penalty)} instead."


def _left(entropy: Sequence[float]) -> str:
    """What is left of the entropy."""
    window = window_for(len(entropy))
    first, last = mean_of(entropy[:window]), mean_of(entropy[-window:])
    return f" {percent(last / first, 0)} of the first entropy is left." if first > 0 and math.isfinite(last) else ""

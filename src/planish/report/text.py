"""Numbers, and what they say, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from planish.base.text import count_text, duration_text, listed, loss_text, percent, points_text
from planish.report.read.run import ALL, Run

LOSSES = {
    "dpo": "Direct preference optimisation",
    "ipo": "Identity preference optimisation (IPO)",
    "cdpo": "Conservative DPO",
    "robust_dpo": "Robust DPO",
    "length_normalized": "Length-normalised DPO",
    "r_dpo": "Length-regularised DPO (R-DPO)",
    "simpo": "Simple preference optimisation (SimPO)",
    "orpo": "Odds-ratio preference optimisation (ORPO)",
}
GUESS = math.log(2)  # the loss of a comparison that is left to chance, in nats


def moved(before: float, after: float, decimals: int = 2) -> str:
    """ "fell from 1.98 to 1.61": so many decimals for what they show, three for a small change."""
    if not math.isfinite(after):
        return f"was {loss_text(before)} and is no number any more: the training came apart"
    if round(after - before, 3) == 0:
        return f"stayed at {before:.3f}"
    digits = decimals if abs(after - before) >= 0.05 else 3
    return f"{'fell' if after < before else 'rose'} from {before:.{digits}f} to {after:.{digits}f}"


def title(run: Run) -> str:
    """What was trained, from which model, on what."""
    where = listed(run.sources) if len(run.sources) <= 4 else count_text(len(run.sources), "source")
    if run.method == "pretrain":
        what = "Pretraining of" if "architecture" in run.config.get("model", {}) else "Continued pretraining of"
    else:
        what = {"sft": "Supervised fine-tuning of", "reward": "Reward model made of"}.get(run.method)
    return f"{what or loss_name(run) + ' of'} {model_name(run)} on {where}"


def loss_name(run: Run) -> str:
    """Of a run that fits a policy to comparisons."""
    return LOSSES.get(run.config["loss"]["name"], "Preference optimisation")


def model_name(run: Run) -> str:
    model = run.config.get("model", {})
    if "architecture" in model:
        return f"a new {model['architecture'].get('model_type', '')} model".replace("  ", " ")
    path = PurePath(model.get("path", "a model"))
    # A result lies in RUN/model; there the run's name says more. A hub name, owner/name, stays whole.
    path = path.parent if path.name == "model" and path.parent.name else path
    return (
        path.name
        if path.is_absolute() or len(path.parts) != 2 or path.parts[0] in {"..", "models", "runs"}
        else str(path)
    )


def trained(run: Run) -> str:
    """Which weights moved, for how long, on how much."""
    lora = run.config.get("model", {}).get("lora")
    which = f"LoRA of rank {lora['rank']}" if lora else "All weights"
    if not run.steps:
        return f"{which} to be trained; no step has been recorded yet."
    there = sum(account["training"]["tokens"] for account in run.data.values())
    whole = f", {run.tokens / there:.2g} times what the training rows hold" if there else ""
    steps = count_text(len(run.steps), "step")
    return f"{which} trained for {steps} and {duration_text(run.seconds)}, on {run.tokens:,} tokens{whole}."


def state(run: Run) -> str | None:
    """What to know about a run that has not come to its end."""
    if run.finished:
        return None
    steps = run.planned_steps
    so_far = f"step {run.last_step:,} of {steps:,}" if steps else f"step {run.last_step:,}"
    return f"This run is unfinished: it stands at {so_far}, and no model has been saved. The numbers are those so far."


def outcome(run: Run) -> str:
    """What is to be seen, in a sentence; of comparisons in two."""
    before, after = run.before, run.after
    if before is None:
        return "No held-out loss has been measured yet."
    if after is None:
        return (
            f"Held-out loss was {loss_text(before.all)} nats per {run.unit} at step {before.step:,}; it has been measured "
            "once, so there is no change to report."
        )
    loss = f"Held-out loss {moved(before.all, after.all, 3 if run.compares else 2)}"
    loss += f" nats per {run.unit}" if math.isfinite(after.all) else ""
    if run.compares:
        changes = _changes(run, before.accuracies, after.accuracies)
        right = [each.accuracies.get(ALL, math.nan) for each in (before, after)]
        return f"{loss}; a guess has {loss_text(GUESS)}. Accuracy {_moved_share(*right)}{_by_source(changes, 'rose', 'fell')}."
    changes = _changes(run, before.losses, after.losses) if math.isfinite(after.all) else {}
    return f"{loss}{_by_source(changes, 'fell', 'rose')}."


def _moved_share(before: float, after: float) -> str:
    if points_text(before, after) == "0.0":
        return f"stayed at {percent(before)}"
    return f"{'rose' if after > before else 'fell'} from {percent(before)} to {percent(after)}"


def _changes(run: Run, before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    names = [name for name in run.sources if name in before and name in after]
    return {name: round(after[name] - before[name], 3) for name in names}


def _by_source(changes: Mapping[str, float], hoped: str, feared: str) -> str:
    """ "; it fell in 2 of 3 sources and rose in code": `hoped` and `feared` are "fell" and "rose", or the other way."""
    if len(changes) < 2:
        return ""
    sign = -1 if hoped == "fell" else 1
    right = [name for name, change in changes.items() if sign * change > 0]
    wrong = [name for name, change in changes.items() if sign * change < 0]
    if len(right) == len(changes):
        return f"; it {hoped} in {'both' if len(right) == 2 else f'all {len(right)}'} sources"
    sentence = f"; it {hoped} in {f'{len(right)} of {len(changes)}' if right else 'none of the'} sources"
    where = listed(wrong) if len(wrong) <= 3 else str(len(wrong))
    return f"{sentence} and {feared} in {where}" if wrong else sentence


def selection(run: Run) -> str | None:
    """Which model was saved, where it is not the last."""
    after = run.after
    if not run.selects_best or after is None or after.step == run.evaluations[-1].step:
        return None
    return f"The saved model is that of step {after.step:,}, lowest in held-out loss; the run went on to step {run.last_step:,}."


def leaks(run: Run) -> str | None:
    """A warning where the model learnt what it is measured on."""
    found = {name: len(account.get("leaks", [])) for name, account in run.data.items()}
    if not any(found.values()):
        return None
    told = listed([f"{count_text(count, 'row')} of {name}" for name, count in found.items() if count])
    return f"Learnt and measured on as well: {told}. What is measured there says too little of other text."


def same_rows(runs: Sequence[Run]) -> str | None:
    """A warning where the losses of several runs were measured on different things."""
    rows = [{name: account["held_out"].get("rows") for name, account in run.data.items()} for run in runs]
    if any(each != rows[0] for each in rows):
        return (
            "These runs were measured on different held-out rows, so their losses cannot be compared with each other."
        )
    tokens = {run.held_out(ALL)[1] for run in runs}
    if len(tokens) > 1 and not runs[0].compares:
        return (
            "These runs cut the same held-out rows into different numbers of learnt tokens, so a nat per token means "
            "something else in each."
        )
    return None

"""Words for numbers, and sentences about a run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from planish.base.text import count_text, duration_text, listed, loss_text, number_text, percent, points_text
from planish.reports.read.run import ALL, RecordedRun
from planish.reports.series import trend

CHANCE = math.log(2)  # the log loss of guessing which of two answers is preferred, in nats

# Numbers


def two_digits(value: float) -> str:
    """0.41, 12, 2e-4."""
    if value == 0 or value >= 1e-3 or not math.isfinite(value):
        return f"{value:.2g}"
    return re.sub(r"\.0(?=e)|(?<=e-)0", "", f"{value:.1e}")


def moved(before: float, after: float, decimals: int = 2) -> str:
    """ "fell from 1.98 to 1.61"; a small change is written with three decimals."""
    if not math.isfinite(after):
        return f"was {loss_text(before)} and is no longer a number: training has diverged"
    if round(after - before, 3) == 0:
        return f"stayed at {number_text(before, '.3f')}"
    digits = f".{decimals if abs(after - before) >= 0.05 else 3}f"
    return f"{_direction(before, after)} from {number_text(before, digits)} to {number_text(after, digits)}"


def trend_text(values: Sequence[float], digits: str = ".2f") -> str:
    """ "rose from 0.26 to 0.80", from the mean of the first values to that of the last."""
    change = trend(values)
    if change is None:
        return "was not recorded"
    before, after = number_text(change.before, digits), number_text(change.after, digits)
    if before == after:
        return f"stayed at {after}"
    if not change.significant:
        return f"showed no significant change ({before} to {after})"
    return f"{_direction(change.before, change.after)} from {before} to {after}"


def _direction(before: float, after: float) -> str:
    return "rose" if after > before else "fell"


# A run


def title(run: RecordedRun) -> str:
    """The method, the model and the data."""
    data = listed(run.sources) if len(run.sources) <= 4 else count_text(len(run.sources), "source")
    if run.method == "pretrain":
        method = "Pretraining of" if "architecture" in run.config.get("model", {}) else "Continued pretraining of"
    else:
        method = {"sft": "Supervised fine-tuning of", "reward": "Reward model from"}.get(run.method)
    return f"{method or loss_name(run) + ' of'} {model_name(run)} on {data}"


def loss_name(run: RecordedRun) -> str:
    """The preference loss of a run that trains a policy on comparisons."""
    return run.loss.get("title") or run.config["loss"]["name"]


def model_name(run: RecordedRun) -> str:
    model = run.config.get("model", {})
    if "architecture" in model:
        return f"a new {model['architecture'].get('model_type', '')} model".replace("  ", " ")
    path = PurePath(model.get("path", "a model"))
    # RUN/model is named after the run; a hub name, owner/name, stays whole.
    path = path.parent if path.name == "model" and path.parent.name else path
    is_hub_name = not path.is_absolute() and len(path.parts) == 2 and path.parts[0] not in {"..", "models", "runs"}
    return str(path) if is_hub_name else path.name


def trained_weights(run: RecordedRun) -> str:
    lora = run.config.get("model", {}).get("lora")
    return f"LoRA of rank {lora['rank']}" if lora else "All weights"


def trained(run: RecordedRun) -> str:
    """The trained weights, the steps, the time and the tokens."""
    which = trained_weights(run)
    if not run.steps:
        return f"{which}; no training step has been recorded yet."
    available = sum(account["training"]["tokens"] for account in run.data.values())
    passes = f", {run.tokens / available:.2g} times the tokens of the training rows" if available else ""
    steps = count_text(len(run.steps), "step")
    return f"{which} trained for {steps} in {duration_text(run.seconds)} on {run.tokens:,} tokens{passes}."


def state(run: RecordedRun) -> str | None:
    """A note on a run that has not finished."""
    if run.finished:
        return None
    steps = run.planned_steps
    so_far = f"step {run.last_step:,} of {steps:,}" if steps else f"step {run.last_step:,}"
    return f"This run is unfinished: it is at {so_far} and has saved no model. All numbers are those so far."


def outcome(run: RecordedRun) -> str:
    """The held-out result; for comparisons loss and accuracy."""
    before, after = run.before, run.after
    if before is None:
        return "No held-out loss has been measured yet."
    if after is None:
        return (
            f"Held-out loss was {loss_text(before.all)} nats per {run.unit} at step {before.step:,}; it has been measured only "
            "once, so there is no change to report."
        )
    loss = f"Held-out loss {moved(before.all, after.all, 3 if run.is_preference else 2)}"
    loss += f" nats per {run.unit}" if math.isfinite(after.all) else ""
    if run.is_preference:
        changes = _changes(run, before.accuracies, after.accuracies)
        right = [measured.accuracies.get(ALL, math.nan) for measured in (before, after)]
        chance = f"guessing gives {loss_text(CHANCE)}"
        return f"{loss} ({chance}). Accuracy {_moved_share(*right)}{_by_source(changes, 'rose', 'fell')}."
    changes = _changes(run, before.losses, after.losses) if math.isfinite(after.all) else {}
    return f"{loss}{_by_source(changes, 'fell', 'rose')}."


def _moved_share(before: float, after: float) -> str:
    if points_text(before, after) == "0.0":
        return f"stayed at {percent(before)}"
    return f"{_direction(before, after)} from {percent(before)} to {percent(after)}"


def _changes(run: RecordedRun, before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    names = [name for name in run.sources if name in before and name in after]
    return {name: round(after[name] - before[name], 3) for name in names}


def _by_source(changes: Mapping[str, float], better: str, worse: str) -> str:
    """ "; it fell in 2 of 3 sources and rose in code": `better` and `worse` are "fell" and "rose", or the reverse."""
    if len(changes) < 2:
        return ""
    sign = -1 if better == "fell" else 1
    improved = [name for name, change in changes.items() if sign * change > 0]
    worsened = [name for name, change in changes.items() if sign * change < 0]
    if len(improved) == len(changes):
        return f"; it {better} in {'both' if len(improved) == 2 else f'all {len(improved)}'} sources"
    sentence = f"; it {better} in {f'{len(improved)} of {len(changes)}' if improved else 'none of the'} sources"
    where = listed(worsened) if len(worsened) <= 3 else str(len(worsened))
    return f"{sentence} and {worse} in {where}" if worsened else sentence


def selection(run: RecordedRun) -> str | None:
    """A note where the saved model is not the last."""
    after = run.after
    if not run.saves_best or after is None or after.step == run.evaluations[-1].step:
        return None
    return (
        f"The saved model is from step {after.step:,}, where held-out loss was lowest; training continued to step "
        f"{run.last_step:,}."
    )


def leaks(run: RecordedRun) -> str | None:
    """A warning where training rows are also held out."""
    counts = {name: len(account.get("leaks", [])) for name, account in run.data.items()}
    if not any(counts.values()):
        return None
    rows = listed([f"{count_text(count, 'row')} of {name}" for name, count in counts.items() if count])
    return f"Trained on rows that are also held out: {rows}. Held-out results on them say little about other text."


def same_rows(runs: Sequence[RecordedRun]) -> str | None:
    """A warning where the losses of several runs were measured on different rows or tokens."""
    rows = [{name: account["held_out"].get("rows") for name, account in run.data.items()} for run in runs]
    if any(other != rows[0] for other in rows):
        return "These runs were measured on different held-out rows, so their losses are not comparable."
    tokens = {run.held_out(ALL)[1] for run in runs}
    if len(tokens) > 1 and not runs[0].is_preference:
        return "These runs split the same held-out rows into different numbers of tokens, so nats per token are not comparable."
    return None

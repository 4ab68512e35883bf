"""Words for numbers, and sentences about a run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from planish.base.text import count_text, duration_text, listed, loss_text, number_text, percent
from planish.reports.claims import by_name, moved_share
from planish.reports.read.pipeline import stage_names
from planish.reports.read.run import ALL, Measurement, RecordedRun
from planish.reports.series import trend

CHANCE = math.log(2)  # the log loss of guessing which of two answers is preferred, in nats

# Numbers


def two_digits(value: float) -> str:
    """0.41, 12, 2e-4."""
    if value == 0 or value >= 1e-3 or not math.isfinite(value):
        return f"{value:.2g}"
    return re.sub(r"\.0(?=e)|(?<=e-)0", "", f"{value:.1e}")


def small_percent(share: float) -> str:
    """12.3%, 0.04%; a share above 0 is never shown as 0."""
    return f"{two_digits(100 * share)}%" if 0 < share < 0.001 else percent(share)


def moved(before: float, after: float, decimals: int = 2) -> str:
    """ "fell from 1.98 to 1.61"; a small change is written with three decimals."""
    if not math.isfinite(after):
        return f"was {loss_text(before)} and is no longer a number: training has diverged"
    if not math.isfinite(before):
        return f"was not a number and is {loss_text(after)}"
    digits = f".{decimals if abs(after - before) >= 0.05 else 3}f"
    first, last = number_text(before, digits), number_text(after, digits)
    return f"stayed at {last}" if first == last else f"{_direction(before, after)} from {first} to {last}"


def trend_text(values: Sequence[float], digits: str = ".2f") -> str:
    """ "rose from 0.26 to 0.80", from the mean of the first values to that of the last. Of single values the noise is not known,
    so they have no direction."""
    change = trend(values)
    if change is None:
        return "was not recorded"
    before, after = number_text(change.before, digits), number_text(change.after, digits)
    if before == after:
        return f"stayed at {after}"
    if change.significant is None:
        return f"went from {before} to {after}"
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
        method = {"sft": "Supervised fine-tuning of", "reward": "Reward model from", "kto": "KTO of"}.get(run.method)
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
    return str(path) if is_hub_name else stage_names(run.path.parent).get(path.name, path.name)


def trained_weights(run: RecordedRun) -> str:
    lora = run.config.get("model", {}).get("lora")
    return f"LoRA of rank {lora['rank']}" if lora else "All weights"


def trained(run: RecordedRun) -> str:
    """The trained weights, the steps, the time and the tokens."""
    which = trained_weights(run)
    if not run.steps:
        return f"{which}; no training step has been recorded yet."
    available = sum(account["training"]["tokens"] for account in run.data.values())
    passes = f"{run.tokens / available:.2g}" if available else ""
    epochs = f", {passes} {'epoch' if passes == '1' else 'epochs'} of the training rows" if passes else ""
    steps = count_text(len(run.steps), "step")
    return f"{which} trained for {steps} in {duration_text(run.seconds)} on {run.tokens:,} tokens{epochs}."


def state(run: RecordedRun) -> str | None:
    """A note on a run that has not finished."""
    if run.finished:
        return None
    planned = run.planned_steps
    so_far = run.moment(run.last_step) + (f" of {run.time(planned):,.10g}" if planned else "")
    return f"This run is unfinished: it is at {so_far} and has saved no model. All numbers are those so far."


def outcome(run: RecordedRun) -> str:
    """The held-out result; for comparisons loss and accuracy."""
    before, after = run.before, run.after
    if before is None and run.finished:
        return "No rows were held out, so no loss was measured."
    if before is None:
        return "No held-out loss has been measured yet."
    if after is None:
        return (
            f"Held-out loss was {loss_text(before.all)} nats per {run.unit} at {run.moment(before.step)}; it has been measured "
            "only once, so there is no change to report."
        )
    loss = f"Held-out loss {moved(before.all, after.all, 3 if run.is_preference else 2)}"
    loss += f" nats per {run.unit}" if math.isfinite(after.all) else ""
    if run.is_preference:
        return f"{loss} (guessing gives {loss_text(CHANCE)}). {_accuracy_text(run, before, after)}."
    changes = _changes(run, before.losses, after.losses) if math.isfinite(after.all) else {}
    return f"{loss}{_by_source(changes)}."


def _accuracy_text(run: RecordedRun, before: Measurement, after: Measurement) -> str:
    """The change of accuracy; by source only as far as intervals tell."""
    first, last = (measured.accuracies.get(ALL, math.nan) for measured in (before, after))
    names = [name for name in run.sources if name in before.accuracies and name in after.accuracies]
    changes = {name: run.accuracy_change(name) for name in names if run.held_out(name)[0]}
    says = f"Accuracy {moved_share(first, last, run.accuracy_change(ALL))}"
    return f"{says}. It {by_name(changes, 'source')}" if len(changes) > 1 else says


def _changes(run: RecordedRun, before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """As shown in the table, with three decimals."""
    names = [name for name in run.sources if name in before and name in after]
    return {name: round(after[name] - before[name], 3) for name in names}


def _by_source(changes: Mapping[str, float]) -> str:
    """ "; it fell in 2 of 3 sources and rose in code". The rows are the same at both measurements."""
    if len(changes) < 2:
        return ""
    fell = [name for name, change in changes.items() if change < 0]
    rose = [name for name, change in changes.items() if change > 0]
    if len(fell) == len(changes):
        return f"; it fell in {'both' if len(fell) == 2 else f'all {len(fell)}'} sources"
    sentence = f"; it fell in {f'{len(fell)} of {len(changes)}' if fell else 'none of the'} sources"
    where = listed(rose) if len(rose) <= 3 else str(len(rose))
    return f"{sentence} and rose in {where}" if rose else sentence


def selection(run: RecordedRun) -> str | None:
    """A note where the saved model is not the last."""
    after = run.after
    if not run.saves_best or after is None or after.step == run.evaluations[-1].step:
        return None
    return (
        f"The saved model is from {run.moment(after.step)}, where held-out loss was lowest; training continued to "
        f"{run.moment(run.last_step)}."
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

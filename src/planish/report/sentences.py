"""Numbers, and what they say, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath

from planish.report.runs import ALL, Run


def loss_text(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if math.isfinite(value) else "not a number"


def change_text(before: float | None, after: float | None) -> str:
    if before is None or after is None or not math.isfinite(after - before):
        return "–"
    change = round(after - before, 3)
    return f"{change:+.3f}".replace("-", "−") if change else "0.000"


def perplexity_text(loss: float | None) -> str:
    """exp of the loss: the model is as unsure of a token as between this many equally likely ones."""
    if loss is None or not math.isfinite(loss):
        return "–"
    perplexity = math.exp(min(loss, 700.0))
    return (
        f"{perplexity:,.2f}" if perplexity < 100 else f"{perplexity:,.0f}" if perplexity < 1e6 else f"{perplexity:.1e}"
    )


def count_text(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration_text(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def moved(before: float, after: float) -> str:
    """ "fell from 1.98 to 1.61": two decimals for what they show, three for a small change."""
    if not math.isfinite(after):
        return f"was {loss_text(before)} and is no number any more: the training came apart"
    if round(after - before, 3) == 0:
        return f"stayed at {before:.3f}"
    digits = 2 if abs(after - before) >= 0.05 else 3
    return f"{'fell' if after < before else 'rose'} from {before:.{digits}f} to {after:.{digits}f}"


def title(run: Run) -> str:
    """What was trained, from which model, on what."""
    where = listed(run.sources) if len(run.sources) <= 4 else count_text(len(run.sources), "source")
    if run.method == "sft":
        return f"Supervised fine-tuning of {model_name(run)} on {where}"
    if "architecture" in run.config.get("model", {}):
        return f"Pretraining of {model_name(run)} on {where}"
    return f"Continued pretraining of {model_name(run)} on {where}"


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
    steps = run.config.get("steps")
    so_far = f"step {run.last_step:,} of {steps:,}" if steps else f"step {run.last_step:,}"
    return f"This run is unfinished: it stands at {so_far}, and no model has been saved. The numbers are those so far."


def outcome(run: Run) -> str:
    """The one sentence that says what is to be seen."""
    before, after = run.before, run.after
    if before is None:
        return "No held-out loss has been measured yet."
    if after is None:
        return (
            f"Held-out loss was {loss_text(before.all)} nats per token at step {before.step:,}; it has been measured once, "
            "so there is no change to report."
        )
    sentence = f"Held-out loss {moved(before.all, after.all)}"
    sentence += " nats per token" if math.isfinite(after.all) else ""
    changes = {
        name: round(after.losses[name] - before.losses[name], 3)
        for name in run.sources
        if name in after.losses and name in before.losses
    }
    if len(changes) < 2 or not math.isfinite(after.all):
        return sentence + "."
    return f"{sentence}; {_by_source(changes)}."


def _by_source(changes: dict[str, float]) -> str:
    fell = [name for name, change in changes.items() if change < 0]
    rose = [name for name, change in changes.items() if change > 0]
    if len(fell) == len(changes):
        return "it fell in both sources" if len(fell) == 2 else f"it fell in all {len(fell)} sources"
    sentence = f"it fell in {len(fell)} of {len(changes)} sources" if fell else "it fell in none of the sources"
    where = listed(rose) if len(rose) <= 3 else str(len(rose))
    return f"{sentence} and rose in {where}" if rose else sentence


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
    if len(tokens) > 1:
        return (
            "These runs cut the same held-out rows into different numbers of learnt tokens, so a nat per token means "
            "something else in each."
        )
    return None

"""The head and the foot of a run, on standard error and in run.log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from planish.base.distributed import world_size
from planish.base.notices import say, warn
from planish.base.text import duration_text
from planish.data.chat.defaults import CHATML, HEADINGS
from planish.methods.base import CommonConfig, RunContext
from planish.train.optimizer import Trainer
from planish.train.record import read_lines
from planish.train.run_folder import RunFolder

HELD_OUT = {
    "held_out/all": "loss",
    "held_out_accuracy/all": "accuracy",
}  # of held-out rows, as metrics.jsonl names them
# Adam moves a weight by about the rate in a step. Weights are near 0.02, so that less than a thousandth of it is not seen; LoRA's
# updates of a weight are about a tenth of its factors' (docs/howto/gpus-and-memory.md).
LEAST, LEAST_LORA = 2e-5, 2e-4


def tell_start(run: RunContext[Any], trainer: Trainer, account: Mapping[str, Any], start: int) -> None:
    """The head of a run."""
    config, model = run.config, run.loaded.model
    trained = sum(weight.numel() for weight in trainer.parameters.values())
    weights = sum(weight.numel() for name, weight in model.named_parameters() if "lora_" not in name)
    lora = f" (LoRA of rank {lora.rank})" if (lora := _lora(config)) else ""
    value = ", with the value model" if any(name.startswith("value.") for name in trainer.parameters) else ""
    dtype = str(model.dtype).removeprefix("torch.")
    compute = (
        f", computed in {str(run.policy.compute_dtype).removeprefix('torch.')}" if run.policy.compute_dtype else ""
    )
    ranks = f" and {world_size() - 1} more processes" if world_size() > 1 else ""
    lines = [
        f"model      {model_name(config)}: {weights:,} weights in {dtype}{compute}, on {run.device}{ranks}",
        f"trained    {trained:,} weights{lora}{value}, {_rate(config)}",
        *_rows(account),
        f"template   {_template(run)}",
        f"steps      {_steps(run, trainer)}",
        f"begins     {_beginning(run.folder, trainer, start)}",
    ]
    say("\n".join(lines))
    if trainer.sum_of_rates < (least := LEAST_LORA if lora else LEAST):
        warn(
            f"warning: the learning rates of all steps add up to {trainer.sum_of_rates:.1g}, and no weight moves by much more. "
            f"Below {least:g} hardly anything is learnt{' with LoRA' if lora else ''}: raise optim.lr, or train longer"
        )


def tell_end(run: RunContext[Any], trainer: Trainer, seconds: float, reasons: Mapping[str, str]) -> None:
    """The foot of a run: what it did to what is held out, and what it was warned of, with the reasons that this start gave."""
    lines = read_lines(run.folder.metrics)
    spent = sum(line.get("seconds", 0.0) for line in lines)
    where = "" if seconds > 0.9 * spent else f", {duration_text(spent)} in all starts"
    say(f"done       {trainer.step:,} steps in {duration_text(seconds)}{where}")
    for key, name in {**HELD_OUT, **_scores(lines)}.items():
        values = [line[key] for line in lines if key in line]
        if len(values) > 1:
            say(f"held out   {name} {values[0]:.4g} → {values[-1]:.4g}")
    for key in dict.fromkeys(key for line in lines for key in line if key.startswith("alarm/")):
        steps = [line["step"] for line in lines if key in line]
        name = key.removeprefix("alarm/")
        why = f": {reasons[name]}" if name in reasons else ""
        say(f"alarm      {name}, from step {steps[0]:,} to {steps[-1]:,}{why}")


def _scores(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    keys = dict.fromkeys(key for line in lines for key in line)
    scores = {key: f"score {key.partition('/')[2]}" for key in keys if key.startswith("held_out_score/")}
    return scores | {key: f"accuracy on {key.partition('/')[2]}" for key in keys if key.startswith("eval_accuracy/")}


def model_name(config: CommonConfig) -> str:
    model: Any = getattr(config, "model", None)
    return getattr(model, "path", None) or "a new model"


def _lora(config: CommonConfig) -> Any:
    return getattr(getattr(config, "model", None), "lora", None)


def _rate(config: CommonConfig) -> str:
    return f"learning rate {config.optim.lr:g}, {config.optim.schedule}"


def _rows(account: Mapping[str, Any]) -> list[str]:
    """A line for each source of rows, and one for prompts."""
    lines = [
        f"rows       {name}: {rows['training']['examples']:,} to learn, {rows['held_out']['examples']:,} held out"
        f"{_less('left out', rows['dropped'])}{_less('cut short', rows['truncated'])}"
        for name, rows in account.get("sources", {}).items()
    ]
    prompts: Mapping[str, Any] = account.get("prompts", {})
    lines += [
        f"prompts    {name}: {rows['training']:,} to learn from, {len(rows['held_out']):,} held out"
        for name, rows in prompts.get("sources", {}).items()
    ]
    return lines + [f"prompts    {len(left)} left out" for left in [prompts.get("dropped", [])] if left]


def _less(what: str, rows: Sequence[Any]) -> str:
    return f", {len(rows):,} {what} (data.json says why)" if rows else ""


def _template(run: RunContext[Any]) -> str:
    data: Any = getattr(run.config, "data", None) or getattr(run.config, "pretraining", None)
    if (path := getattr(data, "template", None)) is not None:
        return str(path)
    text = run.loaded.tokenizer.chat_template
    named = {CHATML: "ChatML", HEADINGS: "headings, since the model has none"}
    return named.get(str(text), "the model's own")


def _steps(run: RunContext[Any], trainer: Trainer) -> str:
    iteration = run.config.checkpoint_unit
    if iteration > 1 or run.feed is None or not hasattr(run.config, "epochs"):
        return f"{trainer.steps:,}, {iteration} in each of {trainer.steps // iteration:,} iterations"
    rows = sum(len(source.training) for source in run.sources)
    taken = int(run.feed.bounds[-1])
    return f"{trainer.steps:,} of about {taken / trainer.steps:.3g} rows, {taken / rows:.3g} times over all rows"


def _beginning(folder: RunFolder, trainer: Trainer, start: int) -> str:
    done = folder.model / "config.json"
    if done.exists():
        day = datetime.fromtimestamp(done.stat().st_mtime).astimezone().isoformat(" ", "minutes")
        return f"nowhere: this run was done on {day}. {to_train_on(folder)}"
    if start:
        return f"behind step {start:,} of {trainer.steps:,}, from its checkpoint"
    return (
        f"at the start{f', from step {trainer.step:,} of another run' if trainer.step else ''}; no checkpoint was found"
    )


def to_train_on(folder: RunFolder) -> str:
    """The command that trains a finished run further."""
    return f"To train its model further, give --model {folder.path} and another --out"

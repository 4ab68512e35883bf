"""One function for each command. Settings are keyword arguments, nested as in a recipe (`optim={"lr": 1e-4}`) or dotted
(`**{"optim.lr": 1e-4}`); docs/settings.md lists them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from planish.api.inputs import file_of, function_of, model_of, sources_of
from planish.api.result import Run, paths_of
from planish.base.config import load_config
from planish.base.errors import ConfigError
from planish.base.files import json_lines_in
from planish.base.model_folder import names_of_models
from planish.commands import COMMANDS

Callbacks = Sequence[Callable[[Mapping[str, float]], object]]


def pretrain(*, data: Any, out: str | Path, model: Any, callbacks: Callbacks = (), **settings: Any) -> Run:
    """Trains a base model on documents. `model` is a model to train further, or {"architecture": {…}} for a new one.

    Takes what `sft` takes.
    """
    return _train("pretrain", model, data, out, callbacks, settings)


def sft(*, model: Any, data: Any, out: str | Path, callbacks: Callbacks = (), **settings: Any) -> Run:
    """Fine-tunes a model on demonstrations.

    `model` is a path, a hub name, a `Run`, settings such as {"path": …, "lora": {}}, or a pair (model, tokenizer).
    `data` is a path, a list of dicts, a Dataset, a DataFrame, or several of these by name. `out` is the run's folder; the same
    call resumes from what is in it. Each callback sees every line of metrics, and stops the run by returning False.

    >>> planish.sft(model="models/smollm2", data=[{"prompt": "Hi", "completion": "Hello!"}, …], out="runs/sft", steps=20)
    """
    return _train("sft", model, data, out, callbacks, settings)


def reward(*, model: Any, data: Any, out: str | Path, callbacks: Callbacks = (), **settings: Any) -> Run:
    """Trains a reward model on comparisons. Takes what `sft` takes."""
    return _train("reward", model, data, out, callbacks, settings)


def dpo(*, model: Any, data: Any, out: str | Path, callbacks: Callbacks = (), **settings: Any) -> Run:
    """Fits a model to comparisons without a reward model. Takes what `sft` takes."""
    return _train("dpo", model, data, out, callbacks, settings)


def kto(*, model: Any, data: Any, out: str | Path, callbacks: Callbacks = (), **settings: Any) -> Run:
    """Fits a model to answers that are desirable or not, without pairs. Takes what `sft` takes."""
    return _train("kto", model, data, out, callbacks, settings)


def ppo(
    *,
    model: Any,
    prompts: Any,
    out: str | Path,
    reward: Any = None,
    pretraining: Any = None,
    callbacks: Callbacks = (),
    **settings: Any,
) -> Run:
    """Trains a policy on the scores of its own completions.

    `reward` is a run of `reward` or its path, or a Python function that takes prompts and completions and returns a number for
    each; several by name are given as the setting `rewards`. With `pretraining` documents it is PPO-ptx.
    """
    folder = Path(out)
    values = dict(settings)
    if callable(reward):
        values["rewards.reward"] = {"name": "function", "function": function_of(reward)}
    elif reward is not None:
        values["rewards.reward"] = {"name": "model", "path": paths_of([reward])[0]}
    values["prompts"] = {name: source["path"] for name, source in sources_of(prompts, folder, "prompts").items()}
    if pretraining is not None:
        values["pretraining.sources"] = sources_of(pretraining, folder, "pretraining")
    return _train("ppo", model, None, out, callbacks, values)


def sample(model: Any, prompts: Any, *, out: str | Path | None = None, **settings: Any) -> list[dict[str, Any]]:
    """Completions of prompts, a row for each: `messages` of the prompt, the `completion`, whether it `ended`, notes in `about`.

    `prompts` are texts, rows or a file. Without `out`, nothing is kept on the disk.
    """
    return _rows("sample", out, {"model": model, "prompts": prompts}, settings)


def score(model: Any, rows: Any, *, out: str | Path | None = None, **settings: Any) -> list[dict[str, Any]]:
    """The scores of a reward model, a row for each conversation or comparison of `rows`."""
    return _rows("score", out, {"model": model, "rows": rows}, settings)


def best_of_n(
    model: Any, prompts: Any, *, reward: Any, out: str | Path | None = None, **settings: Any
) -> list[dict[str, Any]]:
    """The best of `n` completions of each prompt, by a reward model: rows of demonstrations."""
    return _rows("best", out, {"model": model, "prompts": prompts, "reward": reward}, settings)


def know(model: Any, questions: Any, *, out: str | Path | None = None, **settings: Any) -> list[dict[str, Any]]:
    """How well a model knows the answers of questions, a row for each with its SliCK class."""
    return _rows("know", out, {"model": model, "questions": questions}, settings)


def compare(
    models: Sequence[Any] | Mapping[str, Any],
    *,
    prompts: Any,
    judge: Mapping[str, Any],
    out: str | Path,
    **settings: Any,
) -> dict[str, Any]:
    """Win rates of models against the first. Returns what comparison.json holds.

    `models` are runs or paths, by name or in order; `judge` is {"name": "reward", "path": …}, {"name": "gold", "world": …} or
    {"name": "llm", …}.
    """
    folder = Path(out)
    if not isinstance(models, Mapping):
        paths = paths_of(models)
        models = dict(zip(names_of_models(paths), paths, strict=True))
    values = {
        "models": {name: model_of(model, folder, name) for name, model in models.items()},
        "prompts": file_of(prompts, folder / "inputs" / "prompts.jsonl", "prompts"),
        "judge": dict(judge),
        "out": str(out),
    }
    _call("compare", {**settings, **values})
    return json.loads((folder / "comparison.json").read_text(encoding="utf-8"))


def run(recipe: str | Path, *changes: str, callbacks: Callbacks = ()) -> dict[str, Path]:
    """Does the stages of a recipe that are not done yet, after changes such as "stages.sft.optim.lr=1e-4". Returns the output of
    each stage."""
    from planish.pipeline.run import run_pipeline
    from planish.train.record import listening

    with listening(callbacks):
        return run_pipeline(recipe, changes).paths


def claims(action: str = "run", claim: str | Path | None = None, **settings: Any) -> Sequence[Any]:
    """Runs a claim, one of planish's or a YAML file of yours, with all its arms and seeds; or does another action of
    `planish claims`. Returns each claim with its `ledger`, whose `verdict` and `decisions` say what came out.

    >>> planish.claims("run", "my_claim.yaml", jobs=2)[0].ledger.verdict
    'reproduced'
    """
    from planish.experiments.command import ClaimsConfig
    from planish.experiments.command import claims as of_config

    given = {} if claim is None else {"claim": str(claim)}
    return of_config(load_config(ClaimsConfig, values={"action": action, **given, **settings}))


def report(*runs: Any, out: str | Path | None = None) -> Path:
    """Writes the page about runs, comparisons or pipelines; returns its path, by default report.html in the first folder."""
    if not runs:
        raise ConfigError("report: name at least one run")
    folders = paths_of(runs)
    page = Path(out) if out is not None else Path(folders[0]) / "report.html"
    _call("report", {"runs": folders, "out": str(page)})
    return page


def _train(
    command: str, model: Any, data: Any, out: str | Path, callbacks: Callbacks, settings: Mapping[str, Any]
) -> Run:
    from planish.train.record import listening

    folder = Path(out)
    values: dict[str, Any] = {**settings, "out": str(out)}
    for key, value in model_of(model, folder).items():
        values[f"model.{key}"] = value
    if data is not None:
        values["data.sources"] = sources_of(data, folder)
    with listening(callbacks):
        return Run(_call(command, values))


def _rows(
    command: str, out: str | Path | None, inputs: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Runs a command that writes a jsonl file, and reads it back."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        file = Path(out) if out is not None else folder / "out.jsonl"
        values = dict(settings)
        for name, given in inputs.items():
            models = name in ("model", "reward")
            values[name] = model_of(given, folder, name) if models else file_of(given, folder / f"{name}.jsonl", name)
        _call(command, {**values, "out": str(file)})
        return json_lines_in(file.read_text(encoding="utf-8"))


def _call(command: str, values: Mapping[str, Any]) -> Any:
    entry = COMMANDS[command]
    return entry.run(load_config(entry.load_config_class(), values=values))

"""A run's folder: settings, account of the data, metrics and samples. Whatever an unfinished run has not written is empty."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from planish.base.errors import RunError
from planish.base.files import read_lines
from planish.reports.read.files import as_object, read_object, read_text
from planish.statistics.estimate import Estimate, difference, wilson

HELD_OUT, ACCURACY, EVAL_SETS = "held_out/", "held_out_accuracy/", "eval_accuracy/"
ALL = "all"  # the sum over sources; no source can have this name
ALARM = "alarm/"

MOST_LISTED = 200  # rows left out that a page lists, for each source and reason; data.json has them all

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Held-out results after `step` steps.

    Losses are in nats per token, by source and for `all`; of a run on comparisons in nats per comparison, for `all` alone.
    Accuracies are the share of pairs in the annotators' order, by source and for `all`; `eval_sets` has the same share of
    further sets, measured before the first step and after the last.
    """

    step: int
    losses: dict[str, float]
    accuracies: dict[str, float]
    eval_sets: dict[str, float]

    @property
    def all(self) -> float:
        return self.losses.get(ALL, float("nan"))


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run's folder. The lines of metrics.jsonl are sorted by kind into `steps`, `evaluations` and so on."""

    path: Path
    settings: str  # the text of config.yaml
    config: dict[str, Any]
    data: dict[str, Any]  # an account of each source, from data.json
    steps: list[Line]
    evaluations: list[Measurement]
    samples: list[Line]
    kl_estimates: list[Line]  # DPO: KL to the reference
    finished: bool
    offset: float | None = None  # reward model: the constant subtracted from all scores
    loss: dict[str, Any] = field(default_factory=dict[str, Any])  # facts of a preference loss, from data.json
    # PPO alone
    prompts: dict[str, Any] = field(default_factory=dict[str, Any])  # an account of them, from data.json
    iterations: list[Line] = field(default_factory=list[Line])  # recorded after sampling
    held_out_scores: list[Line] = field(default_factory=list[Line])  # mean scores and lengths on held-out prompts
    alarms: list[Line] = field(default_factory=list[Line])  # those that held after an iteration

    @property
    def sources(self) -> list[str]:
        """The sources of rows; for PPO those of the pretraining documents."""
        rows = self.config.get("data") or self.config.get("pretraining") or {}
        return list(rows.get("sources", {}))

    @property
    def method(self) -> str:
        """The command, recognized by a setting that only it has."""
        own = {"rewards": "ppo", "centering": "reward", "loss": "dpo", "desirable_weight": "kto", "reduction": "sft"}
        return next((method for setting, method in own.items() if setting in self.config), "pretrain")

    @property
    def is_ppo(self) -> bool:
        return self.method == "ppo"

    @property
    def is_preference(self) -> bool:
        """True of a run that learns from comparisons."""
        return self.method in {"reward", "dpo"}

    @property
    def steps_per_iteration(self) -> int:
        """PPO: optimizer steps after each round of sampling."""
        return self.config["batch"]["epochs"] * self.config["batch"]["minibatches"]

    @property
    def planned_steps(self) -> int | None:
        """None while unknown: a run by epochs knows it once its data are read."""
        if self.is_ppo:
            return self.config["iterations"] * self.steps_per_iteration
        return self.config.get("steps")

    @property
    def unit(self) -> str:
        """The unit that held-out loss is a mean over."""
        return "comparison" if self.is_preference else "token"

    @property
    def time_unit(self) -> str:
        """The unit in which the page counts time, in figures, tables and sentences alike."""
        return "iteration" if self.is_ppo else "step"

    def time(self, step: float) -> float:
        """A step as a number of `time_unit`s."""
        return step / self.steps_per_iteration if self.is_ppo else step

    def moment(self, step: float) -> str:
        """ "step 120", or for PPO the iteration that it is in, "iteration 60"."""
        return f"iteration {math.ceil(self.time(step)):,}" if self.is_ppo else f"step {step:,}"

    @property
    def starts_at_zero(self) -> bool:
        """DPO: True if all implicit rewards are 0 before the first step, so that every pair is a tie."""
        return self.method == "dpo" and self.loss.get("zero_at_start", False) and not self.config.get("reference")

    def accuracy_change(self, source: str) -> Estimate | None:
        """From the first measurement to that of the saved model, with Wilson's intervals over comparisons; None without both."""
        shares = [measured.accuracies.get(source) for measured in (self.before, self.after) if measured]
        num = self.held_out(source)[0]
        if len(shares) < 2 or None in shares:
            return None
        first, last = (
            wilson(share * num, num) if num else Estimate(share, None, None, 0) for share in shares if share is not None
        )
        exact = self.starts_at_zero and first.value == 0.5
        return difference(Estimate(0.5, 0.5, 0.5, num) if exact else first, last)

    @property
    def last_step(self) -> int:
        lines = (*self.steps, *self.samples, *self.held_out_scores)
        seen = [line["step"] for line in lines] + [measured.step for measured in self.evaluations]
        return max(seen, default=0)

    @property
    def before(self) -> Measurement | None:
        return self.evaluations[0] if self.evaluations else None

    @property
    def after(self) -> Measurement | None:
        """The last measurement, or that of the saved model where the best is saved. None if measured only once."""
        later = self.evaluations[1:]
        if not later:
            return None
        if self.saves_best:
            return min(later, key=lambda measured: (measured.all, measured.step))
        return later[-1]

    @property
    def saves_best(self) -> bool:
        return self.finished and bool(self.config.get("save_best"))

    @property
    def seconds(self) -> float:
        """Time in steps, without loading, evaluations, checkpoints and completions sampled for show."""
        return sum(line.get("seconds", 0.0) for line in self.steps)

    @property
    def tokens(self) -> int:
        return round(sum(line.get("tokens", 0) for line in self.steps))

    @property
    def tokens_per_second(self) -> float | None:
        """The median over steps."""
        rates = [line["tokens"] / line["seconds"] for line in self.steps if line.get("seconds") and "tokens" in line]
        return statistics.median(rates) if rates else None

    def held_out(self, source: str) -> tuple[int, int]:
        """Rows and tokens that the held-out loss of `source`, or of `all`, is measured on; zeros while unknown."""
        names = self.sources if source == ALL else [source]
        accounts = [self.data[name]["held_out"] for name in names if name in self.data]
        return sum(part["examples"] for part in accounts), sum(part["learnt_tokens"] for part in accounts)


def read_run(path: Path) -> RecordedRun:
    if not path.is_dir():
        found = "is a file" if path.exists() else "there is no such folder"
        raise RunError(f"{path}: {found}; expected a run's folder, the one named by out=")
    settings = path / "config.yaml"
    if not settings.is_file():
        raise RunError(f"{path}: is not a run's folder: config.yaml is missing. Name the folder given as out=")
    text, account = read_text(settings), read_object(path / "data.json")
    lines, saved = read_lines(path / "metrics.jsonl"), path / "model" / "config.json"
    return RecordedRun(
        path=path,
        settings=text,
        config=_config(settings, text),
        data=as_object(account.get("sources")),
        steps=[line for line in lines if "loss" in line],
        evaluations=_evaluations(lines),
        samples=read_lines(path / "samples.jsonl"),
        kl_estimates=[line for line in lines if "kl_standard_error" in line],
        finished=saved.is_file(),
        offset=read_object(saved).get("score_offset"),
        loss=as_object(account.get("loss")),
        prompts=as_object(account.get("prompts")),
        iterations=[line for line in lines if "iteration" in line],
        held_out_scores=[line for line in lines if "held_out_tokens" in line],
        alarms=[line for line in lines if any(key.startswith(ALARM) for key in line)],
    )


def _evaluations(lines: list[Line]) -> list[Measurement]:
    def by_name(prefix: str, line: Line) -> dict[str, float]:
        return {key.removeprefix(prefix): value for key, value in line.items() if key.startswith(prefix)}

    measured = [
        Measurement(line["step"], by_name(HELD_OUT, line), by_name(ACCURACY, line), by_name(EVAL_SETS, line))
        for line in lines
    ]
    return [measurement for measurement in measured if measurement.losses]


def _config(path: Path, text: str) -> dict[str, Any]:
    try:
        config = as_object(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise RunError(f"{path}: not valid YAML: {error}") from None
    if not as_object(as_object(config.get("data")).get("sources")) and not as_object(config.get("rewards")):
        raise RunError(f"{path}: has neither data.sources nor rewards: these are not the settings of a planish run")
    return config

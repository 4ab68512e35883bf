"""Early stopping: a run ends where a measure has not become better for a while."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from planish.base.config import Config, Field
from planish.base.errors import ConfigError
from planish.base.notices import warn


class EarlyStoppingConfig(Config):
    measure: str = Field(
        default="held_out/all", description="name of a number in metrics.jsonl that is to become better"
    )
    patience: int = Field(default=3, ge=1, description="values in a row without a better one after which the run ends")
    higher: bool = Field(default=False, description="true: a higher value is better, as of an accuracy or a score")
    least: float = Field(default=0.0, ge=0, description="difference by which a value must be better to count as better")


class EarlyStopping:
    """A listener of a run's record. After a resume it is shown the lines that are there already.

    >>> stopping = EarlyStopping(EarlyStoppingConfig(patience=2))
    >>> [stopping({"step": step, "held_out/all": loss}) for step, loss in enumerate([3.0, 2.0, 2.5, 2.0])]
    [True, True, True, False]
    """

    def __init__(self, config: EarlyStoppingConfig) -> None:
        self.config = config
        self.best: float | None = None
        self.step = self.since = 0  # of the best value, and the values since
        self._seen: dict[str, None] = {}

    def __call__(self, line: Mapping[str, float]) -> bool:
        """False once patience is over."""
        config, name = self.config, self.config.measure
        self._seen |= dict.fromkeys(line)
        if "loss" in line and name not in self._seen:  # the first step: all that is measured has been measured once
            raise ConfigError(
                f"early_stopping.measure={name}: is not recorded. {_near(name, [*self._seen])}; docs/runs.md lists what is"
            )
        if name not in line:
            return self.since < config.patience
        sign = 1 if config.higher else -1
        if self.best is None or sign * (line[name] - self.best) > config.least:
            self.best, self.step, self.since = line[name], int(line["step"]), 0
        else:
            self.since += 1
            if self.since == config.patience:
                warn(
                    f"the run ends: {name} has not become better in {config.patience} measurements; the best was "
                    f"{self.best:.4g}, at step {self.step:,}"
                )
        return self.since < config.patience


def _near(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {near[0]}?" if near else f"Recorded are {', '.join(name for name in names if name != 'step')}"

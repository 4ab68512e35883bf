"""The sections of several runs: results of each kind in one table and on the same axes, and where settings differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planish.base.config import flat
from planish.reports.figures.base import Figure
from planish.reports.figures.ppo_shared import shared_figures
from planish.reports.figures.training import losses_figure
from planish.reports.pages.run import HeldOutRow, held_out_row
from planish.reports.read.run import ALL, RecordedRun
from planish.reports.text import same_rows

Named = Sequence[tuple[RecordedRun, str]]


@dataclass(frozen=True, slots=True)
class RunsSection:
    """Runs with the same unit of held-out loss. Those of PPO have no table here: their scores are in the overview."""

    names: list[str]
    rows: list[HeldOutRow]
    unit: str
    is_ppo: bool
    warning: str | None
    figures: dict[str, Figure]  # by the id of its place on the page


@dataclass(frozen=True, slots=True)
class Differences:
    """The settings in which runs of one method differ; a value for each run."""

    method: str
    names: list[str]
    rows: list[tuple[str, list[Any]]]


def runs_sections(runs: Named) -> list[RunsSection]:
    """One for each kind of run that occurs more than once."""
    sections: list[RunsSection] = []
    for kind in dict.fromkeys((run.unit, run.is_ppo) for run, _ in runs):
        alike = [run for run, _ in runs if (run.unit, run.is_ppo) == kind]
        names = [name for run, name in runs if (run.unit, run.is_ppo) == kind]
        if len(alike) < 2:
            continue
        unit, is_ppo = kind
        losses = losses_figure(alike, names)
        figures = shared_figures(alike, names) if is_ppo else {"losses": losses} if losses else {}
        place = f"runs-{len(sections)}"
        sections.append(
            RunsSection(
                names,
                [held_out_row(run, ALL) for run in alike],
                unit,
                is_ppo,
                None if is_ppo else same_rows(alike),
                {f"{place}-{name}": figure for name, figure in figures.items()},
            )
        )
    return sections


def differences(runs: Named) -> list[Differences]:
    """For each method with several runs."""
    by_method: list[Differences] = []
    for method in dict.fromkeys(run.method for run, _ in runs):
        configs = [flat(run.config) for run, _ in runs if run.method == method]
        if len(configs) > 1:
            keys = [key for key in dict.fromkeys(key for config in configs for key in config) if key != "out"]
            differing = [key for key in keys if any(config.get(key) != configs[0].get(key) for config in configs)]
            rows = [(key, ["–" if config.get(key) is None else config[key] for config in configs]) for key in differing]
            by_method.append(Differences(method, [name for run, name in runs if run.method == method], rows))
    return by_method

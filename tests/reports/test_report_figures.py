"""Every figure of every kind of page: Plotly draws it, and its legend is in the order of its traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planish.reports.figures.base import step_curves, thinned
from planish.reports.figures.ppo_shared import shared_figures
from planish.reports.pages.comparison import comparison_section
from planish.reports.read.run import read_run
from planish.reports.series import Records
from planish.statistics.ranking import ranking, write_ranking
from support.comparison_folders import compared, system, within
from support.pages import check_figures, section_of
from support.run_folders import (
    METRICS,
    a_dpo_run,
    a_ppo_run,
    a_reward_run,
    a_run,
    dpo_step,
    held_out_scores,
    lines,
    many_iterations,
    step,
    with_documents,
)
from support.scored_pairs import some_pairs

LONG_DPO: list[dict[str, Any]] = [dpo_step(i + 1, 0.1, -0.1) for i in range(60)]
LONG_PPO: list[dict[str, Any]] = [held_out_scores(0, 0, 0), *many_iterations(60, [0.1] * 60)]
MAKE = {
    "sft": a_run,
    "sft, 60 steps": lambda at: a_run(
        at, {"metrics.jsonl": lines([*METRICS[:1], *(step(i + 1, 2.0) for i in range(60))])}
    ),
    "reward": a_reward_run,
    "dpo": a_dpo_run,
    "dpo, 60 steps": lambda at: a_dpo_run(at, LONG_DPO),
    "ppo": a_ppo_run,
    "ppo, 60 iterations": lambda at: a_ppo_run(at, LONG_PPO, kl={"target": 6.0}),
    "ppo-ptx": lambda at: with_documents(at, 2.0, 2.1),
}
COUNT = {
    "sft": 3,
    "sft, 60 steps": 2,
    "reward": 3,
    "dpo": 7,
    "dpo, 60 steps": 5,
    "ppo": 6,
    "ppo, 60 iterations": 6,
    "ppo-ptx": 7,
}


@pytest.mark.parametrize("name", MAKE)
def test_figures_of_a_run(tmp_path: Path, name: str) -> None:
    figures = section_of(MAKE[name](tmp_path / "run")).all_figures
    assert len(figures) == COUNT[name]
    check_figures(figures.values())


def test_figures_of_a_ranking(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    sure = {"p": (0.9,)}
    measured = (
        (0, "held_out", some_pairs(10, 10, **sure)),
        (2, "held_out", some_pairs(15, 5, **sure)),
        (2, "far", some_pairs(3, 1)),
    )
    for at, name, rows in measured:
        write_ranking(run / "ranking.json", at, name, ranking(rows, draws=50))
    section = section_of(run).ranking
    assert section is not None
    assert list(section.figures) == ["run-0-accuracy", "run-0-calibration", "run-0-length"]
    check_figures(section.figures.values())


def test_figures_of_a_comparison(tmp_path: Path) -> None:
    systems = system("sft", kl=within(0.0, 0.0)), system("ppo", 0.62, 0.5, kl=within(8.5, 0.4)), system("dpo", 0.4)
    figures = comparison_section(compared(tmp_path, *systems), "c").figures
    assert list(figures) == ["c-wins", "c-length", "c-frontier"]
    check_figures(figures.values())


def test_figures_of_several_ppo_runs(tmp_path: Path) -> None:
    folders = with_documents(tmp_path / "ptx", 2.0, 2.1), with_documents(tmp_path / "ppo", 2.0, 2.5)
    long = a_ppo_run(tmp_path / "long", LONG_PPO)
    figures = shared_figures([read_run(folder) for folder in (*folders, long)], ["ptx", "ppo", "long"])
    assert list(figures) == ["scores", "frontier", "forgetting"]
    check_figures(figures.values())


def test_long_curve_is_thinned_after_its_mean_is_taken() -> None:
    records = Records([{"step": i, "loss": float(i % 2)} for i in range(7000)])
    single, mean = step_curves(records, records.column("loss"))
    assert single["x"] == list(range(0, 7000, 3))
    assert single["y"][:4] == [0.0, 1.0, 0.0, 1.0]
    assert mean["y"][-1] == pytest.approx(0.5)
    assert thinned(7000) == " One point in 3 is drawn."
    assert thinned(3000) == ""

"""Measures of files written by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import RunError
from planish.experiments.claim import MeasureConfig
from planish.experiments.measures import measured
from planish.statistics.paired import Values


def write(path: Path, lines: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def of(path: Path, **measure: Any) -> list[float]:
    return [*values(path, **measure).values()]


def values(path: Path, **measure: Any) -> Values:
    return measured({"first": Path("none"), "stage": path}, MeasureConfig(**measure))


def test_answers_of_a_comparison_are_means_by_prompt(tmp_path: Path) -> None:
    def line(prompt: str, *outcomes: float) -> dict[str, Any]:
        answers = [{"outcome": outcome, "score": 2 * outcome, "tokens": 3} for outcome in outcomes]
        return {"prompt": prompt, "answers": {"ppo": answers}}

    write(tmp_path / "answers.jsonl", [line("p", 1, 0.5), line("q", 0, 0), line("p", 0, 0.5)])
    assert of(tmp_path, of="wins", system="ppo") == [0.5, 0]  # a prompt that comes twice counts once
    assert of(tmp_path, of="score", system="ppo", stage="stage") == [1, 0]
    with pytest.raises(RunError, match="holds nothing for the measure kl"):
        of(tmp_path, of="kl", system="ppo")


def test_metrics_are_the_last_and_the_late_change(tmp_path: Path) -> None:
    lines = [{"step": i, "gold": value} for i, value in enumerate([0, 1, 3, 5, 4, 4, 2, 1.0])] + [
        {"step": 8, "loss": 1.0}
    ]
    write(tmp_path / "metrics.jsonl", lines)
    assert of(tmp_path, of="metric", field="gold") == [1.0]
    assert of(tmp_path, of="late_change", field="gold") == [1.5 - 4]  # quarters of two: (2 + 1) / 2 less (3 + 5) / 2
    with pytest.raises(RunError, match="no line has golden"):
        of(tmp_path, of="metric", field="golden")


def test_fields_of_lines_are_means_by_prompt(tmp_path: Path) -> None:
    file = write(
        tmp_path / "x.jsonl",
        [{"prompt": "p", "about": {"score": n}} for n in (1, 2)] + [{"prompt": "q", "about": {"score": 5}}],
    )
    assert of(file, of="field", field="about.score") == [1.5, 5]


def test_scores_of_rankings_have_a_loss_and_an_accuracy(tmp_path: Path) -> None:
    # pairs of p: (a, b) right by 1, (a, c) tied in rank, (c, b) wrong by 1; q is scored equal
    rows = [
        {"prompt": "p", "ranks": [0, 1, 0], "scores": [1.0, 0.0, -1.0]},
        {"prompt": "q", "ranks": [0, 1], "scores": [2.0, 2.0]},
    ]
    file = write(tmp_path / "x.jsonl", rows)
    assert of(file, of="accuracy") == [0.5, 0.5]
    right, wrong = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
    assert of(file, of="log_loss") == [pytest.approx((right + wrong) / 2), pytest.approx(math.log(2))]


def test_a_function_of_yours_gets_all_outputs(tmp_path: Path) -> None:
    assert values(tmp_path, of="support.claims:seen") == {"first": 1.0, "stage": 1.0}
    with pytest.raises(RunError, match=r"support\.claims:wrong: returned seven, expected a number"):
        values(tmp_path, of="support.claims:wrong")

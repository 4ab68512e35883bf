"""Measures of files written by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import RunError
from planish.experiments.claim import MeasureConfig
from planish.experiments.measures import measured
from planish.statistics.paired import Values
from planish.statistics.refusal_result import LabelledRequest, RefusalResult, system_of


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


def test_the_bend_of_a_run_is_that_of_its_curve(tmp_path: Path) -> None:
    kls = [0.0, 0.5, 2.0, 4.5, 8.0]  # of the policy that the iteration began with
    iterations = [{"step": i + 1, "iteration": i, "kl": kl} for i, kl in enumerate(kls)]
    gold = [0.2 + kl**0.5 * (1.5 - 0.4 * math.log(kl**0.5)) if kl else 0.2 for kl in kls]
    held_out = [{"step": i, "held_out_score/gold": value} for i, value in enumerate(gold)]
    write(tmp_path / "metrics.jsonl", [*iterations, *held_out])
    assert of(tmp_path, of="bend", field="held_out_score/gold") == [pytest.approx(0.4)]


def test_the_best_of_many_is_compared_with_the_best_of_few_by_prompt(tmp_path: Path) -> None:
    def line(prompt: str, i: int, utility: float) -> dict[str, Any]:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": str(i)}]
        return {"messages": turns, "score": float(i), "utility": utility}

    lines = [line("falls", i, -float(i == 255)) for i in range(256)] + [line("same", i, 2.0) for i in range(256)]
    file = write(tmp_path / "judged.jsonl", lines)
    assert of(file, of="best_of") == [pytest.approx(-1 + 16 / 256), pytest.approx(0, abs=1e-9)]


def test_refusals_are_rates_by_prompt_and_signal_detection_over_all(tmp_path: Path) -> None:
    labels = [(True, "full_compliance"), (True, "full_refusal"), (False, "partial_refusal"), (False, "full_compliance")]
    lines = [
        {"system": "sft", "prompt": str(i), "unsafe": unsafe, "groups": [], "pairs": [], "answer": "", "label": label}
        for i, (unsafe, label) in enumerate([*labels, (True, None)])
    ]
    write(tmp_path / "answers.jsonl", lines)
    assert of(tmp_path, of="refusals", field="violations") == [1, 0]
    assert of(tmp_path, of="refusals", field="false_refusals") == [1, 0]
    answers = [LabelledRequest(unsafe, (), (), label) for unsafe, label in labels]
    result = RefusalResult([], {}, None, None, [system_of("sft", "runs/sft", None, answers)])
    (tmp_path / "refusals.json").write_text(json.dumps(asdict(result)))
    assert of(tmp_path, of="refusals", field="d_prime") == [0]
    with pytest.raises(RunError, match="holds no helpfulness of refusals"):
        of(tmp_path, of="refusals", field="helpfulness")
    with pytest.raises(RunError, match="holds no mood of refusals"):
        of(tmp_path, of="refusals", field="mood")


def test_outcomes_and_references_are_shares_by_prompt(tmp_path: Path) -> None:
    told = [
        {"prompt": "p", "outcome": "wrong"},
        {"prompt": "q", "outcome": "correct"},
        {"prompt": "q", "outcome": "wrong"},
    ]
    file = write(tmp_path / "answered.jsonl", told)
    assert of(file, of="outcome", field="wrong") == [1, 0.5]
    lines = [
        {
            "messages": [{"content": "p"}, {"content": "x"}],
            "references": [{"outcome": "exact"}, {"outcome": "fabricated"}],
        },
        {"messages": [{"content": "q"}, {"content": "y"}], "references": []},
    ]
    cited = write(tmp_path / "cited.jsonl", lines)
    assert of(cited, of="references", field="fabricated") == [1, 0]
    assert of(cited, of="references", field="altered") == [0, 0]
    assert of(cited, of="references", field="any") == [1, 0]

"""The page of policies that learn from their own completions, from small run folders written out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from planish.reports.figures.ppo import ppo_figures
from planish.reports.figures.ppo_shared import shared_figures
from planish.reports.pages.ppo import PpoSection, alarms_of
from planish.reports.read.ppo import gradient_ratio, times_of
from planish.reports.read.run import read_run
from support.pages import curves, page_of, section_of
from support.run_folders import (
    PPO,
    PPO_METRICS,
    a_completion,
    a_ppo_run,
    an_iteration,
    lines,
    many_iterations,
    ppo_step,
    with_documents,
)


def ppo_section_of(run: Path) -> PpoSection:
    section = section_of(run).ppo
    assert section is not None
    return section


# Numbers and sentences


def test_outcome_has_every_score_and_the_kl(tmp_path: Path) -> None:
    section = section_of(a_ppo_run(tmp_path / "ppo"))
    assert section.title == "PPO of sft, trained on the score “preference”"
    assert (
        "preference went from 0.50 to 1.50; gold (only watched) went from 0.40 to 0.20 (first and last iteration)"
        in section.outcome
    )
    assert "4.00 nats per completion" in section.outcome
    assert "On held-out prompts preference went from 0.50 to 1.25." in section.outcome
    assert (
        section.trained == "All weights trained for 4 steps in 2 iterations and 8 s, on 16 completions to 90 prompts."
    )


def test_held_out_prompts_have_scores_before_and_after(tmp_path: Path) -> None:
    run = a_ppo_run(tmp_path / "ppo")
    rows = [(row.name, row.before, row.after, row.change) for row in ppo_section_of(run).held_out]
    assert rows == [
        ("preference", "0.50", "1.25", "+0.75"),
        ("gold (only watched)", "0.40", "0.30", "−0.10"),
        ("tokens", "10.0", "10.0", "0.0"),
        ("cut at the limit", "25.0%", "25.0%", "0.0 points"),
    ]
    assert "Means over 2 prompts, one completion each, sampled at temperature 1" in ppo_section_of(run).held_out_says
    assert page_of(run).rows("Held-out prompts")["preference"] == ["0.50", "1.25", "+0.75", "–"]


def test_prompts_are_accounted_for(tmp_path: Path) -> None:
    run = a_ppo_run(tmp_path / "ppo")
    assert ppo_section_of(run).prompts == [("train", 90, 2)]
    ((kind, num, _),) = ppo_section_of(run).left_out
    assert (kind, num) == ("dropped", 1)
    assert page_of(run).rows("Prompts")["train"] == ["90", "2"]
    assert "prompts.jsonl row 5: no room for a completion" in page_of(run).text


def test_completions_are_side_by_side_with_their_scores(tmp_path: Path) -> None:
    text = page_of(a_ppo_run(tmp_path / "ppo")).text
    assert "A cat. Ended by itself. Score: preference +0.50." in text
    assert "A very fine cat. Ended by itself. Score: preference +1.25." in text
    assert "Reference" not in text


def test_ptx_has_a_table_of_its_documents_and_is_named_so(tmp_path: Path) -> None:
    run = with_documents(tmp_path / "ptx", 2.0, 2.1)
    assert section_of(run).title == "PPO-ptx of sft, trained on the score “preference”"
    assert page_of(run).rows("Held-out pretraining loss by source")["web"][:3] == ["2.000", "2.100", "+0.100"]
    assert "rose from 2.000 to 2.100 nats per token" in ppo_figures(read_run(run))["pretraining"].says


def test_documents_that_are_only_measured_make_no_ptx(tmp_path: Path) -> None:
    run = with_documents(tmp_path / "ppo", 2.0, 2.1, ptx={"gamma": 0.0, "examples": 4})
    assert section_of(run).title == "PPO of sft, trained on the score “preference”"


def test_run_in_its_first_iteration_has_a_page(tmp_path: Path) -> None:
    run = a_ppo_run(tmp_path / "ppo", PPO_METRICS[:2])
    (run / "model" / "config.json").unlink()
    (run / "samples.jsonl").write_text(lines([a_completion(0, "A cat.", 0.5)]))
    assert "iteration 0 of 2" in section_of(run).notes[0]
    assert ppo_section_of(run).figures == {}
    assert [row.after for row in ppo_section_of(run).held_out] == ["–"] * 4
    assert "Curves need two iterations; there is one." in page_of(run).text


def test_run_with_nothing_but_settings_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(PPO))
    section = ppo_section_of(tmp_path)
    assert (section.held_out, section.figures, section.times, section.prompts) == ([], {}, [], [])
    assert "No iteration has been recorded yet." in page_of(tmp_path).text


# Alarms and time


def test_alarm_has_the_reason_of_its_first_time(tmp_path: Path) -> None:
    """The KL is above 5 after the second iteration, 6 nats, and below again after the third."""
    iterations = [an_iteration(i, 1.0, 1.0, kl) for i, kl in enumerate((1.0, 6.0, 2.0))]
    steps = [ppo_step(number) for number in range(1, 7)]
    metrics = sorted([*iterations, *steps, {"step": 4, "alarm/kl": 1.0}], key=lambda line: line["step"])
    run = a_ppo_run(tmp_path / "ppo", metrics)
    (alarm,) = alarms_of(read_run(run))
    assert (alarm.name, alarm.since, alarm.holds) == ("kl", 2, False)
    assert "6.0 nats" in alarm.why
    assert "1 alarm After iteration 2, but no longer at the end: " in page_of(run).text


def test_without_alarms_there_is_no_box(tmp_path: Path) -> None:
    assert 'class="alarm"' not in page_of(a_ppo_run(tmp_path / "ppo")).html


def test_time_beyond_the_recorded_parts_is_learning(tmp_path: Path) -> None:
    """Steps take 3 + 1 + 3 + 1 = 8 seconds; the parts of two iterations 2 + 1 + 1 of them."""
    times = {time.name: (time.seconds, time.share) for time in times_of(read_run(a_ppo_run(tmp_path / "ppo")))}
    assert times == {
        "sampling": (2.0, 0.25),
        "log-probabilities": (1.0, 0.125),
        "scoring": (1.0, 0.125),
        "learning": (4.0, 0.5),
    }
    assert page_of(tmp_path / "ppo").rows("Time by part")["learning"][:2] == ["4 s", "50%"]


# Figures


def test_scores_are_drawn_in_training_and_on_held_out_prompts(tmp_path: Path) -> None:
    figure = ppo_figures(read_run(a_ppo_run(tmp_path / "ppo")))["scores"]
    assert [panel.title for panel in figure.panels] == ["preference, trained on", "gold, only watched"]
    assert curves(figure, 0) == {"each iteration": [0.5, 1.5], "held-out prompts": [0.5, 1.25]}
    assert figure.panels[0].traces[1]["x"] == [0.0, 2.0]  # steps 0 and 4, two to an iteration


def test_proxy_and_gold_are_drawn_over_root_kl(tmp_path: Path) -> None:
    figure = ppo_figures(read_run(a_ppo_run(tmp_path / "ppo")))["overoptimization"]
    assert [(trace["name"], trace["x"], trace["y"]) for trace in figure.panels[0].traces] == [
        ("preference", [0.0, 2.0], [0.5, 1.5]),
        ("gold", [0.0, 2.0], [0.4, pytest.approx(0.2)]),
    ]
    assert "gold +0.40 at √KL 0.00, ending at +0.20 at √KL 2.00" in figure.says


def test_single_points_are_light_and_means_dark(tmp_path: Path) -> None:
    run = read_run(a_ppo_run(tmp_path / "ppo", many_iterations(20, [0.0] * 20)))
    single, mean = ppo_figures(run)["distance"].panels[0].traces
    assert (single["mode"], single["opacity"], mean["mode"]) == ("markers", 0.75, "lines")
    assert mean["y"][:2] == [0.0, 0.125]  # 0, then the mean of 0 and 0.25


def test_every_figure_counts_time_in_iterations(tmp_path: Path) -> None:
    figures = ppo_figures(read_run(with_documents(tmp_path / "ptx", 2.0, 2.1)))
    over_time = [panel for name, figure in figures.items() if name != "overoptimization" for panel in figure.panels]
    assert {panel.over for panel in over_time} == {"by iteration"}
    assert (
        max(x for panel in over_time for trace in panel.traces for x in trace["x"]) == 2.0
    )  # four steps, two to an iteration
    assert "step" not in figures["pretraining"].says


def test_held_out_scores_have_an_interval_where_standard_errors_were_recorded(tmp_path: Path) -> None:
    """1.96 * sqrt(0.1^2 + 0.1^2) = 0.277."""
    errors = {"held_out_score_standard_error/preference": 0.1, "held_out_tokens_standard_error": 0.1}
    measured = [{**line, **errors} if "held_out_tokens" in line else line for line in PPO_METRICS]
    run = a_ppo_run(tmp_path / "ppo", measured)
    assert page_of(run).rows("Held-out prompts")["preference"] == ["0.50", "1.25", "+0.75", "+0.47 to +1.03"]
    assert "preference rose from 0.50 to 1.25 (+0.75, 95% interval +0.47 to +1.03)" in section_of(run).outcome
    held_out = ppo_figures(read_run(run))["scores"].panels[0].traces[-1]
    assert held_out["error_y"]["array"] == [pytest.approx(0.196), pytest.approx(0.196)]


def test_runs_of_different_lengths_are_averaged_alike(tmp_path: Path) -> None:
    names, sizes = ["long", "short"], (60, 8)
    folders = [
        a_ppo_run(tmp_path / name, many_iterations(size, [0.1] * size)) for name, size in zip(names, sizes, strict=True)
    ]
    figures = shared_figures([read_run(folder) for folder in folders], names)
    traces = figures["scores"].panels[0].traces
    assert [trace["mode"] for trace in traces] == ["lines", "lines"]
    assert "means of the last 6 iterations" in figures["scores"].made


def test_one_step_an_iteration_leaves_nothing_to_clip(tmp_path: Path) -> None:
    run = a_ppo_run(tmp_path / "ppo", batch={"prompts": 8, "completions": 1, "epochs": 1, "minibatches": 1})
    assert "with one step per iteration the ratio is always 1" in ppo_figures(read_run(run))["updates"].says


def test_updates_have_the_mean_of_an_iteration_s_steps(tmp_path: Path) -> None:
    figure = ppo_figures(read_run(with_documents(tmp_path / "ptx", 2.0, 2.1)))["updates"]
    assert [panel.traces[0]["y"] for panel in figure.panels] == [[0.1, 0.1], [0.5, 0.5], [2.0, 2.0]]
    assert figure.says.startswith("10.0% of tokens were clipped")
    assert "2 times that of the scores" in figure.says


def test_groups_without_spread_and_completions_that_a_reward_model_cuts_are_drawn(tmp_path: Path) -> None:
    shares = {"flat_groups": 0.25, "truncated/gold": 0.5}
    metrics = [{**line, **shares} if "iteration" in line else line for line in PPO_METRICS]
    figure = ppo_figures(read_run(a_ppo_run(tmp_path / "grpo", metrics)))["completions"]
    assert {panel.title: panel.traces[0]["y"] for panel in figure.panels[2:]} == {
        "Prompts whose completions all score the same": [0.25, 0.25],
        "Too long for gold": [0.5, 0.5],
    }
    assert "the share of prompts whose completions all have the same score stayed at 25.0%" in figure.says
    plain = ppo_figures(read_run(a_ppo_run(tmp_path / "ppo")))["completions"]
    assert len(plain.panels) == 2


def test_ratio_of_gradients_is_that_of_their_norms() -> None:
    assert gradient_ratio({"own_grad_norm": 0.5, "ptx/grad_norm": 1.0}) == 2.0
    assert gradient_ratio({"grad_norm": 0.5}) is None


def test_ppo_and_ppo_ptx_share_axes(tmp_path: Path) -> None:
    plain = with_documents(tmp_path / "ppo", 2.0, 2.5, ptx={"gamma": 0.0, "examples": 4})
    folders = plain, with_documents(tmp_path / "ptx", 2.0, 2.1)
    figures = shared_figures([read_run(folder) for folder in folders], ["ppo", "ptx"])
    assert curves(figures["forgetting"]) == {"ppo": [2.0, 2.5], "ptx": [2.0, 2.1]}
    assert [trace["x"] for trace in figures["forgetting"].panels[0].traces] == [[0.0, 2.0], [0.0, 2.0]]
    assert "ppo rose from 2.000 to 2.500 (γ = 0); ptx rose from 2.000 to 2.100 (γ = 27.8)" in figures["forgetting"].says
    assert "ppo +1.50 at a KL of 4.00 nats; ptx +1.50 at a KL of 4.00 nats" in figures["scores"].says
    page = page_of(*folders)
    assert {"Scores and KL by run", "Held-out pretraining loss by run"} <= set(page.headings)
    assert "Results: held-out loss" not in page.headings  # the scores are in the overview

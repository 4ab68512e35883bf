"""The page of a run on comparisons, a reward model or DPO, from small run folders written out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import yaml

from planish.methods.preference_losses import LossFacts, PreferenceLoss
from planish.reports.figures.base import Figure
from planish.reports.figures.preference import likelihood_text
from planish.reports.figures.training import losses_figure
from planish.reports.pages.runs import runs_sections
from planish.reports.read.run import read_run
from planish.reports.text import CHANCE
from planish.statistics.ranking import ranking, write_ranking
from support.pages import curves, page_of, section_of
from support.run_folders import (
    DPO,
    DPO_METRICS,
    PAIRS_AFTER,
    PAIRS_BEFORE,
    REWARD,
    a_dpo_run,
    a_preference_run,
    a_reward_run,
    a_run,
    an_early_run,
    answer,
    dpo_step,
    lines,
    pair_evaluation,
    reward_step,
)
from support.scored_pairs import some_pairs


def figures_of(run: Path) -> dict[str, Figure]:
    return {figure.title: figure for figure in section_of(run).figures.values()}


# Numbers and sentences


def test_outcome_has_loss_and_accuracy_with_those_of_guessing(tmp_path: Path) -> None:
    section = section_of(a_reward_run(tmp_path / "run"))
    assert section.title == "Reward model from smollm2 on alpaca and code"
    assert "fell from 0.690 to 0.600 nats per comparison (guessing gives 0.693)" in section.outcome  # ln 2
    assert (
        "Accuracy went from 55.0% to 62.5% (+7.5 points, 95% interval −12.4 to +26.6: no significant" in section.outcome
    )
    assert "It did not change significantly in any of the 2 sources." in section.outcome


def test_table_shows_accuracy_of_each_source_and_of_further_sets(tmp_path: Path) -> None:
    run = a_reward_run(tmp_path / "run")
    rows = page_of(run).rows("Held-out accuracy by source")
    assert rows["alpaca"] == ["50.0%", "70.0%", "+20.0", "−1.4 to +39.0", "40"]
    assert rows["code"] == ["60.0%", "55.0%", "−5.0", "−50.0 to +43.0", "5"]
    assert rows["all sources"] == ["55.0%", "62.5%", "+7.5", "−12.4 to +26.6", "45"]
    assert rows["far"] == ["50.0%", "62.5%", "+12.5", "–", "–"]
    assert section_of(run).few == ["code"]
    assert "Perplexity" not in page_of(run).text
    assert "per token" not in page_of(run).text


def test_further_set_has_the_number_of_comparisons_in_its_ranking(tmp_path: Path) -> None:
    run = a_reward_run(tmp_path / "run")
    for name, rows in (("held_out", some_pairs(8, 0)), ("far", some_pairs(5, 0))):
        write_ranking(run / "ranking.json", 2, name, ranking(rows, draws=10))
    (row,) = section_of(run).eval_sets
    assert (row.name, row.rows) == ("far", 5)


def test_further_set_has_a_step_of_its_own_where_another_model_is_saved(tmp_path: Path) -> None:
    metrics = [PAIRS_BEFORE, reward_step(1, 0.7), pair_evaluation(1, 0.5, 0.8, 0.8), reward_step(2, 0.7), PAIRS_AFTER]
    run = a_preference_run(tmp_path / "run", {**REWARD, "save_best": True}, metrics)
    (row,) = section_of(run).eval_sets
    assert (row.right_before, row.right_after, row.step) == (0.5, 0.625, 2)
    assert section_of(run).total.right_after == 0.8  # of the saved model, at step 1
    assert "Before is step 0, after is step 1, for far step 2." in page_of(run).text


def test_data_are_counted_in_comparisons(tmp_path: Path) -> None:
    page = page_of(a_reward_run(tmp_path / "run"))
    units = ["comparisons", "tokens", "in answers", "comparisons", "in answers", "dropped", "truncated"]
    assert page.tables["Data"][0][1] == units
    assert page.rows("Data")["alpaca"][:4] == ["1,000", "20,000", "12,345", "40"]


def test_each_method_is_repeated_by_its_own_command(tmp_path: Path) -> None:
    for method, run in (("reward", a_reward_run(tmp_path / "rm")), ("dpo", a_dpo_run(tmp_path / "dpo"))):
        assert section_of(run).command == f"planish {method} {run}/config.yaml out={run}-again"


def test_reward_model_has_no_answers_and_dpo_has(tmp_path: Path) -> None:
    assert "Answers before and after" not in page_of(a_reward_run(tmp_path / "rm")).headings
    page = page_of(a_dpo_run(tmp_path / "dpo"))
    assert "Answers before and after" in page.headings
    assert "After, step 2 Yes. Ended by itself. Ranked first by annotators Yes, it is." in page.text


def test_title_names_the_loss(tmp_path: Path) -> None:
    simpo = a_dpo_run(tmp_path / "simpo", loss={"name": "simpo", "beta": 2.0, "gamma": 1.0})
    assert section_of(simpo).title == "Simple preference optimization (SimPO) of smollm2 on alpaca and code"


def test_every_loss_has_a_title_and_a_reward() -> None:
    union, *_ = get_args(PreferenceLoss)
    facts = [loss.facts for loss in get_args(union)]
    assert all(loss.title and loss.reward != LossFacts().reward for loss in facts)


def test_a_loss_without_facts_goes_by_its_name(tmp_path: Path) -> None:
    """A run that was killed before data.json was written."""
    run = a_preference_run(tmp_path / "dpo", {**DPO, "loss": {"name": "my_loss:Hinge", "beta": 0.1}}, DPO_METRICS)
    assert section_of(run).title == "my_loss:Hinge of smollm2 on alpaca and code"


def test_implicit_reward_has_its_settings(tmp_path: Path) -> None:
    section = section_of(a_dpo_run(tmp_path / "dpo"))
    assert (section.implicit_reward, section.starts_at_zero) == ("β ln(policy/reference), β = 0.1", True)
    mean = section_of(a_dpo_run(tmp_path / "ipo", loss={"name": "ipo", "tau": 0.2, "logratio": "mean"}))
    assert (mean.implicit_reward, mean.starts_at_zero) == ("τ ln(policy/reference) per token, τ = 0.2", True)
    assert section_of(a_reward_run(tmp_path / "rm")).implicit_reward is None


def test_implicit_reward_starts_at_zero_only_where_the_policy_is_the_reference(tmp_path: Path) -> None:
    simpo = a_dpo_run(tmp_path / "simpo", loss={"name": "simpo", "beta": 2.0, "gamma": 1.0})
    other = a_dpo_run(tmp_path / "other", reference="models/other")
    assert not section_of(simpo).starts_at_zero
    assert not section_of(other).starts_at_zero


@pytest.mark.parametrize(
    ("chosen", "rejected", "words"),
    [
        (
            -1.0,
            -3.0,
            ["1.00 nats less likely than under the reference", "rejected ones 3.00 nats less likely", "Both can fall"],
        ),
        (0.5, -0.25, ["chosen answers were 0.50 nats more likely than", "rejected ones 0.25 nats less likely"]),
        (3.0, 0.0, ["chosen answers were 3.00 nats more likely than", "rejected ones as likely"]),
    ],
)
def test_sentence_on_both_log_probabilities(chosen: float, rejected: float, words: list[str]) -> None:
    sentence = likelihood_text(chosen, rejected, "At the last step")
    places = [sentence.index(word) for word in words]
    assert places == sorted(places)
    assert ("Both can fall" in sentence) == (chosen < 0 and rejected < 0)


def test_empty_answers_are_named_as_such(tmp_path: Path) -> None:
    run = a_dpo_run(tmp_path / "run")
    (run / "samples.jsonl").write_text(lines([answer(0, "\n\n\n"), answer(2, "")]))
    text = page_of(run).text
    assert "Before, step 0 white space only" in text
    assert "After, step 2 an empty answer" in text


# Figures


def test_curves_of_a_reward_model(tmp_path: Path) -> None:
    figures = figures_of(a_reward_run(tmp_path / "run"))
    sources = figures["Held-out accuracy by source"]
    shares = {"alpaca": [0.5, 0.7], "code": [0.6, 0.55], "all sources": [0.55, 0.625]}
    assert curves(sources) == {name: pytest.approx(values) for name, values in shares.items()}
    assert "from 55.0% (code) to 70.0% (alpaca)" in sources.says
    learning = figures["Training loss, accuracy and margin"]
    assert [curves(learning, i)["each step"] for i in range(4)] == [[0.7, 0.5], [0.75] * 2, [0.0, 0.4], [-0.2] * 2]
    assert "from 0.700 to 0.500, accuracy from 75.0% to 75.0% and the margin from 0.000 to +0.400" in learning.says


def test_curves_of_dpo(tmp_path: Path) -> None:
    figures = figures_of(a_dpo_run(tmp_path / "run"))
    likelihood = figures["Likelihood of chosen and rejected answers"]
    assert curves(likelihood, 0) == {"chosen": [-20.0, -21.0], "rejected": [-30.0, -33.0]}
    assert curves(likelihood, 1) == {"chosen": [0.0, -1.0], "rejected": [0.0, -3.0]}
    accuracies = figures["Training accuracy"]
    assert list(curves(accuracies).values()) == [[0.0, 1.0], [0.75, 0.75]]
    assert "ln(policy/reference) in 100.0% of pairs, the larger ln(policy) in 75.0%" in accuracies.says
    lengths = figures["Length of the training answers"]
    assert curves(lengths) == {"chosen": [4.0, 4.0], "rejected": [6.0, 6.0]}
    assert "4.0 tokens on average and rejected ones 6.0" in lengths.says


def test_run_of_one_source_has_no_figure_by_source(tmp_path: Path) -> None:
    run = a_reward_run(tmp_path / "run", data={"sources": {"alpaca": {"path": "a.json"}}})
    assert "Held-out accuracy by source" not in figures_of(run)
    assert "all sources" not in page_of(run).text


def test_many_steps_are_drawn_as_running_means(tmp_path: Path) -> None:
    metrics = [dpo_step(i + 1, chosen=-0.1 * i, rejected=-0.2 * i, loss=1 - 0.01 * i) for i in range(60)]
    figures = figures_of(a_dpo_run(tmp_path / "run", metrics))
    # windows of 60 // 10 = 6 steps: losses 1 to 0.95 and 0.46 to 0.41; the last 6 changes are -5.4 to -5.9, and twice that
    learning = figures["Training loss and margin"]
    assert "Training loss went from 0.975 to 0.435" in learning.says
    assert list(curves(learning)) == ["each step", "mean of the last 6 steps"]
    likelihood = figures["Likelihood of chosen and rejected answers"]
    assert curves(likelihood, 1)["chosen"][-1] == pytest.approx(-5.65)
    assert curves(likelihood, 1)["rejected"][-1] == pytest.approx(-11.3)


def loss_panel(figure: Figure) -> tuple[str, list[float]]:
    """The title of the panel of losses, and the heights of its thin lines."""
    return figure.panels[0].title, [line["y0"] for line in figure.panels[0].shapes]


def test_line_of_guessing_is_drawn_where_the_loss_is_a_log_loss(tmp_path: Path) -> None:
    with_line, without = ("Loss, nats per comparison", [CHANCE]), ("Loss", [])
    rewards = {
        "plain": a_reward_run(tmp_path / "plain"),
        "centred": a_reward_run(tmp_path / "centred", centering=0.01),
        "margin": a_reward_run(tmp_path / "margin", margin=1.0),
    }
    panels = {name: loss_panel(figures_of(run)["Training loss, accuracy and margin"]) for name, run in rewards.items()}
    assert panels == {"plain": with_line, "centred": without, "margin": without}
    policies = {name: a_dpo_run(tmp_path / name, loss={"name": name}) for name in ("dpo", "cdpo", "ipo", "orpo")}
    panels = {name: loss_panel(figures_of(run)["Training loss and margin"]) for name, run in policies.items()}
    assert panels == {"dpo": with_line, "cdpo": with_line, "ipo": without, "orpo": without}


def test_constant_of_the_saved_reward_model_is_in_the_caption(tmp_path: Path) -> None:
    saved = a_reward_run(tmp_path / "saved", {"model/config.json": json.dumps({"score_offset": 0.32})})
    assert "+0.320 was subtracted" in figures_of(saved)["Training loss, accuracy and margin"].made
    (saved / "model" / "config.json").unlink()
    assert "was subtracted" not in figures_of(saved)["Training loss, accuracy and margin"].made


def test_kl_to_the_reference_has_bars_of_two_standard_errors(tmp_path: Path) -> None:
    figure = figures_of(a_dpo_run(tmp_path / "run"))["KL to the reference"]
    (drawn,) = figure.panels[0].traces
    assert (drawn["x"], drawn["y"]) == ([0, 2], [0.0, 0.2])
    assert drawn["error_y"]["array"] == [0.0, pytest.approx(0.098)]  # 1.96 * 0.05
    assert "0.200 nats per completion (standard error 0.050)" in figure.says
    assert "9 held-out prompts" in figure.made
    assert "at most 8 tokens" in figure.made


def test_kl_to_another_reference_does_not_start_at_0(tmp_path: Path) -> None:
    figure = figures_of(a_dpo_run(tmp_path / "run", reference="models/other"))["KL to the reference"]
    assert figure.panels[0].traces[0]["x"] == [2]
    assert "At step 0" not in figure.made
    assert "KL to the reference" not in figures_of(a_dpo_run(tmp_path / "none", DPO_METRICS[:-1]))


# Several runs


def test_reward_model_and_dpo_on_the_same_pairs_are_compared(tmp_path: Path) -> None:
    folders = a_reward_run(tmp_path / "rm"), a_dpo_run(tmp_path / "dpo")
    runs = [read_run(folder) for folder in folders]
    (section,) = runs_sections(list(zip(runs, ["rm", "dpo"], strict=True)))
    assert section.warning is None
    assert page_of(*folders).rows("Results: held-out accuracy")["rm"] == [
        "55.0%",
        "62.5%",
        "+7.5",
        "−12.4 to +26.6",
        "0.690",
        "0.600",
        "45",
    ]
    figure = losses_figure(runs, ["rm", "dpo"])
    assert figure is not None
    assert "0.600 nats per comparison, by rm and dpo." in figure.says
    assert figure.panels[0].shapes[0]["y0"] == pytest.approx(0.693147, abs=1e-6)


def test_losses_per_token_and_per_comparison_are_not_compared(tmp_path: Path) -> None:
    folders = a_run(tmp_path / "sft"), a_dpo_run(tmp_path / "dpo")
    assert runs_sections([(read_run(folder), folder.name) for folder in folders]) == []
    rows = page_of(*folders).rows("Overview")
    assert rows["sft"] == ["SFT", "held-out loss, nats per token", "2.000", "1.600", "−0.400", "2", "–"]
    assert rows["dpo"] == ["DPO", "held-out accuracy", "55.0%", "62.5%", "+7.5 points", "2", "–"]


# Runs that have not finished


def test_run_with_nothing_but_settings_has_a_page(tmp_path: Path) -> None:
    for name, settings in (("rm", REWARD), ("dpo", DPO)):
        early = an_early_run(tmp_path / name)
        (early / "config.yaml").write_text(yaml.safe_dump(settings))
        section = section_of(early)
        assert (section.total.right_before, section.figures, section.eval_sets) == (None, {}, [])
        assert page_of(early).rows("Data")["alpaca"] == ["not read yet"]


def test_run_measured_once_has_no_change(tmp_path: Path) -> None:
    early = an_early_run(tmp_path / "rm", metrics=lines([PAIRS_BEFORE, reward_step(1, 0.7)]))
    (early / "config.yaml").write_text(yaml.safe_dump(REWARD))
    assert "0.690 nats per comparison at step 0" in section_of(early).outcome
    assert page_of(early).rows("Held-out accuracy by source")["far"] == ["50.0%", "–", "–", "–", "–"]

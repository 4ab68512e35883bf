"""The page about a run that learnt from comparisons, from small run folders written out by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import plotly.graph_objects as go
import pytest
import yaml

from planish.methods.preference_losses import PreferenceLoss
from planish.report.figures.base import Figure, comparison_figure
from planish.report.figures.preference import REWARDS, changes_say, preference_figures
from planish.report.read.run import read_run
from planish.report.text import GUESS, LOSSES
from planish.statistics.ranking import ranking, write_ranking
from planish.statistics.ranking_result import Scored
from support.run_folders import SETTINGS, a_run, an_early_run, answer, lines, page_of, said

COMMON = {key: SETTINGS[key] for key in ("out", "data", "optim", "steps", "save_best", "model")}
REWARD = {**COMMON, "measured": {"far": "far.jsonl"}, "margin": 0.0, "centering": 0.0}
DPO = {
    **COMMON,
    "num_samples": 1,
    "sampling": {"max_completion_tokens": 8, "temperature": 0.0},
    "loss": {"beta": 0.1, "name": "dpo"},
    "reference": None,
    "kl_prompts": 9,
}


def measured(step: int, loss: float, alpaca: float, code: float, **rest: float) -> dict[str, Any]:
    by = {"all": (alpaca + code) / 2, "alpaca": alpaca, "code": code}
    found = {f"held_out_accuracy/{name}": share for name, share in by.items()}
    losses = {f"held_out/{name}": loss for name in by}
    return {"step": step, **losses, **found, **{f"eval_accuracy/{k}": v for k, v in rest.items()}}


def a_step(number: int, **values: float) -> dict[str, Any]:
    return {"step": number, **values, "grad_norm": 0.5, "learning_rate": 1e-4, "tokens": 1000, "seconds": 2.0}


def reward_step(number: int, loss: float, margin: float = 0.0) -> dict[str, Any]:
    return a_step(number, loss=loss, accuracy=0.75, margin=margin, score=-0.2)


def dpo_step(number: int, chosen: float, rejected: float, loss: float = 0.6) -> dict[str, Any]:
    """With the change of both log-probabilities, from -20 and -30 under the reference."""
    accuracies = {"accuracy": 1.0 * (chosen > rejected), "accuracy_logprobs": 0.75}
    levels = {"chosen": chosen - 20, "rejected": rejected - 30, "chosen_change": chosen, "rejected_change": rejected}
    return a_step(
        number,
        loss=loss,
        margin=0.1 * (chosen - rejected),
        chosen_tokens=4.0,
        rejected_tokens=6.0,
        **accuracies,
        **levels,
    )


def kl(step: int, value: float, error: float) -> dict[str, Any]:
    return {"step": step, "kl": value, "kl_standard_error": error}


BEFORE, AFTER = measured(0, 0.69, 0.5, 0.6, far=0.5), measured(2, 0.6, 0.7, 0.55, far=0.625)
REWARD_METRICS = [BEFORE, reward_step(1, 0.7), reward_step(2, 0.5, 0.4), AFTER]
DPO_METRICS = [BEFORE, dpo_step(1, 0.0, 0.0), dpo_step(2, -1.0, -3.0), AFTER, kl(2, 0.2, 0.05)]


def a_preference_run(
    folder: Path, settings: dict[str, Any], metrics: list[dict[str, Any]], files: dict[str, str] | None = None
) -> Path:
    written = {"config.yaml": yaml.safe_dump(settings, sort_keys=False), "metrics.jsonl": lines(metrics)}
    return a_run(folder, {"samples.jsonl": "", **written, **(files or {})})


def a_reward_run(folder: Path, files: dict[str, str] | None = None, **settings: Any) -> Path:
    return a_preference_run(folder, {**REWARD, **settings}, REWARD_METRICS, files)


def a_dpo_run(folder: Path, metrics: list[dict[str, Any]] = DPO_METRICS, **settings: Any) -> Path:
    samples = {"samples.jsonl": lines([answer(0, "Is 2 < 3?"), answer(2, "Yes.")])}
    return a_preference_run(folder, {**DPO, **settings}, metrics, samples)


def figures_of(run: Path) -> dict[str, Figure]:
    return {figure.title: figure for figure in preference_figures(read_run(run))}


def curves(figure: Figure, panel: int = 0) -> dict[str, list[float]]:
    return {trace["name"]: trace["y"] for trace in figure.panels[panel].traces}


# What it says


def test_reward_page_holds_its_loss_against_a_guess_and_tells_accuracy_by_source(tmp_path: Path) -> None:
    text = said(page_of(a_reward_run(tmp_path / "run")))
    assert "Reward model made of smollm2 on alpaca and code" in text
    assert "Held-out loss fell from 0.690 to 0.600 nats per comparison; a guess has 0.693." in text  # ln 2
    assert "Accuracy rose from 55.0% to 62.5%; it rose in 1 of 2 sources and fell in code." in text
    assert "LoRA of rank 16 trained for 2 steps and 4 s" in text


def test_table_gives_accuracy_and_its_change_of_each_source_and_each_further_set(tmp_path: Path) -> None:
    text = said(page_of(a_reward_run(tmp_path / "run")))
    assert "alpaca 50.0% 70.0% +20.0 40 code 60.0% 55.0% −5.0 5 all sources 55.0% 62.5% +7.5 45 far 50.0% 62.5%" in text
    assert "code has fewer than 30 held-out comparisons" in text
    assert "Perplexity" not in text
    assert "per token" not in text


def test_further_set_is_counted_where_its_ranking_tells(tmp_path: Path) -> None:
    run = a_reward_run(tmp_path / "run")
    rows = [Scored("x", f"row {i}", str(i), "", "", (0, 1), (1.0, 0.0), (3, 4)) for i in range(8)]
    for name, some in (("held_out", rows), ("far", rows[:5])):
        write_ranking(run / "ranking.json", 2, name, ranking(some, draws=10))
    assert "far 50.0% 62.5% +12.5 5 Before is step 0" in said(page_of(run))


def test_step_of_a_further_set_is_told_where_another_model_is_saved(tmp_path: Path) -> None:
    metrics = [BEFORE, reward_step(1, 0.7), measured(1, 0.5, 0.8, 0.8), reward_step(2, 0.7), AFTER]
    text = said(page_of(a_preference_run(tmp_path / "run", {**REWARD, "save_best": True}, metrics)))
    assert "The saved model is that of step 1" in text
    assert "Before is step 0, after is step 1, of far step 2." in text


def test_data_are_counted_in_comparisons(tmp_path: Path) -> None:
    text = said(page_of(a_reward_run(tmp_path / "run")))
    assert (
        "comparisons tokens in answers comparisons in answers dropped cut short alpaca 1,000 20,000 12,345 40" in text
    )
    assert "learnt tokens" not in text


def test_each_method_is_repeated_by_its_own_command(tmp_path: Path) -> None:
    assert f"planish reward {tmp_path}/rm/config.yaml" in said(page_of(a_reward_run(tmp_path / "rm")))
    assert f"planish dpo {tmp_path}/dpo/config.yaml" in said(page_of(a_dpo_run(tmp_path / "dpo")))


def test_reward_model_has_no_answers_and_the_policy_of_dpo_has(tmp_path: Path) -> None:
    assert "Answers before and after" not in said(page_of(a_reward_run(tmp_path / "rm")))
    text = said(page_of(a_dpo_run(tmp_path / "dpo")))
    assert "After, step 2 Yes. Ended by itself. Ranked best by people Yes, it is." in text


def test_title_names_the_loss(tmp_path: Path) -> None:
    assert "Direct preference optimisation of smollm2 on alpaca and code" in said(page_of(a_dpo_run(tmp_path / "dpo")))
    simpo = a_dpo_run(tmp_path / "simpo", loss={"name": "simpo", "beta": 2.0, "gamma": 1.0})
    assert "Simple preference optimisation (SimPO) of smollm2 on alpaca and code" in said(page_of(simpo))


def test_every_loss_has_a_title_and_a_reward() -> None:
    union, *_ = get_args(PreferenceLoss)
    names = {loss.model_fields["name"].default for loss in get_args(union)}
    assert names == LOSSES.keys() == REWARDS.keys()


def test_implied_reward_is_told_with_its_settings(tmp_path: Path) -> None:
    text = said(page_of(a_dpo_run(tmp_path / "dpo")))
    assert "the reward that the policy implies, β ln(policy/reference), β = 0.1; before the first step it is 0" in text
    mean = a_dpo_run(tmp_path / "ipo", loss={"name": "ipo", "tau": 0.2, "logratio": "mean"})
    assert "implies, τ ln(policy/reference) per token, τ = 0.2; before the first step it is 0" in said(page_of(mean))


def test_implied_reward_is_called_0_at_first_only_where_the_policy_is_the_reference(tmp_path: Path) -> None:
    simpo = a_dpo_run(tmp_path / "simpo", loss={"name": "simpo", "beta": 2.0, "gamma": 1.0})
    other = a_dpo_run(tmp_path / "other", reference="models/other")
    for run in (simpo, other):
        assert "before the first step it is 0" not in said(page_of(run))


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        (
            -1.0,
            -3.0,
            "At the last step both were less likely than under the reference, chosen answers by 1.00 nats and rejected ones by "
            "3.00 nats. That can be: the loss asks for a gap between them",
        ),
        (
            0.5,
            -0.25,
            "At the last step chosen answers were likelier than under the reference, by 0.50 nats, and rejected ones less "
            "likely, by 0.25 nats.",
        ),
        (3.0, 1.0, "At the last step both were likelier than under the reference, chosen answers by 3.00 nats and"),
    ],
)
def test_sentence_says_what_became_of_both_log_probabilities(chosen: float, rejected: float, expected: str) -> None:
    told = changes_say(chosen, rejected, "At the last step")
    assert told.startswith(expected)
    assert ("That can be" in told) == (chosen < 0 and rejected < 0)


def test_answer_of_white_space_takes_no_room(tmp_path: Path) -> None:
    run = a_dpo_run(tmp_path / "run")
    (run / "samples.jsonl").write_text(lines([answer(0, "\n\n\n")]))
    assert "Before, step 0 white space alone" in said(page_of(run))


# Figures


def test_curves_of_a_reward_model(tmp_path: Path) -> None:
    figures = figures_of(a_reward_run(tmp_path / "run"))
    assert list(figures) == [
        "Accuracy of each source over the run",
        "Training loss, accuracy and margin",
        "Learning rate and gradient norm",
    ]
    sources = figures["Accuracy of each source over the run"]
    shares = {"alpaca": [0.5, 0.7], "code": [0.6, 0.55], "all sources": [0.55, 0.625]}
    assert curves(sources) == {name: pytest.approx(each) for name, each in shares.items()}
    assert sources.says == "At step 2 it ran from 55.0% (code) to 70.0% (alpaca)."
    learning = figures["Training loss, accuracy and margin"]
    assert [curves(learning, i)["each step"] for i in range(4)] == [[0.7, 0.5], [0.75] * 2, [0.0, 0.4], [-0.2] * 2]
    assert learning.says == (
        "From the first step to the last, loss on the training comparisons went from 0.700 to 0.500, accuracy from 75.0% to "
        "75.0% and the margin from +0.000 to +0.400."
    )


def test_curves_of_dpo(tmp_path: Path) -> None:
    figures = figures_of(a_dpo_run(tmp_path / "run"))
    assert list(figures) == [
        "Accuracy of each source over the run",
        "Training loss and margin",
        "How likely chosen and rejected answers are",
        "Two accuracies while training",
        "Length of the answers learnt from",
        "Distance from the reference",
        "Learning rate and gradient norm",
    ]
    both = figures["How likely chosen and rejected answers are"]
    assert curves(both, 0) == {"chosen": [-20.0, -21.0], "rejected": [-30.0, -33.0]}
    assert curves(both, 1) == {"chosen": [0.0, -1.0], "rejected": [0.0, -3.0]}
    assert both.says.startswith("At the last step both were less likely than under the reference")
    accuracies = figures["Two accuracies while training"]
    assert curves(accuracies) == {"implied: ln(policy/reference)": [0.0, 1.0], "plain: ln(policy)": [0.75, 0.75]}
    assert accuracies.says == (
        "At the last step ln(policy/reference) was larger for the chosen answer in 100.0% of pairs, and ln(policy) by itself "
        "in 75.0%."
    )
    lengths = figures["Length of the answers learnt from"]
    assert lengths.says == "Over the run chosen answers had 4.0 tokens on average and rejected ones 6.0."


def test_run_of_one_source_has_no_figure_by_source(tmp_path: Path) -> None:
    one = a_reward_run(tmp_path / "run", data={"sources": {"alpaca": {"path": "a.json"}}})
    assert "Accuracy of each source over the run" not in figures_of(one)
    assert "all sources" not in said(page_of(one))


def test_many_steps_are_drawn_as_running_means(tmp_path: Path) -> None:
    metrics = [dpo_step(i + 1, chosen=-0.1 * i, rejected=-0.2 * i, loss=1 - 0.01 * i) for i in range(60)]
    figures = figures_of(a_dpo_run(tmp_path / "run", metrics))
    # windows of 60 // 10 = 6 steps: losses 1 to 0.95 and 0.46 to 0.41; of the last 6 changes, -5.4 to -5.9 and twice that
    assert figures["Training loss and margin"].says.startswith(
        "From the first 6 steps to the last 6, loss on the training comparisons went from 0.975 to 0.435"
    )
    assert list(curves(figures["Training loss and margin"])) == ["each step", "mean of the last 6 steps"]
    both = figures["How likely chosen and rejected answers are"]
    assert "chosen answers by 5.65 nats and rejected ones by 11.30 nats" in both.says
    assert curves(both, 1)["chosen"][-1] == pytest.approx(-5.65)


def shown(figure: Figure) -> tuple[str, list[float]]:
    """The title of the panel of losses, and where its thin lines stand."""
    losses = figure.panels[0]
    return losses.title, [line["y0"] for line in losses.shapes]


def test_line_of_a_guess_stands_where_the_loss_is_a_log_likelihood_of_choices(tmp_path: Path) -> None:
    with_line, without = ("Loss, nats per comparison", [GUESS]), ("Loss", [])
    rewards = {
        "plain": a_reward_run(tmp_path / "plain"),
        "centred": a_reward_run(tmp_path / "centred", centering=0.01),
        "margin": a_reward_run(tmp_path / "margin", margin=1.0),
    }
    told = {name: shown(figures_of(run)["Training loss, accuracy and margin"]) for name, run in rewards.items()}
    assert told == {"plain": with_line, "centred": without, "margin": without}
    policies = {name: a_dpo_run(tmp_path / name, loss={"name": name}) for name in ("dpo", "cdpo", "ipo", "orpo")}
    told = {name: shown(figures_of(run)["Training loss and margin"]) for name, run in policies.items()}
    assert told == {"dpo": with_line, "cdpo": with_line, "ipo": without, "orpo": without}


def test_constant_of_the_saved_reward_model_is_told(tmp_path: Path) -> None:
    saved = a_reward_run(tmp_path / "saved", {"model/config.json": json.dumps({"score_offset": 0.32})})
    made = figures_of(saved)["Training loss, accuracy and margin"].made
    assert "After training +0.320 was taken off them, so that demonstrations have mean score 0." in made
    running = a_reward_run(tmp_path / "running")
    (running / "model" / "config.json").unlink()
    assert "was taken off" not in figures_of(running)["Training loss, accuracy and margin"].made


def test_distance_from_the_reference_has_bars_of_two_standard_errors(tmp_path: Path) -> None:
    figure = figures_of(a_dpo_run(tmp_path / "run"))["Distance from the reference"]
    (drawn,) = figure.panels[0].traces
    assert (drawn["x"], drawn["y"]) == ([0, 2], [0.0, 0.2])
    assert drawn["error_y"]["array"] == [0.0, pytest.approx(0.098)]  # 1.96 * 0.05
    assert (
        figure.says
        == "At step 2 the KL divergence from the reference was 0.200 nats per completion, with a standard error of 0.050."
    )
    assert "9 held-out prompts" in figure.made
    assert "cut after 8 tokens" in figure.made


def test_distance_from_another_reference_does_not_begin_at_0(tmp_path: Path) -> None:
    figure = figures_of(a_dpo_run(tmp_path / "run", reference="models/other"))["Distance from the reference"]
    assert figure.panels[0].traces[0]["x"] == [2]
    assert "At step 0" not in figure.made


def test_run_without_estimates_of_the_distance_has_no_such_figure(tmp_path: Path) -> None:
    assert "Distance from the reference" not in figures_of(a_dpo_run(tmp_path / "run", DPO_METRICS[:-1]))


def test_figures_are_what_plotly_takes(tmp_path: Path) -> None:
    many = [dpo_step(i + 1, 0.1, -0.1) for i in range(60)]
    runs = [a_reward_run(tmp_path / "rm"), a_dpo_run(tmp_path / "dpo"), a_dpo_run(tmp_path / "long", many)]
    for panel in [panel for run in runs for figure in figures_of(run).values() for panel in figure.panels]:
        plain = json.loads(re.sub(r"var\(--[a-z0-9-]+\)", "black", json.dumps(panel.plain())))
        layout = {"yaxis": plain["axis"], **{key: plain[key] for key in ("xaxis", "shapes", "hovermode")}}
        go.Figure(plain["traces"], layout)  # raises on a property it does not know


def test_every_key_hides_a_curve_in_every_panel(tmp_path: Path) -> None:
    """The page's script goes by number: curve i belongs to key i."""
    many = [dpo_step(i + 1, 0.1, -0.1) for i in range(60)]
    for run in (a_reward_run(tmp_path / "rm"), a_dpo_run(tmp_path / "dpo"), a_dpo_run(tmp_path / "long", many)):
        for figure in figures_of(run).values():
            for panel in figure.panels:
                if figure.keys:
                    assert [trace["name"] for trace in panel.traces] == [key.name for key in figure.keys]


# Several runs


def test_reward_model_and_dpo_on_the_same_pairs_are_compared(tmp_path: Path) -> None:
    runs = a_reward_run(tmp_path / "rm"), a_dpo_run(tmp_path / "dpo")
    text = said(page_of(*runs))
    assert "rm 55.0% 62.5% +7.5 0.690 0.600 45" in text
    assert "cannot be compared" not in text
    figure = comparison_figure([read_run(run) for run in runs], ["rm", "dpo"])
    assert figure is not None
    assert figure.says == "The lowest was 0.600 nats per comparison, by rm at step 2."
    assert figure.panels[0].shapes[0]["y0"] == pytest.approx(0.693147, abs=1e-6)


def test_losses_of_a_token_and_of_a_comparison_are_not_set_beside_each_other(tmp_path: Path) -> None:
    runs = a_run(tmp_path / "sft"), a_dpo_run(tmp_path / "dpo")
    text = said(page_of(*runs))
    assert "Where they ended" not in text
    assert "sft SFT held-out loss, nats a token 2.000 1.600 −0.400 2" in text
    assert "dpo DPO held-out accuracy 55.0% 62.5% +7.5 points 2" in text


# Runs that have not come far


def test_run_that_has_written_its_settings_alone_has_a_page(tmp_path: Path) -> None:
    for name, settings in (("rm", REWARD), ("dpo", DPO)):
        early = an_early_run(tmp_path / name)
        (early / "config.yaml").write_text(yaml.safe_dump(settings))
        text = said(page_of(early))
        assert "No held-out loss has been measured yet." in text
        assert "A curve of held-out accuracy needs two measurements; there is none." in text
        assert "Accuracy rose" not in text


def test_run_that_is_measured_once_says_so(tmp_path: Path) -> None:
    early = an_early_run(tmp_path / "rm", metrics=lines([BEFORE, reward_step(1, 0.7)]))
    (early / "config.yaml").write_text(yaml.safe_dump(REWARD))
    text = said(page_of(early))
    assert "Held-out loss was 0.690 nats per comparison at step 0; it has been measured once" in text
    assert "far 50.0% – – –" in text

"""Policies that learn from their own completions, and whole pipelines: small folders written out by hand, and their page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import yaml

from planish.base.config import flat
from planish.base.errors import RunError
from planish.report.figures.ppo import rollout_figures
from planish.report.figures.ppo_shared import shared_figures
from planish.report.pages.pipeline import read_best, stop_of_best
from planish.report.pages.ppo import alarms_of, times_of
from planish.report.pages.run import write_page
from planish.report.read.ppo import ratio_of_norms, went
from planish.report.read.run import ReportItem, Run, read_run, stages_of
from support.comparison_folders import compared, system
from support.run_folders import Loads, a_run, account, evaluation, lines, page_of, said, step

PPO: dict[str, Any] = {
    "out": "runs/ppo",
    "optim": {"lr": 1e-5, "clip_grad_norm": 1.0, "schedule": "linear"},
    "seed": 3,
    "model": {"path": "runs/sft", "lora": None},
    "rewards": {
        "preference": {"name": "model", "path": "runs/rm", "weight": 1.0},
        "gold": {"name": "gold", "world": "runs/world", "weight": 0.0},
    },
    "prompts": {"train": "prompts.jsonl"},
    "iterations": 2,
    "batch": {"prompts": 8, "completions": 1, "epochs": 1, "minibatches": 2},
    "sampling": {"max_completion_tokens": 16, "temperature": 1.0},
    "missing_eos": -1.0,
    "kl": {"beta": 0.02, "target": None},
    "advantage": {"name": "gae"},
    "clip_range": 0.2,
    "reduction": None,
    "pretraining": None,
    "ptx": {"gamma": 27.8, "examples": 4},
    "num_samples": 1,
    "alarms": {"kl": 5.0},
}
PROMPTS = {
    "sources": {"train": {"training": 90, "held_out": ["prompts.jsonl row 3", "prompts.jsonl row 7"]}},
    "dropped": [{"row": "prompts.jsonl row 5", "reason": "no room for a completion"}],
    "leaks": [],
}


def a_round(number: int, score: float, gold: float, kl: float, **more: float) -> dict[str, Any]:
    """What iteration `number` records when it has sampled; two steps to an iteration."""
    values = {
        "score": score,
        "score/preference": score,
        "score/gold": gold,
        "kl": kl,
        "kl_token": kl / 10,
        "beta": 0.02,
    }
    seen = {
        "entropy": 0.5,
        "completion_tokens": 10.0,
        "unended": 0.0,
        "sampler_mismatch": 1e-7,
        "explained_variance": 0.5,
    }
    took = {"seconds/sampling": 1.0, "seconds/log-probabilities": 0.5, "seconds/scoring": 0.5}
    return {"step": 2 * number + 1, "iteration": number, **values, **seen, **took, **more}


def a_step(number: int, **more: float) -> dict[str, Any]:
    """Its first step waits for the sampling: 3 seconds, of which 2 are told of above; the second takes 1."""
    return {**step(number, 0.1), "seconds": 3.0 if number % 2 else 1.0, "clip_fraction": 0.1, **more}


def a_look(number: int, preference: float, gold: float, **losses: float) -> dict[str, Any]:
    scores = {"held_out_score/preference": preference, "held_out_score/gold": gold}
    return {**evaluation(number, **losses), **scores, "held_out_tokens": 10.0, "held_out_unended": 0.25}


def a_sample(number: int, text: str, score: float) -> dict[str, Any]:
    prompt = [{"role": "user", "content": "What is it?"}]
    asked = {"source": "train", "prompt": prompt, "completion": text, "ended": True}
    return {"step": number, **asked, "scores": {"preference": score}}


METRICS = [
    a_look(0, 0.5, 0.4),
    a_round(0, 0.5, 0.4, 0.0),
    a_step(1),
    a_step(2),
    a_round(1, 1.5, 0.2, 4.0),
    a_step(3),
    a_step(4),
    a_look(4, 1.25, 0.3),
]


def a_ppo_run(folder: Path, metrics: Sequence[dict[str, Any]] = METRICS, **settings: Any) -> Path:
    files = {
        "config.yaml": yaml.safe_dump({**PPO, **settings}, sort_keys=False),
        "data.json": json.dumps({"prompts": PROMPTS}),
        "metrics.jsonl": lines(list(metrics)),
        "samples.jsonl": lines([a_sample(0, "A cat.", 0.5), a_sample(4, "A very fine cat.", 1.25)]),
    }
    return a_run(folder, files)


def with_documents(folder: Path, *losses: float, **settings: Any) -> Path:
    """PPO-ptx: two looks at pretraining documents, and two gradients in every step."""
    measured = {0: losses[0], 4: losses[1]}
    metrics: list[dict[str, Any]] = []
    for line in METRICS:
        more = {"own_grad_norm": 0.5, "ptx/grad_norm": 1.0, "ptx/loss": 2.0} if "clip_fraction" in line else {}
        if "held_out_tokens" in line:
            more = {"held_out/all": measured[line["step"]], "held_out/web": measured[line["step"]]}
        metrics.append({**line, **more})
    run = a_ppo_run(folder, metrics, **{"pretraining": {"sources": {"web": {"path": "web.jsonl"}}}, **settings})
    (run / "data.json").write_text(json.dumps({"prompts": PROMPTS, "sources": {"web": account(40)}}))
    return run


def many_rounds(count: int, gold: Sequence[float], **more: float) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for i in range(count):
        found += [a_round(i, 0.1 * i, gold[i], 0.25 * i, **more), a_step(2 * i + 1), a_step(2 * i + 2)]
    return found


# What it says


def test_page_says_what_became_of_each_score_and_at_what_distance(tmp_path: Path) -> None:
    text = said(page_of(a_ppo_run(tmp_path / "ppo")))
    assert "PPO of sft on the score preference" in text
    assert (
        "Over 2 iterations the score of preference rose from 0.50 to 1.50 and gold, only watched, fell from 0.40 to 0.20, for a "
        "KL of 4.00 nats a completion. On held-out prompts preference rose from 0.50 to 1.25." in text
    )
    assert "All weights trained for 4 steps in 2 iterations and 8 s, on 16 completions to 90 prompts." in text


def test_held_out_scores_stand_before_and_after(tmp_path: Path) -> None:
    text = said(page_of(a_ppo_run(tmp_path / "ppo")))
    assert "preference 0.50 1.25 +0.75 gold, only watched 0.40 0.30 −0.10 tokens 10.0 10.0 +0.0" in text
    assert "did not end 25.0% 25.0% +0.0 points" in text
    assert "Means over 2 prompts, one completion each, sampled at temperature 1" in text


def test_prompts_are_accounted_for(tmp_path: Path) -> None:
    text = said(page_of(a_ppo_run(tmp_path / "ppo")))
    assert "train 90 2 1 prompt dropped prompts.jsonl row 5: no room for a completion" in text


def test_completions_stand_side_by_side_with_their_scores(tmp_path: Path) -> None:
    text = said(page_of(a_ppo_run(tmp_path / "ppo")))
    assert "A cat. Ended by itself. Score: preference +0.50." in text
    assert "A very fine cat. Ended by itself. Score: preference +1.25." in text
    assert "Reference" not in text


def test_ptx_has_a_table_of_its_documents_and_is_called_so(tmp_path: Path) -> None:
    text = said(page_of(with_documents(tmp_path / "ptx", 2.0, 2.1)))
    assert "PPO-ptx of sft on the score preference" in text
    assert "Held-out pretraining loss by source" in text
    assert "web 2.000 2.100 +0.100" in text
    assert "Held-out pretraining loss rose from 2.000 to 2.100 nats a token" in text


def test_documents_that_are_only_measured_make_no_ptx(tmp_path: Path) -> None:
    run = with_documents(tmp_path / "ppo", 2.0, 2.1, ptx={"gamma": 0.0, "examples": 4})
    assert "PPO of sft on the score preference" in said(page_of(run))


def test_run_in_its_first_iteration_has_a_page(tmp_path: Path) -> None:
    run = a_ppo_run(tmp_path / "ppo", METRICS[:2])
    (run / "model" / "config.json").unlink()
    (run / "samples.jsonl").write_text(lines([a_sample(0, "A cat.", 0.5)]))
    text = said(page_of(run))
    assert "This run is unfinished: it stands at step 0 of 4" in text
    assert "Curves need two iterations; there is one." in text


def test_run_that_has_written_its_settings_alone_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(PPO))
    text = said(page_of(tmp_path))
    assert "No iteration has been recorded yet." in text
    assert "All weights to be trained; no step has been recorded yet." in text


# Alarms and time


def test_alarm_is_told_with_what_was_seen_when_it_first_held(tmp_path: Path) -> None:
    """The KL is above 5 after the second iteration, 6 nats, and below again after the third."""
    rounds = [a_round(i, 1.0, 1.0, kl) for i, kl in enumerate((1.0, 6.0, 2.0))]
    steps = [a_step(number) for number in range(1, 7)]
    metrics = sorted([*rounds, *steps, {"step": 4, "alarm/kl": 1.0}], key=lambda line: line["step"])
    run = a_ppo_run(tmp_path / "ppo", metrics)
    (alarm,) = alarms_of(read_run(run))
    assert (alarm.name, alarm.since, alarm.holds) == ("kl", 2, False)
    text = said(page_of(run))
    assert "1 alarm After iteration 2; no longer at the last: the KL to the starting policy is 6.0 nats" in text


def test_without_alarms_there_is_no_box(tmp_path: Path) -> None:
    assert 'class="alarm"' not in page_of(a_ppo_run(tmp_path / "ppo"))


def test_time_that_no_part_took_was_spent_learning(tmp_path: Path) -> None:
    """Steps take 3 + 1 + 3 + 1 = 8 seconds; the parts of two iterations 2 + 1 + 1 of them."""
    found = {each.name: (each.seconds, each.share) for each in times_of(read_run(a_ppo_run(tmp_path / "ppo")))}
    assert found == {
        "sampling": (2.0, 0.25),
        "log-probabilities": (1.0, 0.125),
        "scoring": (1.0, 0.125),
        "learning": (4.0, 0.5),
    }


# Figures


def test_titles_say_what_is_to_be_seen(tmp_path: Path) -> None:
    figures = rollout_figures(read_run(a_ppo_run(tmp_path / "ppo")))
    assert figures["scores"].title == (
        "The score of preference rose from 0.50 to 1.50 and gold, only watched, fell from 0.40 to 0.20"
    )
    assert figures["overoptimisation"].title == (
        "Against the distance, gold was best at √KL 0.00, +0.40, and stood at +0.20 in the end, at √KL 2.00"
    )
    assert figures["learning"].title.startswith("10.0% of tokens were clipped")


def test_proxy_and_gold_share_axes_of_score_and_root_kl(tmp_path: Path) -> None:
    figure = rollout_figures(read_run(a_ppo_run(tmp_path / "ppo")))["overoptimisation"]
    assert [(trace["name"], trace["x"], trace["y"]) for trace in figure.panels[0].traces] == [
        ("preference", [0.0, 2.0], [0.5, 1.5]),
        ("gold", [0.0, 2.0], [0.4, pytest.approx(0.2)]),
    ]


def test_change_within_the_scatter_is_not_called_one() -> None:
    """Means of five: 0.5 and 0.6, each with a variance of 0.3, so the error of the difference is sqrt(0.12) = 0.35."""
    noisy = [0.0, 1.0, 0.0, 1.0, 0.5]
    assert went([*noisy, *[0.5] * 10, *[value + 0.1 for value in noisy]]) == (
        "showed no change beyond scatter (0.50 to 0.60)"
    )
    assert went([*noisy, *[0.5] * 10, *[value + 2.0 for value in noisy]]) == "rose from 0.50 to 2.50"


def test_raw_points_are_light_and_means_dark(tmp_path: Path) -> None:
    run = read_run(a_ppo_run(tmp_path / "ppo", many_rounds(20, [0.0] * 20)))
    raw, mean = rollout_figures(run)["distance"].panels[0].traces
    assert (raw["mode"], raw["opacity"], mean["mode"]) == ("markers", 0.5, "lines")
    assert mean["y"][:2] == [0.0, 0.125]  # 0, then the mean of 0 and 0.25


def test_ratio_of_gradients_is_that_of_the_norms() -> None:
    assert ratio_of_norms({"own_grad_norm": 0.5, "ptx/grad_norm": 1.0}) == 2.0
    assert ratio_of_norms({"grad_norm": 0.5}) is None


def test_ppo_and_ppo_ptx_share_axes(tmp_path: Path) -> None:
    plain = with_documents(tmp_path / "ppo", 2.0, 2.5, ptx={"gamma": 0.0, "examples": 4})
    runs = [read_run(run) for run in (plain, with_documents(tmp_path / "ptx", 2.0, 2.1))]
    figures = shared_figures(runs, ["ppo", "ptx"])
    assert figures["forgetting"].title == (
        "Held-out pretraining loss: ppo rose from 2.000 to 2.500 (γ = 0); ptx rose from 2.000 to 2.100 (γ = 27.8)"
    )
    assert [trace["y"] for trace in figures["forgetting"].panels[0].traces] == [[2.0, 2.5], [2.0, 2.1]]
    assert [trace["x"] for trace in figures["forgetting"].panels[0].traces] == [[0.0, 2.0], [0.0, 2.0]]
    assert "By preference, ppo at +1.50 for 4.00 nats; ptx at +1.50 for 4.00 nats" in said(page_of(plain, runs[1].path))


def all_figures(tmp_path: Path) -> list[Any]:
    runs: list[Run] = [
        read_run(a_ppo_run(tmp_path / "short")),
        read_run(a_ppo_run(tmp_path / "long", [a_look(0, 0, 0), *many_rounds(60, [0.1] * 60)], kl={"target": 6.0})),
        read_run(with_documents(tmp_path / "ptx", 2.0, 2.1)),
    ]
    shared = shared_figures(runs, ["short", "long", "ptx"]).values()
    return [*(figure for run in runs for figure in rollout_figures(run).values()), *shared]


def test_figures_are_what_plotly_takes(tmp_path: Path) -> None:
    for panel in [panel for figure in all_figures(tmp_path) for panel in figure.panels]:
        plain = json.loads(re.sub(r"var\(--[a-z0-9-]+\)", "black", json.dumps(panel.plain())))
        layout = {"yaxis": plain["axis"], **{key: plain[key] for key in ("xaxis", "shapes", "hovermode")}}
        go.Figure(plain["traces"], layout)  # raises on a property it does not know


def test_every_key_hides_a_curve_in_every_panel(tmp_path: Path) -> None:
    """The page's script goes by number: curve i belongs to key i."""
    for figure in all_figures(tmp_path):
        for panel in figure.panels:
            if figure.keys:
                assert [trace["name"] for trace in panel.traces] == [key.name for key in figure.keys], figure.title


# The road


def a_pipeline(out: Path) -> Path:
    """Fine-tuning, PPO, best of n and a comparison, as `planish run` leaves them."""
    a_run(out / "sft-11", seed=7)
    a_ppo_run(out / "ppo-22")
    abouts = [{"score": 1.0, "mean_score": 0.5, "n": 4}, {"score": 2.0, "mean_score": 0.25, "n": 4}]
    (out / "best-33.jsonl").write_text("".join(json.dumps({"messages": [], "about": about}) + "\n" for about in abouts))
    (out / "compare-44").mkdir()
    compared(out / "compare-44", system("sft"), system("ppo", 0.7, 0.6))
    (out / "sft").symlink_to("sft-11")
    best = {"model": {"path": "{sft}"}, "reward": {"path": "runs/rm"}, "prompts": "p.jsonl", "n": 4, "device": "cpu"}
    about = {"sft": ("sft", "sft-11", {}), "ppo": ("ppo", "ppo-22", {}), "best": ("best", "best-33.jsonl", best)}
    about["compare"] = ("compare", "compare-44", {"models": {"a": {"path": "{sft}"}}, "prompts": "p.jsonl"})
    about["later"] = ("dpo", "dpo-55", {})
    stages = [
        {"name": name, "command": command, "folder": folder, "settings": settings}
        for name, (command, folder, settings) in about.items()
    ]
    (out / "pipeline.json").write_text(json.dumps({"stages": stages}))
    return out


def test_pipeline_opens_with_the_comparison_and_then_the_road(tmp_path: Path) -> None:
    write_page([a_pipeline(tmp_path)], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    text = said(re.sub(r"<script>/\*\*.*?</script>", "", html, flags=re.DOTALL))
    assert text.index("Who wins over sft") < text.index("The road") < text.index("Supervised fine-tuning of")
    assert "sft SFT held-out loss, nats a token 2.000 1.600 −0.400 – 2 7" in text
    assert "ppo-22 PPO held-out score, preference +0.50 +1.25 +0.75 – 4 3" in text
    assert "score of the one chosen, over 2 prompts +0.38 +1.50 +1.12" in text  # (0.5 + 0.25)/2 and (1 + 2)/2
    assert "ppo wins over sft – 70.0% – 65.0 to 75.0%" in text
    loads = Loads()
    loads.feed(html)
    assert loads.found == []


def test_commands_of_a_pipeline_are_whole(tmp_path: Path) -> None:
    write_page([a_pipeline(tmp_path)], tmp_path / "report.html")
    text = said((tmp_path / "report.html").read_text(encoding="utf-8"))
    again = f"{tmp_path}/best-33-again.jsonl"
    assert f"planish sft {tmp_path}/sft/config.yaml out={tmp_path}/sft-again" in text
    assert f"planish best {tmp_path}/sft p.jsonl --reward runs/rm --out {again} n=4" in text
    assert f"planish compare models.a.path={tmp_path}/sft prompts=p.jsonl out={tmp_path}/compare-44-again" in text


def test_stage_is_called_by_its_link_where_that_leads_to_it(tmp_path: Path) -> None:
    assert [stage.path.name for stage in stages_of(a_pipeline(tmp_path))] == [
        "sft",
        "ppo-22",
        "best-33.jsonl",
        "compare-44",
    ]


def test_runs_of_one_kind_have_no_road(tmp_path: Path) -> None:
    assert "The road" not in said(page_of(a_run(tmp_path / "one"), a_run(tmp_path / "two")))


def test_other_file_in_place_of_demonstrations_is_named(tmp_path: Path) -> None:
    (tmp_path / "best.jsonl").write_text('{"messages": []}\n')
    with pytest.raises(RunError, match=r"best\.jsonl: not what planish best writes \(KeyError: 'about'\)"):
        read_best(tmp_path / "best.jsonl")


def test_best_of_n_says_its_seed(tmp_path: Path) -> None:
    (tmp_path / "best.jsonl").write_text(json.dumps({"about": {"score": 1, "mean_score": 0, "n": 2}}))
    settings = {"model": {"path": "m"}, "reward": {"path": "r"}, "prompts": "p", "sampling": {"seed": 5}}
    assert stop_of_best(ReportItem(tmp_path / "best.jsonl", "best", settings), "best").seed == "5"


def test_leaves_of_settings_have_dotted_names() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": [2, {"e": 3}]}) == {"a.b": 1, "a.c": {}, "d": [2, {"e": 3}]}

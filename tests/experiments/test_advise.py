"""The mixture advisor: on surfaces where the best mixture is known, where none is better, and with real runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planish.base.errors import ConfigError
from planish.cli.main import main
from planish.experiments import run as running
from planish.experiments.advice import Advice, Search, search
from planish.experiments.advise import AdviseConfig, advise
from planish.experiments.claim import MeasureConfig
from support.mixtures import noisy, surface, tiny_mixture, write_recipe


def advice_on(seed: int, noise: float, flat: bool = False, **asked: Any) -> tuple[Advice, Any]:
    """With weights drawn by the seed as the given ones."""
    names, losses = surface(seed, flat=flat)
    drawn = np.random.default_rng(seed + 1000).dirichlet(np.ones(len(names))) + 0.03
    given = dict(zip(names, (drawn / drawn.sum()).tolist(), strict=True))
    measures = {name: MeasureConfig(of="row_loss", field=name) for name in names}
    return search(given, measures, noisy(losses, names, noise, seed), Search(**asked)), losses


@pytest.mark.parametrize("goal", ["mean", "worst"])
def test_a_better_mixture_is_found_where_there_is_one(goal: str) -> None:
    better, reached = 0, list[float]()
    for seed in range(8):
        advice, losses = advice_on(seed, noise=0.01, goal=goal)
        if advice.outcome != "better":
            continue
        assert advice.proposal is not None
        worth = {"mean": np.mean, "worst": np.max}[goal]
        before, after = (float(worth(losses(weights))) for weights in (advice.given, advice.proposal))
        drawn = np.random.default_rng(5).dirichlet(np.ones(4), 2000)
        best = min(float(worth(losses(dict(zip(advice.given, row, strict=True))))) for row in drawn)
        better += 1
        reached.append((before - after) / (before - best))
        assert after < before
    assert better >= 7
    assert float(np.mean(reached)) > 0.6  # of what the best mixture of all would gain


@pytest.mark.slow
def test_where_no_mixture_is_better_none_is_proposed_in_95_of_100_draws() -> None:
    outcomes = [advice_on(seed, noise=0.02, flat=True)[0].outcome for seed in range(100)]
    assert outcomes.count("better") <= 5


def test_a_given_mixture_that_is_the_best_is_kept() -> None:
    names = ["a", "b"]
    measures = {name: MeasureConfig(of="row_loss", field=name) for name in names}
    rng = np.random.default_rng(0)

    def run(weights: dict[str, float], seed: int, full: bool) -> Any:
        return {name: {"": 1 + (weights[name] - 0.5) ** 2 + rng.normal(scale=0.01)} for name in names}

    assert search({"a": 0.5, "b": 0.5}, measures, run, Search()).outcome != "better"


def test_a_budget_is_kept() -> None:
    """Losses of a and b in opposite directions: more of a is better for a, and costs b."""
    measures = {name: MeasureConfig(of="row_loss", field=name) for name in ("a", "b")}
    rng = np.random.default_rng(0)

    def run(weights: dict[str, float], seed: int, full: bool) -> Any:
        noise = rng.normal(scale=0.002, size=2)
        return {"a": {"": 2 - weights["a"] + noise[0]}, "b": {"": 2 - 0.5 * weights["b"] + noise[1]}}

    free = search({"a": 0.5, "b": 0.5}, measures, run, Search(goal="a"))
    held = search({"a": 0.5, "b": 0.5}, measures, run, Search(goal="a", budgets={"b": 0.05}))
    assert free.outcome == held.outcome == "better"
    assert free.proposal is not None
    assert held.proposal is not None
    assert free.proposal["a"] > 0.75
    assert 0.5 < held.proposal["a"] < 0.61  # b may lose 0.05, half of what it loses by 0.1 of weight
    assert held.checked["b"].value > -0.05


def test_the_check_has_seeds_of_its_own_and_full_length() -> None:
    names, losses = surface(0)
    measures = {name: MeasureConfig(of="row_loss", field=name) for name in names}
    told, inner = list[tuple[int, bool]](), noisy(losses, names, 0.001, 0)

    def run(weights: dict[str, float], seed: int, full: bool) -> Any:
        told.append((seed, full))
        return inner(weights, seed, full)

    search(dict.fromkeys(names, 0.25), measures, run, Search(runs=16, seeds=2, seed=7))
    assert told[:17] == [(7, False)] * 17
    assert told[17:] in ([], [(8, True), (8, True), (9, True), (9, True)])


def test_the_same_seed_gives_the_same_advice() -> None:
    first, _ = advice_on(3, noise=0.01, runs=12)
    second, _ = advice_on(3, noise=0.01, runs=12)
    assert first == second


# Real runs


@pytest.mark.slow
def test_a_recipe_is_advised_and_carries_on_after_a_stop(
    tmp_path: Path, tiny_model: Path, tiny_data: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    recipe = write_recipe(tmp_path / "mine.yaml", tiny_mixture(tiny_model, tiny_data, steps=4))
    out = tmp_path / "advice"
    count, real = 0, running.run_pipeline

    def stopped(config: Any) -> Any:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return real(config)

    monkeypatch.setattr(running, "run_pipeline", stopped)
    config = AdviseConfig(recipe=recipe, runs=8, steps=1, seeds=2, out=str(out))
    with pytest.raises(KeyboardInterrupt):
        advise(config)
    found = advise(config)
    assert count >= 4 + 7  # ten short runs, of which three were done and one begun
    assert len(found.advice.draws) == 9
    assert sum(found.advice.given.values()) == pytest.approx(1)
    written = json.loads((out / "advice.json").read_text())
    assert written["outcome"] == found.advice.outcome
    assert "Weights of mine.yaml" in found.page.read_text()
    assert not [*out.glob("seed-*/sft-*/model")]  # measures are kept, models are not
    said = capsys.readouterr().err
    assert "10 runs of 1 step; if one of them promises more than the given weights, 4 of the recipe's length" in said
    before = count
    assert advise(config).advice == found.advice
    assert count == before
    main(["data", "advise", recipe, "--runs", "8", "--steps", "1", "--out", str(out), "seeds=2"])
    assert "proposed" in capsys.readouterr().out


SFT = "a recipe"


@pytest.mark.parametrize(
    ("more", "settings", "says"),
    [
        ({}, {"recipe": "absent.yaml"}, "recipe: absent.yaml: there is no such file"),
        ({}, {"runs": 3}, "'runs' is 3"),
        ({}, {"seeds": 1}, "'seeds' is 1"),
        ({}, {"goal": "frist"}, "goal: there is no ability 'frist'; there are first, second, texts"),
        ({}, {"budgets.thrid": 0.1}, "budgets.thrid: there is no ability 'thrid'"),
        ({}, {"budgets.first": -0.1}, "budgets.first"),
        ({}, {"spread": 0}, "'spread' is 0"),
        ({}, {"mixed": "dpo"}, "mixed: there is no stage 'dpo'; there are sft"),
        ({}, {"run": "stf"}, "run is 'stf'; it names a command"),
        ({}, {"changes.optim.lrr": 1}, "unknown setting 'optim.lrr'; did you mean 'optim.lr'?"),
        ({}, {"measures.x.of": "metrics"}, "measures.x.of is 'metrics'"),
        ({}, {"measures.x.of": "row_loss"}, "row_loss needs field"),
        ({}, {"measures.goal.of": "row_loss", "measures.goal.field": "first"}, "an ability cannot be called goal"),
        ({"data": {"sources": {"first": {"path": "x.json"}}}}, {}, "has no data.sources with two or more sources"),
        (
            {"data": {"stages": [{"share": 1.0}]}},
            {},
            "sft.data.stages says what is learnt when; mixtures are for recipes of one stage",
        ),
        ({"steps": None, "tokens": 100}, {}, "sft.data.sources has tokens, which say how long the run is"),
        ({"data": {"sources": {"second": {"path": "absent.json"}}}}, {}, "absent.json"),
    ],
)
def test_bad_advice_is_refused_before_a_run(
    more: dict[str, Any],
    settings: dict[str, Any],
    says: str,
    tmp_path: Path,
    tiny_model: Path,
    tiny_data: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tiny_mixture(tiny_model, tiny_data)
    if tokens := more.pop("tokens", None):
        for source in recipe["data"]["sources"].values():
            source["tokens"] = tokens
    data = more.pop("data", {})
    sources = {**recipe["data"]["sources"], **data.pop("sources", {})} if "stages" not in data else {}
    if says.startswith("has no data"):
        sources = {"first": recipe["data"]["sources"]["first"]}
    recipe["data"] |= {**data, "sources": sources or recipe["data"]["sources"]}
    recipe |= more
    if recipe["steps"] is None:
        del recipe["steps"]
    path = write_recipe(tmp_path / "mine.yaml", recipe)
    monkeypatch.setattr("planish.experiments.run.run_pipeline", lambda config: pytest.fail("something was run"))
    words = [f"{key}={json.dumps(value)}" for key, value in settings.items() if key != "recipe"]
    with pytest.raises(SystemExit) as caught:
        main(["data", "advise", settings.get("recipe", path), *words])
    assert says in str(caught.value)


def test_all_weight_on_one_source_is_told(tmp_path: Path, tiny_model: Path, tiny_data: dict[str, str]) -> None:
    recipe = tiny_mixture(tiny_model, tiny_data, steps=1)
    for name, source in recipe["data"]["sources"].items():
        source["weight"] = 1.0 if name == "first" else 1e-30
    config = AdviseConfig(recipe=write_recipe(tmp_path / "mine.yaml", recipe), runs=8, out=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="all of the weight is on one source"):
        advise(config)

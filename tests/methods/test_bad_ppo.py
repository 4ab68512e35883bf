"""Every bad setting, prompt, reward or model of PPO gets one clear error, which names it and says what to do."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from planish.cli.main import main
from planish.data.chat.tokenizer import train_tokenizer
from planish.models.load import build_model, save_model
from support.comparison_files import good_files, write
from support.refusals import refused


@dataclass(frozen=True)
class Place:
    """Good files of every kind, a policy, and a reward model."""

    folder: Path
    model: Path

    def run(self, out: Path, *changes: str) -> None:
        given = {
            "model.path": str(self.model),
            "rewards": f"{{rm: {{name: model, path: {self.folder}/reward}}}}",
            "prompts": f"{{some: {self.folder}/prompts.jsonl}}",
            "held_out": "2",
            "iterations": "1",
            "batch": "{prompts: 2, completions: 1}",
            "sampling.max_completion_tokens": "4",
            "num_samples": "0",
            "out": str(out),
        }
        main(["ppo", *(f"{name}={value}" for name, value in given.items()), *changes])


@pytest.fixture(scope="module")
def place(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("place")
    files = {**good_files(), "long": [{"prompt": "say " * 300}], "empty": []}
    for name, rows in files.items():
        write(folder / f"{name}.jsonl", rows)
    data, out = f"data.sources.rows.path={folder}/compared.jsonl", f"out={folder}/reward"
    main(["reward", f"model.path={tiny_model}", data, out, "steps=1", "data.held_out=0.2"])
    for change in ({"max_position_embeddings": 8}, {"score_check": None}):
        name = next(iter(change))
        shutil.copytree(folder / "reward" / "model", folder / name)
        settings: dict[str, Any] = json.loads((folder / name / "config.json").read_text()) | change
        (folder / name / "config.json").write_text(
            json.dumps({key: value for key, value in settings.items() if value is not None})
        )
    tokenizer = train_tokenizer([f"other words {i}" for i in range(99)], 300)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    other = build_model({"model_type": "llama", **sizes}, len(tokenizer), "float32", 0, torch.device("cpu"))
    save_model(other, tokenizer, folder / "other")
    return Place(folder, tiny_model)


# What is changed, and parts of the message. {folder} is the place, {model} the policy.
CASES: dict[str, tuple[list[str], list[str]]] = {
    # Settings
    "a misspelt setting": (["kl.betta=0.1"], ["unknown setting 'kl.betta'", "did you mean 'kl.beta'"]),
    "a misspelt section": (["samplings.top_p=1"], ["unknown setting 'samplings'", "'sampling'"]),
    "an unknown advantage": (["advantage.name=vpg"], ["'advantage.name' is 'vpg'", "gae, rloo, grpo"]),
    "a setting of another advantage": (
        ["advantage={name: rloo, gae_lambda: 0.9}", "batch.completions=2"],
        ["unknown setting", "gae_lambda"],
    ),
    "a group of one": (["advantage.name=grpo"], ["advantage.name=grpo", "set batch.completions to 2 or more"]),
    "more minibatches than prompts": (["batch.minibatches=3"], ["batch.minibatches=3", "batch.prompts=2"]),
    "a target of no KL": (["kl.target=0"], ["'kl.target' is 0", "greater than 0"]),
    "a beta of 0 that adapts": (["kl.target=6", "kl.beta=0"], ["kl.target", "kl.beta, which is 0"]),
    "a beta that could fall below 0": (
        ["kl.target=6", "kl.horizon=0.4"],
        ["kl.horizon=0.4", "with 2 completions", "set more than 0.4"],  # 1 - 0.2 * 2 / 0.4 = 0
    ),
    "a KL of the loss that adapts": (
        ["kl.target=6", "advantage.name=grpo", "batch.completions=2"],
        ["kl.target", "grpo", "leave it out"],
    ),
    "a score in words": (["missing_eos=low"], ["'missing_eos' is 'low'", "number"]),
    "no temperature": (["sampling.temperature=0"], ["'sampling.temperature' is 0", "greater than 0"]),
    "a moving average that forgets nothing": (["ema=1"], ["'ema' is 1", "less than 1"]),
    "a server and top-p": (
        ["server={model: policy, weights_folder: /tmp/none}", "sampling.top_p=0.9"],
        ["server", "leave sampling.top_p and sampling.top_k out"],
    ),
    "completions that fill all": (
        ["sampling.max_completion_tokens=256"],
        ["sampling.max_completion_tokens=256", "no room for a prompt", "256 tokens"],
    ),
    # Prompts
    "no prompts": (["prompts={}"], ["prompts: names no file", "prompts.NAME=FILE"]),
    "a file that is not there": (["prompts.some=none.jsonl"], ["none.jsonl", "no such file"]),
    "an empty file": (["prompts.some={folder}/empty.jsonl"], ["empty.jsonl", "holds no record"]),
    "documents": (["prompts.some={folder}/documents.jsonl"], ["documents.jsonl", "holds documents", "prompts"]),
    "a prompt without room": (
        ["prompts.some={folder}/long.jsonl"],
        ["long.jsonl row 1", "room for 252", "too_long=drop"],
    ),
    "none that fits": (
        ["prompts.some={folder}/long.jsonl", "too_long=drop"],
        ["prompts.some=", "holds no prompt that can be used", "long.jsonl row 1", "room for 252"],
    ),
    "none to watch that fits": (
        ["held_out_prompts.some={folder}/long.jsonl", "too_long=drop"],
        ["held_out_prompts.some=", "long.jsonl: holds no prompt that can be used"],
    ),
    "all held out": (["held_out=9"], ["held_out=9", "9 different prompts", "Lower held_out"]),
    # Rewards
    "no rewards": (["rewards={}"], ["rewards: none has a weight", "set rewards.NAME or its weight"]),
    "rewards that are only watched": (["rewards.rm.weight=0"], ["rewards: none has a weight"]),
    "an unknown kind of reward": (
        ["rewards.rm={name: modell, path: x}"],
        ["'rewards.rm.name' is 'modell'", "did you mean 'model'"],
    ),
    "a reward model that is not there": (["rewards.rm.path=/none/such"], ["/none/such: there is no such folder"]),
    "a language model as reward": (["rewards.rm.path={model}"], ["says nothing of the mean score", "planish reward"]),
    "a reward model without its zero": (
        ["rewards.rm.path={folder}/score_check"],
        ["score_check", "a score of 0 means nothing", "planish reward"],
    ),
    "a reward model for shorter texts": (
        ["rewards.rm.path={folder}/max_position_embeddings", "value.path={model}"],
        ["rewards.rm.path=", "made for 8 tokens", "Lower sampling.max_completion_tokens"],
    ),
    "a world that is not there": (
        ["rewards.gold={name: gold, world: /none/such}"],
        ["/none/such", "planish world make"],
    ),
    "a folder that is no world": (["rewards.gold={name: gold, world: '{folder}'}"], ["planish world make"]),
    "a module that is not there": (
        ["rewards.mine={name: function, function: 'no_module:f'}"],
        ["rewards.mine.function=no_module:f", "on Python's path"],
    ),
    "no function": (
        ["rewards.mine={name: function, function: 'math:pi'}"],
        ["rewards.mine.function=math:pi", "is 3.141592653589793, expected a function"],
    ),
    "a judge without its key": (
        ["rewards.judge={name: llm, base_url: 'http://127.0.0.1:9/v1', model: m, api_key_env: NO_SUCH_KEY}"],
        ["NO_SUCH_KEY"],
    ),
    # Models
    "a reward model as policy": (["model.path={folder}/reward"], ["reward: is a reward model", "Name the model"]),
    "a value model that is not there": (["value.path=/none/such"], ["/none/such: there is no such folder"]),
    "a value model with other tokens": (
        ["value.path={folder}/other"],
        ["value.path=", "other tokens than the policy's", "value.shared=true"],
    ),
    "a value model for shorter texts": (
        ["value.path={folder}/max_position_embeddings"],
        ["value.path=", "made for 8 tokens", "Lower sampling.max_completion_tokens"],
    ),
    "a value model beside a shared backbone": (
        ["value.shared=true", "value.path={model}"],
        ["value.shared=true", "leave value.path and value.lora out"],
    ),
    # Pretraining, and the run's folder
    "pretraining with less than no held-out rows": (
        ["pretraining={sources: {web: {path: '{folder}/documents.jsonl'}}, held_out: -1}"],
        ["'pretraining.held_out' is -1", "greater than or equal to 0"],
    ),
    "pretraining on an empty file": (
        ["pretraining={sources: {web: {path: '{folder}/empty.jsonl'}}}"],
        ["empty.jsonl", "holds no record"],
    ),
    "the folder of another run": (["out={folder}/reward"], ["holds another run", "rewards"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_setting_or_file_is_named(case: str, place: Place, tmp_path: Path) -> None:
    changes, expected = CASES[case]
    changes = [each.replace("{folder}", str(place.folder)).replace("{model}", str(place.model)) for each in changes]
    message = refused(lambda: place.run(tmp_path / "run", *changes))
    assert message.startswith("planish: ")
    for part in expected:
        assert part in message


def test_what_the_cases_begin_from_is_good(place: Place, tmp_path: Path) -> None:
    place.run(tmp_path / "run")
    assert (tmp_path / "run" / "model" / "config.json").exists()

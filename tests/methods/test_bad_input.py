"""Every bad input gets one clear error, and it names what is wrong and where: settings, models, run folders, checkpoints."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from planish.cli.main import main
from support.refusals import refused


@dataclass(frozen=True)
class Place:
    """A copy of everything that a run needs, free to be broken."""

    model: Path
    data: Path
    out: Path
    recipe: Path

    def settings(self) -> list[str]:
        return [
            f"model.path={self.model}",
            f"data.sources.first.path={self.data}",
            f"out={self.out}",
            "steps=4",
            "batch.examples=4",
            "num_samples=0",
            "checkpoint.every=2",
        ]

    def run(self, *changes: str) -> None:
        main(["sft", *self.settings(), *changes])


@pytest.fixture
def place(tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path) -> Place:
    shutil.copytree(tiny_model, tmp_path / "model")
    shutil.copy(tiny_data["first"], tmp_path / "rows.json")
    return Place(tmp_path / "model", tmp_path / "rows.json", tmp_path / "run", tmp_path / "recipe.yaml")


SETTINGS = {
    "a misspelt setting": (["optim.lrr=1e-4"], ["unknown setting 'optim.lrr'", "did you mean 'optim.lr'"]),
    "a misspelt section": (["optimm.lr=1e-4"], ["unknown setting 'optimm'", "did you mean 'optim'"]),
    "a word for a number": (["optim.lr=fast"], ["'optim.lr' is 'fast'", "number"]),
    "a rate below zero": (["optim.lr=-1"], ["'optim.lr' is -1", "greater than 0"]),
    "a schedule that does not exist": (["optim.schedule=step"], ["'optim.schedule' is 'step'", "wsd"]),
    "a setting below a single value": (["steps.most=3"], ["steps is a single value"]),
    "a decay that never ends": (["optim.schedule=wsd"], ["optim.min_lr_ratio"]),
    "stages that do not add up": (
        ["data.stages=[{share: 0.5, weights: {first: 1}}]"],
        ["data.stages", "0.5", "not to 1"],
    ),
    "a stage of an unknown source": (
        ["data.stages=[{share: 1, weights: {frist: 1}}]"],
        ["data.stages.0", "no source 'frist'", "first"],
    ),
    "a source called all": (["data.sources.all.path=x.json"], ["'all'"]),
    "weights for some sources only": (
        ["data.sources.second={path: first.json, weight: 2}"],
        ["source 'first' has no weight"],
    ),
    "a format that does not exist": (["data.sources.first.format=alpacca"], ["alpacca", "alpaca"]),
    "rows longer than the model's context": (["data.max_tokens=9999"], ["data.max_tokens=9999", "256"]),
    "a row longer than asked": (["data.max_tokens=20"], ["rows.json row", "max_tokens=20", "data.too_long"]),
    "LoRA on layers that do not exist": (["model.lora.targets=[nothing]"], ["model.lora.targets", "nothing"]),
    "a template that is not there": (["data.template=none.jinja"], ["none.jinja"]),
    "a branch from nothing": (["init_from=none/step-1"], ["none/step-1"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_bad_settings_are_named(case: str, place: Place) -> None:
    changes, expected = SETTINGS[case]
    if "second" in str(changes):
        changes = [changes[0].replace("first.json", str(place.data))]
    message = refused(lambda: place.run(*changes))
    for part in expected:
        assert part in message


def no_folder(place: Place) -> list[str]:
    shutil.rmtree(place.model)
    return [str(place.model), "no such folder"]


def no_config(place: Place) -> list[str]:
    (place.model / "config.json").unlink()
    return [str(place.model), "no config.json"]


def no_weights(place: Place) -> list[str]:
    (place.model / "model.safetensors").unlink()
    return [str(place.model), "no weights"]


def a_pickle(place: Place) -> list[str]:
    weights = place.model / "model.safetensors"
    torch.save(load_file(weights), place.model / "pytorch_model.bin")
    weights.unlink()
    return ["pytorch_model.bin", "pickle", "safetensors only"]


def a_pickle_under_a_safe_name(place: Place) -> list[str]:
    weights = place.model / "model.safetensors"
    torch.save({"a": torch.ones(2)}, weights)
    return [str(place.model), "safetensors cannot be read"]


def weights_cut_short(place: Place) -> list[str]:
    weights = place.model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return [str(place.model), "safetensors cannot be read"]


def nan_weights(place: Place) -> list[str]:
    name = change_weight(place, lambda tensor: tensor.index_fill_(0, torch.tensor([3]), float("nan")))
    return [name, "not finite"]


def a_weight_missing(place: Place) -> list[str]:
    return [change_weight(place, lambda tensor: None), "missing"]


def a_weight_of_another_shape(place: Place) -> list[str]:
    return [change_weight(place, lambda tensor: tensor[:-1].clone()), "shape"]


def change_weight(place: Place, change: Callable[[torch.Tensor], torch.Tensor | None]) -> str:
    name = "model.layers.1.mlp.down_proj.weight"
    weights = load_file(place.model / "model.safetensors")
    changed = change(weights.pop(name))
    rest = {name: changed} if changed is not None else {}
    save_file({**weights, **rest}, place.model / "model.safetensors", {"format": "pt"})
    return name


def no_tokenizer(place: Place) -> list[str]:
    for file in place.model.glob("tokenizer*"):
        file.unlink()
    return [str(place.model), "tokenizer"]


def more_tokens_than_embeddings(place: Place) -> list[str]:
    file = place.model / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    size = len(tokenizer["model"]["vocab"])
    tokenizer["model"]["vocab"] |= {f"extra{i}": size + i for i in range(9)}
    file.write_text(json.dumps(tokenizer))
    return [f"up to {size + 8}", f"{size} embeddings", f"9 tokens have none, such as 'extra0', number {size}"]


def a_template_without_an_end_of_turn(place: Place) -> list[str]:
    (place.model / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    )
    return ["no special token", "never stop"]


def a_template_that_rewrites_the_answer(place: Place) -> list[str]:
    (place.model / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['content'] | upper }}<|im_end|>{% endfor %}"
    )
    return ["chat template turns the assistant's words", "AN ANSWER"]


def a_config_of_no_known_architecture(place: Place) -> list[str]:
    file = place.model / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_type": "nonesuch"}))
    return [str(place.model), "nonesuch"]


MODELS = [
    no_folder,
    no_config,
    no_weights,
    a_pickle,
    a_pickle_under_a_safe_name,
    weights_cut_short,
    nan_weights,
    a_weight_missing,
    a_weight_of_another_shape,
    no_tokenizer,
    more_tokens_than_embeddings,
    a_template_without_an_end_of_turn,
    a_template_that_rewrites_the_answer,
    a_config_of_no_known_architecture,
]


def out_is_a_file(place: Place) -> list[str]:
    place.out.write_text("")
    return [str(place.out), "is a file"]


def out_holds_something_else(place: Place) -> list[str]:
    place.out.mkdir()
    (place.out / "thesis.txt").write_text("years of work")
    return [str(place.out), "no config.yaml"]


def out_holds_another_run(place: Place) -> list[str]:
    place.run("optim.lr=1e-3")
    return [str(place.out), "another run", "optim.lr was 0.001"]


def the_data_changed(place: Place) -> list[str]:
    place.run()
    rows = json.loads(place.data.read_text())
    rows[7]["output"] += " changed"
    place.data.write_text(json.dumps(rows))
    return ["step-00000004", "the training rows"]


def shard_of(place: Place) -> Path:
    place.run()
    return next((place.out / "checkpoints" / "step-00000004").glob("*.safetensors"))


def a_checkpoint_cut_short(place: Place) -> list[str]:
    shard = shard_of(place)
    shard.write_bytes(shard.read_bytes()[:-10])
    return [str(shard), "cut short", "Delete"]


def a_checkpoint_with_a_flipped_bit(place: Place) -> list[str]:
    shard = shard_of(place)
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    shard.write_bytes(data)
    return [str(shard), "contents changed"]


def a_checkpoint_without_its_manifest(place: Place) -> list[str]:
    manifest = shard_of(place).parent / "checkpoint.json"
    manifest.unlink()
    return [str(manifest), "not the manifest"]


def a_checkpoint_of_another_model(place: Place) -> list[str]:
    manifest = shard_of(place).parent / "checkpoint.json"
    settings = json.loads((place.model / "config.json").read_text())
    other = {**settings, "hidden_size": 16, "head_dim": 8}
    (place.model / "config.json").write_text(json.dumps(other))
    from planish.data.chat.tokenizer import load_tokenizer
    from planish.models.load import build_model, save_model

    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    small = build_model({k: other[k] for k in keys}, 400, "float32", 0, torch.device("cpu"))
    save_model(small, load_tokenizer(place.model), place.model)
    return [str(manifest.parent), "have changed: model.path"]


RUNS = [
    out_is_a_file,
    out_holds_something_else,
    out_holds_another_run,
    the_data_changed,
    a_checkpoint_cut_short,
    a_checkpoint_with_a_flipped_bit,
    a_checkpoint_without_its_manifest,
    a_checkpoint_of_another_model,
]


@pytest.mark.parametrize("damage", [*MODELS, *RUNS], ids=lambda damage: damage.__name__)
def test_bad_model_and_run_folders_are_refused(damage: Callable[[Place], list[str]], place: Place) -> None:
    expected = damage(place)
    message = refused(place.run)
    for part in expected:
        assert part in message


def test_a_run_that_never_began_may_be_given_other_settings(place: Place) -> None:
    assert "max_tokens=2" in refused(lambda: place.run("data.max_tokens=2"))
    place.run()
    assert (place.out / "model" / "config.json").exists()


def test_a_folder_that_another_process_uses_is_refused(place: Place) -> None:
    place.out.mkdir()
    with (place.out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process" in refused(place.run)


def test_a_folder_that_cannot_be_written_is_refused(place: Place) -> None:
    assert "cannot be written" in refused(lambda: place.run("out=/proc/planish"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # the stopped run may still map a file of it


def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint_whole(place: Place, small_disk: Path) -> None:
    out = small_disk / "run"
    message = refused(lambda: place.run(f"out={out}", "checkpoint.keep=9", "steps=40"))
    assert "could not be written" in message
    assert str(out / "checkpoints") in message
    kept = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert kept
    assert not [name for name in kept if name.startswith(".")]
    assert (out / "checkpoints" / kept[-1] / "checkpoint.json").exists()


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_rows(place: Place) -> None:
    message = refused(lambda: place.run("optim.lr=1e30", "optim.clip_grad_norm=1e30", "steps=9"))
    assert "rows.json row" in message
    assert "not updated" in message


def test_a_recipe_that_is_missing_broken_or_no_mapping_is_named(place: Place) -> None:
    assert "no such file" in refused(lambda: main(["sft", "none.yaml"]))
    place.recipe.write_text("optim: {lr: 1")
    assert str(place.recipe) in refused(lambda: main(["sft", str(place.recipe)]))
    place.recipe.write_text("- optim")
    assert "mapping" in refused(lambda: main(["sft", str(place.recipe)]))


def test_what_must_be_given_is_asked_for(place: Place) -> None:
    message = refused(lambda: main(["sft", f"model.path={place.model}"]))
    assert "'out' and 'data' are needed and absent" in message

"""A step is a set of examples: micro-batches, packing, ranks and resume never change losses or gradient norms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from planish.base.config import load_config
from planish.data.chat.tokenizer import load_tokenizer
from planish.methods.dpo import DpoConfig, dpo
from planish.methods.kto import KtoConfig, kto
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.run import ppo
from planish.methods.pretrain import PretrainConfig, pretrain
from planish.methods.reward_model import RewardConfig, reward_model
from planish.methods.sft import SftConfig, sft
from planish.models.load import build_model, save_model
from planish.train.record import read_lines
from support.processes import end_when, finish

STEPS = 6
METHODS: dict[str, Any] = {
    "sft": (SftConfig, sft),
    "pretrain": (PretrainConfig, pretrain),
    "reward": (RewardConfig, reward_model),
    "dpo": (DpoConfig, dpo),
    "kto": (KtoConfig, kto),
    "ppo": (PpoConfig, ppo),
}


def settings(
    method: str, folder: Path, files: dict[str, str], out: Path, dtype: str = "float64", **changes: Any
) -> Any:
    """A run of six steps over two sources in float64, with ragged rows and a clipped gradient."""
    if method == "ppo":
        return load_config(PpoConfig, values=ppo_settings(folder, files, out, dtype, **changes))
    names = {"sft": ("first", "second"), "pretrain": ("first", "documents"), "kto": ("labelled", "judged")}
    names = names.get(method, ("compared", "ranked"))
    sources = dict(zip(("first", "second"), (files[name] for name in names), strict=True))
    values = {
        "model": {"path": str(folder), "dtype": dtype},
        "data": {"sources": {name: {"path": path} for name, path in sources.items()}},
        "out": str(out),
        "steps": STEPS,
        "batch": {"examples": 7, "micro_tokens": 64},
        "optim": {"lr": 1e-2, "clip_grad_norm": 0.5},
        "evaluate_every": 2,
        **({} if method == "reward" else {"num_samples": 1, "sampling": {"max_completion_tokens": 3}}),
        "checkpoint": {"every": 2, "keep": 9},
        **changes,
    }
    return load_config(METHODS[method][0], values=values)


def ppo_settings(folder: Path, files: dict[str, str], out: Path, dtype: str, **changes: Any) -> dict[str, Any]:
    """Three iterations of two steps each: PPO-ptx with a value model, a moving average, and a beta that adapts."""
    batch = {"prompts": 7, "completions": 2, "minibatches": 2, **changes.pop("batch", {})}
    batch.pop("examples", None)
    return {
        "model": {"path": str(folder), "dtype": dtype},
        "rewards": {"letters": {"name": "function", "function": "tests.support.rewards:letters"}},
        "prompts": {"first": files["first"]},
        "held_out": 3,
        "iterations": changes.pop("steps", STEPS) // 2,
        "batch": {"micro_tokens": 64, **batch},
        "sampling": {"max_completion_tokens": 5},
        "kl": {"beta": 0.1, "target": 0.05, "horizon": 50},
        "value": {"path": str(folder), "lr": 1e-2},
        "pretraining": {"sources": {"documents": {"path": files["documents"]}}, "held_out": 0.1},
        "ptx": {"gamma": 2.0, "examples": 5},
        "ema": 0.8,
        "optim": {"lr": 1e-2, "clip_grad_norm": 0.5},
        "evaluate_every": 1,
        "num_samples": 1,
        "out": str(out),
        "checkpoint": {"every": 1, "keep": 9},
        **changes,
    }


def numbers(run: Path) -> dict[int, tuple[float, ...]]:
    """Loss and gradient norms by step; of PPO also those of its parts."""
    lines = [line for line in read_lines(run / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return {
        line["step"]: (line["loss"], *(line[name] for name in line if name.endswith("grad_norm"))) for line in lines
    }


def sampled(run: Path) -> list[dict[str, float]]:
    """What each of PPO's iterations recorded, but for the clock."""
    lines = [line for line in read_lines(run / "metrics.jsonl") if "iteration" in line]
    return [{name: value for name, value in line.items() if not name.startswith("seconds")} for line in lines]


def held_out(run: Path) -> dict[int, float]:
    return {line["step"]: line["held_out/all"] for line in read_lines(run / "metrics.jsonl") if "held_out/all" in line}


def run(method: str, config: Any) -> Path:
    return METHODS[method][1](config)


@pytest.fixture(scope="module")
def reference(tiny_model: Path, tiny_data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each method run once, straight through, in one process."""
    folder = tmp_path_factory.mktemp("reference")
    return {m: run(m, settings(m, tiny_model, tiny_data, folder / m)) for m in METHODS}


def assert_same(found: Path, expected: Path, tolerance: float = 1e-10, steps: int = STEPS) -> None:
    ours, theirs = numbers(found), numbers(expected)
    assert len(ours) == len(theirs) == steps
    for step in ours:
        assert ours[step] == pytest.approx(theirs[step], rel=tolerance), f"step {step}"
    assert len(sampled(found)) == len(sampled(expected))
    for one, other in zip(sampled(found), sampled(expected), strict=True):
        assert one == pytest.approx(other, rel=tolerance, abs=1e-12)
    assert held_out(found) == pytest.approx(held_out(expected), rel=tolerance)


EVERY_METHOD = pytest.mark.parametrize("method", [*METHODS])


@EVERY_METHOD
@pytest.mark.parametrize("micro_tokens", [1, 4096])
def test_micro_batches_do_not_change_losses_or_gradient_norms(
    method: str,
    micro_tokens: int,
    reference: dict[str, Path],
    tiny_model: Path,
    tiny_data: dict[str, str],
    tmp_path: Path,
) -> None:
    batch = {"examples": 7, "micro_tokens": micro_tokens}
    found = run(method, settings(method, tiny_model, tiny_data, tmp_path / "run", batch=batch))
    assert_same(found, reference[method])


# PPO's completions come from transformers' generate where a model cannot be packed, with other noise; its objective is
# held against rows one by one in tests/methods/test_ppo.py.
@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "pretrain", "reward", "dpo"])
@pytest.mark.usefixtures("nothing_below_float64")
def test_rows_one_by_one_give_the_numbers_of_packed_rows(
    method: str, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = run(method, settings(method, tiny_model, tiny_data, tmp_path / "packed"))
    monkeypatch.setattr("planish.models.packed.try_packing", lambda *_, causal: ("a test says so", False))
    apart = run(method, settings(method, tiny_model, tiny_data, tmp_path / "apart"))
    assert_same(apart, packed)


@pytest.mark.parametrize("reduction", ["seq_mean", "seq_sum"])
def test_the_other_reductions_do_not_depend_on_micro_batches(
    reduction: str, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    small, large = (
        sft(
            settings(
                "sft",
                tiny_model,
                tiny_data,
                tmp_path / str(n),
                reduction=reduction,
                batch={"examples": 7, "micro_tokens": n},
            )
        )
        for n in (1, 4096)
    )
    assert_same(small, large)


@pytest.mark.slow
@EVERY_METHOD
def test_two_ranks_give_the_numbers_of_one(
    method: str, reference: dict[str, Path], tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    config = settings(method, tiny_model, tiny_data, tmp_path / "run")
    finish(method, config, ranks=2)
    assert_same(tmp_path / "run", reference[method])
    ours, theirs = (load_file(path / "model" / "model.safetensors") for path in (tmp_path / "run", reference[method]))
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-9, atol=1e-10)


VARIANTS: dict[str, dict[str, Any]] = {
    "activations recomputed": {"model": {"gradient_checkpointing": True}},
    "LoRA": {"model": {"lora": {"rank": 3}}},
    "a model that cannot be packed": {"model": {"path": "bloom"}},
    "a rank without work, and the best model kept": {"batch": {"examples": 1}, "save_best": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_two_ranks_give_the_numbers_of_one_with(
    variant: str, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    changes = dict(VARIANTS[variant])
    changes["model"] = {"path": str(tiny_model), "dtype": "float64", **changes.get("model", {})}
    if changes["model"]["path"] == "bloom":
        tokenizer = load_tokenizer(tiny_model)
        bloom = {"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 4, "seq_length": 256}
        save_model(build_model(bloom, len(tokenizer), "float32", 0, torch.device("cpu")), tokenizer, tmp_path / "bloom")
        sources = {name: {"path": tiny_data[name]} for name in ("first", "second")}
        changes["data"] = {"sources": sources, "max_tokens": 256}
        changes["model"]["path"] = str(tmp_path / "bloom")
    one = sft(settings("sft", tiny_model, tiny_data, tmp_path / "one", **changes))
    finish("sft", settings("sft", tiny_model, tiny_data, tmp_path / "two", **changes), ranks=2)
    assert_same(tmp_path / "two", one)
    ours, theirs = (load_file(path / "model" / "model.safetensors") for path in (tmp_path / "two", one))
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-9, atol=1e-10)


def test_recomputing_activations_does_not_change_the_numbers(
    reference: dict[str, Path], tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    model = {"path": str(tiny_model), "dtype": "float64", "gradient_checkpointing": True}
    assert_same(sft(settings("sft", tiny_model, tiny_data, tmp_path / "run", model=model)), reference["sft"])


@pytest.mark.slow
def test_a_checkpoint_of_two_ranks_continues_on_one(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    straight = sft(settings("sft", tiny_model, tiny_data, tmp_path / "straight", steps=40))
    config = settings("sft", tiny_model, tiny_data, out, steps=40)
    end_when((out / "checkpoints" / "step-00000004").exists, "sft", config, ranks=2)
    assert json.loads((out / "checkpoints" / "step-00000004" / "checkpoint.json").read_text())["ranks"] == 2
    sft(config)
    assert_same(out, straight, steps=40)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_killed_again_and_again_is_bit_identical_to_one_that_was_not(
    ranks: int, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"dtype": "float32", "steps": 30, "checkpoint": {"every": 3}}
    straight = settings("sft", tiny_model, tiny_data, tmp_path / "straight", **changes)
    finish("sft", straight, ranks)
    killed, out = settings("sft", tiny_model, tiny_data, tmp_path / "killed", **changes), tmp_path / "killed"
    folder = out / "checkpoints"
    moments = (
        lambda: any(folder.glob(".step-*.partial")),  # while the first checkpoint is being written
        lambda: len(read_lines(out / "metrics.jsonl")) > 12 and (folder / "step-00000009").exists(),
        lambda: (folder / "step-00000024").exists(),
    )
    for moment in moments:
        end_when(moment, "sft", killed, ranks)
    finish("sft", killed, ranks)
    lines = [numbers(tmp_path / name) for name in ("straight", "killed")]
    assert len(lines[0]) == 30
    assert lines[0] == lines[1]
    assert held_out(tmp_path / "straight") == held_out(tmp_path / "killed")
    ours, theirs = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("killed", "straight"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_pain_17_ppo_killed_while_it_samples_and_while_it_learns_is_bit_identical_to_one_that_was_not(
    ranks: int, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    """Policy, value model, moments, beta, moving average and place: the killed run ends with the same bits."""
    changes: dict[str, Any] = {"dtype": "float32", "steps": 16, "checkpoint": {"every": 2, "keep": 9}}
    straight = settings("ppo", tiny_model, tiny_data, tmp_path / "straight", **changes)
    finish("ppo", straight, ranks)
    killed, out = settings("ppo", tiny_model, tiny_data, tmp_path / "killed", **changes), tmp_path / "killed"
    moments = (
        lambda: (
            len(sampled(out)) >= 2
        ),  # before the first checkpoint, between two steps of an iteration or in the next round
        lambda: (out / "checkpoints" / "step-00000008").exists(),  # a round of sampling begins
    )
    for moment in moments:
        end_when(moment, "ppo", killed, ranks)
    finish("ppo", killed, ranks)
    assert numbers(tmp_path / "straight") == numbers(out)
    assert sampled(tmp_path / "straight") == sampled(out)
    last = [load_shards(tmp_path / name / "checkpoints" / "step-00000016") for name in ("straight", "killed")]
    assert last[0].keys() == last[1].keys()
    assert {"kept.beta", "kept.stopped"} < {name.rpartition("/")[2] for name in last[0]}
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])


def load_shards(checkpoint: Path) -> dict[str, torch.Tensor]:
    return {
        f"{file.name}/{n}" if "shard-00002" in file.name else n: t
        for file in sorted(checkpoint.glob("*.safetensors"))
        for n, t in load_file(file).items()
    }


def test_w3_a_branch_from_a_checkpoint_is_bit_identical_to_the_uninterrupted_run(
    reference: dict[str, Path], tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    checkpoint = reference["pretrain"] / "checkpoints" / "step-00000004"
    branch = pretrain(settings("pretrain", tiny_model, tiny_data, tmp_path / "run", init_from=str(checkpoint)))
    lines = [line for line in read_lines(branch / "metrics.jsonl") if "loss" in line]
    whole = numbers(reference["pretrain"])
    assert [(line["step"], line["loss"], line["grad_norm"]) for line in lines] == [(s, *whole[s]) for s in (5, 6)]
    ours, theirs = (load_file(path / "model" / "model.safetensors") for path in (branch, reference["pretrain"]))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

"""Fine-tuning from files to a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from planish.base.config import load_config
from planish.base.types import Example, pack
from planish.cli.main import main
from planish.data.chat.templates import ChatTemplate
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.rows import Message
from planish.inference.sample import SamplingConfig, sample
from planish.methods.sft import SftConfig, sft
from planish.methods.supervised import NextTokenLoss
from planish.models.load import ModelConfig, load_model
from planish.models.packed import CausalLM
from planish.train.record import read_lines
from support.models import write_model

CPU = torch.device("cpu")


def settings(folder: Path, out: Path, sources: str | dict[str, Any], **changes: Any) -> SftConfig:
    values = {
        "model": {"path": str(folder)},
        "data": {"sources": {"rows": {"path": sources}} if isinstance(sources, str) else sources},
        "out": str(out),
        "steps": 4,
        "batch": {"examples": 8, "micro_tokens": 256},
        "optim": {"lr": 1e-2},
        "num_samples": 2,
        "sampling": {"max_completion_tokens": 4},
        **changes,
    }
    return load_config(SftConfig, values=values)


def test_s4_a_token_that_is_not_learnt_gives_no_gradient_as_a_label(tiny_model: Path) -> None:
    # Row a is learnt at its last token alone. What it predicts elsewhere is no label: with another token in the last
    # place of row b, which has no learnt token, not one gradient moves.
    def gradients(last: int) -> list[torch.Tensor]:
        policy = CausalLM(load_model(ModelConfig(path=str(tiny_model), dtype="float64"), CPU))
        learnt = Example(np.array([5, 6, 7, 8], np.int32), np.array([False, False, False, True]), "a")
        masked = Example(np.array([9, 10, last], np.int32), np.zeros(3, np.bool_), "b")
        loss, _ = NextTokenLoss(policy, "token_mean", CPU).loss(pack([learnt, masked]))
        loss.backward()
        return [p.grad for p in policy.parameters() if p.grad is not None]

    differences = [(a - b).abs().max().item() for a, b in zip(gradients(11), gradients(200), strict=True)]
    assert max(differences) == 0


@pytest.mark.slow
def test_s6_fifty_epochs_on_64_items_reach_99_percent_exact_match(tmp_path: Path) -> None:
    words = ["red", "blue", "green", "one", "two", "three", "four", "five", "cat", "dog", "house", "tree"]
    rows = [
        {
            "instruction": f"{words[i % 12]} {words[i // 12]} {words[(i * 5) % 12]}",
            "input": "",
            "output": words[(i * 7) % 11],
        }
        for i in range(67)  # 64 to learn and 3 to hold out
    ]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows))
    config = settings(
        write_model(tmp_path / "model", 256),
        tmp_path / "run",
        str(file),
        steps=None,
        epochs=50,
        num_samples=0,
        data={"sources": {"rows": {"path": str(file)}}, "held_out": 0.04},
        batch={"examples": 8, "micro_tokens": 1024},
        optim={"lr": 1e-3, "schedule": "linear", "warmup_ratio": 0.1},
    )
    run = sft(config)
    model, tokenizer = load_model(ModelConfig(path=str(run)), CPU), load_tokenizer(run)
    template = ChatTemplate(tokenizer)
    account = json.loads((run / "data.json").read_text())["sources"]["rows"]
    held_out = {int(name.split()[-1]) for name in account["held_out"]["rows"]}
    learnt = [row for number, row in enumerate(rows, 1) if number not in held_out]
    assert len(learnt) == 64
    prompts = [template.encode_prompt([Message("user", row["instruction"])]) for row in learnt]
    sampling = SamplingConfig(max_completion_tokens=8)
    found = sample(CausalLM(model), tokenizer, prompts, sampling, template.stop_token_ids)
    exact = [c.text == row["output"] and c.ended for [c], row in zip(found, learnt, strict=True)]
    assert sum(exact) / len(exact) >= 0.99


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_run_of_one_step_trains(schedule: str, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path) -> None:
    optim = {"lr": 1e-2, "schedule": schedule}
    run = sft(settings(tiny_model, tmp_path / "run", tiny_data["first"], steps=1, optim=optim, num_samples=0))
    before, step, after = read_lines(run / "metrics.jsonl")
    assert step["learning_rate"] == 1e-2
    assert after["held_out/all"] < before["held_out/all"]


@pytest.mark.parametrize("lora", [None, {"rank": 4}])
def test_the_saved_model_gives_the_logits_of_training_in_plain_transformers(
    lora: dict[str, int] | None, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    model: dict[str, Any] = {"path": str(tiny_model), "lora": lora}
    run = sft(settings(tiny_model, tmp_path / "run", tiny_data["first"], model=model))
    plain = AutoModelForCausalLM.from_pretrained(run / "model")
    losses = read_lines(run / "metrics.jsonl")
    last = [line["held_out/all"] for line in losses if "held_out/all" in line][-1]
    account = json.loads((run / "data.json").read_text())["sources"]["rows"]["held_out"]
    rows = json.loads(Path(tiny_data["first"]).read_text())
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    assert tokenizer.chat_template == load_tokenizer(tiny_model).chat_template
    total, count = 0.0, 0
    for name in account["rows"]:
        row = rows[int(name.split()[-1]) - 1]
        turns = [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["output"]}]
        ids = tokenizer.apply_chat_template(turns, return_dict=False)
        prompt = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, return_dict=False)
        logprobs = plain(torch.tensor([ids])).logits[0].log_softmax(-1)
        end = len(ids) - 1  # the template ends with a line break that is not learnt
        total -= sum(logprobs[t - 1, ids[t]].item() for t in range(len(prompt), end))
        count += end - len(prompt)
    assert count == account["learnt_tokens"]
    assert total / count == pytest.approx(last, abs=1e-5)
    assert plain.generation_config.eos_token_id[0] == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_an_adapter_on_the_given_model_is_the_merged_model(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    model: dict[str, Any] = {"path": str(tiny_model), "lora": {"rank": 4, "alpha": 8}}
    run = sft(settings(tiny_model, tmp_path / "run", tiny_data["first"], model=model))
    ids = torch.arange(3, 40)[None]
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), run / "adapter")
    merged, given = (AutoModelForCausalLM.from_pretrained(path) for path in (run / "model", tiny_model))
    torch.testing.assert_close(adapted(ids).logits, merged(ids).logits, rtol=1e-4, atol=1e-5)
    assert (merged(ids).logits - given(ids).logits).abs().max() > 1e-2


def test_the_best_model_in_held_out_loss_is_saved_when_asked_for(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    # A rate this high overfits 38 rows within a few passes: the best step is not the last.
    config = settings(
        tiny_model,
        tmp_path / "run",
        tiny_data["first"],
        steps=60,
        save_best=True,
        evaluate_every=5,
        num_samples=0,
        optim={"lr": 3e-2, "schedule": "constant"},
        checkpoint={"every": 20, "keep": 1},
    )
    run = sft(config)
    measured = {
        line["step"]: line["held_out/all"] for line in read_lines(run / "metrics.jsonl") if "held_out/all" in line
    }
    best = min((step for step in measured if step), key=lambda step: measured[step])
    assert best < 60
    weights = load_file(run / "model" / "model.safetensors")
    shard = next((run / "checkpoints" / f"step-{best:08d}").glob("*.safetensors"))
    kept = load_file(shard)
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(weights[name], kept[f"weights.model.{name}"])


def test_a_finished_run_does_nothing_when_started_again(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    config = settings(tiny_model, tmp_path / "run", tiny_data["first"])
    run = sft(config)
    before = {path: path.stat().st_mtime_ns for path in (run / "model").iterdir()}
    lines = (run / "metrics.jsonl").read_text()
    sft(config)
    assert {path: path.stat().st_mtime_ns for path in (run / "model").iterdir()} == before
    assert (run / "metrics.jsonl").read_text() == lines


def test_every_source_is_measured_before_and_after(tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path) -> None:
    sources = {name: {"path": tiny_data[name]} for name in ("first", "second")}
    run = sft(settings(tiny_model, tmp_path / "run", sources))
    measured = [line for line in read_lines(run / "metrics.jsonl") if "held_out/all" in line]
    assert [line["step"] for line in measured] == [0, 4]
    for line in measured:
        assert {"held_out/first", "held_out/second"} < line.keys()
    assert measured[1]["held_out/all"] < measured[0]["held_out/all"]


def test_a_tracker_sees_what_the_file_holds(tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = sft(settings(tiny_model, tmp_path / "run", tiny_data["first"], tracker="tensorboard"))
    seen = event_accumulator.EventAccumulator(str(run / "tensorboard"))
    seen.Reload()
    written = [line["loss"] for line in read_lines(run / "metrics.jsonl") if "loss" in line]
    assert [event.value for event in seen.Scalars("loss")] == pytest.approx(written)


def test_prompts_in_a_file_are_answered_one_by_one(tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    main(
        ["sample", str(tiny_model), tiny_data["second"], "--out", str(out), "max_completion_tokens=3", "temperature=1"]
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    rows = json.loads(Path(tiny_data["second"]).read_text())
    assert [line["messages"][0]["content"] for line in lines] == [row["instruction"] for row in rows]
    again = tmp_path / "again.jsonl"
    main(
        [
            "sample",
            str(tiny_model),
            tiny_data["second"],
            "--out",
            str(again),
            "max_completion_tokens=3",
            "temperature=1",
        ]
    )
    assert again.read_text() == out.read_text()


def test_a_conversation_in_the_terminal(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter(["one two", "/reset", "three", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    main(["chat", str(tiny_model), "max_completion_tokens=3", "temperature=0"])
    assert next(typed, None) is None
    assert len(capsys.readouterr().out) > len("/reset forgets the conversation, /quit leaves\n")

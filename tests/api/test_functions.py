"""The public door: commands as functions, with data and models from memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
from datasets import Dataset

import planish
from planish.data.chat.tokenizer import load_tokenizer
from planish.models.load import ModelConfig, load_model

ROWS = [
    {"prompt": f"say {word}", "completion": word}
    for word in ["red", "blue", "green", "one", "two", "three", "four", "five"] * 3
]
QUICK: dict[str, Any] = {"steps": 2, "batch": {"examples": 4}, "num_samples": 0}


def chosen_shorter(prompts: list[Any], completions: list[str]) -> list[float]:
    """A reward of one's own."""
    return [-float(len(completion)) for completion in completions]


def test_importing_planish_loads_nothing_heavy() -> None:
    code = "import sys, planish; assert not {'torch', 'transformers', 'pydantic', 'numpy'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in planish.__all__:
        assert getattr(planish, name).__doc__, name
    assert set(planish.__all__) < set(dir(planish))
    with pytest.raises(AttributeError, match="no attribute 'sftt'"):
        _ = planish.sftt  # pyright: ignore


@pytest.mark.parametrize(
    "rows",
    [ROWS, pandas.DataFrame(ROWS), Dataset.from_list(ROWS)],
    ids=["a list of dicts", "a DataFrame", "a Dataset"],
)
def test_rows_in_memory_are_learnt_like_a_file(rows: Any, tiny_model: Path, tmp_path: Path) -> None:
    run = planish.sft(model=tiny_model, data=rows, out=tmp_path / "memory", **QUICK)
    file = tmp_path / "data.jsonl"
    file.write_text((run.path / "inputs" / "data.jsonl").read_text())
    other = planish.sft(model=str(tiny_model), data=file, out=tmp_path / "file", **QUICK)
    timing = {"seconds", "tokens"}
    ours, theirs = ([{k: v for k, v in line.items() if k not in timing} for line in r.metrics()] for r in (run, other))
    assert ours == theirs
    assert len([line for line in ours if "loss" in line]) == 2


def test_sources_by_name_and_their_settings(tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path) -> None:
    data = {"mine": ROWS, "file": {"path": tiny_data["first"], "weight": 3.0}}
    config = planish.sft(
        model=tiny_model, data={**data, "mine": {"path": tiny_data["second"], "weight": 1.0}}, out=tmp_path, **QUICK
    ).config
    assert config["data"]["sources"]["file"]["weight"] == 3.0
    assert list(config["data"]["sources"]) == ["mine", "file"]


def test_the_same_call_resumes_and_other_rows_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    first = planish.sft(model=tiny_model, data=ROWS, out=tmp_path / "run", **QUICK).metrics()
    assert planish.sft(model=tiny_model, data=ROWS, out=tmp_path / "run", **QUICK).metrics() == first
    with pytest.raises(planish.RunError, match="began with other rows"):
        planish.sft(model=tiny_model, data=ROWS[1:], out=tmp_path / "run", **QUICK)


def test_a_loaded_model_is_saved_beside_the_run(tiny_model: Path, tmp_path: Path) -> None:
    model, tokenizer = load_model(ModelConfig(path=str(tiny_model)), _cpu()), load_tokenizer(tiny_model)
    run = planish.sft(model=(model, tokenizer), data=ROWS, out=tmp_path / "pair", **QUICK)
    plain = planish.sft(model=tiny_model, data=ROWS, out=tmp_path / "path", **QUICK)
    assert run.held_out() == plain.held_out()
    model.get_input_embeddings().weight.data += 1
    with pytest.raises(planish.RunError, match="other weights"):
        planish.sft(model=(model, tokenizer), data=ROWS, out=tmp_path / "pair", **QUICK)


def test_a_callback_sees_each_record_and_stops_the_run(tiny_model: Path, tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []

    def watch(record: Any) -> bool | None:
        seen.append(record)
        return False if record.get("step") == 2 and "loss" in record else None

    settings = {**QUICK, "steps": 9}
    run = planish.sft(model=tiny_model, data=ROWS, out=tmp_path / "run", callbacks=[watch], **settings)
    assert seen == run.metrics()
    assert max(line["step"] for line in run.metrics()) == 2
    assert (run.path / "model" / "config.json").exists()
    again = planish.sft(model=tiny_model, data=ROWS, out=tmp_path / "run", **settings)  # it stays stopped
    assert again.metrics() == run.metrics()


def test_a_run_can_be_looked_at_and_used(tiny_model: Path, tmp_path: Path) -> None:
    run = planish.sft(model=tiny_model, data=ROWS, out=tmp_path / "run", **QUICK)
    losses = run.held_out()
    assert losses["before"].keys() == losses["after"].keys() == {"all", "data"}
    assert run.to_frame()["loss"].notna().sum() == 2
    assert len(run.sample(["say red", "say blue"], max_completion_tokens=3)) == 2
    assert run.model().template.stop_token == "<|im_end|>"
    assert f"{losses['after']['all']:.3f}" in run._repr_html_()
    assert run.report().read_text(encoding="utf-8").startswith("<!")


def test_a_function_is_a_reward(tiny_model: Path, tmp_path: Path) -> None:
    run = planish.ppo(
        model=tiny_model,
        prompts=[f"say {word}" for word in ["red", "blue", "green", "one", "two", "three"]],
        reward=chosen_shorter,
        out=tmp_path,
        iterations=1,
        held_out=1,
        batch={"prompts": 2},
        sampling={"max_completion_tokens": 3},
        value={"shared": True},
    )
    assert any("score/reward" in line for line in run.metrics())


def test_wrong_inputs_are_named(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(planish.ConfigError, match="data: found a int"):
        planish.sft(model=tiny_model, data=3, out=tmp_path)
    with pytest.raises(planish.ConfigError, match="row 2 is a str"):
        planish.sft(model=tiny_model, data=[ROWS[0], "red"], out=tmp_path)
    with pytest.raises(planish.ConfigError, match="model: found a float"):
        planish.sft(model=0.5, data=ROWS, out=tmp_path)
    with pytest.raises(planish.ConfigError, match="a name at the top of its module"):
        planish.ppo(model=tiny_model, prompts=["say red"], reward=lambda prompts, completions: [0.0], out=tmp_path)


def _cpu() -> Any:
    import torch

    return torch.device("cpu")

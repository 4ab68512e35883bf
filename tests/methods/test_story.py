"""What a run says at its start and at its end, and how much of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from planish.base.config import load_config
from planish.base.notices import NORMAL, QUIET, set_verbosity
from planish.cli.main import main
from planish.methods.dpo import DpoConfig
from planish.methods.ppo.config import PpoConfig
from planish.methods.reward_model import RewardConfig
from planish.methods.sft import SftConfig


@pytest.fixture(autouse=True)
def usual_verbosity() -> Any:
    yield
    set_verbosity(NORMAL)


def command(model: Path, data: str, out: Path, *more: str) -> list[str]:
    short = ["steps=2", "batch.examples=4", "num_samples=0", "data.held_out=0.2", "optim.lr=1e-3", "model.lora.rank=2"]
    return ["sft", "--model", str(model), "--data", data, "--out", str(out), *short, *more]


def test_a_run_tells_what_it_is_and_what_it_did(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(Path(tiny_data["first"]).read_text())
    rows[3] = {"instruction": "say", "output": "cat " * 40}
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    given = command(
        tiny_model, str(tmp_path / "rows.json"), tmp_path / "run", "data.max_tokens=60", "data.too_long=drop"
    )
    main(given)
    said = capfd.readouterr()
    head = dict(line.split(maxsplit=1) for line in said.err.splitlines() if line[:1].isalpha() and " " in line)
    assert head["model"].startswith(f"{tiny_model}: ")
    assert head["model"].endswith(" weights in float32, on cpu")
    assert "(LoRA of rank 2), learning rate 0.001, cosine" in head["trained"]
    account = json.loads((tmp_path / "run" / "data.json").read_text())["sources"]["rows"]
    counts = [account[part]["examples"] for part in ("training", "held_out")]
    assert head["rows"] == f"rows: {counts[0]} to learn, {counts[1]} held out, 1 left out (data.json says why)"
    assert head["template"] == "ChatML"
    assert head["begins"] == "at the start; no checkpoint was found"
    assert head["steps"] == f"2 of about 4 rows, {8 / counts[0]:.3g} times over all rows"
    assert head["done"].startswith("2 steps in ")
    first, last = [
        json.loads(line)["held_out/all"]
        for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        if "held_out/all" in line
    ]
    assert head["held"] == f"out   loss {first:.4g} → {last:.4g}"
    assert f"model: {tmp_path / 'run' / 'model'}" in said.out
    assert f"planish chat {tmp_path / 'run'}" in said.out
    log = (tmp_path / "run" / "run.log").read_text()
    assert all(line in log for line in said.err.splitlines() if line.startswith(("model", "rows", "done", "held")))
    main(given)  # again
    assert "nowhere: this run was done on" in capfd.readouterr().err
    with pytest.raises(SystemExit, match="This run is done"):
        main([*given, "steps=3"])


def test_quiet_leaves_warnings_and_verbose_has_a_line_for_every_step(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    main(command(tiny_model, tiny_data["first"], tmp_path / "quiet", "-q", "optim.lr=1e-9"))
    assert [line.split(":")[0] for line in capfd.readouterr().err.splitlines()] == ["warning"]
    assert "training 2/2" in (tmp_path / "quiet" / "run.log").read_text()
    main(command(tiny_model, tiny_data["first"], tmp_path / "verbose", "-v"))
    said = capfd.readouterr().err
    assert "training 1/2" in said
    assert "training 2/2" in said


def test_an_error_is_in_the_log(tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(command(tiny_model, tiny_data["first"], tmp_path / "run", "data.max_tokens=3"))
    assert "more than max_tokens=3" in (tmp_path / "run" / "run.log").read_text()


def test_the_adapter_has_a_card_and_others_may_read_what_is_saved(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    set_verbosity(QUIET)
    main(command(tiny_model, tiny_data["first"], tmp_path / "run"))
    card = (tmp_path / "run" / "adapter" / "README.md").read_text()
    assert f"base_model: {tiny_model}" in card
    assert "More Information Needed" not in card
    (tmp_path / "ordinary").touch()
    usual = stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)
    saved = [*(tmp_path / "run").rglob("*.safetensors")]
    assert len(saved) == 3  # model, adapter, checkpoint
    assert {stat.S_IMODE(file.stat().st_mode) for file in saved} == {usual}


@pytest.mark.parametrize(
    ("kind", "more", "rate"),
    [
        (SftConfig, {"data": {"sources": {"rows": {"path": "r.jsonl"}}}}, 2e-5),
        (RewardConfig, {"data": {"sources": {"rows": {"path": "r.jsonl"}}}}, 9e-6),
        (DpoConfig, {"data": {"sources": {"rows": {"path": "r.jsonl"}}}}, 1e-6),
        (PpoConfig, {"rewards": {"r": "judge"}, "prompts": {"p": "p.jsonl"}}, 3e-6),
    ],
)
def test_the_default_rate_of_lora_is_ten_times_that_of_all_weights(
    kind: Any, more: dict[str, Any], rate: float
) -> None:
    def lr(*overrides: str) -> float:
        return load_config(kind, values={**more, "model": {"path": "m"}, "out": "o"}, overrides=overrides).optim.lr

    assert lr() == lr("model.lora=null") == lr("model.lora=false") == rate
    assert lr("model.lora=true") == lr("model.lora.rank=4", "optim.schedule=linear") == pytest.approx(10 * rate)
    assert lr("model.lora=true", "optim.lr=7e-5") == 7e-5

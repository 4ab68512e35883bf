"""A run resumes only where what it reads is what it read, wherever that lies by now."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planish.base.config import dump_config, load_config
from planish.base.errors import RunError
from planish.base.plugins import code_of
from planish.methods.dpo import DpoConfig, dpo
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.run import ppo
from planish.methods.reward_model import RewardConfig, reward_model
from planish.methods.sft import SftConfig, sft
from planish.train.run_folder import RunFolder, refusal
from support.rows import tiny_comparisons, tiny_rows
from support.stopping import change_weights, stop_at

Run = Callable[..., Any]


@pytest.fixture
def base(tiny_model: Path, tmp_path: Path) -> Path:
    """A model that a test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "base"))


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    return write(tmp_path / "compared.jsonl", tiny_comparisons(30))


def write(file: Path, rows: list[Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def common(kind: Any, base: Path, rows: Path, **changes: Any) -> Any:
    data = {"sources": {"rows": {"path": str(rows)}}, "held_out": 0.2}
    values = {"model": {"path": str(base)}, "data": data, "steps": 3, "batch": {"examples": 4}, "evaluate_every": 0}
    return load_config(kind, values={**values, "out": str(base.parent / "run"), **changes})


def refused(run: Run, config: Any) -> str:
    with pytest.raises(RunError, match="inputs have changed") as error:
        run(config)
    return str(error.value)


def test_the_model_below_loras_updates(base: Path, tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", tiny_rows(20))
    model = {"path": str(base), "lora": {"rank": 2}}
    config = common(SftConfig, base, rows, model=model, num_samples=0)
    stop_at(1, sft, config)
    whole = Path(shutil.copytree(base, tmp_path / "whole"))
    change_weights(base)
    assert "model.path" in refused(sft, config)
    shutil.rmtree(base)
    moved = load_config(SftConfig, values=config.model_dump(), overrides=[f"model.path={whole}"])
    sft(moved)  # the same model at another place


def test_held_out_rows_measured_sets_and_demonstrations(base: Path, compared: Path, tmp_path: Path) -> None:
    few = write(tmp_path / "few.jsonl", tiny_comparisons(6, shift=40))
    demonstrations = write(tmp_path / "demonstrations.jsonl", tiny_rows(6))
    more: dict[str, Any] = {"eval_sets": {"few": str(few)}, "demonstrations": str(demonstrations)}
    config = common(RewardConfig, base, compared, **more)
    stop_at(1, reward_model, config)
    held_out = json.loads((tmp_path / "run" / "data.json").read_text())["sources"]["rows"]["held_out"]["rows"]
    number = int(held_out[0].split()[-1]) - 1
    for file, row, name in ((compared, number, "the held-out rows"), (few, 0, "eval_sets.few")):
        before = file.read_text()
        lines = [json.loads(line) for line in before.splitlines()]
        lines[row]["ranks"] = [1 - rank for rank in lines[row]["ranks"][:2]] + lines[row]["ranks"][2:]
        write(file, lines)
        assert name in refused(reward_model, config)
        file.write_text(before)
    before = demonstrations.read_text()
    demonstrations.write_text(before + before.splitlines()[0] + "\n")
    assert "demonstrations" in refused(reward_model, config)
    demonstrations.write_text(before)
    reward_model(config)


def test_the_reference_of_dpo(base: Path, compared: Path, tmp_path: Path) -> None:
    reference = Path(shutil.copytree(base, tmp_path / "reference"))
    config = common(DpoConfig, base, compared, reference=str(reference), num_samples=0)
    stop_at(1, dpo, config)
    change_weights(reference)
    assert "reference" in refused(dpo, config)


def test_the_models_of_ppo_and_the_code_of_a_reward(
    base: Path, compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward_model(common(RewardConfig, base, compared, out=str(tmp_path / "judge")))
    value = Path(shutil.copytree(tmp_path / "judge", tmp_path / "value"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "word_counts.py").write_text(
        "import few_words\n\ndef score(p, c): return [few_words.count(x) for x in c]\n"
    )
    (tmp_path / "few_words.py").write_text("def count(text): return len(text.split())\n")
    config = load_config(
        PpoConfig,
        values={
            "model": {"path": str(base)},
            "value": {"path": str(value)},
            "rewards": {"judge": str(tmp_path / "judge"), "words": "word_counts:score"},
            "prompts": {"some": str(write(tmp_path / "prompts.jsonl", [{"prompt": f"say cat {i}"} for i in range(9)]))},
            "held_out": 2,
            "iterations": 3,
            "batch": {"prompts": 3},
            "sampling": {"max_completion_tokens": 4},
            "out": str(tmp_path / "run"),
        },
    )
    stop_at(1, ppo, config)
    for folder, name in (
        (base, "model.path"),
        (tmp_path / "judge" / "model", "rewards.judge.path"),
        (value / "model", "value.path"),
    ):
        kept = (folder / "model.safetensors").read_bytes()
        change_weights(folder)
        assert refused(ppo, config).count(name) == 1
        (folder / "model.safetensors").write_bytes(kept)
    (tmp_path / "few_words.py").write_text("def count(text): return -len(text.split())\n")
    assert "rewards.words.function" in refused(ppo, config)


def test_the_code_of_a_module_is_its_file_and_what_it_imports_from_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "alone.py": "import json\nimport numpy",
        "pack/__init__.py": "",
        "pack/first.py": "from . import second\nimport pack.third",
        "pack/second.py": "from .third import x\nfrom alone import json",
        "pack/third.py": "x = 1",
        "pack/other.py": "y = 1",
    }
    (tmp_path / "pack").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    import pack.first  # noqa: F401

    found = [str(file.relative_to(tmp_path)) for file in code_of("pack.first")]
    assert found == ["pack/first.py", "alone.py", "pack/__init__.py", "pack/second.py", "pack/third.py"]
    assert code_of("no.such.module") == []
    for name in [name for name in sys.modules if name == "alone" or name.split(".")[0] == "pack"]:
        del sys.modules[name]


SERVED = {"name": "llm", "base_url": "http://127.0.0.1:8000", "model": "judge"}


@pytest.mark.parametrize(
    ("change", "free"),
    [
        ("rewards.judge.base_url=http://10.0.0.7:9000/v1", True),
        ("rewards.judge.timeout=7", True),
        ("rewards.judge.concurrency=1", True),
        ("rewards.judge.api_key_env=KEY", True),
        ("batch.micro_tokens=64", True),
        ("model.gradient_checkpointing=true", True),
        ("checkpoint.minutes=1", True),
        ("device=cpu", True),
        ("rewards.judge.model=another", False),
        ("rewards.judge.max_tokens=7", False),
        ("batch.prompts=3", False),
        ("optim.schedule=linear", False),
    ],
)
def test_settings_that_do_not_change_the_result_may_change(
    change: str, free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("linear").write_text("a file whose name is a word")
    values = {"model": {"path": "m"}, "rewards": {"judge": SERVED}, "prompts": {"some": "p.jsonl"}, "out": "run"}
    before, now = (load_config(PpoConfig, values=values, overrides=given) for given in ([], [change]))
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    (folder.path / "config.yaml").write_text(dump_config(before))
    folder.metrics.write_text("")
    problem = refusal(folder, now)
    assert (problem is None) == free
    assert free or change.split("=")[0] in (problem or "")

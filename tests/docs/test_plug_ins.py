"""The examples of docs/howto/plug-ins.md, against numbers worked by hand; test_pages.py runs the commands of the page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planish.base import plugins
from planish.base.config import load_config
from planish.base.errors import ConfigError, DataError
from planish.base.files import read_lines
from planish.data.cleaning.run import CleaningConfig
from planish.data.formats import FORMATS, import_rows
from planish.data.inspect.convert import ConvertConfig, convert
from planish.data.rows import Demonstration, Message, Origin, Prompt
from planish.judges.config import FunctionJudgeConfig
from planish.judges.function import FunctionJudge, ScoringFunction
from planish.maths.preference import PairLogprobs
from planish.methods.dpo import DpoConfig, dpo
from planish.methods.ppo.advantages import ScoredCompletions
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.rewards import FunctionSource, ModelSource
from planish.reports.read.run import read_run
from planish.reports.text import title
from support.comparison_files import settings_of
from support.doc_commands import write_files
from support.recipes import ROOT

PAGE = ROOT / "docs" / "howto" / "plug-ins.md"
MODULES = ("my_format", "my_loss", "my_estimator", "my_reward", "my_filter")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the page, in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_modules", {})
    write_files(PAGE)
    assert {f"{module}.py" for module in MODULES} < {file.name for file in tmp_path.iterdir()}
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    """Takes out what the page's commands, or another test, left in this process."""
    FORMATS.pop("letters", None)
    for module in MODULES:
        sys.modules.pop(module, None)


def dpo_config(model: Path, data: str, **changes: Any) -> DpoConfig:
    return load_config(DpoConfig, values=settings_of(model, Path("run"), data, **changes))


def ppo_config(**changes: Any) -> PpoConfig:
    values = {"out": "run", "model.path": "model", "prompts.some": "prompts.jsonl", "batch.completions": 2}
    return load_config(PpoConfig, values=values | {"rewards.words": "my_reward:words"} | changes)


def a_prompt(text: str, **about: str) -> Prompt:
    return Prompt((Message("user", text),), Origin("prompts.jsonl", 1), about=about)


def test_a_format_is_read_by_its_function_and_recognized_once_its_module_is_imported() -> None:
    with pytest.raises(DataError, match="no known format"):
        import_rows("letters.jsonl", (Demonstration,))
    rows = import_rows("letters.jsonl", (Demonstration,), "my_format:letters").rows
    assert [turn.content for turn in rows[1].messages] == [
        "Dear planish, what is a policy?",
        "The model that writes the answers.",
    ]
    assert import_rows("letters.jsonl", (Demonstration,)).rows == rows
    with pytest.raises(DataError, match="'my_reward:words' is a function without @importer"):
        import_rows("letters.jsonl", (Demonstration,), "my_reward:words")


def test_a_loss_and_its_settings() -> None:
    loss = dpo_config(Path("model"), "rows.jsonl", loss={"name": "my_loss:Hinge", "beta": 0.5, "margin": 2.0}).loss
    rows = [[-4.0, -6.0], [-9.0, -2.0], [-5.0, -9.0], [-8.0, -1.0]]  # h = (-4 + 5) - (-9 + 8) = 2 and 3 - -1 = 4
    w_P, l_P, reference_w_P, reference_l_P = torch.tensor(rows, dtype=torch.float64)
    pairs = PairLogprobs(w_P, l_P, reference_w_P, reference_l_P, torch.tensor([2, 3]), torch.tensor([4, 1]))
    assert loss.losses(pairs).tolist() == [2 - 0.5 * 2, 0.0]
    assert loss.reward(torch.tensor([-4.0]), torch.tensor([-6.0]), torch.tensor([3])).tolist() == [1.0]


def test_a_run_with_a_loss_records_resumes_and_reports_it(tiny_model: Path, tiny_data: dict[str, str]) -> None:
    """At the first step the policy is the reference, so every pair costs the whole margin."""
    loss = {"name": "Hinge", "margin": 2.0}
    changes: dict[str, Any] = {"plugins": ["my_loss"], "loss": loss, "num_samples": 0}
    dpo(dpo_config(tiny_model, tiny_data["compared"], steps=2, **changes))
    run = read_run(dpo(load_config(DpoConfig, "run/config.yaml")))
    first = next(line for line in read_lines(Path("run/metrics.jsonl")) if "loss" in line)
    assert first["loss"] == pytest.approx(2.0)
    assert (run.config["plugins"], run.config["loss"]) == (["my_loss"], {"name": "Hinge", "beta": 0.1, "margin": 2.0})
    assert title(run).startswith("Hinge of ")


def test_an_estimator() -> None:
    config = ppo_config(**{"advantage.name": "my_estimator:MeanBaseline"})
    scores = np.array([1.0, 4.0, 0.0, 0.0])  # two prompts, two completions each, of 1, 2, 1 and 1 tokens
    batch = ScoredCompletions(scores, np.zeros(5), np.zeros(5), np.array([1, 2, 1, 1]), beta=0.1, num_samples=2)
    assert config.advantage.estimate(batch)[0].tolist() == [-1.5, 1.5, 1.5, 0.0, 0.0]
    assert (config.advantage.reduction, config.advantage.needs_values) == ("seq_sum", False)
    with pytest.raises(
        ConfigError, match=r"advantage\.name=my_estimator:MeanBaseline: compares a prompt's completions"
    ):
        ppo_config(**{"advantage.name": "my_estimator:MeanBaseline", "batch.completions": 1})


def test_a_reward_by_its_name_alone_with_settings_and_by_the_flag() -> None:
    words = FunctionSource(function="my_reward:words")
    assert ppo_config().rewards == {"words": words}
    assert ppo_config(**{"rewards.words": {"path": "my_reward:words"}}).rewards == {
        "words": words
    }  # --reward my_reward:words
    assert ppo_config(**{"rewards.words": {"function": "my_reward:words"}}).rewards == {"words": words}
    assert ppo_config(**{"rewards.model": {"path": "runs/reward"}}).rewards["model"] == ModelSource(path="runs/reward")
    named = ppo_config(**{"rewards.topic": {"name": "my_reward:on_topic", "weight": 0.5}}).rewards["topic"]
    assert named == FunctionSource(function="my_reward:on_topic", weight=0.5)


def test_a_function_with_a_parameter_about_is_given_the_fields_of_the_rows() -> None:
    scorer = ScoringFunction("my_reward:on_topic", "rewards.topic")
    prompts = [a_prompt("Say something.", topic="verbs"), a_prompt("Say something.", topic="books")]
    assert scorer(prompts, ["I like verbs", "I like verbs"]) == [1.0, 0.0]


def test_a_judge_scores_every_answer() -> None:
    judge = FunctionJudge(FunctionJudgeConfig(function="my_reward:words"), [])
    answers = {"one": [["a b", "a a"], ["a b c", ""]], "two": [["", "a"], ["a", "a b"]]}
    scores = judge.judge([a_prompt("first"), a_prompt("second")], answers, "one").scores
    assert {name: score.values for name, score in scores.items()} == {
        "one": [[2.0, 1.0], [3.0, 0.0]],
        "two": [[0.0, 1.0], [1.0, 2.0]],
    }


def test_a_filter_says_why_a_row_is_left_out(folder: Path) -> None:
    lines = ['{"instruction": "Where?", "output": "See http://here"}', '{"instruction": "Where?", "output": "Here."}']
    (folder / "rows.jsonl").write_text("\n".join(lines))
    cleaning = load_config(CleaningConfig, overrides=["filters=my_filter:no_links"])
    done = convert(ConvertConfig(files=("rows.jsonl",), out="clean.jsonl", cleaning=cleaning))
    assert (done.rows, [(row.origin.row, row.reason) for row in done.first_dropped]) == (1, [(1, "holds a link")])
    (folder / "my_filter.py").write_text("def no_links(row):\n    return True\n")
    sys.modules.pop("my_filter")
    with pytest.raises(
        ConfigError, match=r"my_filter:no_links must return a reason \(text\) or None; it returned True"
    ):
        convert(ConvertConfig(files=("rows.jsonl",), out="again.jsonl", cleaning=cleaning))

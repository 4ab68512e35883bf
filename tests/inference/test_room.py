"""Answers that the context has no room for: refused before the first, shortened beside a training, cut for a reward model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planish.base.errors import ConfigError
from planish.cli.main import main
from planish.data.rows import Message, Origin, Prompt
from planish.inference.room import check_room, fitted
from planish.inference.sample import SamplingConfig
from support.refusals import refused

PROMPTS = [Prompt((Message("user", "say red"),), Origin("prompts.jsonl", i)) for i in (1, 2)]


def test_the_longest_prompt_and_a_completion_fill_the_context_exactly() -> None:
    check_room(PROMPTS, [[0] * 10, [0] * 30], 70, 100, "tiny", "most")
    check_room(PROMPTS, [[0] * 10, [0] * 30], 71, None, "tiny", "most")  # a model without a limit
    with pytest.raises(
        ConfigError, match=r"prompts.jsonl row 2: 30 tokens, and most=71 .* 100 that tiny .* Set most=70 or less"
    ):
        check_room(PROMPTS, [[0] * 10, [0] * 30], 71, 100, "tiny", "most")
    with pytest.raises(ConfigError, match=r"prompts.jsonl row 2: 100 tokens.*made for\. Take the longest prompts out"):
        check_room(PROMPTS, [[0] * 10, [0] * 100], 1, 100, "tiny", "most")


def test_samples_of_a_training_are_as_long_as_there_is_room() -> None:
    sampling = SamplingConfig(max_completion_tokens=64)
    assert fitted(sampling, [10, 30], 100) == (sampling, [0, 1], None)
    assert fitted(sampling, [], 10) == (sampling, [], None)
    same, some, said = fitted(sampling, [10, 90], 100)
    assert (same, some) == (sampling, [0])
    assert said == "samples: 1 of 2 prompts have no room for 64 tokens and are left out: the model was made for 100"
    shorter, some, said = fitted(sampling, [30, 20, 60], 48)
    assert (shorter.max_completion_tokens, some) == (18, [0, 1])
    assert said == "samples: completions are cut after 18 tokens, not 64: the model was made for 48"
    _, some, said = fitted(sampling, [60], 48)
    assert some == []
    assert "there are none" in (said or "")


@pytest.mark.parametrize("command", ["sample", "compare"])
def test_what_does_not_fit_is_refused_before_the_first_answer(command: str, tiny_model: Path, tmp_path: Path) -> None:
    """The tiny model was made for 256 tokens."""
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": "say red"}) + "\n")
    out, prompts = str(tmp_path / "out"), str(tmp_path / "prompts.jsonl")
    arguments = {
        "sample": ["sample", str(tiny_model), prompts, "--out", out, "max_completion_tokens=300"],
        "compare": ["compare", f"models={{a: {{path: {tiny_model}}}, b: {{path: {tiny_model}}}}}", "--prompts", prompts,
                    "--out", out,
                    "judge={name: function, function: support.rewards:letters}", "sampling.max_completion_tokens=300"],
    }  # fmt: skip
    said = refused(lambda: main(arguments[command]))
    assert all(part in said for part in ("prompts.jsonl row 1", "max_completion_tokens=300", "256"))
    assert not list(tmp_path.glob("out/answers/*"))

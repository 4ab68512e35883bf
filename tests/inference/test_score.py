"""A reward model in use: files of any model's text, scored as they are read."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from planish.base.config import load_config
from planish.cli.main import main
from planish.data.chat.tokenizer import load_tokenizer, train_tokenizer
from planish.data.formats import import_rows
from planish.data.rows import Demonstration, Message, Origin, ToolCall
from planish.inference import score
from planish.inference.score import RewardModel
from planish.methods.reward_model import RewardConfig, reward_model
from planish.models.load import ModelConfig, build_model, save_model
from support.comparison_files import chats, ruled, scores_of, settings_of, write
from support.rows import tiny_comparisons

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in `run` that was measured on `further`."""
    folder = tmp_path_factory.mktemp("reward")
    measured = {"further": write(folder / "further.jsonl", ruled(40, seed=1))}
    rows = write(folder / "rows.jsonl", ruled(160, seed=0))
    reward_model(load_config(RewardConfig, values=settings_of(tiny_model, folder / "run", rows, eval_sets=measured)))
    return folder


def test_scores_of_a_file_are_those_that_the_run_recorded(trained: Path, tmp_path: Path) -> None:
    lines = scores_of(trained / "run", trained / "further.jsonl", tmp_path / "scores.jsonl")
    rows = ruled(40, seed=1)
    assert [line["completions"] for line in lines] == [row["completions"] for row in rows]
    losses, rights = [], []
    for line in lines:
        pairs = [(a, b) for a, i in zip(line["scores"], line["ranks"], strict=True) if i == 0
                 for b, j in zip(line["scores"], line["ranks"], strict=True) if j == 1]  # fmt: skip
        losses.append(sum(math.log1p(math.exp(b - a)) for a, b in pairs) / len(pairs))
        rights.append(sum(a > b for a, b in pairs) / len(pairs))
    recorded = json.loads((trained / "run" / "ranking.json").read_text())[-1]
    assert sum(losses) / 40 == pytest.approx(recorded["log_loss"]["value"], abs=1e-5)
    assert sum(rights) / 40 == pytest.approx(recorded["accuracy"]["value"])


def test_a_conversation_has_the_score_of_the_completion_that_is_compared(trained: Path, tmp_path: Path) -> None:
    compared = scores_of(trained / "run", trained / "further.jsonl", tmp_path / "compared.jsonl")
    alone = scores_of(trained / "run", write(tmp_path / "rows.jsonl", chats(ruled(40, seed=1))), tmp_path / "alone")
    assert [line["messages"][1]["content"] for line in alone] == [c for line in compared for c in line["completions"]]
    assert [line["score"] for line in alone] == pytest.approx(
        [s for line in compared for s in line["scores"]], abs=1e-4
    )


def test_a_file_is_scored_as_it_is_read(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scores_of(trained / "run", trained / "further.jsonl", tmp_path / "whole.jsonl")
    seen: list[int] = []
    plain = RewardModel.score

    def watched(self: RewardModel, rows: Any) -> Any:
        seen.append(len(rows))
        return plain(self, rows)

    monkeypatch.setattr(score, "ROWS", 16)
    monkeypatch.setattr(RewardModel, "score", watched)
    parts = scores_of(trained / "run", trained / "further.jsonl", tmp_path / "parts.jsonl")
    assert seen == [16, 16, 8]
    for one, other in zip(whole, parts, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-4)


def test_a_sampled_completion_of_no_words_has_a_score(trained: Path, tmp_path: Path) -> None:
    """That of the end of the turn right behind the prompt."""
    asked = {"messages": [{"role": "user", "content": "say sun"}]}
    sampled = [{**asked, "completion": text, "ended": True} for text in ("sun", "")]
    lines = scores_of(trained / "run", write(tmp_path / "rows.jsonl", sampled), tmp_path / "scores.jsonl")
    plain = AutoModelForSequenceClassification.from_pretrained(trained / "run" / "model").eval()
    own = AutoTokenizer.from_pretrained(trained / "run" / "model")
    for line, words in zip(lines, ("sun", ""), strict=True):
        text = f"<|im_start|>user\nsay sun<|im_end|>\n<|im_start|>assistant\n{words}<|im_end|>"
        with torch.no_grad():
            logit = plain(**own(text, add_special_tokens=False, return_tensors="pt")).logits.item()
        assert line["score"] == pytest.approx(logit - plain.config.score_offset, abs=1e-4)


def test_what_is_sampled_is_read_back_with_its_tools_and_calls(tiny_model: Path, tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    function = {"name": "look", "arguments": {"at": "sun"}}
    asked = [
        {"role": "user", "content": "say sun"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": function}]},
        {"role": "tool", "content": "red"},
    ]
    prompts, said = write(tmp_path / "prompts.jsonl", [{"messages": asked, "tools": tools}]), tmp_path / "said.jsonl"
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))  # the tools alone take more than its 256 tokens
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**settings, "max_position_embeddings": 1024}))
    main(["sample", str(model), prompts, "--out", str(said), "max_completion_tokens=4"])
    (row,) = import_rows(said, (Demonstration,)).rows
    assert row.messages[:-1] == (
        Message("user", "say sun"),
        Message("assistant", "", tool_calls=(ToolCall("look", {"at": "sun"}),)),
        Message("tool", "red"),
    )
    assert row.messages[-1].content == json.loads(said.read_text())["completion"]
    assert list(row.tools) == tools


def test_an_unlearnt_turn_is_scored_like_any_other(trained: Path) -> None:
    """`weight: 0` keeps a turn out of fine-tuning; its score is that of the same words."""
    judge = RewardModel(ModelConfig(path=str(trained / "run")), CPU)
    turns = [
        Message("user", "say sun"),
        Message("assistant", "sun"),
        Message("user", "say moon"),
        Message("assistant", "moon"),
    ]
    rows = [Demonstration((*turns[:3], replace(turns[3], trained=some)), Origin("rows", 1)) for some in (True, False)]
    (one,), (other,) = judge.score(rows)
    assert one == pytest.approx(other, abs=1e-5)


def test_pain_19_text_of_a_model_with_another_tokenizer_is_tokenised_anew(
    trained: Path, tiny_model: Path, tmp_path: Path
) -> None:
    other = train_tokenizer([word for row in tiny_comparisons(30) for word in row["completions"]], 290)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    writer = build_model({"model_type": "llama", **sizes}, len(other), "float32", 0, CPU)
    save_model(writer, other, tmp_path / "writer")
    assert other.encode("the sun and the moon") != load_tokenizer(tiny_model).encode("the sun and the moon")
    prompts = write(tmp_path / "prompts.jsonl", [{"prompt": row["prompt"]} for row in ruled(5, seed=7)])
    written = tmp_path / "written.jsonl"
    main(
        ["sample", str(tmp_path / "writer"), prompts, "--out", str(written), "max_completion_tokens=6", "temperature=1"]
    )
    said = [json.loads(line) for line in written.read_text().splitlines()]
    lines = scores_of(trained / "run", written, tmp_path / "scores.jsonl")
    turns = [[*line["messages"], {"role": "assistant", "content": line["completion"]}] for line in said]
    assert [line["messages"] for line in lines] == turns
    assert [line["about"] for line in lines] == [{"ended": line["ended"]} for line in said]
    plain = AutoModelForSequenceClassification.from_pretrained(trained / "run" / "model").eval()
    own = AutoTokenizer.from_pretrained(trained / "run" / "model")
    assert len(lines) == 5
    for line in lines:
        ids = own(
            own.apply_chat_template(line["messages"], tokenize=False).removesuffix("\n"), add_special_tokens=False
        )
        with torch.no_grad():
            expected = plain(input_ids=torch.tensor([ids["input_ids"]])).logits.item() - plain.config.score_offset
        assert line["score"] == pytest.approx(expected, abs=1e-4)

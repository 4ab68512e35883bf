"""A tiny real model folder and tiny real files, made once."""

from __future__ import annotations

import json
import os
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # tiny models are no faster on two threads, and tests run side by side

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("planish", deadline=None)  # how long a test takes is no part of it
settings.load_profile("planish")

WORDS = "red blue green one two three four five cat dog house tree sun moon sea".split()  # noqa: SIM905


def tiny_rows(count: int, shift: int = 0) -> list[dict[str, str]]:
    """Instructions of ragged length whose answers repeat what was asked."""
    rows = []
    for i in range(shift, shift + count):
        asked = [WORDS[(i * 7 + k * 3) % len(WORDS)] for k in range(2 + i * i % 9)]
        rows.append({"instruction": "repeat " + " ".join(asked), "input": "", "output": f"{i} " + " ".join(asked)})
    return rows


def tiny_comparisons(count: int, shift: int = 0) -> list[dict[str, Any]]:
    """Two to four ragged answers to a prompt, some of them tied."""
    rows: list[dict[str, Any]] = []
    for i in range(shift, shift + count):
        answers = [
            " ".join(WORDS[(i * 3 + k * 7 + j) % len(WORDS)] for j in range(1 + (i + k) % 4)) for k in range(2 + i % 3)
        ]
        ranks = [k if k < 2 else 1 for k in range(len(answers))]
        rows.append(
            {
                "prompt": f"say {WORDS[i % len(WORDS)]} {i}",
                "completions": answers,
                "ranks": ranks[i % 2 :] + ranks[: i % 2],
            }
        )
    return rows


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two sources of demonstrations and one of documents."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "first.json").write_text(json.dumps(tiny_rows(40)))
    (folder / "second.json").write_text(json.dumps(tiny_rows(25, shift=100)))
    documents = [{"text": " ".join(WORDS[(i * 5 + k * 3) % len(WORDS)] for k in range(3 + i % 30))} for i in range(40)]
    files = {"first": "first.json", "second": "second.json"}
    rows = {"documents": documents, "compared": tiny_comparisons(30), "ranked": tiny_comparisons(20, shift=50)}
    for name, lines in rows.items():
        files[name] = f"{name}.jsonl"
        (folder / files[name]).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {name: str(folder / file) for name, file in files.items()}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny", 32)


def make_model(folder: Path, width: int) -> Path:
    """A Llama of two layers with a byte-level tokenizer and ChatML, as an ordinary folder; 32 wide, 30 thousand weights."""
    import torch

    from planish.data.chat.tokenizer import train_tokenizer
    from planish.models.load import build_model, save_model

    texts = [word for row in tiny_rows(60) for word in row.values()]
    tokenizer = train_tokenizer(texts, 400)
    settings = {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": width * 3 // 2,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    save_model(build_model(settings, len(tokenizer), "float32", 0, torch.device("cpu")), tokenizer, folder)
    return folder


@pytest.fixture
def nothing_below_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' eager attention takes its softmax in float32 even in a float64 model, and so do Gemma's and Cohere's
    norms and CodeGen's attention with their products. That rounding would hide an error of ours below 1e-8."""
    import torch

    softmax, narrow, to = torch.nn.functional.softmax, torch.Tensor.float, torch.Tensor.to

    def wide_softmax(scores: Any, dim: int | None = None, dtype: Any = None, **_: Any) -> Any:
        return softmax(scores, dim=dim, dtype=dtype and torch.promote_types(dtype, scores.dtype))

    def wide_float(tensor: Any) -> Any:
        return tensor if tensor.dtype == torch.float64 else narrow(tensor)

    def wide_to(tensor: Any, *wanted: Any, **how: Any) -> Any:
        return tensor if tensor.dtype == torch.float64 and wanted == (torch.float32,) else to(tensor, *wanted, **how)

    monkeypatch.setattr(torch.nn.functional, "softmax", wide_softmax)
    monkeypatch.setattr(torch.Tensor, "float", wide_float)
    monkeypatch.setattr(torch.Tensor, "to", wide_to)

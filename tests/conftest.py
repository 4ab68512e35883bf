"""A tiny real model folder and tiny real files, made once."""

from __future__ import annotations

import json
import os
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # tiny models are no faster on two threads, and tests run side by side

from pathlib import Path

import pytest
from hypothesis import settings

from support.rows import WORDS, tiny_comparisons, tiny_labelled, tiny_rows

settings.register_profile("planish", deadline=None)  # how long a test takes is no part of it
settings.load_profile("planish")


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two sources of demonstrations and one of documents."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "first.json").write_text(json.dumps(tiny_rows(40)))
    (folder / "second.json").write_text(json.dumps(tiny_rows(25, shift=100)))
    documents = [{"text": " ".join(WORDS[(i * 5 + k * 3) % len(WORDS)] for k in range(3 + i % 30))} for i in range(40)]
    files = {"first": "first.json", "second": "second.json"}
    rows = {"documents": documents, "compared": tiny_comparisons(30), "ranked": tiny_comparisons(20, shift=50)}
    rows |= {"labelled": tiny_labelled(30), "judged": tiny_labelled(21, shift=50)}
    for name, lines in rows.items():
        files[name] = f"{name}.jsonl"
        (folder / files[name]).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {name: str(folder / file) for name, file in files.items()}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.models import write_model

    return write_model(tmp_path_factory.mktemp("models") / "tiny", 32)


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

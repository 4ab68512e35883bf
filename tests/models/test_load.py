"""Loaded weights lie where matrix products round as they did before saving."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from planish.models.load import ModelConfig, load_model
from planish.models.reward_head import load_scorer
from planish.train.checkpoint import CheckpointConfig, Checkpoints
from planish.train.optimizer import OptimConfig, Trainer
from support.models import random_model

CPU = torch.device("cpu")


def off_the_boundary(model: nn.Module) -> list[str]:
    """Parameters and buffers that do not start at a multiple of 64 bytes."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [name for name, tensor in tensors if tensor.data_ptr() % 64]


def shift_weights(folder: Path, length: int) -> None:
    """Writes the same weights behind a longer header, so that they lie elsewhere when the file is mapped."""
    file = folder / "model.safetensors"
    save_file(load_file(file), file, {"format": "pt", "note": "x" * length})


@pytest.mark.parametrize("length", range(0, 64, 8))
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_every_weight_starts_at_a_multiple_of_64_bytes(kind: str, length: int, tmp_path: Path) -> None:
    random_model(kind).double().save_pretrained(tmp_path)
    shift_weights(tmp_path, length)
    config = ModelConfig(path=str(tmp_path), dtype="float64")
    assert off_the_boundary(load_model(config, CPU)) == []
    assert off_the_boundary(load_scorer(config, CPU)) == []


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    random_model("llama", tie_word_embeddings=True).double().save_pretrained(tmp_path)
    for length in range(0, 64, 8):
        shift_weights(tmp_path, length)
        model = load_model(ModelConfig(path=str(tmp_path), dtype="float64"), CPU)
        assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_checkpoint_is_read_into_the_same_memory(tmp_path: Path) -> None:
    model = random_model("llama")
    trainer = Trainer(model, OptimConfig(), 1)
    checkpoints = Checkpoints(tmp_path, trainer, {}, CheckpointConfig())
    checkpoints.save(0)
    before = {name: tensor.data_ptr() for name, tensor in model.named_parameters()}
    checkpoints.load(0)
    assert {name: tensor.data_ptr() for name, tensor in model.named_parameters()} == before
    assert off_the_boundary(model) == []

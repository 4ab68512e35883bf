"""How many tokens a forward pass takes where nobody says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from planish.models.micro_batch import default_micro_tokens

SMOLLM2 = {"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
SMALL = {
    "model_type": "gpt2",
    "n_embd": 256,
    "n_layer": 4,
    "n_head": 4,
}  # its MLP has no width of its own: four times the model's
LARGE = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}


def model_of(shape: dict[str, str | int], dtype: str = "float32") -> PreTrainedModel:
    """Without memory for its weights."""
    with torch.device("meta"):
        config = AutoConfig.for_model(**shape)
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))


@pytest.mark.parametrize(
    ("shape", "dtype", "tokens"),
    [(SMOLLM2, "float32", 768), (SMOLLM2, "bfloat16", 1536), (SMALL, "float32", 1536), (LARGE, "float32", 768)],
)
def test_small_models_take_more_tokens_at_once(shape: dict[str, str | int], dtype: str, tokens: int) -> None:
    assert default_micro_tokens(model_of(shape, dtype), torch.device("cpu")) == tokens


@pytest.mark.parametrize(("gigabytes", "tokens"), [(16, 2560), (80, 13824), (141, 16384)])
def test_a_gpu_gives_an_eighth_of_its_memory(gigabytes: int, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(total_memory=gigabytes * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    assert default_micro_tokens(model_of(SMOLLM2), torch.device("cuda"), torch.bfloat16) == tokens

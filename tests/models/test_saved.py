"""A saved model is loaded again and gives the numbers that it had: also where LoRA was on tied weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from planish.base.errors import ModelError
from planish.models.load import LoraConfig, save_model
from planish.models.lora import add_lora, merge, plain_weights
from planish.models.saved import numbers_of
from support.models import random_model
from support.tokenizers import tiny_tokenizer

TEXTS = [[5, 9, 2, 40, 7, 11], [33, 8, 100, 3]]


def adapted(kind: str, targets: tuple[str, ...], dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """LoRA with updates that are not zero, as after some training."""
    model = add_lora(random_model(kind, dtype, **changes), LoraConfig(rank=2, alpha=4, targets=targets), seed=0)
    chance = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "lora_embedding" in name:
            parameter.data = (0.3 * torch.randn(parameter.shape, generator=chance)).to(parameter.dtype)
    return model


def loaded(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder).eval()


ENDS = {
    "llama": ("lm_head", "embed_tokens"),
    "gemma2": ("lm_head", "embed_tokens"),
    "gpt2": ("lm_head", "wte"),
    "opt": ("lm_head", "embed_tokens"),
}


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize(("kind", "target"), [(kind, target) for kind, ends in ENDS.items() for target in ends])
def test_lora_on_an_end_is_saved_as_it_was_trained(kind: str, target: str, tied: bool, tmp_path: Path) -> None:
    model = adapted(kind, (target,), tie_word_embeddings=tied)
    expected = numbers_of(model.get_base_model(), TEXTS)
    assert (expected - numbers_of(random_model(kind, tie_word_embeddings=tied), TEXTS)).abs().max() > 0.03
    save_model(merge(model, TEXTS), tiny_tokenizer(), tmp_path / "model", texts=TEXTS)
    found = loaded(tmp_path / "model")
    torch.testing.assert_close(numbers_of(found, TEXTS), expected, rtol=0, atol=1e-4)
    assert not tied or not found.config.tie_word_embeddings


def test_lora_on_both_ends_of_tied_weights(tmp_path: Path) -> None:
    model = adapted("llama", ("lm_head", "embed_tokens"), tie_word_embeddings=True)
    expected = numbers_of(model.get_base_model(), TEXTS)
    save_model(merge(model, TEXTS), tiny_tokenizer(), tmp_path / "model", texts=TEXTS)
    torch.testing.assert_close(numbers_of(loaded(tmp_path / "model"), TEXTS), expected, rtol=0, atol=1e-4)


def test_tied_weights_stay_tied_where_lora_is_elsewhere(tmp_path: Path) -> None:
    model = adapted("llama", ("q_proj",), tie_word_embeddings=True)
    save_model(merge(model, TEXTS), tiny_tokenizer(), tmp_path / "model", texts=TEXTS)
    assert loaded(tmp_path / "model").config.tie_word_embeddings


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_plain_weights_are_those_of_the_merged_model(target: str) -> None:
    """What a server is given while LoRA trains."""
    model = adapted("llama", (target, "q_proj"), tie_word_embeddings=True)
    base = model.get_base_model()
    found = plain_weights(base, {name: tensor.clone() for name, tensor in base.state_dict().items()})
    expected = merge(model).state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-5)


def test_rounding_of_bfloat16_is_no_other_model(tmp_path: Path) -> None:
    model = adapted("llama", ("q_proj", "lm_head"), torch.bfloat16, tie_word_embeddings=True)
    save_model(merge(model, TEXTS), tiny_tokenizer(), tmp_path / "model", texts=TEXTS)
    assert loaded(tmp_path / "model").dtype == torch.bfloat16


def test_a_save_that_changes_the_model_is_refused(tmp_path: Path) -> None:
    """Its config says another thing than the model in memory does."""
    model = random_model("llama")
    model.config.rms_norm_eps = 10.0
    with pytest.raises(ModelError, match=r"saving it and loading it again gives another model .* Nothing is saved"):
        save_model(model, tiny_tokenizer(), tmp_path / "model")
    assert not (tmp_path / "model").exists()

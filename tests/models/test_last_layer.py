"""The last layer works where it is read, and nowhere else. That the numbers stay is shown in test_packed.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from planish.base.types import Choices, Example, Packed, pack
from planish.models import attention
from planish.models.last_layer import layers_of
from planish.models.packed import CausalLM
from support.examples import example
from support.models import random_model

ROW = pack([example([5, 6, 7, 8, 9], [2, 4]), example([3, 4, 5], [2])])


def tokens_of_layers(policy: CausalLM, packed: Packed) -> list[int]:
    """How many tokens pass through the first weight of each layer's MLP."""
    seen: list[int] = []

    def look(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0].shape[-2])

    mlps: list[Any] = [layer.mlp for layer in layers_of(policy.model)]
    firsts = [next(each for each in mlp.modules() if list(each.parameters(recurse=False))) for mlp in mlps]
    handles = [each.register_forward_pre_hook(look) for each in firsts]
    policy(packed)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2", "gpt_neox", "cohere"])
def test_the_last_mlp_sees_what_is_read(kind: str) -> None:
    policy = CausalLM(random_model(kind))
    assert policy.why_not_packed is None
    *others, last = tokens_of_layers(policy, ROW)
    assert set(others) == {8}
    assert last == 3


def test_two_policies_of_one_model_narrow_it_once() -> None:
    model = random_model("llama", torch.float64)
    once = CausalLM(model)(ROW)
    assert torch.equal(CausalLM(model)(ROW), once)
    assert tokens_of_layers(CausalLM(model), ROW)[-1] == 3


def test_an_mlp_whose_tokens_look_at_each_other_is_caught() -> None:
    """It would be silently wrong; so such a model runs one by one, as any that cannot be packed."""
    model = random_model("llama", torch.float64)
    mlp: Any = layers_of(model)[-1].mlp
    own = mlp.forward

    def mixing(hidden_TD: Tensor) -> Tensor:
        return own(hidden_TD) + nn.functional.pad(hidden_TD, (0, 0, 1, 0))[:, :-1]

    mlp.forward = mixing
    policy = CausalLM(model)
    assert policy.why_not_packed is not None
    assert "differ" in policy.why_not_packed


def test_other_calls_of_the_model_see_every_place() -> None:
    model = random_model("llama", torch.float64)
    ids = torch.tensor([[5, 6, 7, 8]])
    before = model(input_ids=ids).logits
    CausalLM(model)(ROW)
    assert torch.allclose(model(input_ids=ids).logits, before, atol=1e-12)


def test_the_last_attention_asks_from_the_first_place_that_is_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, asked = CausalLM(random_model("llama")), list[tuple[int, int]]()
    own = attention.attend

    def counted(query: Tensor, key: Tensor, *rest: Any) -> Tensor:
        asked.append((query.shape[2], key.shape[2]))
        return own(query, key, *rest)

    monkeypatch.setattr(attention, "attend", counted)
    first = example([5, 6, 7, 8, 9], [3, 4])  # the third predicts the fourth
    second = Example(np.arange(9), np.arange(9) > 2, "", choices=Choices(prompt_length=3, ends=(7, 9), ranks=(0, 1)))
    nothing = example([4, 5], [])
    policy(pack([first, second, nothing]))
    assert asked[:4] == [(5, 5), (7, 7), (2, 5), (2, 2)]
    assert asked[-3:] == [(3, 5), (5, 7), (2, 5)]

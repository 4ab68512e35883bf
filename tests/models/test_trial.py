"""What a config makes possible is tried when a model is loaded, and what cannot be packed says why, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from planish.base.errors import ModelError
from planish.base.types import Example, pack, unshared
from planish.inference.decode import SampleRequest, TokenSampling, why_not_decodable
from planish.inference.sampler import LocalSampler
from planish.models.last_layer import layers_of
from planish.models.packed import CausalLM
from planish.models.trial_conditions import small_limits, widened
from support.examples import compared, random_examples
from support.models import eager, gradients, largest_difference, logprobs_one_by_one, random_model

ROWS = random_examples([13, 6, 1, 17, 3])
COMPARED = [
    compared(random_examples([30], seed=5)[0], prompt_length=10, ends=(17, 25, 30)),
    compared(random_examples([7], seed=7)[0], prompt_length=4, ends=(6, 7)),
]
DYNAMIC = {"max_position_embeddings": 8, "rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}


def with_prompts(rows: list[Example]) -> list[Example]:
    """The same rows, of which the first third is read by nobody."""
    return [Example(row.tokens, row.loss_mask & (np.arange(len(row)) >= len(row) // 3), "") for row in rows]


def assert_right(policy: CausalLM, obvious: PreTrainedModel, rows: list[Example]) -> None:
    """Log-probabilities and gradients are those of transformers, one sequence at a time and in the same order."""
    packed = pack(rows)
    weights_L = torch.linspace(0.5, 1.5, packed.num_targets) / packed.num_targets
    expected_L = logprobs_one_by_one(eager(obvious), unshared(packed).examples)
    (-(weights_L * expected_L).sum()).backward()
    found_L = policy(packed)
    (-(weights_L * found_L).sum()).backward()
    torch.testing.assert_close(found_L.detach(), expected_L.detach(), rtol=0, atol=1e-5)
    assert largest_difference(gradients(policy.model), gradients(obvious)) < 1e-5


# What is right by now


@pytest.mark.parametrize("rows", [with_prompts(ROWS), COMPARED], ids=["rows", "shared prompts"])
@pytest.mark.parametrize(("kind", "changes"), [("phi3", {}), ("llama", DYNAMIC), ("hrm_text", {})])
def test_packed_equals_one_by_one(kind: str, changes: dict[str, Any], rows: list[Example]) -> None:
    """Angles that depend on a text's length, beyond and below their limit; layers that run several times."""
    policy = CausalLM(random_model(kind, **changes))
    assert policy.why_not_packed is None
    assert policy.shares_prompts
    assert_right(policy, random_model(kind, **changes), rows)


def test_a_long_neighbour_changes_no_angles() -> None:
    policy = CausalLM(random_model("phi3"))
    short, long = random_examples([6, 20])
    alone_L = policy(pack([short])).detach()
    torch.testing.assert_close(policy(pack([short, long])).detach()[: len(alone_L)], alone_L, rtol=0, atol=1e-6)


def test_beyond_its_limit_such_a_model_is_sampled_without_our_cache() -> None:
    """A completion that stays below is the same beside one that does not."""
    policy = CausalLM(random_model("phi3", original_max_position_embeddings=24))
    assert why_not_decodable(policy, 24) is None
    assert why_not_decodable(policy)  # of texts of any length
    assert "beyond 24 tokens" in (why_not_decodable(policy, 25) or "")
    short, long = list(range(10, 20)), list(range(30, 50))
    choosing, requests = TokenSampling(1.0, 1.0, 0), [SampleRequest(i, (0, i)) for i in range(2)]
    sampler = LocalSampler(policy)
    both = sampler.sample([short, long], requests, choosing, 8, ())
    assert sampler.sample([short, long], requests[:1], choosing, 8, ()) == both[:1]
    assert len(both[1].tokens) == 8


# What is refused, or runs one by one


def test_a_long_window_that_a_layer_forgets_is_found() -> None:
    """The rows of the trial are far shorter than the window."""
    assert CausalLM(random_model("gemma3_text", sliding_window=64)).why_not_packed is None
    model = random_model("gemma3_text", sliding_window=64)
    layer: Any = layers_of(model)[0]
    layer.self_attn.sliding_window = None
    assert "differ" in (CausalLM(model).why_not_packed or "")
    assert model.config.sliding_window == 64


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("gpt_oss", "attention sinks (s_aux)"),
        ("minimax_m3_vl_text", "a few chosen blocks of keys (block_indices)"),
        (
            "deepseek_v32",
            "its code reads a mask of the whole row to choose keys (index_topk), which packing does without (modeling_deepseek",
        ),
    ],
)
def test_the_reason_is_said_in_words(kind: str, word: str) -> None:
    policy = CausalLM(random_model(kind))
    assert word in (policy.why_not_packed or "")
    assert_right(policy, random_model(kind), with_prompts(ROWS))


def hooked(change: Any) -> PreTrainedModel:
    """A Llama whose layers call attention with other arguments."""
    model = random_model("llama")
    for layer in layers_of(model):
        attention: Any = layer.self_attn  # pyright: ignore[reportAttributeAccessIssue]
        attention.register_forward_pre_hook(lambda _, inputs, named: (inputs, named | change(named)), with_kwargs=True)
    return model


def test_an_argument_that_packing_does_not_know_is_named() -> None:
    policy = CausalLM(hooked(lambda _: {"key_bonus": 0.5}))
    assert policy.why_not_packed == "its layers pass key_bonus to attention, and packing does not know that argument"


def test_a_mask_of_the_layers_own_is_not_lost() -> None:
    def blind_to_the_first(named: dict[str, Any]) -> dict[str, Tensor]:
        length = named["hidden_states"].shape[1]
        mask = torch.zeros(1, 1, length, length).masked_fill(torch.ones(length, length).triu(1).bool(), -1e9)
        mask[..., 1:, 0] = -1e9
        return {"attention_mask": mask}

    assert "mask keys by themselves" in (CausalLM(hooked(blind_to_the_first)).why_not_packed or "")


@pytest.mark.parametrize(("kind", "word"), [("bert", "is_decoder=false"), ("cpmant", "from left to right")])
def test_a_model_that_sees_later_tokens_is_refused(kind: str, word: str) -> None:
    with pytest.raises(ModelError, match=f"a later token changes .*{word}"):
        CausalLM(random_model(kind, initializer_range=0.02))


def test_bert_as_a_decoder_is_taken() -> None:
    assert CausalLM(random_model("bert", is_decoder=True)).why_not_packed


# Precision


def test_rounding_hides_nothing_in_bfloat16() -> None:
    model = random_model("marian", torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert CausalLM(model).why_not_packed
    after = model.state_dict()
    assert all(
        after[name].dtype == tensor.dtype and torch.equal(after[name], tensor) for name, tensor in before.items()
    )


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2", "phi3"])
def test_weights_of_bfloat16_are_packed(kind: str) -> None:
    assert CausalLM(random_model(kind, torch.bfloat16)).why_not_packed is None


@pytest.mark.parametrize("at_once", [10**9, 0], ids=["at once", "layer by layer"])
def test_widened_weights_give_the_numbers_of_float32(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planish.models.trial_conditions.MOST_AT_ONCE", at_once)
    model, wide = random_model("llama", torch.bfloat16), random_model("llama", torch.bfloat16).float()
    ids = torch.arange(5, 15)[None]
    with torch.no_grad(), widened(model):
        found = model(input_ids=ids, use_cache=False).logits
        torch.testing.assert_close(found, wide(input_ids=ids, use_cache=False).logits, rtol=0, atol=1e-5)
    assert model.dtype == torch.bfloat16


def test_what_fails_in_the_precision_of_training_is_found() -> None:
    def no_bfloat16(_: nn.Module, __: Any, output: Tensor) -> None:
        if output.dtype == torch.bfloat16:
            raise TypeError("no bfloat16 here")

    model = random_model("llama")
    layer: Any = layers_of(model)[0]
    layer.mlp.register_forward_hook(no_bfloat16)
    assert CausalLM(model).why_not_packed is None
    assert "no bfloat16 here" in (CausalLM(model, torch.bfloat16).why_not_packed or "")


# The trial leaves nothing behind


def test_limits_are_put_back() -> None:
    model = random_model("phi3", original_max_position_embeddings=48, sliding_window=64)
    before = model.config.to_dict()
    rotary = {name: tensor.clone() for name, tensor in model.named_buffers()}
    with small_limits(model) as longest:
        assert model.config.sliding_window == 6
        assert longest == 14
    CausalLM(model)
    assert model.config.to_dict() == before
    assert all(torch.equal(tensor, rotary[name]) for name, tensor in model.named_buffers())


def test_documents_are_longer_than_a_short_limit_which_stays() -> None:
    model = random_model("mistral", sliding_window=20)
    with small_limits(model) as longest:
        assert model.config.sliding_window == 20
        assert longest == 34

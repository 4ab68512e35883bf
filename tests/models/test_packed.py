"""A packed row gives every sequence the log-probabilities and gradients that it has alone, whatever the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from planish.base.types import Packed, pack, unshared
from planish.data.mixture.packing import deal
from planish.maths.reductions import Reduction
from planish.methods.supervised import NextTokenLoss
from planish.models.attention import PackedLayout, attention
from planish.models.load import LoraConfig, ModelConfig, load_model
from planish.models.lora import add_lora
from planish.models.packed import CausalLM
from support.examples import compared, example, random_examples
from support.models import KINDS, UNPACKABLE, eager, gradients, largest_difference, logprobs_one_by_one, random_model

CPU = torch.device("cpu")
# Longer than every window, shorter, without any learnt token, and long again.
ROWS = random_examples([13, 6, 1, 17, 3])


def weights_of(packed: Packed) -> Tensor:
    """Uneven, so that a weight at the wrong token shows; they add up to 1."""
    weights_L = torch.linspace(0.5, 1.5, packed.num_targets, dtype=torch.float64)
    return weights_L / weights_L.sum()


def expected(model: PreTrainedModel, packed: Packed) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probabilities and gradients of the weighted loss, one sequence at a time."""
    logprobs_L = logprobs_one_by_one(eager(model), ROWS)
    (-(weights_of(packed) * logprobs_L).sum()).backward()
    return logprobs_L.detach(), gradients(model)


def assert_equal_to_one_by_one(policy: CausalLM, obvious: PreTrainedModel, tolerance: float) -> None:
    packed = pack(ROWS)
    logprobs_L, gradient = expected(obvious, packed)

    unfused_L = policy(packed)
    (-(weights_of(packed) * unfused_L).sum()).backward()
    unfused = gradients(policy.model)

    nll, fused_L = policy(packed, weights_of(packed))
    nll.backward()
    fused = gradients(policy.model)

    torch.testing.assert_close(unfused_L.detach(), logprobs_L, rtol=0, atol=tolerance)
    torch.testing.assert_close(fused_L, logprobs_L, rtol=0, atol=tolerance)
    assert largest_difference(unfused, gradient) < tolerance
    assert largest_difference(fused, gradient) < tolerance
    assert nll.item() == pytest.approx(-(weights_of(packed) * logprobs_L).sum().item(), abs=tolerance)


# One by one


@pytest.mark.parametrize("kind", KINDS)
def test_packed_equals_one_by_one_in_float32(kind: str) -> None:
    policy = CausalLM(random_model(kind))
    assert policy.why_not_packed is None
    assert_equal_to_one_by_one(policy, random_model(kind), 1e-5)


@pytest.mark.usefixtures("nothing_below_float64")
@pytest.mark.parametrize("kind", KINDS)
def test_packed_equals_one_by_one_in_float64(kind: str) -> None:
    policy = CausalLM(random_model(kind, torch.float64))
    assert policy.why_not_packed is None
    assert_equal_to_one_by_one(policy, random_model(kind, torch.float64), 1e-10)


@pytest.mark.parametrize("kind", UNPACKABLE)
def test_a_model_that_cannot_be_packed_runs_one_by_one_and_says_why(kind: str) -> None:
    model = random_model(kind)
    own = model.config._attn_implementation
    policy = CausalLM(model)
    assert policy.why_not_packed
    assert model.config._attn_implementation == own
    assert_equal_to_one_by_one(policy, random_model(kind), 1e-5)


@pytest.mark.parametrize("kind", ["bloom", "mamba", "lfm2"])
def test_a_model_that_would_be_silently_wrong_is_caught_even_untrained(kind: str) -> None:
    policy = CausalLM(random_model(kind, initializer_range=0.02))
    assert policy.why_not_packed is not None
    assert "differ" in policy.why_not_packed or "a neighbour" in policy.why_not_packed


# A prompt once for several completions

COMPARED = [
    compared(random_examples([30], seed=5)[0], prompt_length=10, ends=(17, 25, 30)),
    random_examples([9], seed=6)[0],
    compared(random_examples([12], seed=7)[0], prompt_length=4, ends=(7, 12)),
]


@pytest.mark.usefixtures("nothing_below_float64")
@pytest.mark.parametrize("kind", [*KINDS, "bloom", "mamba", "lfm2"])
def test_a_shared_prompt_gives_the_numbers_of_one_that_is_repeated(kind: str) -> None:
    policy, packed = CausalLM(random_model(kind, torch.float64)), pack(COMPARED)
    assert policy.shares_prompts == (kind in KINDS and kind != "codegen")
    apart = [example for some in COMPARED for example in unshared(pack([some])).examples]
    assert [len(example) for example in apart] == [17, 18, 15, 9, 7, 9]
    expected_L = logprobs_one_by_one(random_model(kind, torch.float64), apart)
    torch.testing.assert_close(policy(packed).detach(), expected_L, rtol=0, atol=1e-9)
    policy(packed, weights_of(packed))[0].backward()
    found = gradients(policy.model)
    policy(unshared(packed), weights_of(packed))[0].backward()
    assert largest_difference(found, gradients(policy.model)) < 1e-9


def test_a_shared_prompt_is_laid_out_once() -> None:
    packed = pack(COMPARED)
    assert packed.num_tokens == 30 + 9 + 12
    assert packed.bounds == (0, 17, 25, 30, 39, 46, 51)
    assert packed.prefixes == ((0, 0), (0, 10), (0, 10), (0, 0), (0, 0), (39, 43))
    assert packed.positions_T[[10, 17, 25, 46]].tolist() == [10, 10, 10, 4]
    firsts = [packed.targets_L.tolist().index(place) for place in (10, 17, 25, 43, 46)]
    assert packed.predictors_L[firsts].tolist() == [9, 9, 9, 42, 42]


def test_a_row_where_nothing_is_learnt_gives_zero_gradients() -> None:
    policy = CausalLM(random_model("llama"))
    nll, logprobs_L = policy(pack([]), torch.zeros(0))
    nll.backward()
    assert (nll.item(), len(logprobs_L)) == (0.0, 0)
    found = gradients(policy.model)
    assert found.keys() == {name for name, _ in policy.model.named_parameters()}
    assert all(not gradient.any() for gradient in found.values())


def test_no_gradient_means_no_gradient() -> None:
    policy, packed = CausalLM(random_model("llama")), pack(ROWS)
    with torch.no_grad():
        nll, logprobs_L = policy(packed, weights_of(packed))
    assert not nll.requires_grad
    torch.testing.assert_close(logprobs_L, policy(packed).detach())


@pytest.mark.parametrize("kind", ["llama", "gpt2", "phi", "cohere"])
def test_bfloat16_products_leave_fused_and_unfused_gradients_alike(kind: str) -> None:
    policy, packed = CausalLM(random_model(kind), torch.bfloat16), pack(ROWS)
    (-(weights_of(packed) * policy(packed)).sum()).backward()
    unfused = gradients(policy.model)
    policy(packed, weights_of(packed))[0].backward()
    fused = gradients(policy.model)
    largest = max(gradient.abs().max().item() for gradient in unfused.values())
    assert largest_difference(unfused, fused) < 0.02 * largest
    assert all(gradient.dtype == torch.float32 for gradient in fused.values())


# LoRA


def adapted(kind: str, targets: str | tuple[str, ...] = "all-linear") -> PreTrainedModel:
    model = random_model(kind)
    add_lora(model, LoraConfig(rank=2, alpha=4, targets=targets), seed=0)
    return model


def some_steps_later(model: PreTrainedModel) -> PreTrainedModel:
    """Updates begin at zero, where a model that left them out would be right: as when they have been trained."""
    chance = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=chance)
    return model


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2", "bloom"])
def test_packed_equals_one_by_one_with_lora(kind: str) -> None:
    policy = CausalLM(adapted(kind))
    some_steps_later(policy.model)
    assert_equal_to_one_by_one(policy, some_steps_later(adapted(kind)), 1e-5)


def test_an_adapted_head_is_trained() -> None:
    targets = ("lm_head", "q_proj")
    policy = CausalLM(adapted("llama", targets))
    some_steps_later(policy.model)
    assert_equal_to_one_by_one(policy, some_steps_later(adapted("llama", targets)), 1e-5)


def test_lora_begins_as_the_model_that_was_given() -> None:
    model, packed = random_model("llama"), pack(ROWS)
    before_L = CausalLM(model)(packed).detach()
    add_lora(model, LoraConfig(), seed=0)
    assert torch.equal(CausalLM(model)(packed).detach(), before_L)


# Recomputation


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2", "opt", "stablelm", "nemotron", "bloom", "gpt_oss"])
def test_recomputed_layers_give_the_same_numbers(kind: str, tmp_path: Path) -> None:
    """OPT drops activations in its layers unless they are in evaluation mode; StableLM and Nemotron learn the plan from
    the context, which the backward pass has long left."""
    random_model(kind).save_pretrained(tmp_path)
    policy = CausalLM(load_model(ModelConfig(path=str(tmp_path), gradient_checkpointing=True), CPU))
    assert_equal_to_one_by_one(policy, random_model(kind), 1e-5)


def test_recomputed_layers_keep_fewer_activations(tmp_path: Path) -> None:
    random_model("llama").save_pretrained(tmp_path)

    def bytes_kept(on: bool) -> int:
        policy = CausalLM(load_model(ModelConfig(path=str(tmp_path), gradient_checkpointing=on), CPU))
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            policy(pack(random_examples([60, 60])))
        return sum(kept.values())

    assert bytes_kept(on=True) < bytes_kept(on=False) - 50_000


# Neighbours


@pytest.mark.parametrize("kind", [*KINDS, "bloom", "mamba", "lfm2"])
def test_pain_11_a_neighbours_tokens_change_nothing(kind: str) -> None:
    policy = CausalLM(random_model(kind))
    first, other, last = random_examples([11, 14, 8], seed=3)
    changed = example([(token + 7) % 300 + 3 for token in other.tokens], np.flatnonzero(other.loss_mask).tolist())
    one_L, two_L = policy(pack([first, other, last])).detach(), policy(pack([first, changed, last])).detach()
    ours = torch.from_numpy(np.repeat([0, 1, 2], [one.loss_mask.sum() for one in (first, other, last)])) != 1
    torch.testing.assert_close(one_L[ours], two_L[ours], rtol=0, atol=1e-6)
    assert (one_L[~ours] - two_L[~ours]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_pain_11_no_gradient_reaches_a_neighbours_tokens(kind: str) -> None:
    model = random_model(kind, tie_word_embeddings=False)
    first, other = example(range(10, 20), range(1, 10)), example(range(30, 45), [])
    (-CausalLM(model)(pack([other, first, other])).sum()).backward()
    gradient_VD = model.get_input_embeddings().weight.grad
    assert not gradient_VD[30:45].any()
    assert gradient_VD[10:19].abs().amax(1).min() > 0


def test_s4_an_unlearnt_label_changes_no_gradient() -> None:
    policy = CausalLM(random_model("llama"))

    def gradient(last: int) -> dict[str, Tensor]:
        nll, _ = policy(pack([example([5, 6, 7, 8, last], [2, 3])]), torch.ones(2))
        nll.backward()
        found = gradients(policy.model)
        found["model.embed_tokens.weight"] = found["model.embed_tokens.weight"][:9]  # 9 and 10 are read, not learnt
        return found

    assert largest_difference(gradient(9), gradient(10)) == 0


def test_s5_packed_and_unpacked_logprobs_differ_by_less_than_rounding() -> None:
    policy = CausalLM(random_model("llama"))
    alone_L = torch.cat([policy(pack([row])).detach() for row in ROWS])
    assert (policy(pack(ROWS)).detach() - alone_L).abs().max() < 1e-5


# What is learnt


@pytest.mark.parametrize("reduction", ["token_mean", "seq_mean", "seq_sum"])
def test_pain_01_one_by_eight_and_eight_by_one_have_the_same_gradient(reduction: Reduction) -> None:
    """Rows of 3 to 31 tokens, 95 in all, as one micro-batch, as three, and each alone."""
    rows = random_examples([3, 31, 8, 5, 22, 4, 13, 9], seed=5)
    objective = NextTokenLoss(CausalLM(random_model("llama", torch.float64)), reduction, CPU)

    def gradient(budget: int, *sequences: int) -> dict[str, Tensor]:
        dealt = deal(rows, budget)
        assert sorted(packed.num_sequences for packed in dealt if packed.num_targets) == sorted(sequences)
        weight = sum(objective.weight(packed) for packed in dealt)
        for packed in dealt:
            (objective.loss(packed)[0] / weight).backward()
        return gradients(objective.policy.model)

    together = gradient(95, 8)
    assert largest_difference(gradient(35, 1, 3, 4), together) < 1e-12
    assert largest_difference(gradient(1, 1, 1, 1, 1, 1, 1, 1, 1), together) < 1e-12


def test_pain_10_a_one_token_answer_is_learnt() -> None:
    """With one learnt token y after the prompt, the gradient of the head's row v is (p(v) - [v = y]) times the hidden
    state that predicts y."""
    model = random_model("llama", torch.float64, tie_word_embeddings=False)
    policy, packed = CausalLM(model), pack([example([5, 6, 7, 8], [3])])
    nll, _ = policy(packed, torch.ones(1))
    nll.backward()
    gradient_VD = gradients(model)["lm_head.weight"]
    with torch.no_grad():
        model.set_attn_implementation("sdpa")
        hidden_TD = model.base_model(input_ids=packed.tokens_T[None]).last_hidden_state[0]
        p_V = torch.softmax(model.lm_head(hidden_TD[2]), -1)
    p_V[8] -= 1
    torch.testing.assert_close(gradient_VD, p_V[:, None] * hidden_TD[2], rtol=0, atol=1e-12)
    assert gradient_VD[8].abs().max() > 0.1


# The plan


def test_a_plan_for_another_row_is_refused() -> None:
    query = torch.zeros(1, 2, 5, 4)
    with pytest.raises(ValueError, match="the plan covers 4 tokens, the row has 5"):
        attention(torch.nn.Module(), query, query, query, None, plan=PackedLayout((0, 4)))


def test_without_a_plan_a_row_is_one_causal_sequence() -> None:
    """Without a plan our attention is plain causal attention, so the model can still be called as it always was."""
    model, tokens = random_model("mistral"), torch.arange(3, 20)[None]
    with torch.no_grad():
        want = eager(model)(input_ids=tokens, use_cache=False).logits
        model.set_attn_implementation("planish")
        found = model(input_ids=tokens, use_cache=False).logits
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5)

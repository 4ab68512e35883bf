"""Decoding gives the completions that the model's own distribution has, whoever else is being decoded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from planish.base.types import Example, pack
from planish.inference.decode import Sampled, SampleRequest, TokenSampling, decode, why_not_decodable
from planish.inference.generate import generating
from planish.inference.kv_cache import Cache, Kept, Reading
from planish.models.attention import PackedLayout, Scoring
from planish.models.packed import CausalLM
from support.models import KINDS, UNPACKABLE, random_model

PROMPTS = [[5, 9, 2, 40, 7], [33], [8, 8, 100, 3, 6, 12, 77, 51, 4]]
GREEDY, PLAIN = TokenSampling(0.0, 1.0, 0), TokenSampling(1.0, 1.0, 0)
CANNOT = {"codegen": "does not call our attention with a plan"}


def requests(count: int = 3, seed: int = 0) -> list[SampleRequest]:
    return [SampleRequest(prompt, (seed, "test", prompt, k)) for prompt in range(len(PROMPTS)) for k in range(count)]


def drawn_by(
    policy: CausalLM, some: list[SampleRequest], choosing: TokenSampling = PLAIN, **settings: Any
) -> list[Sampled]:
    return decode(policy, PROMPTS, some, choosing, **{"most_tokens": 12, "stop_token_ids": (), "rows": 4, **settings})


def training_logprobs(policy: CausalLM, prompt: list[int], drawn: Sampled) -> torch.Tensor:
    tokens = np.array([*prompt, *drawn.tokens], np.int32)
    with torch.no_grad():
        return policy(pack([Example(tokens, np.arange(len(tokens)) >= len(prompt), "")])).double()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in CANNOT])
def test_logprobs_are_those_of_the_forward_pass_of_training(kind: str) -> None:
    policy = CausalLM(random_model(kind))
    assert why_not_decodable(policy) is None
    for request, drawn in zip(requests(), drawn_by(policy, requests()), strict=True):
        expected = training_logprobs(policy, PROMPTS[request.prompt], drawn)
        torch.testing.assert_close(torch.tensor(drawn.logprobs, dtype=torch.float64), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", [*CANNOT, *UNPACKABLE])
def test_a_model_that_cannot_be_decoded_so_says_why(kind: str) -> None:
    assert why_not_decodable(CausalLM(random_model(kind)))


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2", "opt"])
def test_greedy_decoding_is_that_of_transformers(kind: str) -> None:
    policy = CausalLM(random_model(kind))
    found = drawn_by(policy, requests(1), GREEDY)
    with generating(policy.model):
        for prompt, drawn in zip(PROMPTS, found, strict=True):
            generator: Any = policy.model
            output = generator.generate(
                input_ids=torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0
            )
            assert output[0, len(prompt) :].tolist() == list(drawn.tokens)


def test_neither_rows_nor_order_nor_neighbours_change_a_completion() -> None:
    policy = CausalLM(random_model("llama", torch.float64))
    some = requests(5)
    expected = {request: drawn.tokens for request, drawn in zip(some, drawn_by(policy, some), strict=True)}
    assert len(set(expected.values())) > 10
    shuffled = [some[i] for i in np.random.default_rng(0).permutation(len(some)).tolist()]
    for others, rows in ((some, 1), (some, 7), (shuffled, 4), (some[3:8], 32)):
        found = drawn_by(policy, others, rows=rows)
        assert [drawn.tokens for drawn in found] == [expected[request] for request in others]


def test_another_seed_or_sample_draws_otherwise() -> None:
    policy = CausalLM(random_model("llama"))
    one, other = (drawn_by(policy, requests(2, seed)) for seed in (0, 1))
    assert all(a.tokens != b.tokens for a, b in zip(one, other, strict=True))
    assert one[0].tokens != one[1].tokens


def test_a_completion_ends_with_the_stop_token_or_at_its_longest() -> None:
    policy = CausalLM(random_model("llama"))
    free = drawn_by(policy, requests(4))
    stop = Counter(token for drawn in free for token in drawn.tokens).most_common(1)[0][0]
    stopped = drawn_by(policy, requests(4), stop_token_ids=(stop,))
    for whole, cut in zip(free, stopped, strict=True):
        until = whole.tokens.index(stop) + 1 if stop in whole.tokens else 12
        assert cut.tokens == whole.tokens[:until]
        assert len(cut.logprobs) == len(cut.tokens)


def test_no_requests_give_no_completions() -> None:
    assert drawn_by(CausalLM(random_model("llama")), []) == []


# Choosing

LOGITS = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()


def shares(choosing: TokenSampling, draws: int = 4000) -> list[float]:
    uniform_R = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    tokens_R, _ = choosing(LOGITS.expand(draws, -1), uniform_R)
    return (torch.bincount(tokens_R, minlength=4) / draws).tolist()


@pytest.mark.parametrize(
    ("choosing", "expected"),
    [
        (TokenSampling(1.0, 1.0, 0), [0.5, 0.3, 0.15, 0.05]),
        # squares of the shares, 0.25, 0.09, 0.0225, 0.0025, over their sum 0.365
        (TokenSampling(0.5, 1.0, 0), [0.685, 0.2466, 0.0616, 0.0068]),
        (TokenSampling(1.0, 0.6, 0), [0.625, 0.375, 0, 0]),  # 0.5 is not yet 0.6: the second is needed too
        (TokenSampling(1.0, 1.0, 3), [0.5263, 0.3158, 0.1579, 0]),
        (TokenSampling(1.0, 1e-9, 0), [1, 0, 0, 0]),
        (TokenSampling(0.0, 1.0, 0), [1, 0, 0, 0]),
    ],
)
def test_tokens_are_chosen_in_their_shares(choosing: TokenSampling, expected: list[float]) -> None:
    assert shares(choosing) == pytest.approx(expected, abs=5e-4)


def test_logprobs_are_at_the_temperature_and_before_top_p() -> None:
    uniform_R = torch.tensor([0.9], dtype=torch.float64)
    _, at_1 = TokenSampling(1.0, 0.6, 0)(LOGITS, uniform_R)
    assert at_1.item() == pytest.approx(math.log(0.3), abs=1e-6)
    _, at_half = TokenSampling(0.5, 1.0, 0)(LOGITS, uniform_R)
    assert at_half.item() == pytest.approx(math.log(0.09 / 0.365), abs=1e-6)


@pytest.mark.parametrize("top_p", [1.0, 0.6])
def test_a_token_without_any_share_is_never_chosen(top_p: float) -> None:
    logits = torch.tensor([[0.0, -math.inf, 0.0, -math.inf]])
    for uniform in (0.0, 0.5, 1 - 2**-53):
        token, _ = TokenSampling(1.0, top_p, 0)(logits, torch.tensor([uniform], dtype=torch.float64))
        assert token.item() in (0, 2)


def test_exponentials_of_a_gpu_in_float32_choose_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = torch.Generator().manual_seed(0)
    logits_RV = 3 * torch.randn(2000, 500, generator=chance)
    uniform_R = torch.rand(2000, dtype=torch.float64, generator=chance)
    for choosing in (GREEDY, PLAIN, TokenSampling(0.7, 0.9, 50)):
        monkeypatch.setattr("planish.inference.decode.EXPONENTIALS", {})
        tokens_R, logprobs_R = choosing(logits_RV, uniform_R)
        monkeypatch.setattr("planish.inference.decode.EXPONENTIALS", {"cpu": torch.float32})
        found_R, found_logprobs_R = choosing(logits_RV, uniform_R)
        assert torch.equal(found_R, tokens_R)
        torch.testing.assert_close(found_logprobs_R, logprobs_R, rtol=0, atol=2e-6)  # float64 both


class Calls(TorchDispatchMode):
    """Calls of one operator, by what it was given."""

    def __init__(self, operator: Any, name: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.operator, self.name, self.count = operator, name, Counter[Any]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is self.operator:
            self.count[self.name(args[0])] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("frozen", [False, True], ids=["all weights", "frozen, as under LoRA"])
def test_in_bfloat16_weights_are_cast_once_and_keys_are_kept_in_it(
    frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = CausalLM(random_model("llama"), torch.bfloat16)
    policy.requires_grad_(not frozen)
    weights = {p.data_ptr(): name for name, p in policy.named_parameters() if p.ndim > 1}
    kept, add = list[Kept](), Cache.add
    monkeypatch.setattr(Cache, "add", lambda self, each: kept.append(each) or add(self, each))
    with Calls(torch.ops.aten._to_copy.default, lambda tensor: weights.get(tensor.data_ptr())) as casts:
        drawn = drawn_by(policy, requests(), most_tokens=30)
    assert {name: casts.count[name] for name in weights.values() if "embed" not in name} == {
        name: 1 for name in weights.values() if "embed" not in name
    }
    assert {tensor.dtype for each in kept for tensor in each.stacks.values()} == {torch.bfloat16}
    assert all(p.requires_grad is not frozen for p in policy.parameters())
    policy.requires_grad_(requires_grad=True)  # what was cast without a gradient must not be used for one
    loss = policy(pack([Example(np.arange(9, dtype=np.int32), np.arange(9) > 3, "")])).sum()
    assert all(each is not None and each.any() for each in torch.autograd.grad(loss, [*policy.parameters()]))
    for request, one in zip(requests(), drawn, strict=True):
        expected = training_logprobs(policy, PROMPTS[request.prompt], one)
        torch.testing.assert_close(torch.tensor(one.logprobs, dtype=torch.float64), expected, rtol=0, atol=0.05)


def test_a_row_begins_and_moves_in_one_copy_for_all_layers() -> None:
    reading = Reading(PackedLayout((0, 3, 7)))
    scoring = Scoring(None, None, None)
    keys = {layer: torch.randn(1, 2, 7, 8) for layer in range(5)}
    for layer, key in keys.items():
        module = torch.nn.Module()
        module.layer_idx = layer  # pyright: ignore[reportArgumentType]
        reading.attend(module, torch.randn(1, 4, 7, 8), key, key + 1, scoring)
    cache = Cache(2, 10)
    prompts = reading.of(0, 3), reading.of(3, 7)
    with Calls(torch.ops.aten.copy_.default, lambda tensor: tuple(tensor.shape)) as copies:
        for prompt in prompts:
            cache.add(prompt)
        cache.remove(0)
    assert copies.count == {(10, 2, 3, 8): 1, (10, 2, 4, 8): 2}
    for layer, key in keys.items():
        assert torch.equal(cache._layers[layer, 0][0, :, :4], key[0, :, 3:])
        assert torch.equal(cache._layers[layer, 1][0, :, :4], key[0, :, 3:] + 1)

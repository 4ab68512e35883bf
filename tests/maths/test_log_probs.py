"""Log-probabilities in chunks, against the obvious version that holds all logits at once."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from planish.maths.log_probs import CHUNK, Head, chunk_length, kept_bytes, token_logprobs, weighted_nll

D, V = 6, 11
# An empty row, one position, a chunk less one, a chunk, one more, and two chunks and a bit.
LENGTHS = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 37]
SHAPES = [
    pytest.param(False, 1.0, None, id="plain"),
    pytest.param(True, 1.0, None, id="bias"),
    pytest.param(False, 0.25, None, id="scale"),
    pytest.param(False, 1.0, 2.0, id="cap"),
    pytest.param(True, 0.5, 1.5, id="bias, scale and cap"),
]


def tensors(
    length: int, bias: bool, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
    chance = torch.Generator().manual_seed(length)
    hidden_LD, weight_VD, bias_V = (
        torch.randn(shape, generator=chance, dtype=torch.float64).to(dtype).requires_grad_()
        for shape in ((length, D), (V, D), (V,))
    )
    targets_L = torch.randint(V, (length,), generator=chance)
    weights_L = torch.randn(length, generator=chance, dtype=torch.float64)  # of either sign, as advantages are
    return hidden_LD, weight_VD, bias_V if bias else None, targets_L, weights_L


def dense_logprobs(
    hidden_LD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_L: Tensor, scale: float, cap: float | None
) -> Tensor:
    logits_LV = hidden_LD @ weight_VD.T
    if bias_V is not None:
        logits_LV = logits_LV + bias_V
    logits_LV = logits_LV * scale
    if cap is not None:
        logits_LV = cap * torch.tanh(logits_LV / cap)
    return torch.log_softmax(logits_LV, -1)[torch.arange(len(targets_L)), targets_L]


def grads(loss: Tensor, *inputs: Tensor | None) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [each for each in inputs if each is not None]))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("bias", "scale", "cap"), SHAPES)
def test_token_logprobs_equal_the_dense_ones(length: int, bias: bool, scale: float, cap: float | None) -> None:
    hidden_LD, weight_VD, bias_V, targets_L, weights_L = tensors(length, bias)
    found_L = token_logprobs(hidden_LD, Head(weight_VD, bias_V, scale, cap), targets_L)
    dense_L = dense_logprobs(hidden_LD, weight_VD, bias_V, targets_L, scale, cap)
    torch.testing.assert_close(found_L, dense_L, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        grads((weights_L * found_L).sum(), hidden_LD, weight_VD, bias_V),
        grads((weights_L * dense_L).sum(), hidden_LD, weight_VD, bias_V),
        rtol=0,
        atol=1e-11,
    )


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("bias", "scale", "cap"), SHAPES)
def test_weighted_nll_equals_the_dense_one(length: int, bias: bool, scale: float, cap: float | None) -> None:
    hidden_LD, weight_VD, bias_V, targets_L, weights_L = tensors(length, bias)
    nll, logprobs_L = weighted_nll(hidden_LD, Head(weight_VD, bias_V, scale, cap), targets_L, weights_L)
    dense_L = dense_logprobs(hidden_LD, weight_VD, bias_V, targets_L, scale, cap)
    dense = -(weights_L * dense_L).sum()
    torch.testing.assert_close(logprobs_L, dense_L.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(nll, dense, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        grads(
            0.3 * nll, hidden_LD, weight_VD, bias_V
        ),  # a loss is divided by the step's weight before its backward pass
        grads(0.3 * dense, hidden_LD, weight_VD, bias_V),
        rtol=0,
        atol=1e-11,
    )


@pytest.fixture
def chunks_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planish.maths.log_probs.CHUNK", 2)


@pytest.mark.usefixtures("chunks_of_two")
@pytest.mark.parametrize(("bias", "scale", "cap"), SHAPES)
def test_token_logprobs_pass_gradcheck(bias: bool, scale: float, cap: float | None) -> None:
    hidden_LD, weight_VD, bias_V, targets_L, _ = tensors(5, bias)

    def function(hidden_LD: Tensor, weight_VD: Tensor, *bias_V: Tensor) -> Tensor:
        return token_logprobs(hidden_LD, Head(weight_VD, bias_V[0] if bias_V else None, scale, cap), targets_L)

    inputs = [each for each in (hidden_LD, weight_VD, bias_V) if each is not None]
    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.usefixtures("chunks_of_two")
@pytest.mark.parametrize(("bias", "scale", "cap"), SHAPES)
def test_weighted_nlls_gradient_is_the_slope_of_its_value(bias: bool, scale: float, cap: float | None) -> None:
    """By central differences; gradcheck itself runs one backward pass twice, and the gradient formed on the way forward
    is there once."""
    hidden_LD, weight_VD, bias_V, targets_L, weights_L = tensors(5, bias)
    inputs = [each for each in (hidden_LD, weight_VD, bias_V) if each is not None]

    def value() -> Tensor:
        return weighted_nll(hidden_LD, Head(weight_VD, bias_V, scale, cap), targets_L, weights_L)[0]

    found = grads(value(), *inputs)
    with torch.no_grad():
        for tensor, gradient in zip(inputs, found, strict=True):
            for place in range(tensor.numel()):
                entry = tensor.view(-1)[place]
                entry += 1e-5
                above = value()
                entry -= 2e-5
                below = value()
                entry += 1e-5
                assert gradient.view(-1)[place].item() == pytest.approx(((above - below) / 2e-5).item(), abs=1e-8)


def functions(targets_L: Tensor, weights_L: Tensor) -> list[Callable[[Tensor, Head], Tensor]]:
    return [
        lambda hidden_LD, head: -(weights_L * token_logprobs(hidden_LD, head, targets_L)).sum(),
        lambda hidden_LD, head: weighted_nll(hidden_LD, head, targets_L, weights_L)[0],
    ]


@pytest.mark.parametrize("which", [0, 1], ids=["token_logprobs", "weighted_nll"])
def test_a_frozen_head_still_passes_the_gradient_on(which: int) -> None:
    """As with LoRA: the head has no gradient of its own, the layers below it do."""
    hidden_LD, weight_VD, _, targets_L, weights_L = tensors(5, bias=False)
    loss = functions(targets_L, weights_L)[which](hidden_LD, Head(weight_VD.detach()))
    dense = -(weights_L * dense_logprobs(hidden_LD, weight_VD, None, targets_L, 1.0, None)).sum()
    torch.testing.assert_close(grads(loss, hidden_LD), grads(dense, hidden_LD), rtol=0, atol=1e-12)


@pytest.mark.parametrize("which", [0, 1], ids=["token_logprobs", "weighted_nll"])
def test_frozen_layers_still_let_the_head_learn(which: int) -> None:
    hidden_LD, weight_VD, _, targets_L, weights_L = tensors(5, bias=False)
    loss = functions(targets_L, weights_L)[which](hidden_LD.detach(), Head(weight_VD))
    dense = -(weights_L * dense_logprobs(hidden_LD, weight_VD, None, targets_L, 1.0, None)).sum()
    torch.testing.assert_close(grads(loss, weight_VD), grads(dense, weight_VD), rtol=0, atol=1e-12)


@pytest.mark.parametrize("which", [0, 1], ids=["token_logprobs", "weighted_nll"])
def test_gradients_have_the_type_of_what_they_belong_to(which: int) -> None:
    hidden_LD, weight_VD, bias_V, targets_L, weights_L = tensors(5, True, torch.bfloat16)
    found = grads(
        functions(targets_L, weights_L)[which](hidden_LD, Head(weight_VD, bias_V)), hidden_LD, weight_VD, bias_V
    )
    assert [gradient.dtype for gradient in found] == [torch.bfloat16] * 3


@pytest.mark.parametrize("length", [5, 0])
def test_logprobs_of_a_bfloat16_model_are_float32(length: int) -> None:
    hidden_LD, weight_VD, _, targets_L, weights_L = tensors(length, False, torch.bfloat16)
    assert token_logprobs(hidden_LD, Head(weight_VD), targets_L).dtype == torch.float32
    assert weighted_nll(hidden_LD, Head(weight_VD), targets_L, weights_L)[1].dtype == torch.float32


def test_the_logprobs_beside_the_loss_carry_no_gradient() -> None:
    hidden_LD, weight_VD, _, targets_L, weights_L = tensors(5, bias=False)
    assert not weighted_nll(hidden_LD, Head(weight_VD), targets_L, weights_L)[1].requires_grad


def test_a_certain_answer_costs_nothing_and_an_impossible_one_stays_finite() -> None:
    """Logits (0, 200): log p = (-200, 0), where the softmax itself underflows."""
    hidden_LD, weight_VD = torch.tensor([[1.0], [1.0]], requires_grad=True), torch.tensor([[0.0], [200.0]])
    nll, logprobs_L = weighted_nll(hidden_LD, Head(weight_VD), torch.tensor([1, 0]), torch.ones(2))
    assert logprobs_L.tolist() == [0.0, -200.0]
    assert grads(nll, hidden_LD)[0].tolist() == [[0.0], [200.0]]


def test_never_more_than_a_chunk_of_logits_is_held() -> None:
    """The largest tensor of a forward and backward pass over 4 chunks with V = 512 is one chunk's logits."""
    hidden_LD = torch.randn(4 * CHUNK, D, requires_grad=True)
    head, targets_L = Head(torch.randn(512, D, requires_grad=True)), torch.zeros(4 * CHUNK, dtype=torch.long)

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            for tensor in found if isinstance(found, tuple | list) else [found]:
                if isinstance(tensor, Tensor):
                    self.numel = max(self.numel, tensor.numel())
            return found

    with Largest() as seen:
        token_logprobs(hidden_LD, head, targets_L).sum().backward()
        weighted_nll(hidden_LD, head, targets_L, torch.ones(4 * CHUNK))[0].backward()
    assert seen.numel == CHUNK * 512


@pytest.mark.parametrize("positions", [1, 3, 64, 1000])
def test_the_length_of_a_chunk_changes_no_number(positions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden_LD, weight_VD, bias_V, targets_L, weights_L = tensors(100, bias=True)
    dense_L = dense_logprobs(hidden_LD, weight_VD, bias_V, targets_L, 0.5, 1.5)
    expected = grads(-(weights_L * dense_L).sum(), hidden_LD, weight_VD, bias_V)
    monkeypatch.setattr("planish.maths.log_probs.CHUNK", positions)
    for function in functions(targets_L, weights_L):
        found = grads(function(hidden_LD, Head(weight_VD, bias_V, 0.5, 1.5)), hidden_LD, weight_VD, bias_V)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("gigabytes", "vocabulary", "positions"),
    [(141, 128256, 4185), (141, 49152, 10922), (24, 128256, 730), (8, 262144, CHUNK)],
)
def test_a_gpu_takes_chunks_by_their_bytes(
    gigabytes: int, vocabulary: int, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = SimpleNamespace(total_memory=gigabytes * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    assert chunk_length(vocabulary, torch.device("cuda")) == positions
    assert chunk_length(vocabulary, torch.device("cpu")) == CHUNK
    assert kept_bytes(torch.device("cuda")) == gigabytes * 10**9 // 32


def rounded(tensor: Tensor) -> Tensor:
    return tensor.detach().bfloat16().double().requires_grad_()


@pytest.mark.parametrize("which", [0, 1], ids=["token_logprobs", "weighted_nll"])
@pytest.mark.parametrize(("bias", "scale", "cap"), SHAPES)
def test_in_bfloat16_operands_are_rounded_and_sums_are_not(
    which: int, bias: bool, scale: float, cap: float | None
) -> None:
    """Autocast's own product would round the logits to eight bits, and its backward pass would not round at all."""
    hidden_LD, weight_VD, bias_V, targets_L, weights_L = tensors(600, bias, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        logprobs_L = token_logprobs(hidden_LD, Head(weight_VD, bias_V, scale, cap), targets_L)
        loss = functions(targets_L, weights_L)[which](hidden_LD, Head(weight_VD, bias_V, scale, cap))
    found = grads(loss, hidden_LD, weight_VD, bias_V)
    wide_LD, wide_VD = rounded(hidden_LD), rounded(weight_VD)
    wide_V = None if bias_V is None else bias_V.detach().double().requires_grad_()
    dense_L = dense_logprobs(wide_LD, wide_VD, wide_V, targets_L, scale, cap)
    torch.testing.assert_close(logprobs_L.double(), dense_L, rtol=0, atol=1e-5)  # of float32; bfloat16's would be 1e-2
    expected = grads(-(weights_L * dense_L).sum(), wide_LD, wide_VD, wide_V)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        error = (one.double() - other).norm() / other.norm()
        assert error < 4e-3  # that of the logits' gradient, whose numbers have eight bits each


def test_chunks_of_a_bfloat16_weights_gradient_add_up_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """600 small terms, one after the other: in bfloat16 a sum would stop growing at 256 times a term."""
    monkeypatch.setattr("planish.maths.log_probs.CHUNK", 1)
    hidden_LD, weight_VD = torch.ones(600, 1, dtype=torch.bfloat16), torch.zeros(2, 1, dtype=torch.bfloat16)
    weight_VD.requires_grad_()
    nll, _ = weighted_nll(hidden_LD, Head(weight_VD), torch.zeros(600, dtype=torch.long), torch.ones(600))
    assert grads(nll, weight_VD)[0].tolist() == [[-300.0], [300.0]]


@pytest.mark.parametrize("which", [0, 1], ids=["token_logprobs", "weighted_nll"])
def test_the_products_of_a_gpu_have_the_same_shapes_and_types(which: int) -> None:
    """On `meta`, which like a GPU has products of bfloat16 that give float32, and unlike it no numbers."""
    like = tensors(600, True, torch.bfloat16)
    hidden_LD, weight_VD, bias_V = (each.detach().to("meta").requires_grad_() for each in like[:3] if each is not None)
    targets_L, weights_L = like[3].to("meta"), like[4].to("meta")
    products = list[tuple[str, torch.dtype]]()

    class Products(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            if "mm" in str(function):
                products.append((str(function), found.dtype))
            return found

    with Products():
        loss = functions(targets_L, weights_L)[which](hidden_LD, Head(weight_VD, bias_V))
        found = grads(loss, hidden_LD, weight_VD, bias_V)
    assert [each.dtype for each in found] == [torch.bfloat16] * 3
    assert [each.shape for each in found] == [hidden_LD.shape, weight_VD.shape, bias_V.shape]
    assert {name for name, _ in products} == {"aten.mm.dtype", "aten.addmm.dtype_out"}
    assert {dtype for _, dtype in products} == {torch.float32}

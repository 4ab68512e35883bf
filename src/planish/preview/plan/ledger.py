"""Memory, products and traffic of code that runs on fake tensors: tensors with a shape, a type and an owner, and no numbers.

The code that is counted is that of a run, so a plan follows it without being told. A tensor's memory is counted from the
operation that makes it to the moment when nobody refers to it any more, as PyTorch's allocator does, by the part of the run
that it is.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

WEIGHTS, GRADIENTS, MOMENTS, AVERAGE = "weights", "gradients", "moments", "average of the weights"
FROZEN, GATHERED, CASTS = "frozen models", "gathered layers", "bfloat16 copies"
LOGITS, ACTIVATIONS, CACHE = "logits", "activations", "keys and values"
PARTS = (WEIGHTS, GRADIENTS, MOMENTS, AVERAGE, FROZEN, GATHERED, CASTS, LOGITS, ACTIVATIONS, CACHE)

_aten: Any = torch.ops.aten
_c10d: Any = torch.ops.c10d
# Made from nothing: FSDP's buffers, whose memory must not be real.
_EMPTY = {_aten.empty.memory_format, _aten.empty_strided.default}
# The place of the query and of is_causal among the arguments, and the products of queries and keys that it is.
_ATTENTION = {
    _aten._scaled_dot_product_flash_attention_for_cpu.default: (0, 4, 2),
    _aten._scaled_dot_product_flash_attention_for_cpu_backward.default: (1, 7, 5),
}


class TensorLedger(TorchDispatchMode):
    """Within it all tensors that are made are counted: `live` bytes by part, and what they were at the `peak`."""

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self.fake = fake
        self.live, self.peak = Counter[str](), Counter[str]()
        self.flop = self.wire = 0.0  # of products; bytes that this rank sends
        self.vocabulary = -1
        self.named: dict[Any, str] = {}  # the part of what an operation makes
        self._part: str | None = None
        self._of: dict[int, tuple[str, int, Any]] = {}  # part, bytes and a reference to each storage
        self._total = self._most = 0

    @property
    def total(self) -> int:
        return self._total

    def start_phase(self) -> None:
        """From here on the peak is that of what follows."""
        self.peak, self._most = Counter(self.live), self._total

    @contextmanager
    def making(self, part: str) -> Generator[None]:
        """Within it all that is made belongs to this part."""
        before, self._part = self._part, part
        try:
            yield
        finally:
            self._part = before

    def mark(self, tensors: Iterable[Tensor], part: str) -> None:
        """These tensors are that part."""
        for tensor in map(_local, tensors):
            key = tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]
            if key in self._of:
                was, size, reference = self._of[key]
                self.live[was] -= size
                self.live[part] += size
                self._of[key] = part, size, reference

    def __enter__(self) -> TensorLedger:
        self._resize = torch.UntypedStorage.resize_
        ledger, resize = self, self._resize

        def resized(storage: Any, size: int) -> Any:  # FSDP frees its buffers so, and fills them again
            ledger._change(storage._cdata, size)  # pyright: ignore[reportPrivateUsage]
            return resize(storage, size)

        torch.UntypedStorage.resize_ = resized  # pyright: ignore[reportAttributeAccessIssue]
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize
        super().__exit__(*error)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func in _EMPTY:
            with self.fake:
                made = func(*args, **named)
        else:
            made = func(*args, **named)
        self._count_work(func, args, named, made)
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(_local(tensor), func, args)
        return made

    def _add(self, tensor: Tensor, func: Any, args: tuple[Any, ...]) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata  # pyright: ignore[reportPrivateUsage]
        if key in self._of or tensor.device.type == "meta":
            return
        part, size = self._part or self._part_of(tensor, func, args), storage.nbytes()
        self._of[key] = part, size, weakref.ref(storage, lambda _: self._forget(key))
        self._grow(part, size)

    def _part_of(self, tensor: Tensor, func: Any, args: tuple[Any, ...]) -> str:
        if func in self.named:
            return self.named[func]
        if func in _EMPTY and torch.distributed.is_initialized():
            return GATHERED
        if func is _aten._to_copy.default and isinstance(args[0], Tensor):
            was = self._of.get(_local(args[0]).untyped_storage()._cdata)  # pyright: ignore[reportPrivateUsage]
            if was is not None and was[0] in (WEIGHTS, GATHERED, FROZEN):
                return CASTS
        if tensor.ndim and tensor.shape[-1] == self.vocabulary:
            return LOGITS
        if tensor.ndim == 2 and tensor.shape[0] == self.vocabulary:  # of the head's weight, formed chunk by chunk
            return GRADIENTS
        return ACTIVATIONS

    def _grow(self, part: str, size: int) -> None:
        self.live[part] += size
        self._total += size
        if self._total > self._most:
            self._most, self.peak = self._total, Counter(self.live)

    def _change(self, key: int, size: int) -> None:
        if key in self._of:
            part, before, reference = self._of[key]
            self._of[key] = part, size, reference
            self._grow(part, size - before)

    def _forget(self, key: int) -> None:
        part, size, _ = self._of.pop(key)
        self.live[part] -= size
        self._total -= size

    def _count_work(self, func: Any, args: tuple[Any, ...], named: dict[str, Any], made: Any) -> None:
        if func in _ATTENTION:
            self.flop += _attention_flop(func, args, named)
        elif func is _aten.addmm_.default:
            self.flop += 2 * args[1].shape[0] * args[1].shape[1] * args[2].shape[1]
        elif (packet := getattr(func, "_overloadpacket", None)) in flop_registry:
            self.flop += flop_registry[packet](*args, **named, out_val=made)
        elif func is _c10d._allgather_base_.default:
            self.wire += args[0].nbytes - args[1].nbytes
        elif func is _c10d._reduce_scatter_base_.default:
            self.wire += args[1].nbytes - args[0].nbytes


def _attention_flop(func: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> float:
    """Of causal attention half of all pairs."""
    first, place, products = _ATTENTION[func]
    query, key = args[first], args[first + 1]
    causal = named.get("is_causal", args[place] if len(args) > place else False)
    return 2.0 * products * query.numel() * key.shape[2] / (2 if causal else 1)


def _local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor that is spread over ranks."""
    return getattr(tensor, "_local_tensor", tensor)

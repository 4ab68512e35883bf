"""The last layer where its result is read, and nowhere else.

After the last attention no token's hidden state reaches another's, so those that nobody reads need no MLP: a reward model
reads one place of a sequence, a loss only the places before learnt tokens. The model's code stays as it is: two hooks on
the MLP take out the places that are read and put zeros at the others. (What the last attention leaves out is said in its
plan, models/attention.py.) In a model of 4 layers that is up to a fifth of all products, in one of 30 a fortieth.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import signature
from typing import Any
from weakref import WeakSet

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

_whole = WeakSet[nn.Module]()  # models in which this does not hold: their last layer runs several times
_read: ContextVar[tuple[Tensor, int] | None] = ContextVar("read", default=None)


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks: the longest list of modules in the model."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len)) if lists else []


@contextmanager
def read_at(places_N: Tensor, num_tokens: int) -> Generator[None]:
    """Within it hidden states of a row of so many tokens are right at these places, which increase, and may be anything at
    others."""
    token = _read.set((places_N, num_tokens))
    try:
        yield
    finally:
        _read.reset(token)


def reads_everywhere(model: nn.Module) -> bool:
    """True if the last layer has to compute every place."""
    return model in _whole


def set_reads_everywhere(model: nn.Module, *, on: bool) -> None:
    """Sets that the last layer has to compute every place, as where layers run in a loop."""
    (_whole.add if on else _whole.discard)(model)


def narrow(model: nn.Module) -> None:
    """Puts the hooks on the last layer's MLP, if it has one whose weights are those of linear layers alone."""
    mlp = getattr((layers_of(model) or [None])[-1], "mlp", None)
    if not isinstance(mlp, nn.Module) or len(signature(mlp.forward).parameters) > 1:  # Bloom's adds the residual
        return
    there = _take in mlp._forward_pre_hooks.values()  # pyright: ignore[reportPrivateUsage]
    with_weights = (each for each in mlp.modules() if list(each.parameters(recurse=False)))
    if not there and all(isinstance(each, nn.Linear | Conv1D) for each in with_weights):
        mlp.register_forward_pre_hook(_take)
        mlp.register_forward_hook(_put)


def _take(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    read = _read.get()
    return None if read is None else (inputs[0][:, read[0]], *inputs[1:])


def _put(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor | None:
    read = _read.get()
    if read is None:
        return None
    places_N, num_tokens = read
    return output.new_zeros(1, num_tokens, output.shape[2]).index_copy(1, places_N, output)

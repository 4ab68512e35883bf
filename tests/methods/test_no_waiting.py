"""No step waits for a GPU between micro-batches: what the CPU knows is not read back, and copies join the GPU's queue.

No GPU is needed. The `meta` device has shapes and no numbers, so whoever reads one fails there, and all that crosses from one
device to another is seen by a dispatch mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForSequenceClassification

from planish.base import transfer
from planish.base.config import load_config
from planish.base.types import Choices, Example, Experience, Packed, pack
from planish.methods.dpo import DpoObjective
from planish.methods.kto import KtoConfig, KtoObjective
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.objective import PpoObjective
from planish.methods.preference_losses import Dpo
from planish.methods.reward_model import BradleyTerryObjective, RewardConfig
from planish.methods.supervised import NextTokenLoss
from planish.models.actor_critic import ActorCritic
from planish.models.packed import CausalLM
from planish.models.reward_head import Scorer, Values
from planish.train.loop import Objective
from support.models import random_model

META = torch.device("meta")


class Crossings(TorchDispatchMode):
    """Copies between the CPU and the device: those that the queue takes, and those that wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.queued, self.waited = 0, list[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        devices = {each.device.type for each in tree_leaves((args, found)) if isinstance(each, Tensor) and each.numel()}
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default) and len(devices) > 1:
            queued = "meta" in {each.device.type for each in tree_leaves(found)} and kwargs.get("non_blocking")
            self.queued += bool(queued)
            self.waited += [] if queued else [f"{func} {devices}"]
        return found


class MadeOfLists(TorchFunctionMode):
    """Tensors on the device that were made of Python's numbers, which a dispatch mode does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = list[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor, Tensor.new_tensor) and found.device == META:
            self.waited.append(func.__name__)
        return found


def demonstrations() -> list[Example]:
    return [
        Example(np.arange(n, dtype=np.int32), np.arange(n) > n // 3, str(n), weight=1.0 + n % 2) for n in (5, 12, 30)
    ]


def comparisons() -> list[Example]:
    """A prompt of five tokens with two completions."""
    choices = Choices(5, (9, 12), (0, 1), (2.0, 1.0), (-3.0, -4.0))
    tokens = np.arange(12, dtype=np.int32)
    return [Example(tokens + i, tokens >= 5, str(i), choices=choices) for i in range(3)]


def answers() -> list[Example]:
    choices = Choices(5, (12,), (0,), (), (-3.0,))
    return [replace(each, choices=choices) for each in comparisons()]


def rollouts() -> list[Example]:
    numbers = np.linspace(-1.0, 1.0, 7)
    return [replace(each, experience=Experience(*[numbers] * 5)) for each in comparisons()]


def causal_lm() -> CausalLM:
    return CausalLM(random_model("llama"))


def score_model() -> Any:
    config = random_model("llama").config
    config.num_labels = 1
    return AutoModelForSequenceClassification.from_config(config).eval()


ANY = {"model": {"path": "x"}, "out": "x"}
DATA = {**ANY, "data": {"sources": {"a": {"path": "x"}}}}


def sft() -> tuple[Objective, nn.Module]:
    policy = causal_lm()
    return NextTokenLoss(policy, "seq_mean", META), policy


def dpo() -> tuple[Objective, nn.Module]:
    policy = causal_lm()
    return DpoObjective(policy, Dpo(), META, nll=0.1), policy


def kto() -> tuple[Objective, nn.Module]:
    policy = causal_lm()
    return KtoObjective(policy, load_config(KtoConfig, values=DATA), META), policy


def reward() -> tuple[Objective, nn.Module]:
    scorer = Scorer(score_model())
    return BradleyTerryObjective(scorer, load_config(RewardConfig, values={**DATA, "margin": 0.1}), META), scorer


def ppo() -> tuple[Objective, nn.Module]:
    actor = ActorCritic(causal_lm(), Values(score_model()))
    config = load_config(PpoConfig, values={**ANY, "prompts": {"a": "x"}, "rewards": {"r": {"path": "x"}}})
    return PpoObjective(actor, config, META), actor


CASES: list[tuple[Callable[[], tuple[Objective, nn.Module]], Callable[[], list[Example]], int]] = [
    (sft, demonstrations, 2),  # the row, and the weights of its examples
    (dpo, comparisons, 3),  # the row, its pairs, and their reference
    (kto, answers, 3),
    (reward, comparisons, 2),
    (ppo, rollouts, 6),  # the row, and five numbers for each token
]


@pytest.mark.parametrize(("method", "examples", "copies"), CASES, ids=lambda each: getattr(each, "__name__", None))
def test_a_micro_batch_waits_for_nothing(
    method: Callable[[], tuple[Objective, nn.Module]],
    examples: Callable[[], list[Example]],
    copies: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, module = method()
    module.to(META)
    pinned = list[Tensor]()
    monkeypatch.setattr(transfer, "QUEUED", ("meta",))
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    packed = pack(examples())
    with Crossings() as crossings, MadeOfLists() as made:
        weight = objective.weight(packed)
        loss, _ = objective.loss(packed)
        (loss / weight).backward()
    assert crossings.waited == made.waited == []
    assert crossings.queued == len(pinned) == copies
    assert all(each.grad is not None for each in module.parameters())


def test_a_row_is_the_same_wherever_it_was_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """One copy of all its tensors, taken apart again."""
    monkeypatch.setattr(transfer, "QUEUED", ("cpu",))
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    packed = pack([*demonstrations(), *comparisons()])
    names = [name for name in Packed.__dataclass_fields__ if isinstance(getattr(packed, name), Tensor)]
    moved = transfer.to_device([getattr(packed, name) for name in names], torch.device("cpu"))
    for name, tensor in zip(names, moved, strict=True):
        assert tensor.dtype == torch.int64
        assert torch.equal(tensor, getattr(packed, name)), name


def test_what_waits_is_seen() -> None:
    with Crossings() as crossings, MadeOfLists() as made:
        there = torch.zeros(3).to(META)
        torch.tensor([1.0], device=META)
    assert len(crossings.waited) == len(made.waited) == 1
    with pytest.raises(RuntimeError, match="meta"):
        there.sum().item()
    with pytest.raises(NotImplementedError):
        torch.bincount(there.long())

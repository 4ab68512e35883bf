"""Ranks. One process is the default, and every function here then does the obvious thing without a process group."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import wraps
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from planish.base.errors import ConfigError


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    return rank() == 0


def local_device(asked: str = "auto") -> torch.device:
    """The device of this rank: `auto` takes this rank's GPU where there is one, else the CPU."""
    if asked != "auto":
        return _checked(asked)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def _checked(asked: str) -> torch.device:
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise ConfigError(f"device={asked}: there is no such device; expected cpu, cuda, cuda:0 or auto") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        why = "sees no GPU" if torch.backends.cuda.is_built() else "was built without CUDA"
        raise ConfigError(
            f"device={asked}: this torch ({torch.__version__}) {why}. Leave device out, or set device=cpu"
        )
    return device


class OnDevice(Protocol):
    """Settings that say where to run."""

    device: str


D = TypeVar("D", bound=OnDevice)
T = TypeVar("T")


def distributed(work: Callable[[D], T]) -> Callable[[D], T]:
    """Runs a method together with the other ranks if torchrun started us, and leaves them when it is done.

    A thread of the process group that outlives it and still holds a tensor when Python ends aborts the process
    (pytorch/pytorch#190489). So what the method made, and all else that holds the group, goes before the group does.
    """

    @wraps(work)
    def joined(config: D) -> T:
        if "RANK" not in os.environ or dist.is_initialized():
            return work(config)
        device = local_device(config.device)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            result = work(config)
            barrier()  # no rank leaves while another may still talk to it
            return result
        finally:
            gc.collect()
            for mesh in [each for each in gc.get_objects() if type(each) is DeviceMesh]:  # DTensor's caches keep them
                getattr(mesh, "_pg_registry", {}).clear()
            dist.destroy_process_group()

    return joined


def all_sum(value: float) -> float:
    """The sum over all ranks, in float64."""
    if world_size() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=_collective_device())
    dist.all_reduce(total)
    return total.item()


def all_sum_list(values: list[float]) -> list[float]:
    """Entry by entry, the sums over all ranks; every rank passes the same number of entries."""
    if world_size() == 1 or not values:
        return values
    totals = torch.tensor(values, dtype=torch.float64, device=_collective_device())
    dist.all_reduce(totals)
    return totals.tolist()


def barrier() -> None:
    if world_size() > 1:
        dist.barrier()


def _collective_device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")

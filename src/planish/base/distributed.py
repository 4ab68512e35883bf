"""Ranks. One process is the default, and every function here then does the obvious thing without a process group."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from planish.base.errors import ConfigError

PATIENCE = timedelta(hours=4)  # of ranks that wait for one at a server or at a file; NCCL's own is 10 minutes


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    return rank() == 0


def local_device(asked: str = "auto") -> torch.device:
    """The device of this rank: `auto` takes this rank's GPU where there is one, else the CPU; `cuda` is this rank's GPU too."""
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    device = _checked(asked)
    if device.type != "cuda":
        return device
    # cuDNN makes a plan for every new length, and packed rows have a new one each time (pytorch/pytorch#191576).
    torch.backends.cuda.enable_cudnn_sdp(False)
    local_rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    named = ":" in asked
    if named and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        raise ConfigError(f"device={asked}: all processes of this machine would share that GPU. Leave device out")
    index = device.index if named else local_rank
    if index >= count:
        who = f"device={asked}" if named else f"process {local_rank} of this machine"
        raise ConfigError(f"{who} needs GPU {index}, and there are {count}, counted from 0. Start no more than {count}")
    return torch.device("cuda", index)


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
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
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
    """The device for numbers that Python adds up: the CPU, which waits for no GPU, unless the group has NCCL alone."""
    if "gloo" in dist.get_backend_config():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())

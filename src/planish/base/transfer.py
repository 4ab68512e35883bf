"""Numbers from the CPU to the device that computes, without a wait.

A copy from pinned memory joins the GPU's queue. Any other copy, and any number that Python reads back, waits until all work in
the queue is done, and so it runs dry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

QUEUED = ("cuda",)  # types of devices that work through a queue of their own


def to_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Tensors of one type, moved in one copy."""
    if device.type not in QUEUED:
        return [tensor.to(device) for tensor in tensors]
    pinned = torch.cat([tensor.reshape(-1) for tensor in tensors]).pin_memory()
    parts = pinned.to(device, non_blocking=True).split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def numbers(values: Any, device: torch.device, dtype: torch.dtype = torch.float64) -> Tensor:
    """A tensor of numbers that Python or numpy has."""
    array = values if isinstance(values, np.ndarray) else np.array(values)
    return to_device([torch.from_numpy(array).to(dtype)], device)[0]

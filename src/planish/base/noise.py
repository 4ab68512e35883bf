"""random.py for torch: noise as a function of a key."""

from __future__ import annotations

import torch

from planish.base.random import fold_in


def generator(seed: int, *key: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(fold_in(seed, *key))

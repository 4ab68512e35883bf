"""The same as rng.py for torch: noise that is a function of where we are."""

from __future__ import annotations

import torch

from planish.base.random import fold_in


def generator(seed: int, *place: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(fold_in(seed, *place))

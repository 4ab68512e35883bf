"""The same as rng.py for torch: noise that is a function of where we are."""

from __future__ import annotations

import torch

from planish.base.random import seed_at


def generator(seed: int, *place: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_at(seed, *place))

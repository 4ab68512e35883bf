"""Chance as a function of where we are.

Every random number comes from the seed and a place: `generator(seed, "sample", iteration, prompt, k)`. Nothing random is
carried from step to step, so a resumed run needs no saved generator.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_at(seed: int, *place: str | int) -> int:
    """A 63-bit seed for one place, the same on every machine. Strings and numbers do not collide ("1" is not 1)."""
    digest = hashlib.blake2b(repr((seed, *place)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_generator(seed: int, *place: str | int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed_at(seed, *place)))


def generator(seed: int, *place: str | int) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(seed_at(seed, *place))

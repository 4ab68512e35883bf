"""Cards by name, as their makers state them: memory, bfloat16 products without sparsity, and memory traffic."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches

from planish.base.errors import ConfigError

CONTEXT = 1e9  # bytes that CUDA and its libraries take
PROCESS = 0.45e9  # bytes of a process that has imported torch and transformers


@dataclass(frozen=True, slots=True)
class Card:
    """`memory` counts 10^9 bytes a GB. A card has some more, which is left to gaps between tensors."""

    name: str
    memory: float  # bytes
    products: float | None = None  # a second, in bfloat16
    traffic: float | None = None  # bytes a second
    bfloat16: bool = True

    @property
    def room(self) -> float:
        return self.memory - (PROCESS if self.name == "cpu" else CONTEXT)


def _card(name: str, gigabytes: float, tera_flop: float, terabytes: float) -> Card:
    return Card(name, gigabytes * 1e9, tera_flop * 1e12, terabytes * 1e12)


CARDS = {
    card.name: card
    for card in (
        _card("rtx3090", 24, 71, 0.936),
        _card("rtx4090", 24, 165, 1.008),
        _card("rtx5090", 32, 210, 1.792),
        _card("l4", 24, 121, 0.3),
        _card("a10", 24, 125, 0.6),
        _card("a6000", 48, 155, 0.768),
        _card("l40s", 48, 362, 0.864),
        _card("a100-40", 40, 312, 1.555),
        _card("a100", 80, 312, 2.039),
        _card("h100", 80, 989, 3.35),
        _card("h200", 141, 989, 4.8),
        _card("b200", 180, 2250, 8.0),
    )
}


def find_card(text: str, ranks: int) -> Card:
    """A card by its name or by its gigabytes; `cpu` is this machine's memory, shared out to the ranks."""
    name = text.strip().lower()
    if name == "cpu":
        return Card("cpu", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / ranks, bfloat16=False)
    if name in CARDS:
        return CARDS[name]
    try:
        gigabytes = float(name.removesuffix("gb"))
    except ValueError:
        near = get_close_matches(name, CARDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(CARDS)}, and cpu;"
        raise ConfigError(f"--gpu {text}: is no card that planish knows; {hint} or give its memory in GB") from None
    if not 1 < gigabytes < 10_000:
        raise ConfigError(f"--gpu {text}: a card's memory is given in GB, such as 24 or 80")
    return Card(f"{gigabytes:g} GB", gigabytes * 1e9)

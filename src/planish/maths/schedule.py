"""Learning rate over steps, as a factor of its peak. Step s runs from 1 to S: the first update is step 1.

WSD follows MiniCPM (Hu et al. 2024, section 4): warm-up s/W, a stable stage at 1, then a decay f(s - T) from step T. The
paper prints f = 0.5^((s-S)/T) with T = 5000, whose symbols clash with those around it; both readings are here by name.
"""

from __future__ import annotations

import math
from typing import Literal

ScheduleName = Literal["constant", "linear", "cosine", "wsd"]
DecayName = Literal["half_life", "exponential", "linear"]


def learning_rate_factor(
    step: int,
    steps: int,
    *,
    schedule: ScheduleName = "constant",
    warmup: int = 0,
    min_lr_ratio: float = 0.0,
    decay_start: int = 0,
    decay: DecayName = "half_life",
    half_life: float = 5000.0,
) -> float:
    """The factor for `step` of `steps`, in [0, 1]. `min_lr_ratio` is where linear and cosine end; `decay_*` concern WSD alone.

    `half_life`: 0.5^((s - T) / half_life), which reads the paper's 5000 as a half-life counted from the start of the decay.
    `exponential`: min_lr_ratio^((s - T) / (S - T)), which reads it as the decay's length: the rate always ends at `min_lr_ratio`.
    """
    if step < 1 or step > steps:
        raise ValueError(f"step {step} is not between 1 and {steps}")
    if step <= warmup:
        return step / warmup
    if schedule == "wsd":
        return (
            1.0
            if step <= decay_start
            else _decayed(step - decay_start, steps - decay_start, decay, half_life, min_lr_ratio)
        )
    progress = (step - warmup) / max(1, steps - warmup)
    if schedule == "linear":
        return min_lr_ratio + (1 - min_lr_ratio) * (1 - progress)
    if schedule == "cosine":
        return min_lr_ratio + (1 - min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0


def _decayed(since: int, length: int, decay: DecayName, half_life: float, min_lr_ratio: float) -> float:
    if decay == "half_life":
        return 0.5 ** (since / half_life)
    if decay == "exponential":
        return min_lr_ratio ** (since / length)
    return min_lr_ratio + (1 - min_lr_ratio) * (1 - since / length)

"""Learning rate over steps, as a factor of its peak. Step s runs from 1 to S: the first update is step 1.

No step is taken at a rate of 0. The warm-up's steps have s/W of the peak. From there on a cosine or a line is read where a step
begins, at (s - 1 - W) / (S - W) of its way, as transformers reads it: the first such step has the peak, and `min_lr_ratio` would
be reached one step after the last. `min_at="last_step"` reads it where a step ends, at (s - W) / (S - W): the last step has
`min_lr_ratio`, which by default is 0, and then learns nothing.

WSD follows MiniCPM (Hu et al. 2024, section 4): warm-up s/W, a stable stage at 1, then a decay f(s - T) from step T. The
paper prints f = 0.5^((s-S)/T) with T = 5000, whose symbols clash with those around it; both readings are here by name.
"""

from __future__ import annotations

import math
from typing import Literal

ScheduleName = Literal["constant", "linear", "cosine", "wsd"]
DecayName = Literal["half_life", "exponential", "linear"]
MinAt = Literal["after_last_step", "last_step"]


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
    min_at: MinAt = "after_last_step",
) -> float:
    """The factor for `step` of `steps`, in [0, 1]. `min_lr_ratio` is where linear and cosine end; `decay_*` concern WSD alone.

    `half_life`: 0.5^((s - T) / half_life), which reads the paper's 5000 as a half-life counted from the start of the decay.
    `exponential`: min_lr_ratio^((s - T) / (S - T)), which reads it as the decay's length: the rate always ends at `min_lr_ratio`.
    """
    if step < 1 or step > steps:
        raise ValueError(f"step {step} is not between 1 and {steps}")
    if step <= warmup:
        return step / warmup
    start = decay_start if schedule == "wsd" else warmup
    if schedule == "constant" or step <= start:
        return 1.0
    since, length = step - start, steps - start
    if schedule == "wsd" and decay == "half_life":
        return 0.5 ** (since / half_life)
    if schedule == "wsd" and decay == "exponential":
        return min_lr_ratio ** (since / length)
    progress = (since - (min_at == "after_last_step")) / length
    left = 0.5 * (1 + math.cos(math.pi * progress)) if schedule == "cosine" else 1 - progress
    return min_lr_ratio + (1 - min_lr_ratio) * left

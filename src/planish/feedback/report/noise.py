"""What people's disagreement costs a reward model, and what more judgements would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planish.base.errors import DataError
from planish.feedback.report.agreement import AgreementPart, kind_of
from planish.feedback.report.ratings import Measuring, grouped
from planish.statistics.label_noise import NoiseFound, label_noise

AIM = 0.05  # half of the interval of alpha that `pairs_needed` is for


@dataclass(frozen=True, slots=True)
class NoiseCost:
    """`pairs_needed`: pairs with as many ratings as now for an interval of alpha of ± 0.05; None where none is known."""

    found: NoiseFound
    pairs_needed: int | None


def noise_cost(measuring: Measuring, parts: Sequence[AgreementPart]) -> NoiseCost | None:
    """None where no pair has two judgements that prefer one."""
    rows = [row for row in measuring.ratings.tasks(kind_of(measuring)) if row.value]
    pairs = grouped(rows, lambda row: row.pair)
    first = np.array([sum(row.value > 0 for row in some) for some in pairs.values()])
    second = np.array([sum(row.value < 0 for row in some) for some in pairs.values()])
    prompts = np.array([measuring.ratings.pairs[pair].prompt for pair in pairs])
    try:
        found = label_noise(first, second, prompts, measuring.bootstrap)
    except DataError:
        return None
    agreement = next((part.found for part in parts if part.by == "all"), None)
    needed = None
    if agreement and agreement.alpha and agreement.alpha.low is not None and agreement.alpha.high is not None:
        half = (agreement.alpha.high - agreement.alpha.low) / 2
        needed = round(agreement.units * (half / AIM) ** 2)
    return NoiseCost(found, needed)

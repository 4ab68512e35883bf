"""How often the mixture advisor finds better weights where there are some, and how often it proposes some where there are none.

    python benchmarks/advice.py                     # three minutes

The surfaces have a known best mixture: four losses, each a power law of the weights, with noise as runs have.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from planish.experiments.advice import MEAN, WORST, Advice, Search, Weights, search
from planish.experiments.claim import MeasureConfig
from support.mixtures import noisy, surface

WORTH = {MEAN: np.mean, WORST: np.max}  # of losses
CONTROLS, SURFACES = 200, 20


def advice_on(seed: int, noise: float, goal: str, flat: bool) -> tuple[Advice, float, float]:
    """With what the proposal truly gains, and what the best of 2,000 mixtures would."""
    names, losses = surface(seed, flat=flat)
    drawn = np.random.default_rng(seed + 1000).dirichlet(np.ones(len(names))) + 0.03
    given = dict(zip(names, (drawn / drawn.sum()).tolist(), strict=True))
    measures = {name: MeasureConfig(of="row_loss", field=name) for name in names}
    advice = search(given, measures, noisy(losses, names, noise, seed), Search(goal=goal))

    def worth(weights: Weights) -> float:
        return float(WORTH[goal](losses(weights)))

    mixtures = np.random.default_rng(5).dirichlet(np.ones(len(names)), 2000).tolist()
    best = min(worth(dict(zip(names, row, strict=True))) for row in mixtures)
    gained = worth(advice.given) - worth(advice.proposal) if advice.proposal else 0.0
    return advice, gained, worth(advice.given) - best


def main() -> None:
    for goal in WORTH:
        outcomes = Counter(advice_on(seed, 0.02, goal, flat=True)[0].outcome for seed in range(CONTROLS))
        print(f"{goal}, none is better: {dict(outcomes)}", flush=True)
    for goal in WORTH:
        for noise in (0.005, 0.01, 0.02, 0.05):
            found = [advice_on(seed, noise, goal, flat=False) for seed in range(SURFACES)]
            better = [(gained, most) for advice, gained, most in found if advice.outcome == "better"]
            share = np.mean([gained / most for gained, most in better])
            worse = sum(gained <= 0 for gained, _ in better)
            to_gain = np.mean([most for _, _, most in found])
            print(
                f"{goal}, noise {noise}: better in {len(better)} of {SURFACES}, {share:.0%} of what there is to gain "
                f"({to_gain:.3f} on average), truly worse {worse}",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""How often 95% intervals of paired differences hold the truth, in worlds without an effect.

    python benchmarks/intervals.py                  # 1,000 worlds of each kind: an hour, without the bootstrap seconds
    python benchmarks/intervals.py --worlds 200

A world has seeds and prompts. A value is an effect of its seed, one of its prompt and one of its own, all with mean 0. Ours is
`statistics/paired.py`; beside it are the percentiles of the bootstrap that draws seeds and prompts.
"""

from __future__ import annotations

import argparse

import numpy as np

from planish.statistics.paired import Values, holm, mean_effect

# Standard deviations of the effects of seed, prompt and value; `shared` prompts are the same in all seeds.
KINDS = {
    "values alone": (0.0, 0.0, 1.0, True),
    "prompts": (0.0, 1.0, 1.0, True),
    "seeds": (0.3, 0.0, 1.0, True),
    "seeds above all": (1.0, 0.2, 0.2, True),
    "all three": (0.1, 1.0, 1.0, True),
    "prompts of their own": (0.1, 1.0, 1.0, False),
    "wins, ties, losses": (0.1, 1.0, 1.0, True),
}
SIZES = ((1, 200), (3, 200), (5, 200), (5, 1))
DRAWS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--no-bootstrap", action="store_true", help="ours alone: seconds")
    options = parser.parse_args()
    print(f"{'kind':22} {'seeds':>5} {'prompts':>7} {'ours':>7} {'bootstrap':>10}")
    for kind in KINDS:
        for seeds, prompts in SIZES:
            by_seed, by_prompt, _, shared = KINDS[kind]
            if (seeds == 1 and by_seed) or (prompts == 1 and by_prompt and shared):
                continue  # one alone cannot tell what others do
            ours, theirs = coverage(kind, seeds, prompts, options.worlds, not options.no_bootstrap)
            print(f"{kind:22} {seeds:5} {prompts:7} {ours:7.1%} {theirs:10.1%}", flush=True)
    print(f"a family of 5 without effect has one below 0.05 in {false_alarms(options.worlds):.1%} of worlds")


def coverage(kind: str, seeds: int, prompts: int, worlds: int, bootstrap: bool) -> tuple[float, float]:
    hits = [0, 0]
    for world in range(worlds):
        chance = np.random.default_rng([world, seeds, prompts, *kind.encode()])
        values_SP = draw(chance, kind, seeds, prompts)
        found = mean_effect(as_values(values_SP, KINDS[kind][3])).estimate()
        assert found.low is not None
        assert found.high is not None
        hits[0] += found.low <= 0 <= found.high
        if bootstrap:
            low, high = percentiles(chance, values_SP)
            hits[1] += low <= 0 <= high
    return hits[0] / worlds, hits[1] / worlds if bootstrap else float("nan")


def draw(chance: np.random.Generator, kind: str, seeds: int, prompts: int) -> np.ndarray:
    by_seed, by_prompt, own, shared = KINDS[kind]
    prompts_SP = chance.normal(size=(1 if shared else seeds, prompts))
    values_SP = by_prompt * prompts_SP + own * chance.normal(size=(seeds, prompts))
    values_SP = values_SP + by_seed * chance.normal(size=(seeds, 1))
    if kind == "wins, ties, losses":
        return np.sign(values_SP) * (np.abs(values_SP) > 0.5) / 2
    return values_SP


def as_values(values_SP: np.ndarray, shared: bool = True) -> list[Values]:
    return [
        {f"{'' if shared else seed} {i}": value for i, value in enumerate(row)} for seed, row in enumerate(values_SP)
    ]


def percentiles(chance: np.random.Generator, values_SP: np.ndarray) -> tuple[float, float]:
    """Of means over seeds and prompts drawn with replacement."""
    seeds, prompts = values_SP.shape
    seeds_DS = chance.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS) / seeds
    prompts_DP = chance.multinomial(prompts, np.full(prompts, 1 / prompts), DRAWS) / prompts
    low, high = np.quantile(((seeds_DS @ values_SP) * prompts_DP).sum(1), [0.025, 0.975])
    return float(low), float(high)


def false_alarms(worlds: int) -> float:
    count = 0
    for world in range(worlds):
        chance = np.random.default_rng([world, 7])
        effects = [mean_effect(as_values(draw(chance, "all three", 5, 50))).p(0.0) or 0.0 for _ in range(5)]
        count += min(holm(effects)) < 0.05
    return count / worlds


if __name__ == "__main__":
    main()

"""Better weights for a mixture: looked for by short runs, then checked by real ones (RegMix, Liu et al. 2024, for fine-tuning).

    draws       mixtures from a Dirichlet distribution around the given weights, each run once, all with one seed
    surfaces    for each ability a regression from weights to its value (`statistics/surface.py`)
    proposal    the mixture with the highest gain in the goal, less its error, that most probably is one
    check       the given mixture and the proposal, at full length, with other seeds: the gain's interval lies above 0, or nothing
                better was found

The draws only choose what is checked. The check is of other runs, so a proposal that chance has made is not found better again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from planish.base.random import numpy_generator
from planish.experiments.claim import MeasureConfig
from planish.experiments.matrix import good
from planish.statistics.estimate import Estimate, quantile
from planish.statistics.paired import Values, mean_effect
from planish.statistics.surface import Surface, fit_surface

Weights = dict[str, float]
Abilities = Mapping[str, Values]  # of one run
Runner = Callable[[Weights, int, bool], Abilities]  # of weights, with a seed, at full length or short
Outcome = Literal["better", "not confirmed", "nothing promising"]

MEAN, WORST = "mean", "worst"
CANDIDATES = 1500
SAMPLES = 200  # of each candidate's values, for the worst ability
LIKELY = 0.9  # a proposal is checked if it is a gain, and keeps the budgets, with this probability
LEAST = 0.02  # of the mixture, around which a weight is drawn even if the given one is less
DECIMALS = 3  # of proposed weights


@dataclass(frozen=True, slots=True)
class Search:
    """How to search, and for which goal. `budgets` say how much an ability may lose at most, in its own unit."""

    runs: int = 24
    goal: str = MEAN  # mean, worst, or an ability
    budgets: Mapping[str, float] = field(default_factory=dict[str, float])
    seeds: int = 3  # of the check
    spread: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Draw:
    """A mixture that was run, with the value of each ability and of the goal; what the other draws predicted for the goal."""

    weights: Weights
    values: dict[str, float]
    goal: float
    left_out: float = math.nan


@dataclass(frozen=True, slots=True)
class Slice:
    """The goal's predicted gain as one source's weight changes and the others keep their proportions."""

    source: str
    weights: list[float]
    gains: list[Estimate]


@dataclass(frozen=True, slots=True)
class Advice:
    """The result of a search. Gains are over the given weights, of each ability in its unit and of `goal`; more is better."""

    outcome: Outcome
    given: Weights
    proposal: Weights | None
    draws: list[Draw]
    explained: dict[str, float]  # share of an ability's variance over mixtures that the others predict
    predicted: dict[str, Estimate] = field(default_factory=dict[str, Estimate])
    checked: dict[str, Estimate] = field(default_factory=dict[str, Estimate])
    slices: list[Slice] = field(default_factory=list[Slice])
    over_budget: list[str] = field(default_factory=list[str])  # abilities that lost more than they may, in the check


def drawn_mixtures(given_K: np.ndarray, count: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Dirichlet draws [count, K] around the given weights, some near and some far. With a spread of 1, a weight of 1/K has a
    standard deviation of about half of itself."""
    center_K = np.maximum(given_K, LEAST) / np.maximum(given_K, LEAST).sum()
    totals = len(given_K) * np.exp(rng.uniform(math.log(1.0), math.log(8.0), size=count)) / spread**2
    drawn = np.stack([rng.dirichlet(np.maximum(total * center_K, 0.05)) for total in totals])
    return np.where(drawn < 10**-DECIMALS, 0.0, drawn) / np.where(drawn < 10**-DECIMALS, 0.0, drawn).sum(
        1, keepdims=True
    )


def search(given: Weights, measures: Mapping[str, MeasureConfig], run: Runner, asked: Search) -> Advice:
    names, given_K = [*given], np.array([*given.values()]) / sum(given.values())
    rng = numpy_generator(asked.seed, "advise", *names)
    tried_NK = np.concatenate([given_K[None], drawn_mixtures(given_K, asked.runs, asked.spread, rng)])
    runs = [_numbers(run(_weights(names, weights_K), asked.seed, False), measures) for weights_K in tried_NK]
    values_NA = np.array([[one[name] for name in measures] for one in runs])
    surfaces = [fit_surface(tried_NK, values_NA[:, a]) for a in range(len(measures))]
    model = _Model(surfaces, [*measures], asked)
    draws = _draws(names, measures, tried_NK, values_NA, model)
    explained = {name: surface.explained for name, surface in zip(measures, surfaces, strict=True)}
    found = Advice(
        "nothing promising", _weights(names, given_K), None, draws, explained, slices=_slices(model, names, given_K)
    )
    best_K = _best(model, given_K, drawn_mixtures(given_K, CANDIDATES, asked.spread, rng))
    if best_K is None:
        return found
    proposal = _weights(names, best_K)
    predicted = dict(zip([*measures, "goal"], model.gains_of(best_K, given_K), strict=True))
    checked, over = _check(found.given, proposal, measures, run, asked)
    sure = checked["goal"].low is not None and checked["goal"].low > 0 and not over
    return Advice(
        "better" if sure else "not confirmed",
        found.given,
        proposal,
        draws,
        explained,
        predicted,
        checked,
        found.slices,
        over,
    )


def _numbers(abilities: Abilities, measures: Mapping[str, MeasureConfig]) -> dict[str, float]:
    """One number for each ability, in its unit and so that more is better."""
    return {name: good(measure, float(np.mean([*abilities[name].values()]))) for name, measure in measures.items()}


def _weights(names: Sequence[str], weights_K: np.ndarray) -> Weights:
    """Rounded, and adding up to 1."""
    rounded = np.round(weights_K, DECIMALS)
    rounded[int(np.argmax(rounded))] += 1 - rounded.sum()
    return {name: round(float(weight), DECIMALS) for name, weight in zip(names, rounded, strict=True)}


def _draws(
    names: Sequence[str],
    measures: Mapping[str, MeasureConfig],
    tried_NK: np.ndarray,
    values_NA: np.ndarray,
    model: _Model,
) -> list[Draw]:
    goals_N = goal_of(values_NA, model.names, model.asked.goal)
    left_out_N = goal_of(np.stack([one.left_out for one in model.surfaces], axis=1), model.names, model.asked.goal)
    return [
        Draw(_weights(names, weights_K), dict(zip(measures, values_A, strict=True)), goal, left_out)
        for weights_K, values_A, goal, left_out in zip(
            tried_NK, values_NA.tolist(), goals_N.tolist(), left_out_N.tolist(), strict=True
        )
    ]


def goal_of(values_xA: np.ndarray, names: Sequence[str], goal: str) -> np.ndarray:
    if goal == MEAN:
        return values_xA.mean(-1)
    return values_xA.min(-1) if goal == WORST else values_xA[..., list(names).index(goal)]


@dataclass(frozen=True, slots=True)
class _Model:
    """The fitted surfaces of all abilities, whose errors are taken as independent."""

    surfaces: Sequence[Surface]
    names: Sequence[str]
    asked: Search

    def gains(self, at_MK: np.ndarray, given_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and error of each ability's gain and, last, of the goal's: two of [M, A + 1]."""
        found = [surface.predict(at_MK, given_K) for surface in self.surfaces]
        mean_MA2 = np.stack([mean for mean, _ in found], axis=1)
        cov_MA22 = np.stack([covariance for _, covariance in found], axis=1)
        gain_MA = mean_MA2[..., 0] - mean_MA2[..., 1]
        variance_MA = cov_MA22[..., 0, 0] + cov_MA22[..., 1, 1] - 2 * cov_MA22[..., 0, 1]
        error_MA = np.sqrt(np.maximum(variance_MA, 1e-18))
        goal_M, goal_error_M = self._goal(mean_MA2, cov_MA22, gain_MA, error_MA)
        return np.concatenate([gain_MA, goal_M[:, None]], 1), np.concatenate([error_MA, goal_error_M[:, None]], 1)

    def _goal(
        self, mean_MA2: np.ndarray, cov_MA22: np.ndarray, gain_MA: np.ndarray, error_MA: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        goal, count = self.asked.goal, len(self.names)
        if goal == MEAN:
            return gain_MA.mean(1), np.sqrt((error_MA**2).sum(1)) / count
        if goal != WORST:
            which = list(self.names).index(goal)
            return gain_MA[:, which], error_MA[:, which]
        given_A, own_A = mean_MA2[0, :, 1], np.sqrt(np.maximum(cov_MA22[0, :, 1, 1], 0.0))
        noise_2SA = numpy_generator(self.asked.seed, "advise", "worst").normal(size=(2, SAMPLES, count))
        given_SA = given_A + own_A * noise_2SA[0]
        slope_MA = cov_MA22[..., 0, 1] / np.maximum(cov_MA22[..., 1, 1], 1e-18)  # of the candidate on the given one
        rest_MA = np.sqrt(np.maximum(cov_MA22[..., 0, 0] - slope_MA * cov_MA22[..., 0, 1], 0.0))
        gains_MS = np.empty((len(mean_MA2), SAMPLES))
        for m in range(len(mean_MA2)):
            values_SA = mean_MA2[m, :, 0] + slope_MA[m] * (given_SA - given_A) + rest_MA[m] * noise_2SA[1]
            gains_MS[m] = values_SA.min(1) - given_SA.min(1)
        return gains_MS.mean(1), gains_MS.std(1)

    def gains_of(self, at_K: np.ndarray, given_K: np.ndarray) -> list[Estimate]:
        return [one[0] for one in self.estimates(at_K[None], given_K)]

    def estimates(self, at_MK: np.ndarray, given_K: np.ndarray) -> list[list[Estimate]]:
        """By ability and the goal, for each mixture."""
        means_MA, errors_MA = self.gains(at_MK, given_K)
        count = len(self.surfaces[0].values_N)
        return [
            [
                Estimate(mean, mean - quantile() * error, mean + quantile() * error, count)
                for mean, error in zip(means_M, errors_M, strict=True)
            ]
            for means_M, errors_M in zip(means_MA.T.tolist(), errors_MA.T.tolist(), strict=True)
        ]


def _best(model: _Model, given_K: np.ndarray, candidates_MK: np.ndarray) -> np.ndarray | None:
    """The candidate with the highest gain less its error, among those that are likely to be one; None if there is none."""
    candidates_MK = np.concatenate([candidates_MK, model.surfaces[0].weights_NK[1:]])
    means_MA, errors_MA = model.gains(candidates_MK, given_K)
    z = quantile(2 * LIKELY - 1)
    fit_M = means_MA[:, -1] - z * errors_MA[:, -1] > 0
    for name, most in model.asked.budgets.items():
        a = list(model.names).index(name)
        fit_M &= means_MA[:, a] - z * errors_MA[:, a] > -most
    if not fit_M.any():
        return None
    score_M = np.where(fit_M, means_MA[:, -1] - errors_MA[:, -1], -np.inf)
    return candidates_MK[int(np.argmax(score_M))]


def _slices(model: _Model, names: Sequence[str], given_K: np.ndarray) -> list[Slice]:
    """From 0 to the largest weight that was run."""
    slices: list[Slice] = []
    for k, name in enumerate(names):
        if given_K[k] > 1 - 1e-9:
            continue
        weights_M = np.linspace(0, float(model.surfaces[0].weights_NK[:, k].max()), 25)
        at_MK = given_K[None] * ((1 - weights_M) / (1 - given_K[k]))[:, None]
        at_MK[:, k] = weights_M
        slices.append(Slice(name, weights_M.tolist(), model.estimates(at_MK, given_K)[-1]))
    return slices


def _check(
    given: Weights, proposal: Weights, measures: Mapping[str, MeasureConfig], run: Runner, asked: Search
) -> tuple[dict[str, Estimate], list[str]]:
    """Gains of each ability and the goal over seeds that no draw had, and the abilities that lost more than their budget."""
    names, gains = [*measures], dict[str, list[Values]]()
    for seed in range(asked.seed + 1, asked.seed + 1 + asked.seeds):
        before, after = (_numbers(run(weights, seed, True), measures) for weights in (given, proposal))
        for name in names:
            gains.setdefault(name, []).append({"": after[name] - before[name]})
        goals = [float(goal_of(np.array([one[name] for name in names]), names, asked.goal)) for one in (before, after)]
        gains.setdefault("goal", []).append({"": goals[1] - goals[0]})
    checked = {name: mean_effect(seeds).estimate() for name, seeds in gains.items()}
    return checked, [name for name, most in asked.budgets.items() if checked[name].value < -most]

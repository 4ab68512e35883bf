"""How well scores put answers in the order that people did: the worth of a reward model, or of the reward that a policy
trained by DPO implies, beta * log(pi / pi_ref). Statistics of numbers alone; no model is run here.

A comparison weighs 1 in all and each of its C pairs 1/C, as in the reward model's loss (Ouyang et al. 2022, eq. 1). Ties
between ranks give no pair. Pairs have no order of their own, so whatever depends on one is taken over both: the diagram of
reliability is folded to probabilities from 0.5 up, correlations and the logistic slope go through the origin.

Pairs of one prompt are not independent. Intervals are those of a bootstrap that draws whole prompts with replacement
(percentiles; Cameron, Gelbach and Miller 2008), that of the slope is Wald's with a variance clustered by prompt. With fewer
than some 30 prompts they are too narrow.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from planish.base.errors import DataError, RunError
from planish.base.files import write_json
from planish.base.random import numpy_generator
from planish.statistics.ranking_result import (
    Calibration,
    CalibrationBin,
    Estimate,
    Interval,
    Known,
    LengthBin,
    LengthCorrelation,
    PairGroup,
    Parts,
    RankingResult,
    Repeated,
    Scored,
)

LEVEL, Z_95 = 0.95, 1.959964  # of every interval; of the standard normal distribution
MOST_LEVELS = 5  # an annotator's margins of no more sizes than this are told one by one; more are put into quarters
MOST_ANNOTATORS = 12  # of whom each has a row
STEPS = 100  # of Newton's method, which needs ten or so
BLOCK = 1 << 21  # numbers held at once while drawing


def ranking(scored: Sequence[Scored], *, draws: int = 2000, num_bins: int = 10, seed: int = 0) -> dict[str, Any]:
    """A `Ranking` as plain JSON, keys and all as in ranking_shapes.py; an Estimate is {"value", "low", "high"}.

    The same comparisons in another order give the same numbers, but for rounding.

    {"comparisons": 800, "tied": 12, "pairs": 2400, "prompts": 640,
     "accuracy": {"value": 0.71, "low": 0.68, "high": 0.74}, "log_loss": {...}, "log_loss_by_chance": 0.693,
     "known": {"pairs", "prompts", "accuracy": {...}, "log_loss": {...}, "ceiling": {...}, "entropy": {...}} or null,
     "repeated": {"votes", "judged", "prompts", "accuracy": {...}, "leave_one_out": {...}, "plug_in": {...}} or null,
     "calibration": {"bins": [{"low", "high", "pairs", "share", "predicted", "right": {...}}],
                     "ece": 0.03, "ece_by_chance": 0.02, "slope": {...} or null},
     "length": {"pearson": {...} or null, "spearman": {...} or null, "longer": {...},
                "bins": [{"low", "high", "pairs", "tokens", "difference": {...}}]},
     "by": {"source": [{"name", "low", "high", "comparisons", "pairs", "prompts", "accuracy": {...}, "ceiling"}],
            "group": [...], "given": [...], "predicted": [...], "annotator": [...]},
     "interval": {"level": 0.95, "draws": 2000, "seed": 0}}
    """
    pairs, how = _flatten(scored), _Bootstrap(draws, seed)
    found = RankingResult(
        comparisons=_num(pairs.comparison),
        tied=len(scored) - _num(pairs.comparison),
        pairs=len(pairs.weight),
        prompts=_num(pairs.prompt),
        accuracy=how.share(pairs, pairs.right),
        log_loss=how.mean(pairs, pairs.loss),
        log_loss_by_chance=math.log(2),
        known=_known(pairs, how),
        repeated=_repeated(pairs, how),
        calibration=_calibration(pairs, how, num_bins),
        length=_length(pairs, how, num_bins),
        by=_parts(pairs, how),
        interval=Interval(LEVEL, draws, seed),
    )
    return asdict(found)


def log_loss_by_source(scored: Sequence[Scored]) -> dict[str, float]:
    """Mean of -ln sigmoid(score difference) of each source's pairs, in nats, weighed as in `ranking`."""
    pairs = _flatten(scored)
    own = {name: pairs.take(pairs.source == i) for i, name in enumerate(pairs.names["source"])}
    return {name: float(np.average(some.loss, weights=some.weight)) for name, some in own.items()}


def write_ranking(path: Path, step: int, name: str, found: Mapping[str, Any]) -> None:
    """Adds {"step", "name", **found} to the list in the file `path`, in place of an earlier one of that step and name."""
    written: Any = []
    if path.exists():
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path}: not valid JSON: {error}. Move it away, and it is begun anew") from None
    others = [each for each in written if (each["step"], each["name"]) != (step, name)]
    write_json(path, [*others, {"step": step, "name": name, **found}])


# Pairs


@dataclass(frozen=True, slots=True)
class _Pairs:
    """All pairs one after the other, as arrays [P]. What has a name is numbered in the order of `names`."""

    names: dict[str, list[str]]
    comparison: np.ndarray
    prompt: np.ndarray
    source: np.ndarray
    group: np.ndarray
    annotator: np.ndarray
    judged: np.ndarray  # the two answers, as one name; "" where they are not told or are the same
    first: np.ndarray  # bool: which of the two was preferred
    weight: np.ndarray  # 1/C
    margin: np.ndarray  # score of the preferred less that of the other
    longer: np.ndarray  # the same of lengths, in tokens
    given: np.ndarray  # and of the annotator's scores; nan where none are given
    p: np.ndarray  # nan where not known

    def take(self, keep: np.ndarray) -> _Pairs:
        arrays = {each.name: getattr(self, each.name)[keep] for each in fields(self) if each.name != "names"}
        return _Pairs(self.names, **arrays)

    def named(self, field: str) -> np.ndarray:
        """Pairs whose annotator, say, has a name."""
        empty = self.names[field].index("") if "" in self.names[field] else -1
        return getattr(self, field) != empty

    @property
    def right(self) -> np.ndarray:
        return _credit(self.margin)

    @property
    def loss(self) -> np.ndarray:
        return np.logaddexp(0.0, -self.margin)

    @property
    def ceiling(self) -> np.ndarray:
        return np.maximum(self.p, 1 - self.p)


def _flatten(scored: Sequence[Scored]) -> _Pairs:
    texts: dict[str, list[str]] = {field: [] for field in ("prompt", "source", "group", "annotator", "judged")}
    numbers: list[tuple[float, ...]] = []
    for number, row in enumerate(scored):
        pairs = row.pairs
        for (w, r), p in zip(pairs, row.p or [math.nan] * len(pairs), strict=True):
            two = sorted((row.completions[w], row.completions[r])) if row.completions else [""]
            first = bool(row.completions) and row.completions[w] == two[0]
            judged = repr((row.prompt, *two)) if len(set(two)) == 2 else ""
            for field, text in zip(texts, (row.prompt, row.source, row.group, row.annotator, judged), strict=True):
                texts[field].append(text)
            given = row.given[w] - row.given[r] if row.given else math.nan
            differences = (row.scores[w] - row.scores[r], row.num_tokens[w] - row.num_tokens[r], given)
            numbers.append((number, first, 1 / len(pairs), *differences, p))
    if not numbers:
        raise DataError(f"{len(scored)} comparisons, and in none is one answer preferred to another: nothing to rank")
    names = {field: sorted(set(values)) for field, values in texts.items()}
    places = {field: {name: i for i, name in enumerate(values)} for field, values in names.items()}
    named = {field: np.array([places[field][text] for text in values]) for field, values in texts.items()}
    comparison, first, weight, margin, longer, given, p = np.array(numbers).T
    return _Pairs(
        names, comparison, **named, first=first > 0, weight=weight, margin=margin, longer=longer, given=given, p=p
    )


def _num(values: np.ndarray) -> int:
    return len(np.unique(values))


def _credit(difference: np.ndarray) -> np.ndarray:
    """1 where the preferred has more, 1/2 where both have as much."""
    return (np.sign(difference) + 1) / 2


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -x))  # exact for small probabilities too, and does not overflow


# Intervals


@dataclass(frozen=True, slots=True)
class _Bootstrap:
    """Every statistic sees the same draws, so that what is found does not depend on what else is asked."""

    draws: int
    seed: int

    def counts(self, num_prompts: int, width: int = 1) -> Iterator[np.ndarray]:
        """How often each prompt is drawn: blocks of int64 [B, num_prompts], `draws` rows in all.

        `width` is how many numbers the caller holds for each draw.
        """
        numbers = numpy_generator(self.seed, "ranking", "bootstrap")
        most = max(1, BLOCK // max(num_prompts, width))
        for start in range(0, self.draws, most):
            num = min(most, self.draws - start)
            drawn = numbers.integers(num_prompts, size=(num, num_prompts)) + num_prompts * np.arange(num)[:, None]
            yield np.bincount(drawn.ravel(), minlength=num * num_prompts).reshape(num, num_prompts)

    def mean(self, pairs: _Pairs, values: np.ndarray) -> Estimate:
        """The weighted mean of `values` [P]."""
        prompts, place = np.unique(pairs.prompt, return_inverse=True)
        sums = np.stack([np.bincount(place, pairs.weight * values), np.bincount(place, pairs.weight)], axis=1)
        total, weight = sums.sum(0)
        drawn = np.concatenate([counts @ sums for counts in self.counts(len(prompts))])
        return _estimate(total / weight, drawn[:, 0] / drawn[:, 1], len(prompts))

    def share(self, pairs: _Pairs, credit: np.ndarray) -> Estimate:
        """The same of values that are 1 for right and 0 for wrong.

        Where all are right, or all wrong, every draw is the same; the bound is then that of Clopper and Pearson (1934) for
        so many independent prompts.
        """
        found, num_prompts = self.mean(pairs, credit), _num(pairs.prompt)
        if num_prompts < 2 or len(set(credit)) > 1 or credit[0] not in (0, 1):
            return found
        bound = ((1 - LEVEL) / 2) ** (1 / num_prompts)
        return Estimate(1.0, bound, 1.0) if credit[0] else Estimate(0.0, 0.0, 1 - bound)

    def correlation(self, pairs: _Pairs, x: np.ndarray, y: np.ndarray, ranked: bool) -> Estimate | None:
        """Weighted, through the origin: Pearson's, or Spearman's if `ranked`. Ranks are taken anew in every draw."""

        def of(weight: np.ndarray) -> np.ndarray:
            a, b = (_signed_ranks(x, weight), _signed_ranks(y, weight)) if ranked else (x, y)
            xy, xx, yy = ((weight * left * right).sum(-1) for left, right in ((a, b), (a, a), (b, b)))
            with np.errstate(invalid="ignore"):
                return xy / np.sqrt(xx * yy)

        if not x.any() or not y.any():
            return None
        prompts, place = np.unique(pairs.prompt, return_inverse=True)
        drawn = [of(counts[:, place] * pairs.weight) for counts in self.counts(len(prompts), len(x))]
        return _estimate(of(pairs.weight[None])[0], np.concatenate(drawn), len(prompts))


def _estimate(value: float, drawn: np.ndarray, num_prompts: int) -> Estimate:
    drawn = drawn[np.isfinite(drawn)]
    if num_prompts < 2 or not drawn.size:
        return Estimate(float(value), None, None)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high))


def _signed_ranks(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted midranks of `values` [P] among themselves and their negatives, less the middle rank; weight [B, P]."""
    sizes, place = np.unique(np.abs(values), return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(sizes)))
    mass = np.add.reduceat(weight[:, order], starts, axis=1)
    return np.sign(values) * (mass.cumsum(1) - mass / 2)[:, place]


def _equal_mass(values: np.ndarray, weight: np.ndarray, num: int) -> list[np.ndarray]:
    """Up to `num` parts of about equal weight, from small values to large, each as bool [P]. Equal values stay together."""
    place = np.unique(values, return_inverse=True)[1]
    mass = np.bincount(place, weight)
    middle = (mass.cumsum() - mass / 2) / mass.sum()
    part = np.floor(np.round(middle * num, 9))[place]  # rounded: the order of summation must not move a value
    return [part == each for each in np.unique(part)]


# Statistics


def _known(pairs: _Pairs, how: _Bootstrap) -> Known | None:
    pairs = pairs.take(np.isfinite(pairs.p))
    if not pairs.p.size:
        return None
    p = np.clip(pairs.ceiling, 0.5, 1 - 1e-16)
    entropy = -p * np.log(p) - (1 - p) * np.log1p(-p)
    accuracy, log_loss = how.share(pairs, pairs.right), how.mean(pairs, pairs.loss)
    best = how.mean(pairs, pairs.ceiling), how.mean(pairs, entropy)
    return Known(len(pairs.p), _num(pairs.prompt), accuracy, log_loss, *best)


def _repeated(pairs: _Pairs, how: _Bootstrap) -> Repeated | None:
    pairs = pairs.take(pairs.named("judged") & pairs.named("annotator"))
    same, other = _votes(pairs.judged, pairs.first)
    persons = pairs.judged * len(pairs.names["annotator"]) + pairs.annotator
    own_same, own_other = _votes(persons, pairs.first)
    several = same + other > own_same + own_other
    if not several.any():
        return None
    votes = pairs.take(several)
    others, everyone = _credit(same - own_same - other + own_other), _credit(same - other)
    credits = votes.right, others[several], everyone[several]
    found = [how.share(votes, credit) for credit in credits]
    return Repeated(len(votes.p), _num(votes.judged), _num(votes.prompt), *found)


def _votes(item: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each vote, how many on the same item are for the same answer, and how many for the other."""
    place = np.unique(item, return_inverse=True)[1]
    counts = np.stack([np.bincount(place, ~first), np.bincount(place, first)])
    side = first.astype(int)
    return counts[side, place], counts[1 - side, place]


def _calibration(pairs: _Pairs, how: _Bootstrap, num_bins: int) -> Calibration:
    predicted = _sigmoid(np.abs(pairs.margin))
    bins: list[CalibrationBin] = []
    chance = 0.0
    for keep in _equal_mass(predicted, pairs.weight, num_bins):
        own, q = pairs.take(keep), predicted[keep]
        share = own.weight / pairs.weight.sum()
        right = how.share(own, own.right)
        mean = float((share * q).sum() / share.sum())
        bins.append(CalibrationBin(float(q.min()), float(q.max()), len(q), float(share.sum()), mean, right))
        # |deviation| of a calibrated model's accuracy: nearly normal, of mean 0
        chance += float(np.sqrt((share**2 * q * (1 - q)).sum() * 2 / math.pi))
    ece = sum(each.share * abs(each.right.value - each.predicted) for each in bins)
    return Calibration(bins, ece, chance, _slope(pairs))


def _slope(pairs: _Pairs) -> Estimate | None:
    """Maximises the mean of ln sigmoid(b * margin), by Newton's method."""
    margin, weight = pairs.margin, pairs.weight / pairs.weight.sum()
    if margin.min() >= 0 or margin.max() <= 0:
        return None  # the larger b, or -b, the likelier; or any b is as good
    scale = float(np.sqrt((weight * margin**2).sum()))
    x, b = margin / scale, 0.0
    likelihood, pull, information = _likelihood(b, x, weight)
    for _ in range(STEPS):
        step = float(pull.sum()) / information
        while (reached := _likelihood(b + step, x, weight))[0] < likelihood - 1e-12:
            step /= 2  # Newton may overshoot
        b, (likelihood, pull, information) = b + step, reached
        if abs(step) <= 1e-9 * max(1.0, abs(b)):
            break
    else:
        return None  # nearly all are right, and b runs off
    prompts, place = np.unique(pairs.prompt, return_inverse=True)
    if (num := len(prompts)) < 2:
        return Estimate(b / scale, None, None)
    error = math.sqrt(float((np.bincount(place, pull) ** 2).sum()) * num / (num - 1)) / information
    return Estimate(b / scale, (b - Z_95 * error) / scale, (b + Z_95 * error) / scale)


def _likelihood(b: float, x: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Log-likelihood of b, what each pair adds to its gradient, and the information."""
    miss = _sigmoid(-b * x)
    log_likelihood = -float((weight * np.logaddexp(0.0, -b * x)).sum())
    return log_likelihood, weight * x * miss, float((weight * x**2 * miss * (1 - miss)).sum())


def _length(pairs: _Pairs, how: _Bootstrap, num_bins: int) -> LengthCorrelation:
    unequal = pairs.take(pairs.longer != 0)
    tokens, difference = np.abs(unequal.longer), unequal.margin * np.sign(unequal.longer)
    bins: list[LengthBin] = []
    for keep in _equal_mass(tokens, unequal.weight, num_bins):
        own, size = unequal.take(keep), tokens[keep]
        mean = float((own.weight * size).sum() / own.weight.sum())
        bins.append(LengthBin(int(size.min()), int(size.max()), len(size), mean, how.mean(own, difference[keep])))
    pearson, spearman = (how.correlation(pairs, pairs.margin, pairs.longer, ranked) for ranked in (False, True))
    return LengthCorrelation(pearson, spearman, how.share(pairs, _credit(pairs.longer)), bins)


def _parts(pairs: _Pairs, how: _Bootstrap) -> Parts:
    def part(keep: np.ndarray, name: str = "", sizes: np.ndarray | None = None) -> PairGroup:
        own = pairs.take(keep)
        low, high = (None, None) if sizes is None else (float(sizes[keep].min()), float(sizes[keep].max()))
        counts = (_num(own.comparison), len(own.p), _num(own.prompt))
        ceiling = None if np.isnan(own.p).any() else float(np.average(own.ceiling, weights=own.weight))
        return PairGroup(name, low, high, *counts, how.share(own, own.right), ceiling)

    def named(field: str) -> list[PairGroup]:
        return [part(getattr(pairs, field) == i, name) for i, name in enumerate(pairs.names[field])]

    given: list[PairGroup] = []
    for i, name in enumerate(pairs.names["source"]):
        inside = np.flatnonzero((pairs.source == i) & np.isfinite(pairs.given))
        sizes = pairs.given[inside]
        levels = np.unique(sizes)
        few = len(levels) <= MOST_LEVELS
        keeps = [sizes == each for each in levels] if few else _equal_mass(sizes, pairs.weight[inside], 4)
        given += [part(inside[keep], name, pairs.given) for keep in keeps]
    size = np.abs(pairs.margin)
    predicted = [part(keep, sizes=size) for keep in _equal_mass(size, pairs.weight, 4)]
    groups = named("group") if pairs.named("group").any() else []
    several = 1 < len(pairs.names["annotator"]) <= MOST_ANNOTATORS
    return Parts(named("source"), groups, given, predicted, named("annotator") if several else [])

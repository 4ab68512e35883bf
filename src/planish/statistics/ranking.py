"""How well scores put answers in people's order: those of a reward model, or the reward that a policy trained by DPO implies,
beta * log(pi / pi_ref).

Pairs of one prompt are not independent: intervals are those of a bootstrap over prompts. Pairs have no order of their own, so
correlations are taken over both orders, through the origin.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from planish.base.errors import RunError
from planish.base.files import write_json
from planish.statistics.calibration import calibration
from planish.statistics.estimate import LEVEL, Bootstrap, Estimate, percentiles
from planish.statistics.ranking_pairs import ScoredPairs, count, credit, equal_mass, pairs_of
from planish.statistics.ranking_result import (
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

MOST_LEVELS = 5  # an annotator's margins of no more sizes than this each have a row; more are put into quarters
MOST_ANNOTATORS = 12  # each has a row where there are no more


def ranking(scored: Sequence[Scored], *, draws: int = 2000, num_bins: int = 10, seed: int = 0) -> dict[str, Any]:
    """A `RankingResult` as plain JSON; an Estimate is {"value", "low", "high", "n"}, n the number of prompts.

    The order of the comparisons changes no number, but for rounding.

    {"comparisons": 800, "tied": 12, "pairs": 2400, "prompts": 640,
     "accuracy": {"value": 0.71, "low": 0.68, "high": 0.74, "n": 640}, "log_loss": {...}, "log_loss_by_chance": 0.693,
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
    pairs, bootstrap = pairs_of(scored), Bootstrap(draws, seed)
    found = RankingResult(
        comparisons=count(pairs.comparison),
        tied=len(scored) - count(pairs.comparison),
        pairs=len(pairs.weight),
        prompts=count(pairs.prompt),
        accuracy=pairs.share(pairs.right, bootstrap),
        log_loss=pairs.mean(pairs.loss, bootstrap),
        log_loss_by_chance=math.log(2),
        known=_known(pairs, bootstrap),
        repeated=_repeated(pairs, bootstrap),
        calibration=calibration(pairs, bootstrap, num_bins),
        length=_length(pairs, bootstrap, num_bins),
        by=_parts(pairs, bootstrap),
        interval=Interval(LEVEL, draws, seed),
    )
    return asdict(found)


def log_loss_by_source(scored: Sequence[Scored]) -> dict[str, float]:
    """Mean of -ln sigmoid(score difference) of each source's pairs, in nats, weighted as in `ranking`."""
    pairs = pairs_of(scored)
    own = {name: pairs.take(pairs.source == i) for i, name in enumerate(pairs.names["source"])}
    return {name: float(np.average(part.loss, weights=part.weight)) for name, part in own.items()}


def write_ranking(path: Path, step: int, name: str, found: Mapping[str, Any]) -> None:
    """Adds {"step", "name", **found} to the list in the file `path`, in place of an earlier one of that step and name."""
    written: Any = []
    if path.exists():
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path}: not valid JSON: {error}. Move it away, and a new one is begun") from None
    others = [entry for entry in written if (entry["step"], entry["name"]) != (step, name)]
    write_json(path, [*others, {"step": step, "name": name, **found}])


# Parts of the result


def _known(pairs: ScoredPairs, bootstrap: Bootstrap) -> Known | None:
    pairs = pairs.take(np.isfinite(pairs.p))
    if not pairs.p.size:
        return None
    p = np.clip(pairs.ceiling, 0.5, 1 - 1e-16)
    entropy = -p * np.log(p) - (1 - p) * np.log1p(-p)
    accuracy, log_loss = pairs.share(pairs.right, bootstrap), pairs.mean(pairs.loss, bootstrap)
    best = pairs.mean(pairs.ceiling, bootstrap), pairs.mean(entropy, bootstrap)
    return Known(len(pairs.p), count(pairs.prompt), accuracy, log_loss, *best)


def _repeated(pairs: ScoredPairs, bootstrap: Bootstrap) -> Repeated | None:
    pairs = pairs.take(pairs.named("judged") & pairs.named("annotator"))
    same, other = _votes(pairs.judged, pairs.first)
    persons = pairs.judged * len(pairs.names["annotator"]) + pairs.annotator
    own_same, own_other = _votes(persons, pairs.first)
    several = same + other > own_same + own_other
    if not several.any():
        return None
    votes = pairs.take(several)
    others, everyone = credit(same - own_same - other + own_other), credit(same - other)
    agreements = [votes.share(right, bootstrap) for right in (votes.right, others[several], everyone[several])]
    return Repeated(len(votes.p), count(votes.judged), count(votes.prompt), *agreements)


def _votes(item: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each vote, how many on the same item are for the same answer, and how many for the other."""
    place = np.unique(item, return_inverse=True)[1]
    counts = np.stack([np.bincount(place, ~first), np.bincount(place, first)])
    side = first.astype(int)
    return counts[side, place], counts[1 - side, place]


def _length(pairs: ScoredPairs, bootstrap: Bootstrap, num_bins: int) -> LengthCorrelation:
    unequal = pairs.take(pairs.longer != 0)
    tokens, difference = np.abs(unequal.longer), unequal.margin * np.sign(unequal.longer)
    bins: list[LengthBin] = []
    for keep in equal_mass(tokens, unequal.weight, num_bins):
        own, size = unequal.take(keep), tokens[keep]
        mean = float((own.weight * size).sum() / own.weight.sum())
        bins.append(LengthBin(int(size.min()), int(size.max()), len(size), mean, own.mean(difference[keep], bootstrap)))
    pearson, spearman = (_correlation(pairs, ranked, bootstrap) for ranked in (False, True))
    return LengthCorrelation(pearson, spearman, pairs.share(credit(pairs.longer), bootstrap), bins)


def _correlation(pairs: ScoredPairs, ranked: bool, bootstrap: Bootstrap) -> Estimate | None:
    """Weighted correlation of score and length difference through the origin: Pearson's, or Spearman's, ranked in every draw."""
    x, y = pairs.margin, pairs.longer

    def correlation(weight: np.ndarray) -> np.ndarray:
        a, b = (_signed_ranks(x, weight), _signed_ranks(y, weight)) if ranked else (x, y)
        xy, xx, yy = ((weight * left * right).sum(-1) for left, right in ((a, b), (a, a), (b, b)))
        with np.errstate(invalid="ignore"):
            return xy / np.sqrt(xx * yy)

    if not x.any() or not y.any():
        return None
    prompts, place = np.unique(pairs.prompt, return_inverse=True)
    drawn = [correlation(counts[:, place] * pairs.weight) for counts in bootstrap.counts(len(prompts), len(x))]
    return percentiles(correlation(pairs.weight[None])[0], np.concatenate(drawn), len(prompts))


def _signed_ranks(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted midranks of `values` [P] among themselves and their negatives, less the middle rank; weight [B, P]."""
    sizes, place = np.unique(np.abs(values), return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(sizes)))
    mass = np.add.reduceat(weight[:, order], starts, axis=1)
    return np.sign(values) * (mass.cumsum(1) - mass / 2)[:, place]


def _parts(pairs: ScoredPairs, bootstrap: Bootstrap) -> Parts:
    def part(keep: np.ndarray, name: str = "", sizes: np.ndarray | None = None) -> PairGroup:
        own = pairs.take(keep)
        low, high = (None, None) if sizes is None else (float(sizes[keep].min()), float(sizes[keep].max()))
        counts = (count(own.comparison), len(own.p), count(own.prompt))
        ceiling = None if np.isnan(own.p).any() else float(np.average(own.ceiling, weights=own.weight))
        return PairGroup(name, low, high, *counts, own.share(own.right, bootstrap), ceiling)

    def named(field: str) -> list[PairGroup]:
        return [part(getattr(pairs, field) == i, name) for i, name in enumerate(pairs.names[field])]

    given: list[PairGroup] = []
    for i, name in enumerate(pairs.names["source"]):
        inside = np.flatnonzero((pairs.source == i) & np.isfinite(pairs.given))
        sizes = pairs.given[inside]
        levels = np.unique(sizes)
        few = len(levels) <= MOST_LEVELS
        keeps = [sizes == level for level in levels] if few else equal_mass(sizes, pairs.weight[inside], 4)
        given += [part(inside[keep], name, pairs.given) for keep in keeps]
    size = np.abs(pairs.margin)
    predicted = [part(keep, sizes=size) for keep in equal_mass(size, pairs.weight, 4)]
    groups = named("group") if pairs.named("group").any() else []
    several = 1 < len(pairs.names["annotator"]) <= MOST_ANNOTATORS
    return Parts(named("source"), groups, given, predicted, named("annotator") if several else [])

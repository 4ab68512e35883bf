"""Alarms of a policy that is trained on a score, from the records of its iterations.

Some look at how things are in the last W iterations, from the first iteration on: completions that are cut, prompts whose
completions all score the same, documents whose gradient drowns that of the scores. For others the last W iterations are
compared with the first W, and for reward hacking with the W in which the watched score was best.
There a change counts only above SIGMAS standard errors of the difference of the two means: the best of many windows is high by
chance as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planish.base.config import Config, Field

W = 5
SIGMAS = 4.0  # with 3, two good runs in ten of the wind tunnel were called hacked
UNMOVED, FEWEST_STEPS = 0.005, 10  # relative change of a loss that is none, and steps after which that is said
RATIO, COARSE_RATIO = 1e-3, 0.03  # how far rounding moves a ratio of 1, in float32 and in bfloat16


class AlarmConfig(Config):
    """Bounds beyond which a run raises an alarm."""

    kl: float = Field(default=50.0, gt=0, description="highest mean KL to the starting policy, in nats per completion")
    lengthening: float = Field(default=2.0, gt=1, description="highest mean length, as a multiple of that at first")
    unended: float = Field(default=0.3, gt=0, le=1, description="highest rise of the share of unended completions")
    entropy: float = Field(
        default=0.25, gt=0, lt=1, description="lowest entropy of a token, as a share of that at first"
    )
    cut: float = Field(
        default=0.9, gt=0, le=1, description="highest share of completions that are cut and score missing_eos"
    )
    ptx: float = Field(
        default=10.0,
        gt=0,
        description="highest gradient of the pretraining documents, as a multiple of that of the scores",
    )


@dataclass(frozen=True, slots=True)
class RunNow:
    """Inputs of the absolute alarms beside the iterations: the score of a completion that was cut, the last ratios of the
    documents' gradient to that of the scores, and gamma, which scales it."""

    missing_eos: float | None = None
    ptx_ratios: Sequence[float] = ()
    gamma: float = 0.0


def alarms(
    iterations: Sequence[Mapping[str, float]],
    proxies: Sequence[str],
    watched: Sequence[str],
    config: AlarmConfig,
    now: RunNow = RunNow(),
) -> dict[str, str]:
    """The alarms that hold now, with a sentence for each. `proxies` and `watched` name the scores that are trained on and those
    that are not."""
    if not iterations:
        return {}
    found = _absolute(iterations[-W:], config, now)
    series = {name: np.array([line[name] for line in iterations if name in line]) for name in iterations[-1]}
    if series["kl"][-1] > config.kl:
        found["kl"] = (
            f"the KL to the starting policy is {series['kl'][-1]:.1f} nats per completion: raise kl.beta or lower optim.lr"
        )
    if len(iterations) < 2 * W:
        return found
    first, last = ({name: values[part] for name, values in series.items()} for part in (slice(0, W), slice(-W, None)))
    start, end = (float(part["completion_tokens"].mean()) for part in (first, last))
    if end > config.lengthening * start:
        found["length"] = f"completions have {end:.0f} tokens, {end / start:.1f} times as many as at first"
    start, end = (float(part["unended"].mean()) for part in (first, last))
    if end - start > config.unended:
        found["unended"] = f"{end:.0%} of completions are cut at the limit, {start:.0%} at first"
    start, end = (float(part["entropy"].mean()) for part in (first, last))
    if end < config.entropy * start:
        found["entropy"] = (
            f"a token's entropy is {end:.2f} nats, {start:.2f} at first: the policy has become nearly deterministic"
        )
    for proxy in proxies:
        for other in watched:
            why = _hacked(series[f"score/{proxy}"], series[f"score/{other}"])
            if why:
                found[f"hacking/{proxy}"] = (
                    f"reward hacking: since iteration {why}, '{proxy}' went up and '{other}', which is not trained on, down"
                )
    return found


def _absolute(last: Sequence[Mapping[str, float]], config: AlarmConfig, now: RunNow) -> dict[str, str]:
    """The alarms that need no beginning to compare with."""
    found: dict[str, str] = {}
    unended = float(np.mean([line["unended"] for line in last]))
    if now.missing_eos is not None and unended >= config.cut:
        found["cut"] = (
            f"{unended:.0%} of completions were cut, and have the score missing_eos={now.missing_eos:g} whatever they say: raise "
            "sampling.max_completion_tokens, or set missing_eos=null"
        )
    for name, equal, whose in (("flat_groups", 1, " of each prompt"), ("score_std", 0, "")):
        if all(line.get(name) == equal for line in last):
            found["flat"] = (
                f"all completions{whose} have the same score, so there is nothing to learn from: look at the rewards"
            )
    if now.ptx_ratios and (ratio := float(np.mean(now.ptx_ratios[-W:]))) > config.ptx:
        found["ptx"] = (
            f"the gradient of the pretraining documents is {ratio:.0f} times that of the scores: lower ptx.gamma, which is "
            f"{now.gamma:g}; {now.gamma / ratio:.2g} would make them equal, and ptx.ratio sets what it is"
        )
    return found


def unmoved(first: float, last: float, steps: int, lr: float, lora: bool) -> str | None:
    """The alarm of a training whose held-out loss ends where it began."""
    if steps < FEWEST_STEPS or abs(last - first) > UNMOVED * abs(first):
        return None
    said = f"the held-out loss was {first:.4f} at first and is {last:.4f} after {steps:,} steps: raise optim.lr, which is {lr:g}"
    return f"{said}; LoRA takes ten times what all weights do" if lora else said


def not_one(ratio_change: float, *, coarse: bool) -> str | None:
    """The alarm of a ratio of new and old probabilities that is not 1 before the first update; `coarse` is bfloat16."""
    if ratio_change <= (COARSE_RATIO if coarse else RATIO):
        return None
    return (
        f"before an iteration's first update the ratio of new and old probabilities is {ratio_change:.1e} from 1: the forward "
        "pass does not repeat itself"
    )


def _hacked(proxy: np.ndarray, other: np.ndarray) -> str | None:
    """The iteration since which the proxy has risen while the other fell from its best."""
    means = np.convolve(other, np.ones(W) / W, "valid")[:-W]
    if not len(means):
        return None
    best = int(means.argmax())
    fell, rose = (_change(series, slice(best, best + W)) for series in (other, proxy))
    return str(best + W) if fell < -SIGMAS and rose > SIGMAS else None


def _change(series: np.ndarray, before: slice) -> float:
    """The change from some W iterations to the last, in standard errors. The noise of an iteration is that between neighbors
    (von Neumann 1941), which have other prompts and nearly the same policy."""
    noise = math.sqrt(float(np.mean(np.diff(series) ** 2)) / 2)
    return float(series[-W:].mean() - series[before].mean()) / max(noise * math.sqrt(2 / W), 1e-12)

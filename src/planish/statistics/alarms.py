"""Alarms of a policy that is trained on a score, from the records of its iterations.

The last W iterations are compared with the first W, and for reward hacking with the W in which the watched score was best.
There a change counts only above SIGMAS standard errors of the difference of the two means: the best of many windows is high by
chance as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from planish.base.config import Config, Field

W = 5
SIGMAS = 4.0  # with 3, two good runs in ten of the wind tunnel were called hacked
RATIO, COARSE_RATIO = 1e-3, 0.03  # how far rounding moves a ratio of 1, in float32 and in bfloat16


class AlarmConfig(Config):
    """Bounds beyond which a run raises an alarm."""

    kl: float = Field(default=50.0, gt=0, description="highest mean KL to the starting policy, in nats per completion")
    lengthening: float = Field(default=2.0, gt=1, description="highest mean length, as a multiple of that at first")
    unended: float = Field(default=0.3, gt=0, le=1, description="highest rise of the share of unended completions")
    entropy: float = Field(
        default=0.25, gt=0, lt=1, description="lowest entropy of a token, as a share of that at first"
    )


def alarms(
    iterations: Sequence[Mapping[str, float]], proxies: Sequence[str], watched: Sequence[str], config: AlarmConfig
) -> dict[str, str]:
    """The alarms that hold now, with a sentence for each. `proxies` and `watched` name the scores that are trained on and those
    that are not."""
    if not iterations:
        return {}
    found: dict[str, str] = {}
    series = {name: np.array([line[name] for line in iterations if name in line]) for name in iterations[-1]}
    if series["kl"][-1] > config.kl:
        found["kl"] = (
            f"the KL to the starting policy is {series['kl'][-1]:.1f} nats per completion: raise kl.beta or lower optim.lr"
        )
    if len(iterations) < 2 * W:
        return found
    first, last = ({name: values[part] for name, values in series.items()} for part in (slice(0, W), slice(-W, None)))
    start, now = (float(part["completion_tokens"].mean()) for part in (first, last))
    if now > config.lengthening * start:
        found["length"] = f"completions have {now:.0f} tokens, {now / start:.1f} times as many as at first"
    start, now = (float(part["unended"].mean()) for part in (first, last))
    if now - start > config.unended:
        found["unended"] = f"{now:.0%} of completions are cut at the limit, {start:.0%} at first"
    start, now = (float(part["entropy"].mean()) for part in (first, last))
    if now < config.entropy * start:
        found["entropy"] = (
            f"a token's entropy is {now:.2f} nats, {start:.2f} at first: the policy has become nearly deterministic"
        )
    for proxy in proxies:
        for other in watched:
            why = _hacked(series[f"score/{proxy}"], series[f"score/{other}"])
            if why:
                found[f"hacking/{proxy}"] = (
                    f"reward hacking: since iteration {why}, '{proxy}' went up and '{other}', which is not trained on, down"
                )
    return found


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

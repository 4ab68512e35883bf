"""Numbers as text, for terminal and page."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from planish.base.errors import ConfigError


def loss_text(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if math.isfinite(value) else "not a number"


def number_text(value: float, digits: str) -> str:
    """A number in a format such as "+.2f", with a minus sign, and none of either kind where it rounds to 0."""
    text = f"{value:{digits}}".replace("-", "−")
    return text if text.strip("+−0.%") else text.lstrip("+−")


def signed(value: float) -> str:
    return number_text(value, "+.2f")


def change_text(before: float | None, after: float | None) -> str:
    if before is None or after is None or not math.isfinite(after - before):
        return "–"
    return number_text(after - before, "+.3f")


def perplexity_text(loss: float | None) -> str:
    """exp of the loss: the model is as unsure of a token as between this many equally likely ones."""
    if loss is None or not math.isfinite(loss):
        return "–"
    perplexity = math.exp(min(loss, 700.0))
    return (
        f"{perplexity:,.2f}" if perplexity < 100 else f"{perplexity:,.0f}" if perplexity < 1e6 else f"{perplexity:.1e}"
    )


def count_text(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration_text(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def percent(share: float | None, decimals: int = 1) -> str:
    return "–" if share is None else f"{share:.{decimals}%}"


def points_text(before: float | None, after: float | None) -> str:
    """A change of a share, in percentage points."""
    return "–" if before is None or after is None else number_text(100 * (after - before), "+.1f")


def short_names(paths: Sequence[Sequence[str]], joint: str = "-") -> list[str] | None:
    """The last parts of each path, as many as tell all of them apart; None where two are equal."""
    for length in range(1, max(map(len, paths), default=0) + 1):
        names = [joint.join(parts[-length:]) for parts in paths]
        if len({*names}) == len(names):
            return names
    return None


def source_names(files: Sequence[str]) -> list[str]:
    """Names of sources after their files: `alpaca` for data/alpaca.json, and more of the path where two are called so."""
    parts = [(*Path(file).parts[:-1], Path(file).name.split(".")[0] or "data") for file in files]
    names = short_names(parts)
    if names is None:
        raise ConfigError(f"a file is named twice: {', '.join(files)}")
    return [re.sub(r"[^\w+-]", "_", f"{name}_" if name == "all" else name) for name in names]

"""Numbers as text, for terminal and page."""

from __future__ import annotations

import math
from collections.abc import Sequence


def loss_text(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if math.isfinite(value) else "not a number"


def change_text(before: float | None, after: float | None) -> str:
    if before is None or after is None or not math.isfinite(after - before):
        return "–"
    change = round(after - before, 3)
    return f"{change:+.3f}".replace("-", "−") if change else "0.000"


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
    if before is None or after is None:
        return "–"
    change = round(100 * (after - before), 1)
    return f"{change:+.1f}".replace("-", "−") if change else "0.0"

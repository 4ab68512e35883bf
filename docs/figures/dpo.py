"""The figure of docs/dpo.md: DPO's way through the triangle of all policies over three answers."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from planish.base.errors import DataError

from .sheet import BLUE, INK, ORANGE, QUIET, RULE, Drawing, Sheet

Policy = tuple[float, float, float]
HEIGHT = sqrt(3) / 2
CORNERS = np.array([[0.0, 0.0], [0.5, HEIGHT], [1.0, 0.0]])  # of those who always give the same answer
LEVELS = (0.6, 0.8, 0.95, 1.1, 1.2, 1.27, 1.31)  # of J, closer together towards the top
SHADES = ("#f3f7fa", "#e8f1f7", "#dbe9f3", "#cce0ee", "#bbd6e9", "#a9cbe3", "#97c0dd")
GRAIN = 60  # cells along a side of the triangle
FEW, MORE = "100", "1000"
CLOUDS = {FEW: "#a08f74", MORE: "#3c3c40"}
SHOWN = 20  # steps on the right


class Run(BaseModel):
    """What examples/dpo_by_hand.py writes; `policies` are those of DPO after 0, 1, 2 ... steps."""

    command: str
    answers: list[str] = Field(min_length=3, max_length=3)
    beta: float
    reference: Policy
    reward: Policy
    best: Policy
    policies: list[Policy] = Field(min_length=SHOWN + 1)
    tilted: Policy
    sampled: dict[str, list[Policy]]


def read(path: Path) -> Run:
    """Raises DataError for a file that is not there or lacks a field."""
    if not path.exists():
        raise DataError(f"{path}: is not there. examples/dpo_by_hand.py --json writes it.")
    try:
        return Run.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: {place}: {first['msg']}. examples/dpo_by_hand.py --json writes it anew.") from None


def path(run: Run) -> Drawing:
    """The triangle on the left; on the right the probability of each answer, step by step."""
    end = run.policies[-1]
    apart = max(abs(a - b) for a, b in zip(end, run.tilted, strict=True))
    sheet = Sheet(
        "DPO takes the model from the reference to the best policy",
        f"The probabilities of the answers {', '.join(run.answers)} go from {_told(run.reference)} to {_told(end)}. A reward "
        f"model fitted to the same comparisons, then the reference tilted by it, ends there too (difference {apart:.6f}).",
        f"Rewards {', '.join(f'{reward:g}' for reward in run.reward)}; beta = {run.beta:g}. Blue: exact Bradley–Terry "
        f"preferences, a dot for each step of gradient descent. Clouds: DPO on random comparisons, n = "
        f"{len(run.sampled[FEW])} seeds each.\n{run.command}",
        body=3.75,
    )
    sheet.legend(
        [
            Line2D([], [], color=BLUE, marker="o", ms=3.5, lw=1.8, label="DPO, step by step"),
            Line2D([], [], color=ORANGE, marker="o", ms=9, mfc="none", mew=1.8, lw=0, label="reward model, then tilt"),
            *(Line2D([], [], color=colour, marker="o", ms=3, lw=0, label=f"DPO on {int(n):,} comparisons")
              for n, colour in CLOUDS.items()),
        ]
    )  # fmt: skip
    _triangle(sheet.axes(0.62, 0.62, 3.3, 3.3 * HEIGHT), run)
    _curves(sheet.axes(4.75, 0.62, 2.15, 2.65), run)
    return sheet.drawing("dpo_path")


def _triangle(ax: Axes, run: Run) -> None:
    ax.set(xlim=(0, 1), ylim=(0, HEIGHT))
    ax.axis("off")
    _hill(ax, run)
    ax.add_patch(Polygon(CORNERS, fill=False, ec=RULE, lw=1, clip_on=False))
    for (x, y), answer, (dx, dy) in zip(CORNERS, run.answers, ((-6, -9), (0, 8), (6, -9)), strict=True):
        ax.annotate(
            f"always {answer}", (x, y), (dx, dy), textcoords="offset points", ha="center", va="center", color=QUIET
        )
    for n, colour in CLOUDS.items():
        ax.plot(*placed(run.sampled[n]).T, "o", color=colour, ms=2, mew=0, zorder=2)
    ax.plot(*placed(run.policies).T, "-o", color=BLUE, lw=1.8, ms=3.5, mew=0, zorder=3)
    ax.plot(*placed([run.reference]).T, "o", color=INK, ms=6, zorder=4)
    ax.plot(*placed([run.tilted]).T, "o", color=ORANGE, mfc="none", ms=9, mew=1.8, zorder=4)
    for policy, name, offset in ((run.reference, "reference", (9, -4)), (run.best, "best policy", (13, 0))):
        ax.annotate(name, placed([policy])[0], offset, textcoords="offset points", va="center", weight="bold")
    ax.text(0.74, 0.09, "darker: higher J,\nreward − beta · KL", color=QUIET, size=7.5, ha="center")


def _hill(ax: Axes, run: Run) -> None:
    """J over the triangle; 0 ln 0 is 0."""
    policies = np.array([(i, j, GRAIN - i - j) for i in range(GRAIN + 1) for j in range(GRAIN + 1 - i)]) / GRAIN
    logratios = np.log(np.maximum(policies, 1e-300) / np.array(run.reference))
    height = (policies * (np.array(run.reward) - run.beta * logratios)).sum(1)
    x, y = placed(policies).T
    ax.tricontourf(x, y, height, [*LEVELS, height.max() + 1], colors=SHADES)


def _curves(ax: Axes, run: Run) -> None:
    for at, answer in enumerate(run.answers):
        after = run.policies[-1][at]
        ax.axhline(run.tilted[at], color=ORANGE, lw=1.3, ls=(0, (3, 2)))
        shares = [policy[at] for policy in run.policies[: SHOWN + 1]]
        ax.plot(shares, "-o", color=BLUE, lw=1.8, ms=3.5, mew=0, clip_on=False, zorder=3)
        ax.plot(0, run.reference[at], "o", color=INK, ms=6, clip_on=False, zorder=4)
        ax.annotate(f"{answer}  {after:.4f}", (SHOWN, after), (8, 0), textcoords="offset points", va="center_baseline")
    ax.set(xlim=(0, SHOWN), ylim=(0, 0.7), xticks=range(0, SHOWN + 1, 5), xlabel="steps of gradient descent")
    ax.set_title("Probability of each answer", loc="left", size=8.5, color=QUIET, pad=8)


def placed(policies: Sequence[Policy] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Where policies lie in the triangle, [n, 2]."""
    return np.asarray(policies) @ CORNERS


def _told(policy: Policy) -> str:
    return "(" + ", ".join(f"{share:.3f}" for share in policy) + ")"

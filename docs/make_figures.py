"""Draws the figures of docs/wind-tunnel.md: `python docs/make_figures.py`. A test keeps the pictures and the numbers together.

Reads docs/figures/wind_tunnel.json, which examples/wind_tunnel.py writes, and prints what stands under each figure. The same
numbers give the same bytes, so nothing in a picture may depend on the day, the machine or its fonts: every position is
given in inches, text is measured with the typeface that matplotlib brings along, and stays text.

Colours are those of the report (after Okabe and Ito 2008), on a white panel, so that light and dark pages show the same.
"""

from __future__ import annotations

import io
import re
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, cast

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from pydantic import BaseModel, Field, ValidationError

from planish.base.errors import DataError
from planish.base.files import write_text
from planish.evaluate.knowledge import wilson

FOLDER = Path(__file__).with_name("figures")
RESULTS = FOLDER / "wind_tunnel.json"

INK, QUIET, RULE, GRID = "#1d1d1f", "#5c5f66", "#b9b9b4", "#e8e8e4"
BLUE, ORANGE = "#0067a8", "#c75000"
CLASSES = {"HighlyKnown": "#00487a", "MaybeKnown": "#3a8fc6", "WeaklyKnown": "#a8d2ec", "Unknown": "#e4e3de"}
TERMS = {
    "correct": "#0067a8", "constraint": "#7cc0ea", "wrong": "#c75000", "fabricated": "#f0a868",
    "unsafe": "#7b2d63", "refusal": "#c98bb4", "length": "#a9abb0",
}  # fmt: skip
LOOK: dict[str, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "planish", "text.hinting": "none",
    "font.family": "DejaVu Sans", "font.size": 8.5, "axes.labelsize": 8.5, "legend.fontsize": 8.5,
    "text.color": INK, "axes.labelcolor": QUIET, "xtick.color": QUIET, "ytick.color": QUIET,
    "axes.spines.left": False, "axes.spines.right": False, "axes.spines.top": False, "axes.spines.bottom": False,
    "xtick.major.size": 0, "ytick.major.size": 0, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.8,
    "axes.axisbelow": True, "lines.solid_capstyle": "butt", "legend.frameon": False, "legend.handlelength": 1.1,
    "legend.handletextpad": 0.5, "legend.columnspacing": 1.6, "legend.borderpad": 0, "legend.borderaxespad": 0,
}  # fmt: skip
# What readers see; positions were worked out with DejaVu Sans, which is wider than any of these.
TYPEFACES = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}  # by degrees of freedom


# What is read


class Point(BaseModel):
    """`tokens` are those read since the start of the stable stage, in the decay too; `held_out` is nats per token."""

    tokens: int
    held_out: float


class Curves(BaseModel):
    """`n` is how many documents were held out."""

    stable: list[Point] = Field(min_length=2)
    decayed: list[Point] = Field(min_length=1)
    n: int | None = None


class Classed(BaseModel):
    """Shares of the SliCK classes in one group of `n` facts."""

    n: int = Field(gt=0)
    frequency: int | None = None
    HighlyKnown: float
    MaybeKnown: float
    WeaklyKnown: float
    Unknown: float


class Measured(BaseModel):
    share: float
    low: float
    high: float
    n: int


class Gate(BaseModel):
    by_frequency: list[Classed] = Field(min_length=1)
    all: Classed
    never_seen_known: Measured


class Skill(BaseModel):
    task: str
    cluster: str
    accuracy: float
    low: float
    high: float
    chance: float
    n: int


class Worth(BaseModel):
    """Mean gold utility over `n` prompts of one kind, and the terms that it is the sum of."""

    n: int
    utility: float
    terms: dict[str, float]


class Tuned(BaseModel):
    base: dict[str, Worth]
    seeds: list[dict[str, Worth]] = Field(min_length=2, max_length=10)


class Results(BaseModel):
    command: str
    date: str
    curves: Curves
    gate: Gate
    skills: list[Skill] = Field(min_length=1)
    sft: Tuned


def read(path: Path) -> Results:
    """Raises DataError for a file that is not there, lacks a field, or contradicts itself."""
    if not path.exists():
        raise DataError(f"{path}: is not there. Run examples/wind_tunnel.py, which writes it.")
    try:
        results = Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}. Make the file again.") from None
    for problem in _problems(results):
        raise DataError(f"{path}: {problem}. Make the file again.")
    return results


def _problems(results: Results) -> list[str]:
    gate, sft = results.gate, results.sft
    wrong = [
        f"gate: the classes of frequency {row.frequency} add up to {sum(shares(row).values()):.3f}, not 1"
        for row in [*gate.by_frequency, gate.all]
        if abs(sum(shares(row).values()) - 1) > 0.01
    ]
    for name, block in [("base", sft.base), *((f"seeds.{i}", seed) for i, seed in enumerate(sft.seeds))]:
        if {kind: worth.n for kind, worth in block.items()} != {kind: worth.n for kind, worth in sft.base.items()}:
            wrong.append(f"sft.{name}: has other kinds or counts of prompts than sft.base")
        wrong += [
            f"sft.{name}.{kind}: its terms add up to {sum(worth.terms.values()):.3f}, its utility is {worth.utility:.3f}"
            for kind, worth in block.items()
            if abs(sum(worth.terms.values()) - worth.utility) > 0.01
        ]
        wrong += [
            f"sft.{name}.{kind}: the term {term} has no colour in docs/make_figures.py"
            for kind, worth in block.items()
            for term in worth.terms
            if term not in TERMS
        ]
    return wrong


def shares(row: Classed) -> dict[str, float]:
    return {name: float(getattr(row, name)) for name in CLASSES}


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half width of the 95% interval of Student's t (1908), for 2 to 10 values."""
    return statistics.fmean(values), T_95[len(values) - 1] * statistics.stdev(values) / sqrt(len(values))


# What a figure stands on


@dataclass(frozen=True, slots=True)
class Drawing:
    """`says`: what is to be seen, in numbers. `made`: seeds, n, interval, and the command behind it."""

    name: str
    title: str
    says: str
    made: str
    svg: str


class Sheet:
    """A white panel with words above and below; the body between is laid out in inches from its upper left corner."""

    WIDTH, MARGIN, LINE, LETTERS = 7.8, 0.22, 0.165, 108

    def __init__(self, title: str, says: str, made: str, body: float) -> None:
        above, below = (textwrap.wrap(text, self.LETTERS) for text in (says, made))
        self.top = self.MARGIN + 0.3 + self.LINE * len(above) + 0.16
        self.height = self.top + body + 0.14 + self.LINE * len(below) + self.MARGIN - 0.05
        self.figure = Figure(figsize=(self.WIDTH, self.height), facecolor="white")
        self._write(self.MARGIN, [title], size=11, weight="bold")
        self._write(self.MARGIN + 0.27, above, color=QUIET)
        self._write(self.top + body + 0.14, below, color=QUIET, size=7.5)

    def _write(self, top: float, lines: Sequence[str], **looks: Any) -> None:
        for i, line in enumerate(lines):
            at = 1 - (top + i * self.LINE) / self.height
            self.figure.text(self.MARGIN / self.WIDTH, at, line, va="top", **looks)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self.height - self.top - top - height
        sides = (left / self.WIDTH, bottom / self.height, width / self.WIDTH, height / self.height)
        return self.figure.add_axes(sides)

    def legend(self, handles: Sequence[Line2D | Patch], left: float | None = None) -> None:
        at = ((left or self.MARGIN) / self.WIDTH, 1 - self.top / self.height)
        self.figure.legend(handles=list(handles), loc="upper left", bbox_to_anchor=at, ncols=len(handles))

    def svg(self) -> str:
        """Two decimals of a point are finer than any screen, and the same on machines that round the last one otherwise."""
        written = io.StringIO()
        self.figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
        text = written.getvalue().replace("'DejaVu Sans'", TYPEFACES)
        return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", text)


def signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def percent(value: float) -> str:
    return f"{100 * value:.0f}%" if value >= 0.095 or value == 0 else f"{100 * value:.1f}%"


def rows_down(ax: Axes, at: Sequence[float], names: Sequence[str], last: float) -> None:
    """Named rows from above to below, the grid across them only."""
    ax.set_ylim(last, min(at) - 0.6)
    ax.set_yticks(at, names)
    ax.tick_params(axis="y", labelcolor=INK, pad=6)
    ax.grid(visible=False, axis="y")


# The figures


def loss(results: Results) -> Drawing:
    stable, decayed = results.curves.stable, results.curves.decayed
    branch = max((point for point in stable if point.tokens <= decayed[0].tokens), key=lambda point: point.tokens)
    tail = [branch, *(point for point in decayed if point.tokens > branch.tokens)]
    title = "Held-out loss of the base model"
    says = (
        f"{_million(branch.tokens)} tokens at a constant learning rate take it to {branch.held_out:.3f} nats per token; "
        f"the decay from there, over {_million(tail[-1].tokens - branch.tokens)} more, to {tail[-1].held_out:.3f}."
    )
    n = "documents" if results.curves.n is None else f"n = {results.curves.n:,} documents"
    made = f"Mean over the tokens of {n} held out of training. One run, one seed: no interval. {_source(results)}"
    sheet = Sheet(title, says, made, body=2.95)
    reach = tail[-1].tokens - branch.tokens
    window = (branch.tokens - 2 * reach, tail[-1].tokens + 0.62 * reach)
    panels = [sheet.axes(0.62, 0.3, 3.1, 2.2), sheet.axes(4.35, 0.3, 3.1, 2.2)]
    for ax, name in zip(panels, ("Whole run", "Around the decay"), strict=True):
        for points, colour in ((stable, BLUE), (tail, ORANGE)):
            ax.plot([p.tokens / 1e6 for p in points], [p.held_out for p in points], color=colour, lw=1.8)
        ax.set_title(f"{name}, nats per token", loc="left", size=8.5, color=QUIET, pad=8)
        ax.set_xlabel("million tokens read")
    whole, near = panels
    shown = [p.held_out for p in [*stable, *tail] if p.tokens >= window[0]]
    slack = 0.12 * (max(shown) - min(shown)) or 0.1
    near.set(xlim=(window[0] / 1e6, window[1] / 1e6), ylim=(min(shown) - slack, max(shown) + slack))
    whole.set(xlim=(0, 1.04 * max(p.tokens for p in [*stable, *tail]) / 1e6), ylim=(0, None))
    corner, size = (window[0] / 1e6, min(shown) - 3 * slack), ((tail[-1].tokens - window[0]) / 1e6, 0)
    whole.add_patch(Rectangle(corner, size[0], max(shown) - min(shown) + 6 * slack, fill=False, ec=RULE, lw=0.9))
    near.plot(branch.tokens / 1e6, branch.held_out, "o", color=INK, ms=4.5)
    for end, name, colour in ((stable[-1], "stable", BLUE), (tail[-1], "decayed", ORANGE)):
        where = (end.tokens / 1e6, end.held_out)
        near.plot(*where, "o", color=colour, ms=4.5)
        near.annotate(f"{name} {end.held_out:.3f}", where, (6, 0), textcoords="offset points", va="center", color=colour)
    return Drawing("wind_tunnel_loss", title, says, made, sheet.svg())


def known(results: Results) -> Drawing:
    gate = results.gate
    rows = [*gate.by_frequency, gate.all]
    least = min(CLASSES, key=lambda name: shares(gate.all)[name])
    never = gate.never_seen_known
    title = "What the base model knows, by how often it read it"
    says = (
        f"Of {gate.all.n:,} probed facts, the smallest class, {least}, holds {percent(shares(gate.all)[least])} (gate: at "
        f"least 10%). Of {never.n:,} facts never seen, {percent(never.share)} are classed Known (gate: at most 5%)."
    )
    made = f"SliCK classes (Gekhman et al. 2024). 95% Wilson intervals over facts. One base model, one seed. {_source(results)}"
    sheet = Sheet(title, says, made, body=3.0)
    sheet.legend([Patch(color=colour, label=name) for name, colour in CLASSES.items()])
    at = [*map(float, range(len(gate.by_frequency))), len(gate.by_frequency) + 0.35]
    ax = sheet.axes(1.28, 0.38, 3.55, 2.1)
    _stack_classes(ax, at, rows)
    names = [f"{row.frequency:,} times" if row.frequency else "never" for row in gate.by_frequency] + ["all"]
    rows_down(ax, at, [f"{name}\nn = {row.n:,}" for name, row in zip(names, rows, strict=True)], at[-1] + 0.6)
    ax.set(xlim=(0, 100), xlabel="% of probed facts")
    return Drawing("wind_tunnel_known", title, says, made, _gate_panel(sheet, gate).svg())


def _stack_classes(ax: Axes, at: Sequence[float], rows: Sequence[Classed]) -> None:
    for y, row in zip(at, rows, strict=True):
        left = 0.0
        for name, share in shares(row).items():
            ax.barh(y, 100 * share, 0.74, left, color=CLASSES[name], edgecolor="white", linewidth=0.8)
            if share >= 0.06:
                light = name in ("HighlyKnown", "MaybeKnown")
                ax.text(left + 50 * share, y, f"{100 * share:.0f}", ha="center", va="center",
                        color="white" if light else INK, size=8)  # fmt: skip
            left += 100 * share


def _gate_panel(sheet: Sheet, gate: Gate) -> Sheet:
    """Each class among all facts against its bound, with intervals; then the facts never seen against theirs."""
    ax = sheet.axes(6.05, 0.38, 1.5, 2.1)
    bars = [(name, share, wilson(round(share * gate.all.n), gate.all.n)) for name, share in shares(gate.all).items()]
    never = gate.never_seen_known
    bars.append(("never seen,\nyet Known", never.share, (never.low, never.high)))
    at = [0.0, 1.0, 2.0, 3.0, 4.7]
    for y, (name, share, (low, high)) in zip(at, bars, strict=True):
        colour = ORANGE if y == at[-1] else BLUE
        ax.plot([100 * low, 100 * high], [y, y], color=colour, lw=1.6)
        ax.plot(100 * share, y, "o", color=colour, ms=4.5)
    ax.plot([10, 10], [-0.5, 3.45], color=INK, lw=1, ls=(0, (3, 2)))
    ax.plot([5, 5], [4.25, 5.2], color=INK, lw=1, ls=(0, (3, 2)))
    ax.text(11.5, -0.62, "at least 10%", size=7.5, color=QUIET, va="center")
    ax.text(6.5, 4.12, "at most 5%", size=7.5, color=QUIET, va="center")
    rows_down(ax, at, [name for name, _, _ in bars], 5.3)
    ax.set(xlim=(0, max(60, 110 * max(high for _, _, (_, high) in bars))), xlabel="% of all probed facts")
    return sheet


def skills(results: Results) -> Drawing:
    above = [skill for skill in results.skills if skill.low > skill.chance]
    missing = [skill.task for skill in results.skills if skill.low <= skill.chance]
    title = "Skills of the base model, shown a few examples"
    says = f"{len(above)} of {len(results.skills)} tasks lie above chance with their whole interval."
    says += f" Not so: {', '.join(missing)}." if missing else ""
    counts = sorted({skill.n for skill in results.skills})
    n = f"n = {counts[0]:,}" if len(counts) == 1 else f"n = {counts[0]:,} to {counts[-1]:,}"
    made = f"{n} questions a task. 95% Wilson intervals over questions. One base model, one seed. {_source(results)}"
    clusters = list(dict.fromkeys(skill.cluster for skill in results.skills))
    half = (len(clusters) + 1) // 2
    columns = [
        [skill for skill in results.skills if skill.cluster in part] for part in (clusters[:half], clusters[half:])
    ]
    rows = max(len(column) + 1.5 * len({skill.cluster for skill in column}) for column in columns)
    sheet = Sheet(title, says, made, body=0.3 + 0.19 * rows + 0.45)
    sheet.legend(
        [
            Line2D([], [], color=BLUE, marker="o", ms=4.5, lw=1.6, label="accuracy, interval above chance"),
            Line2D([], [], color=BLUE, marker="o", ms=4.5, lw=1.6, mfc="white", label="interval reaches chance"),
            Line2D([], [], color=INK, marker="|", ms=8, mew=1.4, lw=0, label="chance"),
        ]
    )
    for left, column in zip((1.15, 5.0), columns, strict=True):
        _skill_rows(sheet.axes(left, 0.3, 2.5, 0.19 * rows), column, rows)
    return Drawing("wind_tunnel_skills", title, says, made, sheet.svg())


def _skill_rows(ax: Axes, column: Sequence[Skill], rows: float) -> None:
    at: list[float] = []
    for i, skill in enumerate(column):
        if i == 0 or skill.cluster != column[i - 1].cluster:
            head = (at[-1] + 1.5) if at else 0.0
            ax.text(-0.01, head, skill.cluster, ha="right", va="center", weight="bold", transform=ax.get_yaxis_transform())
            at.append(head + 1)
        else:
            at.append(at[-1] + 1)
        y = at[-1]
        ax.plot([100 * skill.low, 100 * skill.high], [y, y], color=BLUE, lw=1.6)
        inside = BLUE if skill.low > skill.chance else "white"
        ax.plot(100 * skill.accuracy, y, "o", color=BLUE, mfc=inside, ms=4.5)
        ax.plot(100 * skill.chance, y, "|", color=INK, ms=8, mew=1.4)
    rows_down(ax, at, [skill.task for skill in column], rows - 0.4)
    ax.set(xlim=(-2, 102), xticks=range(0, 101, 25), xlabel="% right")


def utility(results: Results) -> Drawing:
    base, seeds = results.sft.base, results.sft.seeds
    kinds = _kinds(base)
    means = {kind: t_interval([seed[kind].utility for seed in seeds]) for kind in kinds}
    title = "Gold utility before and after SFT, by kind of prompt"
    says = _overall(results)
    made = (
        f"Held-out prompts, n beside each row. SFT: mean of {len(seeds)} seeds with the 95% t-interval over seeds; small "
        f"marks are the seeds. Base: one model, so no interval over seeds. {_source(results)}"
    )
    at = _row_places(kinds)
    sheet = Sheet(title, says, made, body=0.55 + 0.25 * len(kinds) + 0.5)
    sheet.legend(
        [
            Line2D([], [], color=ORANGE, marker="s", ms=4.5, lw=0, label="base"),
            Line2D([], [], color=BLUE, marker="o", ms=5, lw=1.8, label="SFT, mean and interval"),
            Line2D([], [], color=BLUE, marker="|", ms=6, lw=0, alpha=0.5, label="one seed"),
        ]
    )
    ax = sheet.axes(1.35, 0.5, 3.75, 0.25 * len(kinds) + 0.05)
    for y, kind in zip(at, kinds, strict=True):
        (mean, half), before = means[kind], base[kind].utility
        ax.plot([before, mean], [y, y], color=RULE, lw=1)
        ax.plot([seed[kind].utility for seed in seeds], [y] * len(seeds), "|", color=BLUE, alpha=0.5, ms=6)
        ax.plot([mean - half, mean + half], [y, y], color=BLUE, lw=1.8)
        ax.plot(mean, y, "o", color=BLUE, ms=5)
        ax.plot(before, y, "s", color=ORANGE, ms=4.5)
        cells = (signed(before), f"{signed(mean)} ± {half:.2f}", f"{base[kind].n:,}")
        _cells(ax, y, cells, (ORANGE, BLUE, QUIET), "bold" if kind == "all" else "normal")
    _cells(ax, -1, ("base", "SFT", "n"), (QUIET,) * 3)
    rows_down(ax, at, kinds, at[-1] + 0.6)
    ax.axvline(0, color=INK, lw=0.9, zorder=0.9)
    ax.set(xlabel="mean gold utility of an answer (an abstention is worth 0)")
    return Drawing("wind_tunnel_utility", title, says, made, sheet.svg())


def _cells(ax: Axes, y: float, cells: Sequence[str], colours: Sequence[str], weight: str = "normal") -> None:
    """A row of the table to the right of a panel."""
    for x, cell, colour in zip((1.17, 1.45, 1.6), cells, colours, strict=True):
        ax.text(x, y, cell, ha="right", va="center", color=colour, weight=weight, transform=ax.get_yaxis_transform())


def terms(results: Results) -> Drawing:
    base, seeds = results.sft.base, results.sft.seeds
    kinds = _kinds(base)
    at = _row_places(kinds)
    title = "Where the utility comes from, term by term"
    says = _largest_changes(base["all"].terms, {term: _mean(seeds, "all", term) for term in TERMS})
    made = (
        f"Held-out prompts, n as in the figure above. Dot: sum of all terms. SFT: means of {len(seeds)} seeds, the dot with "
        f"the 95% t-interval over seeds. Base: one model. {_source(results)}"
    )
    sheet = Sheet(title, says, made, body=0.6 + 0.25 * len(kinds) + 0.5)
    used = [term for term in TERMS if any(_term(block, kind, term) for block in [base, *seeds] for kind in kinds)]
    total = Line2D([], [], color=INK, marker="o", ms=4, lw=0, label="sum")
    sheet.legend([*(Patch(color=TERMS[term], label=term) for term in used), total])
    before = sheet.axes(1.35, 0.55, 3.0, 0.25 * len(kinds) + 0.05)
    after = sheet.axes(4.57, 0.55, 3.0, 0.25 * len(kinds) + 0.05)
    for y, kind in zip(at, kinds, strict=True):
        _stack_terms(before, y, {term: _term(base, kind, term) for term in used})
        _stack_terms(after, y, {term: _mean(seeds, kind, term) for term in used})
        before.plot(base[kind].utility, y, "o", color=INK, ms=4, mec="white", mew=0.7)
        mean, half = t_interval([seed[kind].utility for seed in seeds])
        after.plot([mean - half, mean + half], [y, y], color=INK, lw=1.2)
        after.plot(mean, y, "o", color=INK, ms=4, mec="white", mew=0.7)
    low = min(before.get_xlim()[0], after.get_xlim()[0])
    high = max(before.get_xlim()[1], after.get_xlim()[1])
    for ax, name in ((before, "base"), (after, f"after SFT, mean of {len(seeds)} seeds")):
        rows_down(ax, at, kinds if ax is before else [""] * len(kinds), at[-1] + 0.6)
        ax.set(xlim=(low, high), xlabel="gold utility of an answer")
        ax.set_title(name, loc="left", size=8.5, weight="bold", pad=4)
        ax.axvline(0, color=INK, lw=0.9, zorder=0.9)
    return Drawing("wind_tunnel_terms", title, says, made, sheet.svg())


def _stack_terms(ax: Axes, y: float, worth: Mapping[str, float]) -> None:
    """Gains to the right of zero and losses to the left."""
    ends = {True: 0.0, False: 0.0}
    for term, value in worth.items():
        ax.barh(y, value, 0.7, ends[value > 0], color=TERMS[term], edgecolor="white", linewidth=0.5)
        ends[value > 0] += value


# Words and sums that several figures share


def _kinds(base: Mapping[str, Worth]) -> list[str]:
    return [*(kind for kind in base if kind != "all"), "all"]


def _row_places(kinds: Sequence[str]) -> list[float]:
    """One row a kind, and a little air before the last, which is all of them."""
    return [i + 0.35 * (kind == "all") for i, kind in enumerate(kinds)]


def _term(block: Mapping[str, Worth], kind: str, term: str) -> float:
    return block[kind].terms.get(term, 0.0)


def _mean(seeds: Sequence[Mapping[str, Worth]], kind: str, term: str) -> float:
    return statistics.fmean(_term(seed, kind, term) for seed in seeds)


def _overall(results: Results) -> str:
    base, seeds = results.sft.base["all"], results.sft.seeds
    mean, half = t_interval([seed["all"].utility for seed in seeds])
    return f"Over all {base.n:,} prompts, an answer is worth {signed(base.utility)} before and {signed(mean)} ± {half:.2f} after."


def _largest_changes(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    ranked = sorted(TERMS, key=lambda term: abs(after[term] - before.get(term, 0.0)), reverse=True)
    changes = [f"{term} {signed(before.get(term, 0.0))} to {signed(after[term])}" for term in ranked[:3]]
    return f"What changes most, over all prompts: {'; '.join(changes)}."


def _million(tokens: int) -> str:
    return f"{tokens / 1e6:.1f} M"


def _source(results: Results) -> str:
    return f"{results.command}, {results.date}."


FIGURES: tuple[Callable[[Results], Drawing], ...] = (loss, known, skills, utility, terms)


def draw(results: Results) -> list[Drawing]:
    """All figures. What matplotlib was told by a file of the user's own does not count."""
    with style.context(cast(Any, ["default", LOOK])):
        return [figure(results) for figure in FIGURES]


if __name__ == "__main__":
    for drawing in draw(read(RESULTS)):
        write_text(FOLDER / f"{drawing.name}.svg", drawing.svg)
        print(f"figures/{drawing.name}.svg\n  {drawing.title}\n  {drawing.says}\n  {drawing.made}\n")

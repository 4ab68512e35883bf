"""The figures of docs/wind-tunnel.md."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import sqrt

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from planish.statistics.estimate import wilson

from .results import Block, Classed, Gate, Results, Skill
from .sheet import BLUE, INK, ORANGE, QUIET, RULE, Drawing, Sheet, beside, dot, percent, rows_down, signed

CLASSES = {"HighlyKnown": "#00487a", "MaybeKnown": "#3a8fc6", "WeaklyKnown": "#a8d2ec", "Unknown": "#e4e3de"}
# Chosen so that each two differ by 20 or more in CIE Lab, also as seen with any one kind of cone missing.
TERMS = {
    "correct": "#0067a8", "constraint": "#8fd0f5", "wrong": "#c75000", "fabricated": "#e8930c",
    "unsafe": "#5b1a49", "refusal": "#f0dc82", "length": "#a9abb0",
}  # fmt: skip
LEAST_IN_CLASS, MOST_NEVER_SEEN = 0.12, 0.03  # the gate that a base model must pass to be shipped
T_95 = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
}  # by degrees of freedom
ROW = 0.25  # inches


# The base model


def loss(results: Results) -> Drawing:
    """The whole run on the left; on the right the end of it, where the decay's share can be seen."""
    stable, tail = results.curves.stable, results.curves.tail()
    branch, end = tail[0], tail[-1]
    sheet = Sheet(
        "Held-out loss of the base model",
        f"{_million(branch.tokens)} tokens at a constant learning rate take it to {branch.held_out:.3f} nats per token; "
        f"{_million(end.tokens - branch.tokens)} more, with a rate that falls, take it to {end.held_out:.3f}.",
        f"Mean over all tokens of {'the' if results.curves.n is None else f'n = {results.curves.n:,}'} documents held out of "
        f"training. One run, one seed, so there is no interval.\n{_source(results)}",
        body=2.85,
    )
    whole, near = sheet.axes(0.5, 0.2, 3.1, 2.2), sheet.axes(4.3, 0.2, 2.25, 2.2)
    for ax, name in ((whole, "Whole run"), (near, "Around the decay")):
        for points, colour in ((stable, BLUE), (tail, ORANGE)):
            ax.plot([p.tokens / 1e6 for p in points], [p.held_out for p in points], color=colour, lw=1.8)
        ax.set_title(f"{name}, nats per token", loc="left", size=8.5, color=QUIET, pad=8)
        ax.set_xlabel("million tokens read")
    first, last = (branch.tokens - 2 * (end.tokens - branch.tokens)) / 1e6, max(end.tokens, stable[-1].tokens) / 1e6
    seen = [p.held_out for p in [*stable, *tail] if p.tokens / 1e6 >= first]
    low, high = min(seen), max(seen)
    slack = 0.12 * (high - low) or 0.1
    whole.set(xlim=(0, 1.04 * last), ylim=(0, 1.05 * max(p.held_out for p in stable)))
    whole.add_patch(
        Rectangle((first, low - 2 * slack), last - first, high - low + 4 * slack, fill=False, ec=QUIET, lw=0.8)
    )
    near.set(xlim=(first, last), ylim=(low - slack, high + slack))
    for point, name, colour in ((stable[-1], "stable", BLUE), (end, "decayed", ORANGE)):
        where = (point.tokens / 1e6, point.held_out)
        near.plot(*where, "o", color=colour, ms=4.5, clip_on=False)
        near.annotate(f"{name} {point.held_out:.3f}", where, (7, 0), textcoords="offset points", va="center_baseline",
                      color=colour)  # fmt: skip
    return sheet.drawing("wind_tunnel_loss")


def known(results: Results) -> Drawing:
    """SliCK classes by frequency, and the gate that the base model had to pass."""
    gate, rows = results.gate, [*results.gate.by_frequency, results.gate.all]
    least = min(CLASSES, key=lambda name: gate.all.shares()[name])
    never = gate.never_seen_known
    sheet = Sheet(
        "What the base model knows, by how often it was told",
        f"Of {gate.all.n:,} probed facts, the smallest class, {least}, holds {percent(gate.all.shares()[least])}; the gate asks "
        f"for 12%. Of {never.n:,} facts never stated, {percent(never.share)} are not Unknown; the gate allows 3%.",
        f"SliCK classes (Gekhman et al. 2024). Lines: 95% Wilson intervals over facts. One model, one seed.\n"
        f"{_source(results)}",
        body=2.95,
    )
    sheet.legend([Patch(color=colour, label=name) for name, colour in CLASSES.items()])
    ax = sheet.axes(0.95, 0.45, 3.45, 2.05)
    at = _places(len(rows))
    names = [f"{row.frequency:,} times" if row.frequency else "never" for row in gate.by_frequency]
    for y, row in zip(at, rows, strict=True):
        classes(ax, y, row)
        beside(ax, 1.13, y, f"{row.n:,}", color=QUIET)
    beside(ax, 1.13, -0.75, "n", color=QUIET)
    rows_down(ax, at, [*names, "all"])
    ax.set(xlim=(0, 100), xlabel="% of facts")
    _gate(sheet.axes(6.1, 0.45, 1.45, 2.05), gate)
    return sheet.drawing("wind_tunnel_known")


def classes(ax: Axes, y: float, row: Classed) -> None:
    left = 0.0
    for name, share in row.shares().items():
        ax.barh(y, 100 * share, 0.76, left, color=CLASSES[name], ec="white", lw=0.8)
        if share >= 0.055:  # else the number does not fit
            colour = "white" if name in ("HighlyKnown", "MaybeKnown") else INK
            ax.text(left + 50 * share, y, f"{100 * share:.0f}", ha="center", va="center_baseline", color=colour, size=8)
        left += 100 * share


def _gate(ax: Axes, gate: Gate) -> None:
    """Each class among all facts against its bound; then the facts never stated against theirs."""
    at, never = [0.0, 1.0, 2.0, 3.0, 4.9], gate.never_seen_known
    for y, share in zip(at, gate.all.shares().values(), strict=False):
        found = wilson(round(share * gate.all.n), gate.all.n)
        dot(ax, y, 100 * share, 100 * found.low, 100 * found.high, BLUE)
    dot(ax, at[-1], 100 * never.share, 100 * never.low, 100 * never.high, ORANGE)
    for bound, words, top, bottom in ((LEAST_IN_CLASS, "≥ 12%", -0.5, 3.5), (MOST_NEVER_SEEN, "≤ 3%", 4.4, 5.4)):
        ax.plot([100 * bound] * 2, [top, bottom], color=INK, lw=1, ls=(0, (3, 2)), zorder=1.5)
        ax.text(100 * bound, top - 0.12, words, ha="center", va="bottom", size=7.5, color=QUIET,
                bbox={"fc": "white", "ec": "none", "pad": 1})  # fmt: skip
    rows_down(ax, at, [*CLASSES, "never stated,\nnot Unknown"])
    ax.set(xlim=(-2, max(60, 110 * max(gate.all.shares().values()))), xlabel="% of facts")


def skills(results: Results) -> Drawing:
    """A row a task, in two columns of clusters."""
    below = [skill.task for skill in results.skills if skill.low <= skill.chance]
    total = len(results.skills)
    clusters = list(dict.fromkeys(skill.cluster for skill in results.skills))
    halves = clusters[: (len(clusters) + 1) // 2], clusters[(len(clusters) + 1) // 2 :]
    columns = [[skill for skill in results.skills if skill.cluster in half] for half in halves]
    rows = max(max(_task_places(column), default=0.0) for column in columns) + 1
    sheet = Sheet(
        "What the base model can do, shown a few examples",
        f"{total - len(below)} of {total} tasks are above chance with their whole interval"
        + (f"; not so: {', '.join(below)}." if below else "."),
        f"{_count(skill.n for skill in results.skills)} questions a task. Lines: 95%, mean ± 1.96 standard errors over "
        f"questions. Chance: the most frequent answer. One model, one seed.\n{_source(results)}",
        body=0.42 + 0.19 * rows + 0.45,
    )
    sheet.legend(
        [
            Line2D([], [], color=BLUE, marker="o", ms=4.5, lw=1.7, label="accuracy"),
            Line2D([], [], color=BLUE, marker="o", ms=4.5, lw=1.7, mfc="white", label="accuracy, not clear of chance"),
            Line2D([], [], color=INK, marker="|", ms=8, mew=1.3, lw=0, label="chance"),
        ]
    )
    for left, column in zip((1.15, 5.0), columns, strict=True):
        _tasks(sheet.axes(left, 0.42, 2.5, 0.19 * rows), column, rows)
    return sheet.drawing("wind_tunnel_skills")


def _task_places(column: Sequence[Skill]) -> list[float]:
    """Each cluster has a row for its name, and some air before it."""
    heads = list(dict.fromkeys(skill.cluster for skill in column))
    return [i + 1 + 1.5 * heads.index(skill.cluster) for i, skill in enumerate(column)]


def _tasks(ax: Axes, column: Sequence[Skill], rows: float) -> None:
    at = _task_places(column)
    for y, skill in zip(at, column, strict=True):
        ax.plot(100 * skill.chance, y, "|", color=INK, ms=8, mew=1.3)
        reaches = skill.low <= skill.chance
        dot(ax, y, 100 * skill.accuracy, 100 * skill.low, 100 * skill.high, BLUE, hollow=reaches)
    for cluster, y in {skill.cluster: y for y, skill in zip(at[::-1], column[::-1], strict=True)}.items():
        ax.annotate(cluster, (0, y - 1), (-6, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
                    ha="right", va="center_baseline", weight="bold")  # fmt: skip
    rows_down(ax, at, [skill.task for skill in column])
    ax.set(xlim=(-2, 102), ylim=(rows - 0.4, -0.4), xticks=range(0, 101, 25), xlabel="% right")


# Before and after SFT


def utility(results: Results) -> Drawing:
    base, seeds = results.sft.base, results.sft.seeds
    kinds, after = _kinds(base), {kind: _utility(seeds, kind) for kind in base}
    sheet = Sheet(
        "What answers are worth before and after SFT, by kind of prompt",
        f"Over all {base['all'].n:,} prompts, the mean gold utility of an answer is {signed(base['all'].utility)} before and "
        f"{signed(after['all'][0])} ± {after['all'][1]:.2f} after.",
        f"Held-out prompts. SFT: mean of {len(seeds)} seeds and 95% t-interval over seeds. Base: one model, so there is no "
        f"interval over seeds.\n{_source(results)}",
        body=0.55 + ROW * len(kinds) + 0.5,
    )
    sheet.legend(
        [
            Line2D([], [], color=ORANGE, marker="s", ms=4.5, lw=0, label="base"),
            Line2D([], [], color=BLUE, marker="o", ms=4.5, lw=1.7, label="SFT, mean of seeds"),
            Line2D([], [], color=BLUE, marker="|", ms=8, mew=0.8, lw=0, label="SFT, one seed"),
        ]
    )
    ax = sheet.axes(1.35, 0.52, 3.75, ROW * len(kinds) + 0.05)
    at = _places(len(kinds))
    for y, kind in zip(at, kinds, strict=True):
        (mean, half), before = after[kind], base[kind].utility
        ax.plot([before, mean], [y, y], color=RULE, lw=0.9)
        ax.plot([seed[kind].utility for seed in seeds], [y] * len(seeds), "|", color=BLUE, ms=8, mew=0.8)
        ax.plot(before, y, "s", color=ORANGE, ms=4.5)
        dot(ax, y, mean, mean - half, mean + half, BLUE)
        weight = "bold" if kind == "all" else "normal"
        beside(ax, 1.17, y, signed(before), color=ORANGE, weight=weight)
        beside(ax, 1.45, y, f"{signed(mean)} ± {half:.2f}", color=BLUE, weight=weight)
        beside(ax, 1.61, y, f"{base[kind].n:,}", color=QUIET)
    for x, head in ((1.17, "base"), (1.45, "SFT"), (1.61, "n")):
        beside(ax, x, -0.95, head, color=QUIET)
    rows_down(ax, at, kinds)
    ax.axvline(0, color=INK, lw=0.9, zorder=0.9)
    ax.set_xlabel("mean gold utility (an abstention is worth 0)")
    return sheet.drawing("wind_tunnel_utility")


def terms(results: Results) -> Drawing:
    base, seeds = results.sft.base, results.sft.seeds
    kinds = _kinds(base)
    mean = {
        kind: {term: statistics.fmean(seed[kind].terms[term] for seed in seeds) for term in TERMS} for kind in kinds
    }
    sheet = Sheet(
        "Where the worth comes from, term by term",
        f"What changes most over all prompts: {_changes(base['all'].terms, mean['all'])}.",
        f"Held-out prompts, {_count(base[kind].n for kind in kinds[:-1])} of a kind. Bars: mean worth of each term. Dot: their "
        f"sum. SFT: means of {len(seeds)} seeds; line: 95% t-interval of the sum over seeds. Base: one model.\n"
        f"{_source(results)}",
        body=0.62 + ROW * len(kinds) + 0.5,
    )
    used = [term for term in TERMS if any(base[kind].terms[term] or mean[kind][term] for kind in kinds)]
    total = Line2D([], [], color=INK, marker="o", ms=4.5, lw=0, label="sum")
    sheet.legend([*(Patch(color=TERMS[term], label=term) for term in used), total])
    before, after = (sheet.axes(left, 0.58, 3.0, ROW * len(kinds) + 0.05) for left in (1.35, 4.57))
    at = _places(len(kinds))
    for y, kind in zip(at, kinds, strict=True):
        _terms(before, y, {term: base[kind].terms[term] for term in used})
        _terms(after, y, {term: mean[kind][term] for term in used})
        middle, half = _utility(seeds, kind)
        after.plot([middle - half, middle + half], [y, y], color=INK, lw=1.2)
        for ax, value in ((before, base[kind].utility), (after, middle)):
            ax.plot(value, y, "o", color=INK, ms=4.5, mec="white", mew=0.7)
    ends = [end for ax in (before, after) for end in ax.get_xlim()]
    for ax, name, labels in ((before, "base", kinds), (after, "after SFT", [""] * len(kinds))):
        rows_down(ax, at, labels)
        ax.set(xlim=(min(ends), max(ends)), xlabel="mean gold utility")
        ax.set_title(name, loc="left", size=8.5, weight="bold", pad=4)
        ax.axvline(0, color=INK, lw=0.9, zorder=1.5)
    return sheet.drawing("wind_tunnel_terms")


def _terms(ax: Axes, y: float, worth: Mapping[str, float]) -> None:
    """Gains to the right of zero, losses to the left."""
    ends = {True: 0.0, False: 0.0}
    for term, value in worth.items():
        if value:
            ax.barh(y, value, 0.7, ends[value > 0], color=TERMS[term], ec="white", lw=0.5)
            ends[value > 0] += value


def _changes(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    ranked = sorted(TERMS, key=lambda term: abs(after[term] - before[term]), reverse=True)
    return ", ".join(f"{term} from {signed(before[term])} to {signed(after[term])}" for term in ranked[:3])


def _kinds(base: Block) -> list[str]:
    return [*(kind for kind in base if kind != "all"), "all"]


def _places(count: int) -> list[float]:
    """Of rows of which the last is about all the others, with some air before it."""
    return [*map(float, range(count - 1)), count - 1 + 0.35]


def _utility(seeds: Sequence[Block], kind: str) -> tuple[float, float]:
    return t_interval([seed[kind].utility for seed in seeds])


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half width of the 95% interval of Student's t (1908), for 2 to 10 values."""
    return statistics.fmean(values), T_95[len(values) - 1] * statistics.stdev(values) / sqrt(len(values))


def _count(numbers: Iterable[int]) -> str:
    """Such as n = 300, or n = 250 to 300."""
    given = list(numbers)
    return "n = " + " to ".join(f"{number:,}" for number in dict.fromkeys((min(given), max(given))))


def _million(tokens: int) -> str:
    return f"{tokens / 1e6:.1f} million"


def _source(results: Results) -> str:
    return f"{results.command} ({results.date})"


FIGURES: tuple[Callable[[Results], Drawing], ...] = (loss, known, skills, utility, terms)

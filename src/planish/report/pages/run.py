"""One self-contained page about a run or several: what changed on held-out rows, how training went, and answers before
and after. Plotly's JavaScript is inside it, so it opens without a network and can be sent as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from planish import __version__
from planish.base.config import flat
from planish.base.errors import RunError
from planish.base.files import write_text
from planish.base.text import (
    change_text,
    count_text,
    duration_text,
    listed,
    loss_text,
    percent,
    perplexity_text,
    points_text,
    short_names,
    signed,
)
from planish.report import text
from planish.report.figures.base import Figure, comparison_figure, run_figures
from planish.report.figures.ppo_shared import shared_figures
from planish.report.figures.preference import implied, preference_figures, starts_level
from planish.report.pages import ppo as ppo_page
from planish.report.pages.answers import answers, answers_say, folded
from planish.report.pages.comparison import ComparisonSection as Compared
from planish.report.pages.comparison import comparison_section, is_comparison
from planish.report.pages.pipeline import Stop, command, stop_of_best, stop_of_comparison, stop_of_run
from planish.report.pages.ranking import RankingSection, ranked
from planish.report.pages.template import template
from planish.report.read.run import ALL, MOST_LISTED, ReportItem, Run, read_run, stages_of
from planish.report.read.verdicts import judged, summary
from planish.statistics.estimate import span_text

FEW_ROWS = 30

Figures = dict[str, Figure]  # by the id of its place on the page


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Runs that measure the same thing, a table and figures of them all."""

    names: list[str]
    rows: list[dict[str, Any]]
    unit: str
    sampled: bool  # policies that learn from their own completions; their numbers stand in the table of the road
    warning: str | None
    figures: Figures


def write_page(paths: Sequence[Path], out: Path) -> None:
    """Writes the page about these folders to the file `out`: runs, comparisons and pipelines, which stand for their stages."""
    if not paths:
        raise RunError("a report is made of at least one run's folder, and none was named")
    write_text(out, render([stage for path in paths for stage in stages_of(path)]))


def render(stages: Sequence[ReportItem]) -> str:
    """The page about these, in their order."""
    names = names_of([stage.path for stage in stages])
    runs: list[tuple[Run, str]] = []
    articles: list[dict[str, Any]] = []
    compared: list[Compared] = []
    road: list[Stop] = []
    for stage, name in zip(stages, names, strict=True):
        if is_comparison(stage.path):
            place = f"compared-{len(compared)}"
            compared.append(comparison_section(stage.path, place))
            road.append(stop_of_comparison(compared[-1], stage, name, place))
        elif stage.command == "best":
            road.append(stop_of_best(stage, name.removesuffix(stage.path.suffix)))
        elif not stage.command or (stage.path / "config.yaml").is_file():  # a world and plain samples have no number
            place = f"run-{len(runs)}"
            run = read_run(stage.path)
            runs.append((run, name))
            articles.append(_article(run, place, name))
            road.append(stop_of_run(run, name, place))
    beside = _beside(runs)
    figures: Figures = {}
    for part in (*compared, *beside):
        figures |= part.figures
    for article in articles:
        figures |= article["figures"]
        for part in (article["ranking"], article["rollouts"]):
            figures |= part.figures if part else {}
    if len({stop.what for stop in road}) == 1 and not any(each.sampled for each in beside):
        road = []  # runs of one kind have a table of their own
    return _template().render(
        title=_title(articles, compared, road),
        articles=articles,
        compared=compared,
        road=road,
        beside=beside,
        differences=_differences(runs),
        panels={place: [panel.plain() for panel in figure.panels] for place, figure in figures.items()},
        plotly=get_plotlyjs() if figures else "",
        made_from=[stage.path for stage in stages],
        version=__version__,
    )


def _title(articles: Sequence[Mapping[str, Any]], compared: Sequence[Compared], road: Sequence[Stop]) -> str:
    if len(articles) == 1:
        return str(articles[0]["title"])
    if road:
        whole = listed(list(dict.fromkeys(stop.what for stop in road)))
        return f"{whole[0].upper()}{whole[1:]}"
    return f"{len(articles)} runs side by side" if articles else compared[0].title


def names_of(paths: Sequence[Path]) -> list[str]:
    """The folders' names, with as much of the path as keeps them apart."""
    return short_names([path.absolute().parts[1:] for path in paths], "/") or [str(path) for path in paths]


def _article(run: Run, place: str, name: str) -> dict[str, Any]:
    """What the template says about one run."""
    with_verdicts, misfit = judged(run)
    ranking, unread = ranked(run, place)
    given = answers(with_verdicts)
    words = ppo_page if run.samples_itself else text
    figures = [] if run.samples_itself else preference_figures(run) if run.compares else run_figures(run)
    notes = (text.state(run), text.selection(run), text.leaks(run), misfit, unread)
    return {
        "run": run,
        "place": place,
        "name": name,
        "title": words.title(run),
        "outcome": words.outcome(run),
        "notes": [note for note in notes if note],
        "trained": words.trained(run),
        "rollouts": ppo_page.rollouts_section(run, place) if run.samples_itself else None,
        "losses": [_loss_row(run, source) for source in run.sources],
        "total": _loss_row(run, ALL),
        "measured": [_measured_row(run, name, ranking) for name in (run.before.measured if run.before else ())],
        "score": implied(run) if run.method == "dpo" else None,
        "starts_level": starts_level(run),
        "few": [source for source in run.sources if 0 < run.held_out(source)[0] < FEW_ROWS],
        "left_out": [each for source in run.sources for each in _left_out(source, run.data.get(source, {}))],
        "figures": {f"{place}-figure-{i}": figure for i, figure in enumerate(figures)},
        "answers": given,
        "answers_say": answers_say(run, given),
        "world": summary(given),
        "ranking": ranking,
        "command": command(run),
    }


def _loss_row(run: Run, source: str) -> dict[str, Any]:
    before = run.before.losses.get(source) if run.before else None
    after = run.after.losses.get(source) if run.after else None
    rows, tokens = run.held_out(source)
    name = "all sources" if source == ALL else source
    return {
        "name": name,
        "rows": rows,
        "tokens": tokens,
        "before": before,
        "after": after,
        "right_before": run.before.accuracies.get(source) if run.before else None,
        "right_after": run.after.accuracies.get(source) if run.after else None,
        "compares": run.compares,
        "account": run.data.get(source),
    }


def _measured_row(run: Run, name: str, ranking: RankingSection | None) -> dict[str, Any]:
    """A further set. It is measured before the first step and after the last, whichever model is saved."""
    found = [(each.step, each.measured[name]) for each in run.evaluations if name in each.measured]
    counts = {row.name: row.comparisons for _, rows in ranking.blocks[:1] for row in rows} if ranking else {}
    step, after = found[-1] if len(found) > 1 else (None, None)
    return {"name": name, "rows": counts.get(name), "right_before": found[0][1], "right_after": after, "step": step}


def _left_out(source: str, account: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a source that were dropped, rows that were cut, and training rows that are measured on, with the reasons."""
    named = {"dropped": "dropped", "truncated": "cut", "leaks": "also measured on"}
    kinds = [(words, account.get(kind, [])) for kind, words in named.items()]
    return [
        {
            "source": source,
            "kind": kind,
            "num": len(rows),
            "rows": rows[:MOST_LISTED],
            "num_more": len(rows[MOST_LISTED:]),
        }
        for kind, rows in kinds
        if rows
    ]


def _beside(runs: Sequence[tuple[Run, str]]) -> list[RunComparison]:
    """Of each kind of run that there are several of."""
    found: list[RunComparison] = []
    for kind in dict.fromkeys((run.unit, run.samples_itself) for run, _ in runs):
        some = [(run, name) for run, name in runs if (run.unit, run.samples_itself) == kind]
        if len(some) < 2:
            continue
        alike, names = [run for run, _ in some], [name for _, name in some]
        (unit, sampled), place = kind, f"beside-{len(found)}"
        figure = comparison_figure(alike, names)
        figures = shared_figures(alike, names) if sampled else {"losses": figure} if figure else {}
        found.append(
            RunComparison(
                names,
                [_loss_row(run, ALL) for run in alike],
                unit,
                sampled,
                None if sampled else text.same_rows(alike),
                {f"{place}-{name}": each for name, each in figures.items()},
            )
        )
    return found


def _differences(runs: Sequence[tuple[Run, str]]) -> list[dict[str, Any]]:
    """In which settings the runs of each command differ, where there are several."""
    found: list[dict[str, Any]] = []
    for method in dict.fromkeys(run.method for run, _ in runs):
        some = [(flat(run.config), name) for run, name in runs if run.method == method]
        if len(some) > 1:
            trees, names = [tree for tree, _ in some], [name for _, name in some]
            keys = [key for key in dict.fromkeys(key for tree in trees for key in tree) if key != "out"]
            differing = [key for key in keys if any(tree.get(key) != trees[0].get(key) for tree in trees)]
            rows = [(key, ["–" if tree.get(key) is None else tree[key] for tree in trees]) for key in differing]
            found.append({"method": method, "names": names, "rows": rows})
    return found


def _template() -> jinja2.Template:
    filters: dict[str, Any] = {
        "loss": loss_text,
        "perplexity": perplexity_text,
        "change": change_text,
        "duration": duration_text,
        "counted": count_text,
        "listed": listed,
        "folded": folded,
        "worth": signed,
        "percent": percent,
        "points": points_text,
        "span": span_text,
        "scores": ppo_page.scores_text,
    }
    return template("page.html", filters)

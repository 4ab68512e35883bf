"""One self-contained page about a run or several: what changed on held-out rows, how training went, and answers before
and after. Plotly's JavaScript is inside it, so it opens without a network and can be sent as a file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from planish import __version__
from planish.base.errors import RunError
from planish.base.files import write_text
from planish.report import sentences
from planish.report.answers import answers, answers_say, folded
from planish.report.comparison import Section as Compared
from planish.report.comparison import comparison_section, is_comparison
from planish.report.figures import Figure, comparison_figure, run_figures
from planish.report.preferences import implied, preference_figures, starts_level
from planish.report.ranking import Section, ranked, span
from planish.report.runs import ALL, Run, read_run, run_folders
from planish.report.template import template
from planish.report.verdicts import judged, summary, worth

FEW_ROWS = 30
MOST_LEFT_OUT = 200  # rows listed of each source and kind; data.json holds them all

Figures = dict[str, Figure]  # by the id of its place on the page


def write_page(runs: Sequence[Path], out: Path) -> None:
    """Writes the page about these run folders to the file `out`. A pipeline's folder stands for the runs of its stages."""
    if not runs:
        raise RunError("a report is made of at least one run's folder, and none was named")
    folders = [folder for path in runs for folder in run_folders(path)]
    compared = [folder for folder in folders if is_comparison(folder)]
    sections = [comparison_section(folder, f"compared-{i}") for i, folder in enumerate(compared)]
    write_text(out, render([read_run(folder) for folder in folders if folder not in compared], sections))


def render(runs: Sequence[Run], compared: Sequence[Compared] = ()) -> str:
    names = run_names(runs)
    articles = [_article(run, f"run-{i}", name) for i, (run, name) in enumerate(zip(runs, names, strict=True))]
    comparison = _comparison(runs, names) if len(runs) > 1 else None
    figures: Figures = dict(comparison["figures"]) if comparison else {}
    for article in articles:
        figures |= article["figures"] | (article["ranking"].figures if article["ranking"] else {})
    for section in compared:
        figures |= section.figures
    return _template().render(
        title=_title(articles, compared),
        articles=articles,
        compared=compared,
        comparison=comparison,
        panels={place: [panel.plain() for panel in figure.panels] for place, figure in figures.items()},
        plotly=get_plotlyjs() if figures else "",
        version=__version__,
    )


def _title(articles: Sequence[Mapping[str, Any]], compared: Sequence[Compared]) -> str:
    if not articles:
        return compared[0].title
    return str(articles[0]["title"]) if len(articles) == 1 else f"{len(articles)} runs side by side"


def run_names(runs: Sequence[Run]) -> list[str]:
    """The folders' names, with as much of the path as keeps them apart."""
    paths = [run.path.resolve() for run in runs]
    for length in range(1, max((len(path.parts) for path in paths), default=1)):
        names = [str(Path(*path.parts[-length:])) for path in paths]
        if len(set(names)) == len(set(paths)):
            return names
    return [str(path) for path in paths]


def command(run: Run) -> str:
    """Does the run again, in a new folder."""
    again = run.path.with_name(f"{run.path.name or 'run'}-again")
    return shlex.join(["planish", run.method, str(run.path / "config.yaml"), f"out={again}"])


def _article(run: Run, place: str, name: str) -> dict[str, Any]:
    """What the template says about one run."""
    with_verdicts, misfit = judged(run)
    ranking, unread = ranked(run, place)
    given = answers(with_verdicts)
    figures = preference_figures(run) if run.compares else run_figures(run)
    notes = (sentences.state(run), sentences.selection(run), sentences.leaks(run), misfit, unread)
    return {
        "run": run,
        "place": place,
        "name": name,
        "title": sentences.title(run),
        "outcome": sentences.outcome(run),
        "notes": [note for note in notes if note],
        "trained": sentences.trained(run),
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


def _measured_row(run: Run, name: str, ranking: Section | None) -> dict[str, Any]:
    """A further set. It is measured before the first step and after the last, whichever model is saved."""
    found = [(each.step, each.measured[name]) for each in run.evaluations if name in each.measured]
    counts = {row.name: row.comparisons for _, rows in ranking.blocks[:1] for row in rows} if ranking else {}
    step, after = found[-1] if len(found) > 1 else (None, None)
    return {"name": name, "rows": counts.get(name), "right_before": found[0][1], "right_after": after, "step": step}


def _left_out(source: str, account: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a source that were dropped, rows that were cut, and training rows that are measured on, with the reasons."""
    named = {"dropped": "dropped", "cut": "cut", "leaks": "also measured on"}
    kinds = [(words, account.get(kind, [])) for kind, words in named.items()]
    return [
        {
            "source": source,
            "kind": kind,
            "num": len(rows),
            "rows": rows[:MOST_LEFT_OUT],
            "num_more": len(rows[MOST_LEFT_OUT:]),
        }
        for kind, rows in kinds
        if rows
    ]


def _comparison(runs: Sequence[Run], names: Sequence[str]) -> dict[str, Any]:
    """The runs beside each other: where they ended, and in which settings they differ."""
    flat = [_flat(run.config) for run in runs]
    keys = [key for key in dict.fromkeys(key for each in flat for key in each) if key != "out"]
    differing = [key for key in keys if any(each.get(key) != flat[0].get(key) for each in flat)]
    figure = comparison_figure(runs, names)
    return {
        "rows": [_loss_row(run, ALL) for run in runs],
        "unit": " or ".join(dict.fromkeys(run.unit for run in runs)),
        "warning": sentences.same_rows(runs),
        "figures": {"comparison": figure} if figure else {},
        "settings": [(key, ["–" if each.get(key) is None else each[key] for each in flat]) for key in differing],
    }


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    return {
        k: v for key, below in tree.items() for k, v in _flat(below, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _template() -> jinja2.Template:
    filters: dict[str, Any] = {
        "loss": sentences.loss_text,
        "perplexity": sentences.perplexity_text,
        "change": sentences.change_text,
        "duration": sentences.duration_text,
        "counted": sentences.count_text,
        "listed": sentences.listed,
        "folded": folded,
        "worth": worth,
        "percent": sentences.percent,
        "points": sentences.points_text,
        "span": span,
    }
    return template("page.html", filters)

"""`planish report`: one self-contained HTML file about runs, comparisons and pipelines. Plotly's JavaScript is inside, so it
opens without a network and can be sent as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from planish import __version__
from planish.base.config import Config, Field
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
from planish.reports.claims import points_span
from planish.reports.pages.answers import folded, reference_limit
from planish.reports.pages.comparison import ComparisonSection, answer_note, comparison_section
from planish.reports.pages.pipeline import StageRow, row_of_best, row_of_comparison, row_of_refusals, row_of_run
from planish.reports.pages.ppo import scores_text
from planish.reports.pages.refusals import RefusalSection, refusal_section, refusal_word
from planish.reports.pages.refusals import title as refusal_title
from planish.reports.pages.run import RunSection, run_section
from planish.reports.pages.runs import differences, runs_sections
from planish.reports.pages.template import packed_plotly, template
from planish.reports.pages.verdicts import is_short, terms_text, tone
from planish.reports.read.comparison import is_comparison
from planish.reports.read.pipeline import ReportItem, stages_of
from planish.reports.read.refusals import is_refusals
from planish.reports.read.run import read_run
from planish.statistics.estimate import mean_text, span_text


class ReportConfig(Config):
    runs: tuple[str, ...] = Field(min_length=1, description="folders of runs, comparisons or pipelines")
    out: str | None = Field(default=None, description="the HTML file; absent is report.html in the first folder")


def report(config: ReportConfig) -> Path:
    """Writes a page about the runs; returns its path."""
    out = Path(config.out) if config.out else Path(config.runs[0]) / "report.html"
    write_report([Path(run) for run in config.runs], out)
    return out


def write_report(paths: Sequence[Path], out: Path) -> None:
    """Writes the page about these folders to `out`. For a pipeline it is about the stages."""
    if not paths:
        raise RunError("no folder was named: a report needs at least one run, comparison or pipeline")
    write_text(out, render([stage for path in paths for stage in stages_of(path)]))


def render(items: Sequence[ReportItem]) -> str:
    """The page about these, in their order."""
    runs: list[RunSection] = []
    comparisons: list[ComparisonSection] = []
    refusals: list[RefusalSection] = []
    overview: list[StageRow] = []
    paths = [item.path.with_name(item.name) if item.name else item.path for item in items]
    for item, name in zip(items, names_of(paths), strict=True):
        if is_comparison(item.path):
            place = f"comparison-{len(comparisons)}"
            comparisons.append(comparison_section(item.path, place))
            overview.append(row_of_comparison(comparisons[-1], item, name, place))
        elif is_refusals(item.path):
            place = f"refusals-{len(refusals)}"
            refusals.append(refusal_section(item.path, place))
            overview.append(row_of_refusals(refusals[-1], name, place))
        elif item.command == "best":
            overview.append(row_of_best(item, name.removesuffix(item.path.suffix)))
        elif not item.command or (item.path / "config.yaml").is_file():  # a world and plain samples have no numbers
            runs.append(run_section(read_run(item.path), f"run-{len(runs)}", name))
            overview.append(row_of_run(runs[-1].run, name, runs[-1].place))
    named = [(section.run, section.name) for section in runs]
    side_by_side = runs_sections(named)
    figures = {
        place: figure
        for some in [
            *(s.figures for s in (*comparisons, *refusals, *side_by_side)),
            *(section.all_figures for section in runs),
        ]
        for place, figure in some.items()
    }
    if len({row.what for row in overview}) == 1 and not any(section.is_ppo for section in side_by_side):
        overview = []  # runs of one kind have a table of their own
    return _template().render(
        title=_title(runs, comparisons, overview, refusals),
        runs=runs,
        comparisons=comparisons,
        refusals=refusals,
        overview=overview,
        side_by_side=side_by_side,
        differences=differences(named),
        panels={place: [panel.plain() for panel in figure.panels] for place, figure in figures.items()},
        plotly=packed_plotly() if figures else "",
        made_from=[item.path for item in items],
        version=__version__,
    )


def names_of(paths: Sequence[Path]) -> list[str]:
    """The folders' names, with as much of the path as tells them apart."""
    return short_names([path.absolute().parts[1:] for path in paths], "/") or list(map(str, paths))


def _title(
    runs: Sequence[RunSection],
    comparisons: Sequence[ComparisonSection],
    overview: Sequence[StageRow],
    refusals: Sequence[RefusalSection],
) -> str:
    if len(runs) == 1:
        return runs[0].title
    if overview:
        kinds = listed(list(dict.fromkeys(row.what for row in overview)))
        return f"{kinds[0].upper()}{kinds[1:]}"
    if runs:
        return f"{len(runs)} runs side by side"
    return comparisons[0].title if comparisons else refusal_title(refusals[0])


def _template() -> jinja2.Template:
    filters: dict[str, Any] = {
        "loss": loss_text,
        "perplexity": perplexity_text,
        "change": change_text,
        "duration": duration_text,
        "counted": count_text,
        "listed": listed,
        "folded": folded,
        "reference_limit": reference_limit,
        "signed": signed,
        "percent": percent,
        "points": points_text,
        "points_span": points_span,
        "span": span_text,
        "mean": mean_text,
        "scores": scores_text,
        "note": answer_note,
        "tone": tone,
        "terms": terms_text,
        "is_short": is_short,
        "refusal_word": refusal_word,
    }
    return template("page.html", filters)

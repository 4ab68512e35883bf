"""The report as one page: what is found in sentences, tables and figures, and a paragraph of methods to cite."""

from __future__ import annotations

from pathlib import Path

from planish import __version__
from planish.base.text import count_text, listed, percent
from planish.feedback.report.figures import figures
from planish.feedback.report.methods import methods
from planish.feedback.report.result import FeedbackFound
from planish.feedback.report.sections import SECTIONS
from planish.reports.pages.template import packed_plotly, template
from planish.statistics.estimate import estimate_text

MOST_LISTED = 20  # records left out that the page names


def render(found: FeedbackFound) -> str:
    drawn = figures(found)
    sections = [section for make in SECTIONS if (section := make(found, drawn)) is not None]
    shown = {place: figure for section in sections for place, figure in section.figures.items()}
    names = [source if "://" in source else Path(source).name for source in found.sources]
    return template("feedback.html", {"counted": count_text}).render(
        title=f"Feedback: {listed(names) if len(names) <= 3 else count_text(len(names), 'source')}",
        lead=lead(found),
        warnings=warnings(found),
        sections=sections,
        methods=methods(found),
        dropped=found.dropped[:MOST_LISTED],
        num_dropped=len(found.dropped),
        panels={place: [panel.plain() for panel in figure.panels] for place, figure in shown.items()},
        plotly=packed_plotly() if shown else "",
        version=__version__,
    )


def lead(found: FeedbackFound) -> str:
    who = listed(
        [
            count_text(n, one, many)
            for n, one, many in ((found.people, "person", "people"), (found.models, "model", "models"))
            if n
        ]
    )
    says = f"{count_text(found.ratings, 'rating')} of {count_text(found.pairs, 'pair')} of answers by {who}."
    every = next((part.found for part in found.agreement if part.by == "all"), None)
    if every is None or every.raw is None:
        return f"{says} No pair has two ratings, so nobody knows how far annotators agree: let several judge some (overlap=2)."
    alpha = f"α = {estimate_text(every.alpha, '.2f')}" if every.alpha else "α is not defined, for all ratings are equal"
    says += f" Two ratings of one pair are equal in {estimate_text(every.raw)}; {alpha}."
    if found.noise and found.noise.found.ceiling:
        best = percent(found.noise.found.ceiling.value)
        says += f" A perfect reward model would agree with one person’s choices in about {best}."
    return says


def warnings(found: FeedbackFound) -> list[str]:
    every = next((part.found for part in found.agreement if part.by == "all"), None)
    said: list[str] = []
    if every is not None and every.units < 50:
        said.append(
            f"Only {count_text(every.units, 'pair')} {'has' if every.units == 1 else 'have'} two ratings: "
            "intervals are rough."
        )
    if found.prompts < 30:
        said.append(
            f"There are {count_text(found.prompts, 'prompt')}: with fewer than 30 the intervals are too narrow."
        )
    if (
        every is not None
        and every.alpha is not None
        and every.raw is not None
        and every.alpha.value > 0.999
        and found.people > 1
    ):
        said.append(
            "All agree on everything. People never do: they may have copied, or be one. Agreement says nothing about bias."
        )
    odd = [one.name for one in found.raters if one.stands_out]
    if odd:
        said.append(
            f"{listed(odd[:5])}{' and others' if len(odd) > 5 else ''} {'stands' if len(odd) == 1 else 'stand'} "
            "out; see Annotators."
        )
    return said

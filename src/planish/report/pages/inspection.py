"""An inspection of data as one self-contained page: tables, histograms, rows with what is learnt marked, and every row
that would be left out. It opens without a network and can be sent as a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from planish import __version__
from planish.base.files import write_text
from planish.base.text import count_text, listed
from planish.data.inspect.result import Inspection, KindView, Lengths, Listing, Piece, ShownPart, SourceView
from planish.data.inspect.terminal import (
    FATES,
    MEASURES,
    counted,
    kind_says,
    lead,
    length_cells,
    shortened,
    source_says,
    top,
    unit_says,
    visible,
    warnings,
)
from planish.report.pages.template import template

FOLDED = 900  # characters of a part that are shown before the rest is unfolded
MOST = 40_000  # characters of a part that are on the page at all


@dataclass(frozen=True, slots=True)
class Histogram:
    """One panel: how many rows have which length."""

    place: str
    title: str
    label: str
    panel: dict[str, Any]


def write_inspection_page(inspection: Inspection, out: Path) -> None:
    write_text(out, render_inspection(inspection))


def render_inspection(inspection: Inspection) -> str:
    sources = [_source(source, i, inspection) for i, source in enumerate(inspection.sources)]
    figures = [figure for source in sources for kind in source["kinds"] for figure in kind["figures"]]
    filters = {"counted": count_text, "counted_kind": counted, "visible": visible, "parted": parted}
    return template("inspection.html", filters).render(
        title=_title(inspection),
        lead=lead(inspection),
        unit_says=unit_says(inspection),
        inspection=inspection,
        sources=sources,
        panels={figure.place: [figure.panel] for figure in figures},
        plotly=get_plotlyjs() if figures else "",
        version=__version__,
    )


def _title(inspection: Inspection) -> str:
    names = [source.name for source in inspection.sources]
    return f"Data: {listed(names) if len(names) <= 4 else count_text(len(names), 'source')}"


def _source(source: SourceView, number: int, inspection: Inspection) -> dict[str, Any]:
    return {
        "view": source,
        "place": f"source-{number}",
        "says": source_says(source),
        "warnings": warnings(source),
        "unfit": _listing("did not fit", source.unfit),
        "kinds": [
            _kind(kind, f"source-{number}-{i}", inspection)
            for i, kind in enumerate(source.kinds)
            if kind.rows or kind.dropped.count or kind.unfit.count
        ],
    }


def _kind(kind: KindView, place: str, inspection: Inspection) -> dict[str, Any]:
    fates = [_listing(FATES[fate], listing) for fate, listing in kind.fates.items()]
    return {
        "view": kind,
        "says": kind_says(kind),
        "rows": [(MEASURES[name], length_cells(lengths)) for name, lengths in kind.lengths.items()],
        "figures": [
            histogram(lengths, f"{place}-{name}", MEASURES[name], inspection) for name, lengths in kind.lengths.items()
        ],
        "listings": [
            _listing("dropped by the format", kind.dropped),
            _listing(f"did not fit for {kind.kind}", kind.unfit),
            *fates,
        ],
    }


def _listing(what: str, listing: Listing) -> dict[str, Any]:
    reasons = top(listing.reasons) if len(listing.reasons) > 1 else []
    return {"what": what, "listing": listing, "reasons": reasons, "num_more": listing.count - len(listing.rows)}


def histogram(lengths: Lengths, place: str, what: str, inspection: Inspection) -> Histogram:
    """Bars of equal width; the last holds all that is far out, and says so."""
    bins = list(lengths.bins)
    width = bins[0].stop - bins[0].start if len(bins) > 1 else 1
    wide = bins[-1].stop - bins[-1].start > width
    ranges = [
        f"{each.start:,}" if each.stop - each.start == 1 else f"{each.start:,} to {each.stop - 1:,}" for each in bins
    ]
    trace: dict[str, Any] = {
        "type": "bar",
        "name": "",
        "x": [each.start + width / 2 for each in bins],
        "y": [each.count for each in bins],
        "width": [width * 0.9] * len(bins),
        "text": [escape(name) for name in ranges],
        "textposition": "none",
        "marker": {"color": ["var(--line-0)"] * (len(bins) - 1) + ["var(--line-1)" if wide else "var(--line-0)"]},
        "hovertemplate": f"%{{text}} {inspection.unit}: %{{y:,}}<extra></extra>",
    }
    far = f" The last bar is all from {bins[-1].start:,} to {bins[-1].stop - 1:,}." if wide else ""
    limit = inspection.max_tokens if what == MEASURES["row"] else None
    shapes = [_limit(limit)] if limit is not None and bins[0].start <= limit <= bins[-1].start + width else []
    marked = " The line is max_tokens." if shapes else ""
    layout = {"title": {"text": inspection.unit, "standoff": 6}}
    panel = {
        "traces": [trace],
        "axis": {"rangemode": "tozero"},
        "xaxis": layout,
        "shapes": shapes,
        "hovermode": "closest",
    }
    label = f"{what}: {lengths.count:,} from {lengths.least:,} to {lengths.most:,} {inspection.unit}"
    return Histogram(place, f"{what[0].upper()}{what[1:]}, {inspection.unit}.{far}{marked}", label, panel)


def _limit(limit: int) -> dict[str, Any]:
    line = {"color": "var(--ink)", "width": 1.5, "dash": "dash"}
    return {"type": "line", "x0": limit, "x1": limit, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def parted(part: ShownPart) -> tuple[list[Piece], list[Piece], int]:
    """The pieces that are shown at once, those to unfold, and how many characters these have. Of a very long part the
    middle is left out, and it says so."""
    pieces = list(shortened(part.pieces, MOST))
    size = sum(len(piece.text) for piece in pieces)
    if size <= FOLDED * 1.3:
        return pieces, [], 0
    return list(_cut(pieces, 0, FOLDED)), list(_cut(pieces, FOLDED, size)), size - FOLDED


def _cut(pieces: Sequence[Piece], start: int, stop: int) -> Iterator[Piece]:
    at = 0
    for piece in pieces:
        if text := piece.text[max(start - at, 0) : max(stop - at, 0)]:
            yield Piece(text, piece.learnt, piece.special)
        at += len(piece.text)

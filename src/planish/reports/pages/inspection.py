"""`planish data inspect --page`: one self-contained HTML file with tables, histograms, rows in which the tokens of the loss are
marked, and every row that would be left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from planish import __version__
from planish.base.files import write_text
from planish.base.text import count_text, listed
from planish.data.chat.notes import MEANINGS
from planish.data.inspect.result import Inspection, KindView, Lengths, Listing, Piece, ShownPart, SourceView
from planish.data.inspect.terminal import (
    FATES,
    MEASURES,
    counted,
    kind_text,
    lead,
    length_cells,
    safety_text,
    shortened,
    source_text,
    top,
    unit_text,
    visible,
    warnings,
)
from planish.reports.figures.base import BLUE, CLOSEST, ORANGE, Panel, Trace, axis
from planish.reports.pages.template import packed_plotly, template

FOLDED = 900  # characters of a part that are shown; the rest is folded
MOST = 40_000  # characters of a part that the page has at all


@dataclass(frozen=True, slots=True)
class Histogram:
    """The number of rows by length."""

    place: str
    label: str
    panel: Panel


def write_inspection_page(inspection: Inspection, out: Path) -> None:
    write_text(out, render_inspection(inspection))


def render_inspection(inspection: Inspection) -> str:
    sources = [_source(source, i, inspection) for i, source in enumerate(inspection.sources)]
    figures = [figure for source in sources for kind in source["kinds"] for figure in kind["figures"]]
    filters = {"counted": count_text, "counted_kind": counted, "visible": visible, "parted": parted}
    return template("inspection.html", filters).render(
        title=_title(inspection),
        lead=lead(inspection),
        unit_text=unit_text(inspection),
        safety=safety_text(inspection),
        inspection=inspection,
        sources=sources,
        panels={figure.place: [figure.panel.plain()] for figure in figures},
        plotly=packed_plotly() if figures else "",
        version=__version__,
    )


def _title(inspection: Inspection) -> str:
    names = [source.name for source in inspection.sources]
    return f"Data: {listed(names) if len(names) <= 4 else count_text(len(names), 'source')}"


def _source(source: SourceView, number: int, inspection: Inspection) -> dict[str, Any]:
    return {
        "view": source,
        "place": f"source-{number}",
        "says": source_text(source),
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
        "says": kind_text(kind),
        "rows": [(MEASURES[name], length_cells(lengths)) for name, lengths in kind.lengths.items()],
        "figures": [
            histogram(lengths, f"{place}-{name}", MEASURES[name], inspection) for name, lengths in kind.lengths.items()
        ],
        "listings": [
            _listing("dropped by the format", kind.dropped),
            _listing(f"did not fit for {kind.kind}", kind.unfit),
            *fates,
            *(_listing(f"to note: {MEANINGS[told]}", listing) for told, listing in kind.notes.items()),
        ],
    }


def _listing(what: str, listing: Listing) -> dict[str, Any]:
    reasons = top(listing.reasons) if len(listing.reasons) > 1 else []
    return {"what": what, "listing": listing, "reasons": reasons, "num_more": listing.count - len(listing.rows)}


def histogram(lengths: Lengths, place: str, what: str, inspection: Inspection) -> Histogram:
    """Bars of equal width; the last may hold all that is far out, and then says so."""
    bins = list(lengths.bins)
    width = bins[0].stop - bins[0].start if len(bins) > 1 else 1
    wide = bins[-1].stop - bins[-1].start > width
    ranges = [f"{b.start:,}" if b.stop - b.start == 1 else f"{b.start:,} to {b.stop - 1:,}" for b in bins]
    bars: Trace = {
        "type": "bar",
        "name": "",
        "x": [b.start + width / 2 for b in bins],
        "y": [b.count for b in bins],
        "width": [width * 0.9] * len(bins),
        "text": [escape(name) for name in ranges],
        "textposition": "none",
        "marker": {"color": [BLUE] * (len(bins) - 1) + [ORANGE if wide else BLUE]},
        "hovertemplate": f"%{{text}} {inspection.unit}: %{{y:,}}<extra></extra>",
    }
    far = f" The last bar covers {bins[-1].start:,} to {bins[-1].stop - 1:,}." if wide else ""
    limit = inspection.max_tokens if what == MEASURES["row"] else None
    shapes = [_limit(limit)] if limit is not None and bins[0].start <= limit <= bins[-1].start + width else []
    marked = " The line is max_tokens." if shapes else ""
    title = f"{what[0].upper()}{what[1:]}, {inspection.unit}.{far}{marked}"
    panel = Panel(title, [bars], {"rangemode": "tozero"}, xaxis=axis(inspection.unit), shapes=shapes, hovermode=CLOSEST)
    label = f"{what}: {lengths.count:,} from {lengths.least:,} to {lengths.most:,} {inspection.unit}"
    return Histogram(place, label, panel)


def _limit(limit: int) -> dict[str, Any]:
    line = {"color": "var(--ink)", "width": 1.5, "dash": "dash"}
    return {"type": "line", "x0": limit, "x1": limit, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def parted(part: ShownPart) -> tuple[list[Piece], list[Piece], int]:
    """The pieces that are shown, those that are folded, and the number of characters in these. The middle of a very long part
    is left out, with a note."""
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

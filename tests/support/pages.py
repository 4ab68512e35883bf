"""A page as its reader has it: its tables, its text, its links, with every tag closed; and figures as Plotly takes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from planish.reports.figures.base import Figure
from planish.reports.pages.run import RunSection, run_section
from planish.reports.read.pipeline import stages_of
from planish.reports.read.run import read_run
from planish.reports.report import render

VOID = {"meta", "br"}
HEADINGS = {"h1", "h2", "h3", "h4"}


class Page(HTMLParser):
    """`tables` holds the rows of each table, by the heading above it and then by number."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = re.sub(r'<script id="plotly".*?</script>', "", html, flags=re.DOTALL)  # without Plotly's own code
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.headings: list[str] = []
        self.links: list[str] = []  # to anything outside the page
        self._open: list[str] = []
        self._pieces: list[str] = []
        self._cell: list[str] | None = None
        self.feed(self.html)
        assert self._open == [], "a tag is not closed"

    @property
    def text(self) -> str:
        """What a reader sees, in one line."""
        return " ".join(" ".join(self._pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        self.links += [
            f"{tag} {value}" for name, value in attrs if name in {"src", "href"} and (value or "")[:1] != "#"
        ]
        if tag in HEADINGS:
            self.headings.append("")
        elif tag == "table":
            self.tables.setdefault(self.headings[-1], []).append([])
        elif tag == "tr" and "table" in self._open:
            self.tables[self.headings[-1]][-1].append([])
        elif tag in {"td", "th"}:
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in {"td", "th"} and self._cell is not None:
            self.tables[self.headings[-1]][-1][-1].append(" ".join(" ".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if {"script", "style"} & set(self._open):
            return
        self._pieces.append(data)
        if self._cell is not None:
            self._cell.append(data)
        if HEADINGS & set(self._open):
            self.headings[-1] += data

    def rows(self, heading: str, number: int = 0) -> dict[str, list[str]]:
        """The rows of a table by their first cell."""
        return {row[0]: row[1:] for row in self.tables[heading][number]}


def page_of(*folders: Path) -> Page:
    return Page(render([item for folder in folders for item in stages_of(folder)]))


def section_of(folder: Path) -> RunSection:
    return run_section(read_run(folder), "run-0", folder.name)


def curves(figure: Figure, panel: int = 0) -> dict[str, list[float]]:
    return {trace["name"]: trace["y"] for trace in figure.panels[panel].traces}


def check_figures(figures: Iterable[Figure]) -> None:
    """Plotly knows every property and draws every number; key i belongs to trace i, by which figures.js hides it."""
    for figure in figures:
        for panel in figure.panels:
            plain: dict[str, Any] = json.loads(re.sub(r"var\(--[a-z0-9-]+\)", "black", json.dumps(panel.plain())))
            traces = plain.pop("traces")
            drawn = go.Figure(traces, plain)  # raises on a property it does not know
            assert [list(trace.y) for trace in drawn.data] == [trace["y"] for trace in traces]
            if figure.keys:
                assert [trace["name"] for trace in panel.traces] == [key.name for key in figure.keys], figure.title

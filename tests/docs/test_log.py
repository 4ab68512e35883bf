"""The log's index leads to every section, and every link of it leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.anchors import anchors

LOG = Path(__file__).parents[2] / "log"
DAYS = sorted(LOG.glob("2*.md"))


def sections(page: Path) -> set[str]:
    """Anchors of the headings that have text of their own: those without a deeper heading below."""
    headings = list(anchors(page).items())
    after = [level for _, level in headings[1:]] + [0]
    return {name for (name, level), following in zip(headings, after, strict=True) if following <= level}


def links(page: Path) -> list[tuple[Path, str]]:
    """Pages and anchors that a page of the log links to."""
    found = re.findall(r"\]\(([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    return [(page.parent / target if target else page, anchor) for target, anchor in found]


def test_there_are_days() -> None:
    assert len(DAYS) >= 3
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", day.stem) for day in DAYS)


@pytest.mark.parametrize("page", [LOG / "README.md", *DAYS], ids=lambda page: page.stem)
def test_links_of_the_log_lead_to_a_section(page: Path) -> None:
    assert [(target.name, anchor) for target, anchor in links(page) if anchor not in anchors(target)] == []


@pytest.mark.parametrize("day", DAYS, ids=lambda page: page.stem)
def test_the_index_leads_to_every_section(day: Path) -> None:
    assert sections(day) - {anchor for target, anchor in links(LOG / "README.md") if target.name == day.name} == set()

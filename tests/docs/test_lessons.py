"""The Python of a page prints what the page shows below it."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PRINTS = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.M | re.S)
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if PRINTS.search(page.read_text(encoding="utf-8"))]


def test_the_lesson_on_ppo_is_among_the_pages() -> None:
    text = (DOCS / "lessons" / "4-ppo.md").read_text(encoding="utf-8")
    assert len(PRINTS.findall(text)) == text.count("```python") == 14


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_prints_what_the_page_shows(page: Path) -> None:
    names: dict[str, object] = {}
    for code, shown in PRINTS.findall(page.read_text(encoding="utf-8")):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)  # our own page
        assert printed.getvalue() == shown

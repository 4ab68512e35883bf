"""The places in a Markdown page that a link can lead to."""

from __future__ import annotations

import re
from pathlib import Path


def anchors(page: Path) -> dict[str, int]:
    """Anchors of a page's headings below the title, with their levels, numbered where they repeat as GitHub does."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: dict[str, int] = {}
    for marks, title in re.findall(r"^(##+) (.+)$", text, flags=re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        repeats = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", other) is not None for other in found)
        found[f"{name}-{repeats}" if repeats else name] = len(marks)
    return found

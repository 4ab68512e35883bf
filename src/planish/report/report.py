"""The command `report`."""

from __future__ import annotations

from pathlib import Path

from planish.base.config import Config, Field
from planish.report.pages.run import write_page


class ReportConfig(Config):
    runs: tuple[str, ...] = Field(min_length=1, description="folders of runs, comparisons or pipelines")
    out: str | None = Field(default=None, description="the HTML file; absent is report.html in the first folder")


def report(config: ReportConfig) -> Path:
    """Writes a page about the runs; returns its path."""
    out = Path(config.out) if config.out else Path(config.runs[0]) / "report.html"
    write_page([Path(run) for run in config.runs], out)
    return out

"""`planish feedback report`: ratings in, a page and its numbers out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from planish.base.errors import ConfigError
from planish.base.files import write_json, write_text
from planish.feedback.report.config import FeedbackReportConfig
from planish.feedback.report.page import lead, render
from planish.feedback.report.reading import read_ratings
from planish.feedback.report.result import FeedbackFound, measure


@dataclass(frozen=True, slots=True)
class FeedbackReport:
    """The page, the file of its numbers, and what they say in short."""

    page: Path
    numbers: Path
    says: str
    found: FeedbackFound


def feedback_report(config: FeedbackReportConfig) -> FeedbackReport:
    page = Path(config.out)
    if page.is_dir():
        raise ConfigError(
            f"out={config.out}: is a folder; expected the name of a page, such as {page / 'feedback.html'}"
        )
    found = measure(read_ratings(config), config)
    numbers = page.with_suffix(".json")
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, render(found))
    write_json(numbers, asdict(found))
    return FeedbackReport(page, numbers, lead(found), found)

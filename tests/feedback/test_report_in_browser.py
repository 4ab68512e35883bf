"""The page's own proof: annotators of known coefficients read and click in a real browser, and the report gives the coefficients
back. And the report's page itself, looked at by a tool at two widths in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from planish.feedback.people import add_annotator, token_of
from planish.feedback.report.command import feedback_report
from planish.feedback.report.config import FeedbackReportConfig
from support.annotation_server import serving
from support.browser import chromium, page_of, problems_of
from support.simulated import POOL, Simulated, answer_rows, judge_all, pool, simulated_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
PEOPLE, EACH = 4, 40


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def sit(page: Page, annotator: Simulated, number: int) -> None:
    """Reads the two answers as they are on the page and chooses by key, clearly or slightly, so many times."""
    page.keyboard.press("Space")
    page.wait_for_selector("#task")
    for _ in range(number):
        left, right = page.locator(".answer .formatted").all_inner_texts()
        before = page.locator("#task").get_attribute("data-assignment")
        is_clear = abs(annotator.odds(left, right)) > 1
        prefers = annotator.prefers_left(left, right)
        page.keyboard.press(("1" if is_clear else "2") if prefers else ("5" if is_clear else "4"))
        page.keyboard.press("Space")
        page.wait_for_function("(before) => document.querySelector('#task')?.dataset.assignment !== before", arg=before)


def test_coefficients_come_back_from_sittings_in_a_browser(browser: Browser, tmp_path: Path):
    """Four people of 40 pairs each, half of which two people may get; then the report on what the page has kept."""
    people = pool(PEOPLE, 0.2, seed=5)
    rows = answer_rows(PEOPLE * EACH, seed=5)
    with simulated_study(tmp_path, rows, gold_rate=0, overlap=2, overlap_share=0.5) as store, serving(store) as port:
        for one in people:
            with store.writing() as session:
                address = f"http://127.0.0.1:{port}/a/{token_of(session, add_annotator(session, one.name))}"
            with page_of(browser, address, viewport={"width": 1200, "height": 800}) as page:
                sit(page, one, EACH)
    done = feedback_report(
        FeedbackReportConfig(files=(str(tmp_path / "f.db"),), out=str(tmp_path / "report.html"), names=True)
    )
    (fitted,) = done.found.leans
    assert (fitted.choices, fitted.raters) == (PEOPLE * EACH, PEOPLE)
    leans = {lean.feature: lean for lean in fitted.leans}
    for name, true in POOL.items():
        pooled = leans[name].pool
        print(f"{name}: {true:+.2f}, found {pooled.value:+.2f} ({pooled.low:+.2f} to {pooled.high:+.2f})")
        assert pooled.low is not None
        assert pooled.high is not None
        assert pooled.low <= true <= pooled.high, name
        for one in people:
            own = leans[name].own[one.name]
            assert own.low is not None
            assert own.high is not None
            assert own.low - 0.3 <= one.coefficients[name] <= own.high + 0.3  # twelve intervals: one may miss by little
    assert all(one.seconds and one.seconds > 0 for one in done.found.raters)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_and_can_be_read(browser: Browser, tmp_path: Path, width: int, scheme: str):
    people = pool(5, 0.5, seed=6)
    with simulated_study(tmp_path, answer_rows(30), gold_rate=0, overlap=5) as store:
        for place, one in enumerate(people):
            judge_all(store, one, group="north" if place < 2 else "south")
    out = tmp_path / "report.html"
    feedback_report(FeedbackReportConfig(files=(str(tmp_path / "f.db"),), out=str(out)))
    look = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with page_of(browser, f"file://{out}", **look) as page:
        page.wait_for_selector(".plot .main-svg")
        drawn = page.locator(".plot").count()
        page.wait_for_function("(n) => document.querySelectorAll('.plot .main-svg').length >= n", arg=drawn)
        assert problems_of(page) == []

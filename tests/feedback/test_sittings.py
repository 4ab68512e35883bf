"""Whole sittings in a real browser: by keyboard at a desk, by touch at 390 pixels, in light and dark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from planish.base.files import write_lines
from planish.feedback.judgements import JudgedItem, judgements
from planish.feedback.people import add_annotator, token_of
from planish.feedback.reading import read_answers
from planish.feedback.schema import StudyItem
from planish.feedback.store import Store
from planish.feedback.study import add_items
from support.annotation_server import serving
from support.browser import chromium, page_of, problems_of
from support.studies import settings_of, study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
EVIL = (
    "Look: <script>document.title = 'broken'</script> `code` [link](https://evil.example)\n\n```python\nprint(1)\n```"
)
ARABIC = "عاصمة تونس هي مدينة تونس."
LONG = "Once upon a time there was a fox. " * 200


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def address(store: Store, port: int, name: str = "me") -> str:
    with store.writing() as session:
        return f"http://127.0.0.1:{port}/a/{token_of(session, add_annotator(session, name))}"


def rows_of(store: Store) -> list[JudgedItem]:
    with store.reading() as session:
        return list(judgements(session))


def number_of(page: Page) -> str:
    return page.locator("#task").get_attribute("data-assignment") or ""


def press(page: Page, keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def save_by_key(page: Page, keys: str) -> None:
    """Presses the keys and Space, and waits for the next page."""
    before = number_of(page)
    press(page, f"{keys} Space")
    page.wait_for_function("(before) => document.querySelector('#task')?.dataset.assignment !== before", arg=before)


def test_a_sitting_by_keyboard(browser: Browser, tmp_path: Path):
    """Choices, aspects, a reason, a comment, a better answer, an undo: all of it is kept by completion, not by place."""
    with study(tmp_path / "f.db", tmp_path, items=6, aspects=("honest",), gold_rate=0) as store, serving(store) as port:
        with page_of(browser, address(store, port), viewport={"width": 1200, "height": 800}) as page:
            page.keyboard.press("Space")
            page.wait_for_selector("#task")
            assert page.locator(".length").first.is_hidden()  # before a choice
            page.keyboard.press("1")
            assert page.locator(".length").first.is_visible()
            save_by_key(page, "5")  # A clearly; honest: B clearly
            save_by_key(page, "3")
            save_by_key(page, "q")
            press(page, "w 2")
            save_by_key(page, "")
            page.keyboard.press("2")
            page.keyboard.press("c")
            page.keyboard.type("z is a letter here")
            page.keyboard.press("Escape")
            page.keyboard.press("r")
            page.locator("textarea[name=rewrite]").fill("A better answer.")
            page.keyboard.press("Escape")
            save_by_key(page, "")
            last = number_of(page)
            page.keyboard.press("z")
            page.wait_for_function(
                "(before) => document.querySelector('#task').dataset.assignment !== before", arg=last
            )
            assert page.locator("textarea[name=comment]").input_value() == "z is a letter here"
            assert page.locator("input[value=A1]").first.is_checked()
            save_by_key(page, "4")
            save_by_key(page, "1")
            assert "planish feedback export" in page.locator("#end").inner_text()
            assert problems_of(page) == []
        said = [(row.judgement, row.assignment.shown) for row in rows_of(store)]
        assert len(said) == 6
        first, shown = said[0]
        assert first.ranks == [shown.index(0), shown.index(1)]  # A, the answer on the left, is best
        assert first.aspects["honest"] == {"ranks": [1 - shown.index(0), 1 - shown.index(1)], "strength": "clearly"}
        assert [one.verdict for one, _ in said] == ["ranked", "ranked", "all_bad", "cannot_tell", "ranked", "ranked"]
        assert (said[1][0].ranks, said[3][0].reason) == ([0, 0], "The question makes no sense")
        undone = said[4][0]
        assert (undone.revision, undone.comment, undone.rewrite) == (1, "z is a letter here", "A better answer.")
        assert (undone.strength, undone.aspects["honest"]["strength"]) == ("slightly", "slightly")
        assert all(0 < one.seconds < 600 for one, _ in said)


def test_a_sitting_by_touch_on_a_telephone(browser: Browser, tmp_path: Path):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with study(tmp_path / "f.db", tmp_path, items=3, gold_rate=0) as store, serving(store) as port:
        with page_of(browser, address(store, port), color_scheme="dark", **phone) as page:
            page.get_by_role("button", name="Begin").tap()
            page.wait_for_selector("#task")
            assert problems_of(page) == []
            for name in ("A clearly", "equal", "Both bad"):
                before = number_of(page)
                choice = page.get_by_role("button" if name == "Both bad" else "radio", name=name)
                box = choice.bounding_box()
                assert box is not None
                assert min(box["width"], box["height"]) >= 40  # wide enough for a thumb
                page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
                page.get_by_role("button", name="Save").tap()
                page.wait_for_function(
                    "(before) => document.querySelector('#task')?.dataset.assignment !== before", arg=before
                )
            assert "All done" in page.locator("#end").inner_text()
        assert [row.judgement.verdict for row in rows_of(store)] == ["ranked", "ranked", "all_bad"]


def test_ranking_four_answers_by_keyboard_with_a_tie(browser: Browser, tmp_path: Path):
    """Places 3, 1, 1, 4 of A to D are ranks 1, 0, 0, 2 by place."""
    with study(tmp_path / "f.db", tmp_path, items=1, answers=4) as store, serving(store) as port:
        with page_of(browser, address(store, port), viewport={"width": 1200, "height": 700}) as page:
            page.keyboard.press("Space")
            page.wait_for_selector("#task")
            press(page, "3 1 1")
            assert page.get_by_role("button", name="Save").is_disabled()
            page.keyboard.press("4")
            assert problems_of(page) == []
            page.keyboard.press("Space")
            page.wait_for_selector("#end")
        (row,) = rows_of(store)
        by_place = [row.judgement.ranks[number] for number in row.assignment.shown] if row.judgement.ranks else []
        assert by_place == [1, 0, 0, 2]


def test_answers_of_every_kind_are_shown_safely(browser: Browser, tmp_path: Path):
    """Code and HTML as text, right-to-left from the right, long ones in full, earlier turns with their speakers."""
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": ARABIC},
    ]
    rows = [{"prompt": talk, "completions": [EVIL, f"{ARABIC}\n\n{LONG}"], "ranks": [0, 1]}]
    write_lines(tmp_path / "kinds.jsonl", rows)
    with study(tmp_path / "f.db", tmp_path, items=1, gold_rate=0) as store, serving(store) as port:
        with store.writing() as session:
            session.query(StudyItem).delete()
            add_items(session, read_answers([str(tmp_path / "kinds.jsonl")]).answers, "task", settings_of(store))
        how: dict[str, Any] = {"viewport": {"width": 1200, "height": 800}, "color_scheme": "dark"}
        with page_of(browser, address(store, port), **how) as page:
            page.keyboard.press("Space")
            page.wait_for_selector("#task")
            assert page.title() == "Comparing answers"
            assert page.locator(".answer a, .answer img, .answer script").count() == 0
            assert page.locator(".answer pre code").first.inner_text().strip() == "print(1)"
            assert page.locator(".prompt h2").all_inner_texts() == ["Person", "Assistant", "Person"]
            directions = page.evaluate(
                "[...document.querySelectorAll('.answer .formatted')].map((n) => n.matches(':dir(rtl)'))"
            )
            assert sorted(directions) == [False, True]
            for keys in ("d", "t", "g", "?"):
                page.keyboard.press(keys)
                page.wait_for_timeout(100)
                assert problems_of(page) == []


def test_a_lost_line_loses_nothing_and_a_mark_is_kept(browser: Browser, tmp_path: Path):
    """The first attempts to save fail; the page says so, keeps what was said, and saves it once."""
    with study(tmp_path / "f.db", tmp_path, items=2, gold_rate=0) as store, serving(store) as port:
        with page_of(browser, address(store, port), viewport={"width": 1200, "height": 800}) as page:
            page.keyboard.press("Space")
            page.wait_for_selector("#task")
            page.evaluate("getSelection().selectAllChildren(document.querySelector('.answer .formatted p'))")
            page.wait_for_selector("[data-mark=bad]:enabled")
            page.keyboard.press("v")
            assert "bad" in page.locator(".spans").first.inner_text()
            attempts: list[Any] = []

            def fail_twice(route: Any) -> None:
                attempts.append(json.loads(route.request.post_data)["key"])
                if len(attempts) == 1:
                    route.abort()  # it never arrives
                elif len(attempts) == 2:
                    route.fetch()  # it arrives, and the reply is lost
                    route.abort()
                else:
                    route.continue_()

            page.route("**/judgements", fail_twice)
            press(page, "1 Space Space Space")
            page.wait_for_function("() => document.querySelector('#trouble').textContent.includes('Trying again')")
            page.wait_for_function("() => document.querySelector('progress').value === 1")
            assert len(attempts) == 3
            assert len({*attempts}) == 1
        (row,) = rows_of(store)
        (span,) = row.judgement.spans
        assert (span["answer"], span["kind"]) == (row.assignment.shown[0], "bad")


def test_the_owner_invites_somebody_who_sees_new_guidelines(browser: Browser, tmp_path: Path):
    with study(tmp_path / "f.db", tmp_path, items=2) as store, serving(store) as port:
        with page_of(browser, address(store, port), viewport={"width": 1200, "height": 800}) as page:
            page.keyboard.press("Space")
            page.wait_for_selector("#task")
            page.goto(f"{address(store, port)}/study")
            assert problems_of(page) == []
            page.get_by_label("Name").fill("Zoë <b>")
            page.get_by_role("button", name="Make an address").click()
            page.wait_for_function("() => document.querySelector('#address').textContent.includes('/a/')")
            invited = page.locator("#address").inner_text().rpartition(" ")[2]
            assert page.locator("tbody th").all_inner_texts() == ["me", "Zoë <b>"]
        with store.writing() as session:
            from planish.feedback.config import AnnotateConfig
            from planish.feedback.study import settle

            guest = add_annotator(session, "Zoë <b>")
            guest.welcomed, guest.guideline = 1.0, "an old one"
            settle(session, AnnotateConfig(out="f"), "# New\n\nBe brief.")
        with page_of(browser, invited, viewport={"width": 1200, "height": 800}) as page:
            page.get_by_role("button", name="Read them now").click()
            page.wait_for_selector("#guide:not([hidden])")
            assert "Be brief." in page.locator("#guide").inner_text()
            page.reload()
            assert page.get_by_role("button", name="Read them now").count() == 0

"""An inspection in the terminal and as a page, and the plan of a mixture, from small ones written out by hand."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import pytest
from rich.console import Console

from planish.data.inspect.result import (
    Inspection,
    Judgements,
    KindView,
    Listed,
    Listing,
    Piece,
    Sample,
    ShownPart,
    SourceView,
    distribution,
)
from planish.data.inspect.terminal import judgement_text, part_text, shortened, show, sparkline
from planish.reports.pages.inspection import parted, render_inspection
from planish.reports.read.mixture import show_mixture, show_sources

EVIL = "<script>alert(1)</script>"


def sample(*pieces: Piece, about: dict[str, str] | None = None) -> Sample:
    return Sample("a.json", 3, "longest", 9, (ShownPart("", pieces),), about or {})


def kind(**settings: Any) -> KindView:
    lengths = {"row": distribution({4: 1, 9: 2}), "learnt": distribution({2: 3})}
    return KindView("demonstrations", 3, lengths, {2: 3}, {"user": 3, "assistant": 3}, **settings)


def inspection(*kinds: KindView, **settings: Any) -> Inspection:
    source = SourceView("alpaca", ("a.json",), ("alpaca",), 3, list(kinds), **settings)
    return Inspection([source], "tokens", "models/m", 8, "truncate")


def shown(found: Inspection, **settings: Any) -> str:
    out = io.StringIO()
    show(found, Console(file=out, width=160, highlight=False), **settings)
    return out.getvalue()


def listing(count: int, listed: int) -> Listing:
    return Listing(
        count, {"too long": count}, [Listed("a.json", row, f"{row} too long") for row in range(1, listed + 1)]
    )


# Terminal


def test_lead_counts_rows_and_what_would_become_of_them() -> None:
    found = inspection(kind(fates={"truncated": listing(2, 2)}), unfit=listing(1, 1))
    assert shown(found).startswith(
        "3 demonstrations in 1 source, 22 tokens; 1 did not fit and 2 would be cut at the end."
    )


def test_lengths_without_a_model_say_how_to_get_tokens() -> None:
    found = Inspection([], "characters")
    assert "With --model M they count tokens" in shown(found)


def test_what_is_learnt_stands_in_brackets_where_there_is_no_colour() -> None:
    found = inspection(kind(samples=(sample(Piece("<s>", special=True), Piece("why? "), Piece("so.", learnt=True)),)))
    assert "<s>why? ⟦so.⟧" in shown(found)


def test_what_is_learnt_is_underlined_on_a_terminal() -> None:
    text = part_text(ShownPart("", (Piece("why? "), Piece("so.", learnt=True))))
    assert text.plain == "why? so."
    assert [(span.start, span.end, "underline" in str(span.style)) for span in text.spans] == [(5, 8, True)]


def test_a_row_cannot_send_commands_to_the_terminal() -> None:
    found = inspection(kind(samples=(sample(Piece("\x1b[2Jgone\r")),)))
    assert "␛[2Jgone␍" in shown(found)
    assert "\x1b" not in shown(found)


def test_square_brackets_of_a_row_are_no_markup() -> None:
    assert "[bold]words[/bold]" in shown(inspection(kind(samples=(sample(Piece("[bold]words[/bold]")),))))


def test_a_list_ends_in_how_many_more_there_are() -> None:
    said = shown(inspection(kind(fates={"dropped": listing(300, 200)})), most_listed=2)
    assert "300 rows would be dropped" in said
    assert "a.json row 3" not in said
    assert "  a.json row 1: 1 too long\n" in said
    assert "and 298 more; --list names them all" in said


def test_placeholders_are_a_warning() -> None:
    said = shown(inspection(kind(), placeholders={"{{author}}": 1, "{{name}}": 2}))
    assert "! Placeholders that were not filled in: {{name}} in 2 rows and {{author}} in 1 row." in said


def test_the_share_of_longer_answers_is_over_pairs_of_unequal_length() -> None:
    found = Judgements({2: 9, 4: 1}, {"ann": 6, "bob": 4}, pairs=10, ties=1, longer_preferred=6, shorter_preferred=2)
    assert judgement_text(found) == [
        "Comparisons: 9 with 2 completions each and 1 with 4 completions each. 10 pairs with a preference, 1 tie.",
        "The longer completion is preferred in 75.0% of the 8 pairs of unequal length.",
        "2 annotators: ann 6 and bob 4.",
    ]


def test_a_bar_stands_for_each_bin() -> None:
    assert sparkline(distribution({1: 8, 2: 1, 4: 4})) == "█▁ ▄"


def test_a_long_row_keeps_its_ends_and_says_what_is_missing() -> None:
    pieces = list(shortened([Piece("a" * 500), Piece("b" * 500, learnt=True)], 300))
    assert [(piece.text[:4], len(piece.text)) for piece in pieces if not piece.special] == [
        ("aaaa", 200),
        ("bbbb", 100),
    ]
    assert [piece.text for piece in pieces if piece.special] == [" … 700 characters not shown … "]


def test_a_row_that_fits_is_not_shortened() -> None:
    pieces = [Piece("a" * 150), Piece("b" * 150)]
    assert list(shortened(pieces, 300)) == pieces


# The page


def test_the_page_marks_what_is_learnt_and_no_more() -> None:
    page = render_inspection(inspection(kind(samples=(sample(Piece("why? "), Piece("so.", learnt=True)),))))
    assert '<div class="text">why? <mark>so.</mark></div>' in page


@pytest.mark.parametrize(
    "place",
    [
        lambda: inspection(kind(samples=(sample(Piece(EVIL), Piece(EVIL, True), Piece(EVIL, special=True)),))),
        lambda: inspection(kind(samples=(sample(Piece("a"), about={EVIL: EVIL}),))),
        lambda: inspection(kind(verdicts={EVIL: 3})),
        lambda: inspection(kind(dropped=Listing(1, {EVIL: 1, "b": 2}, [Listed(EVIL, 1, EVIL)]))),
        lambda: inspection(kind(), unfit=Listing(1, {EVIL: 1}, [Listed("a", 1, EVIL)]), placeholders={EVIL: 1}),
        lambda: Inspection([SourceView(EVIL, (EVIL,), ("alpaca",), 3, [kind()])], "tokens", EVIL),
    ],
)
def test_whatever_a_row_says_is_text_on_the_page(place: Callable[[], Inspection]) -> None:
    page = render_inspection(place())
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)" in page


def panels(page: str) -> dict[str, Any]:
    found = re.search(r"const FIGURES = (\{.*\});", page)
    assert found
    return json.loads(found[1])


def test_each_length_has_a_histogram_that_plotly_can_draw() -> None:
    drawn = panels(render_inspection(inspection(kind())))
    assert sorted(drawn) == ["source-0-0-learnt", "source-0-0-row"]
    (panel,) = drawn["source-0-0-row"]
    (bar,) = panel["traces"]
    assert sum(bar["y"]) == 3
    go.Figure([{**bar, "marker": {}}]).update_layout(shapes=[{**shape, "line": {}} for shape in panel["shapes"]])


def test_max_tokens_is_a_line_in_the_histogram_of_rows_alone() -> None:
    drawn = panels(render_inspection(inspection(kind())))
    assert [shape["x0"] for shape in drawn["source-0-0-row"][0]["shapes"]] == [8]
    assert drawn["source-0-0-learnt"][0]["shapes"] == []


def test_the_page_lists_every_row_it_knows_to_be_cut() -> None:
    page = render_inspection(inspection(kind(fates={"truncated": listing(4, 3)})))
    assert "4 rows would be cut at the end" in page
    assert page.count("too long</li>") == 3
    assert "and 1 more;" in page


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = render_inspection(inspection(kind()))
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r'(src|href)="(?!#)|@import|url\(', outside)


def test_a_source_that_cannot_be_read_is_on_the_page() -> None:
    page = render_inspection(Inspection([SourceView("gone", ("gone.json",), unfit=listing(1, 1))], "characters"))
    assert "1 row did not fit" in page


def test_a_long_part_is_folded_without_loss() -> None:
    part = ShownPart("", (Piece("a" * 800), Piece("b" * 800, learnt=True)))
    head, rest, more = parted(part)
    assert "".join(piece.text for piece in (*head, *rest)) == "a" * 800 + "b" * 800
    assert more == sum(len(piece.text) for piece in rest) == 700


def test_the_view_opens_without_torch() -> None:
    check = "import sys, planish.reports.pages.inspection; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# Mixtures


def share(asked: float, examples: int, tokens: int, passes: float) -> dict[str, float]:
    return {
        "asked": asked,
        "examples": examples,
        "tokens": tokens,
        "share_of_examples": asked,
        "share_of_tokens": asked,
        "passes": passes,
        "passes_so_far": passes,
    }


def test_a_mixture_is_shown_by_stage_and_in_sum() -> None:
    stages = [
        {
            "examples": 90,
            "tokens": 900,
            "steps": 9,
            "sources": {"web": share(1.0, 90, 900, 0.9), "chat": share(0, 0, 0, 0)},
        },
        {
            "examples": 10,
            "tokens": 500,
            "steps": 1,
            "sources": {"web": share(0.5, 5, 50, 0.05), "chat": share(0.5, 5, 450, 1)},
        },
    ]
    out = io.StringIO()
    show_mixture(stages, Console(file=out, width=160, highlight=False))
    rows = [" ".join(row.split()) for row in out.getvalue().splitlines() if row.strip()]
    assert "stage 1: 10.0% of the run, 1 step" in rows
    assert "web 50.00% 5 50.00% 50 50.00% 0.05 0.05" in rows
    assert "total 100.00% 10 500" in rows
    assert rows[-3:] == ["web 95 95.00% 950 67.86% 0.95 0.95", "chat 5 5.00% 450 32.14% 1.00 1.00", "total 100 1,400"]


def account(dropped: list[tuple[int, str]]) -> dict[str, Any]:
    sizes = {"examples": 40, "tokens": 900, "learnt_tokens": 300}
    rows = [{"file": "web.jsonl", "row": row, "reason": reason} for row, reason in dropped]
    return {"training": sizes, "held_out": sizes, "dropped": rows, "truncated": [], "leaks": rows[:1], "over_limit": 7}


@pytest.mark.parametrize("listed", [False, True])
def test_rows_left_out_are_counted_by_reason_and_named_on_request(listed: bool) -> None:
    sources = {"web": account([(3, "copy of web.jsonl row 1"), (9, "copy of web.jsonl row 2"), (12, "3 tokens more")])}
    out = io.StringIO()
    show_sources(sources, listed, Console(file=out, width=160, highlight=False))
    rows = [" ".join(row.split()) for row in out.getvalue().splitlines() if row.strip()]
    assert rows[1] == "web 40 900 300 40 7 3 0 1"
    named = ["web.jsonl row 3: copy of web.jsonl row 1", "web.jsonl row 9: copy of web.jsonl row 2"]
    assert rows[2:] == [
        "web, left out:",
        *([*named, "web.jsonl row 12: 3 tokens more"] if listed else ["2: copy of …", "1: … tokens more"]),
        "web, also held out:",
        named[0] if listed else "1: copy of …",
    ]

"""OpenAssistant's trees: the best path, the comparisons of ranked replies, and the flat export of the same."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.base.errors import DataError
from planish.data.files.readers import Record
from planish.data.formats import FORMATS, import_rows, recognize
from planish.data.formats.trees import gather_trees
from planish.data.ignored import IgnoredFields
from planish.data.rows import Comparison, Demonstration, Dropped, Message, Origin, Prompt, Row

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
HERE = Origin("here.jsonl", 7)


def node(role: str, text: str, *replies: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": role, "text": text, "replies": list(replies), **more}


def asked(text: str, *replies: dict[str, Any], **more: Any) -> dict[str, Any]:
    return node("prompter", text, *replies, **more)


def answered(text: str, *replies: dict[str, Any], **more: Any) -> dict[str, Any]:
    return node("assistant", text, *replies, **more)


def rows_of(kind: type[Row], tree: dict[str, Any]) -> Sequence[Row | Dropped]:
    return list(FORMATS["oasst"].importers[kind](Record(tree, HERE)))


def path_of(tree: dict[str, Any]) -> list[tuple[str, str]]:
    (row,) = [row for row in rows_of(Demonstration, tree) if isinstance(row, Demonstration)]
    return [(message.role, message.content) for message in row.messages]


def comparisons(tree: dict[str, Any]) -> list[Comparison]:
    return [row for row in rows_of(Comparison, tree) if isinstance(row, Comparison)]


# The best path


def test_the_best_ranked_reply_is_followed_at_every_level() -> None:
    tree = asked(
        "Q",
        answered("unranked", asked("no")),
        answered("second", asked("no"), rank=1),
        answered(
            "first",
            asked("later", answered("no"), rank=2),
            asked("more?", answered("more", asked("thanks"), rank=0), rank=1),
            rank=0,
        ),
        answered("deleted", deleted=True, rank=-2),
        answered("failed", review_result=False, rank=-1),
    )
    best = [("user", "Q"), ("assistant", "first"), ("user", "more?"), ("assistant", "more")]
    assert path_of({"message_tree_id": "x", "prompt": tree}) == best
    assert path_of(tree) == best


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        (asked("Q"), ""),
        (asked("Q", answered("A", deleted=True)), ": a message is deleted"),
        (asked("Q", answered("A", review_result=False)), ": a message is rejected by its review"),
        (asked("Q", answered("A"), deleted=True), ": a message is deleted"),
    ],
)
def test_without_a_reply_to_follow_the_tree_is_dropped_with_the_reason(tree: dict[str, Any], why: str) -> None:
    assert rows_of(Demonstration, {"prompt": tree}) == [Dropped(HERE, f"no assistant reply is kept{why}")]


def spam(*marks: float) -> dict[str, Any]:
    """Labels as in a tree, or, of several marks, as in a flat export."""
    if len(marks) == 1:
        return {"labels": {"quality": {"value": 0.1, "count": 3}, "spam": {"value": marks[0], "count": 3}}}
    return {"labels": {"name": ["spam", "quality"], "value": list(marks), "count": [3, 3]}}


@pytest.mark.parametrize("labels", [spam(0.5), spam(1.0), spam(0.7, 0.2)])
def test_spam_is_left_out_and_listed(labels: dict[str, Any]) -> None:
    tree = asked("Q", answered("SPAM", asked("no"), rank=0, **labels), answered("A", rank=1, **spam(0.4)))
    assert path_of(tree) == [("user", "Q"), ("assistant", "A")]
    ignored = IgnoredFields()
    list(FORMATS["oasst"].importers[Demonstration](Record(tree, HERE, ignored=ignored)))
    listed = {"file": HERE.file, "field": "messages (spam to most who labelled it)", "rows": 1}
    assert listed in ignored.as_records


@pytest.mark.parametrize("state", ["aborted_low_grade", "halted_by_moderator"])
def test_a_tree_that_was_given_up_is_left_out(state: str) -> None:
    tree = asked("Q", answered("A", rank=0), answered("B", rank=1))
    for kind in (Demonstration, Comparison, Prompt):
        (row,) = rows_of(kind, {"tree_state": state, "prompt": tree})
        assert isinstance(row, Dropped)
        assert f"of a tree whose state is {state}" in row.reason


def test_of_replies_without_a_rank_a_reviewed_one_is_followed_first() -> None:
    tree = asked("Q", answered("unreviewed", review_result=None), answered("reviewed", review_result=True))
    assert path_of(tree) == [("user", "Q"), ("assistant", "reviewed")]
    ranked = asked("Q", answered("ranked", review_result=None, rank=4), answered("reviewed", review_result=True))
    assert path_of(ranked) == [("user", "Q"), ("assistant", "ranked")]


def test_what_is_said_about_the_tree_and_its_first_message_is_kept() -> None:
    tree = {"message_tree_id": "x", "tree_state": "ready", "prompt": asked("Q", answered("A"), lang="en", rank=None)}
    for kind in (Demonstration, Prompt):
        (row,) = rows_of(kind, tree)
        assert isinstance(row, Demonstration | Prompt)
        assert row.about == {"lang": "en", "message_tree_id": "x", "tree_state": "ready"}


# Comparisons


def test_x4_a_root_with_three_ranked_replies_gives_three_pairs_in_one_group() -> None:
    tree = asked("Q", answered("worst", rank=2), answered("best", rank=0), answered("middle", rank=1), message_id="m")
    (row,) = comparisons({"message_tree_id": "x", "prompt": tree})
    assert row.prompt == (Message("user", "Q"),)
    assert [completion.content for completion in row.completions] == ["worst", "best", "middle"]
    assert row.ranks == (2, 0, 1)
    assert row.pairs == [(1, 0), (1, 2), (2, 0)]
    assert row.about == {"message_id": "m", "message_tree_id": "x", "parent_id": "m"}


def test_replies_without_a_rank_are_left_out_of_the_comparison() -> None:
    tree = asked(
        "Q", answered("a", rank=3), answered("none"), answered("b", rank=5), answered("nan", rank=float("nan"))
    )
    (row,) = comparisons(tree)
    assert [completion.content for completion in row.completions] == ["a", "b"]
    assert row.ranks == (0, 1)


def test_deleted_and_rejected_replies_are_not_compared() -> None:
    tree = asked(
        "Q",
        answered("a", rank=0),
        answered("deleted", rank=1, deleted=True),
        answered("failed", rank=2, review_result=False),
        answered("b", rank=3),
    )
    (row,) = comparisons(tree)
    assert [completion.content for completion in row.completions] == ["a", "b"]


def test_nothing_below_a_deleted_message_is_compared() -> None:
    below = asked("more?", answered("x", rank=0), answered("y", rank=1))
    tree = asked("Q", answered("gone", below, deleted=True))
    (row,) = rows_of(Comparison, tree)
    assert isinstance(row, Dropped)
    assert row.reason.startswith("no two ranked assistant replies to the same message: a message is deleted")


def test_each_ranked_set_is_compared_after_the_conversation_up_to_it() -> None:
    below = asked("more?", answered("x", rank=1), answered("y", rank=0))
    tree = asked("Q", answered("a", below, rank=0), answered("b", rank=1))
    first, second = comparisons(tree)
    assert [message.content for message in first.prompt] == ["Q"]
    assert [(message.role, message.content) for message in second.prompt] == [
        ("user", "Q"),
        ("assistant", "a"),
        ("user", "more?"),
    ]
    assert second.ranks == (1, 0)


def test_ranked_prompts_are_no_comparison_of_answers() -> None:
    tree = asked("Q", answered("a", asked("one?", rank=0), asked("two?", rank=1)))
    assert rows_of(Comparison, tree) == [Dropped(HERE, "no two ranked assistant replies to the same message")]


def test_equal_ranks_are_a_tie() -> None:
    (row,) = comparisons(asked("Q", answered("a", rank=1), answered("b", rank=1), answered("c", rank=4)))
    assert row.ranks == (0, 0, 1)
    assert row.pairs == [(0, 2), (1, 2)]


# Prompts


def test_the_first_message_is_a_prompt() -> None:
    assert rows_of(Prompt, asked("Q", answered("A"))) == [Prompt((Message("user", "Q"),), HERE)]


def test_a_deleted_first_message_is_no_prompt() -> None:
    assert rows_of(Prompt, asked("Q", deleted=True)) == [Dropped(HERE, "the first message is deleted")]


# The flat export


def flat(name: str, parent: str | None, text: str, **more: Any) -> dict[str, Any]:
    """One message; those named q… are prompts. Columnar files hold None where there is nothing to say."""
    role = "prompter" if name.startswith("q") else "assistant"
    return {
        **{"message_id": name, "parent_id": parent, "message_tree_id": "t", "role": role, "text": text},
        **{"rank": None, "deleted": False, "review_result": None, **more},
    }


def write(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "flat.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_messages_are_joined_to_trees_whatever_their_order(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        flat("a2", "q1", "second", rank=1),
        flat("q2", "a1", "more?"),
        flat("q1", None, "Q", lang="en"),
        flat("a3", "q2", "more"),
        flat("a1", "q1", "first", rank=0),
    )
    (row,) = import_rows(path, (Demonstration,)).rows
    assert [message.content for message in row.messages] == ["Q", "first", "more?", "more"]
    assert row.origin == Origin(str(path), 3)
    assert row.about == {"message_id": "q1", "message_tree_id": "t", "lang": "en"}
    (comparison,) = import_rows(path, (Comparison,)).rows
    assert [(each.content, rank) for each, rank in zip(comparison.completions, comparison.ranks, strict=True)] == [
        ("second", 1),
        ("first", 0),
    ]
    (prompt,) = import_rows(path, (Prompt,)).rows
    assert prompt.messages == (Message("user", "Q"),)


def test_a_flat_message_is_not_taken_for_a_tree() -> None:
    assert recognize(Record(flat("q1", None, "Q"), HERE)).name == "oasst_messages"
    assert recognize(Record({**flat("q1", None, "Q"), "replies": []}, HERE)).name == "oasst"


Q1, A1 = flat("q1", None, "Q"), flat("a1", "q1", "A")


@pytest.mark.parametrize(
    ("records", "row", "field", "problem"),
    [
        ([Q1, flat("a1", "gone", "A")], 2, "parent_id", "'gone' is the message_id of no record here"),
        ([Q1, A1, flat("a1", "q1", "B")], 3, "message_id", "'a1' occurs twice, first in "),
        ([Q1, flat("a1", "q2", "A"), flat("q2", "a1", "B")], 2, "parent_id", "form a circle"),
        ([Q1, flat("a1", "a1", "A")], 2, "parent_id", "form a circle"),
        ([Q1, A1, flat("q2", None, "R")], 3, "parent_id", "the tree 't' already has a first message, "),
        ([Q1, {**A1, "message_id": None}], 2, "message_id", "missing"),
        ([Q1, {**A1, "role": "moderator"}], 2, "role", "unknown role 'moderator'"),
        ([Q1, {**A1, "text": ""}], 2, "text", "empty"),
        ([Q1, {**A1, "rank": "0"}], 2, "rank", "found a text, expected a number"),
        ([Q1, {**A1, "deleted": "False"}], 2, "deleted", "found a text, expected true or false"),
    ],
)
def test_messages_that_make_no_tree_are_named_by_row_and_field(
    tmp_path: Path, records: list[dict[str, Any]], row: int, field: str, problem: str
) -> None:
    path = write(tmp_path, *records)
    with pytest.raises(DataError) as caught:
        import_rows(path, (Demonstration,))
    assert str(caught.value).startswith(f"{path} row {row}, field {field}: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("tree", "field", "problem"),
    [
        (node("moderator", "Q"), "prompt.role", "unknown role 'moderator'"),
        ({"role": "prompter", "text": "Q"}, "prompt.replies", "missing"),
        (asked("Q", answered("A", rank="0")), "prompt.replies[0].rank", "found a text, expected a number"),
        (asked("Q", answered("", rank=0)), "prompt.replies[0].text", "empty"),
        (
            asked("Q", answered("A"), review_result="yes"),
            "prompt.review_result",
            "found a text, expected true or false",
        ),
    ],
)
def test_a_nested_tree_that_does_not_fit_is_named_by_its_field(tree: dict[str, Any], field: str, problem: str) -> None:
    for kind in (Demonstration, Comparison):
        with pytest.raises(DataError) as caught:
            rows_of(kind, {"prompt": tree})
        assert str(caught.value).startswith(f"here.jsonl row 7, field {field}: ")
        assert problem in str(caught.value)


# No text is lost or invented

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(texts=st.lists(TEXT, min_size=2, max_size=6))
def test_a_path_without_branches_is_kept_to_its_last_answer(texts: list[str]) -> None:
    tree: dict[str, Any] | None = None
    for at in reversed(range(len(texts))):
        tree = node(("prompter", "assistant")[at % 2], texts[at], *([tree] if tree else []))
    assert [text for _, text in path_of({"prompt": tree})] == texts[: len(texts) // 2 * 2]


@given(
    question=TEXT,
    replies=st.lists(st.tuples(TEXT, st.none() | st.integers(0, 3)), max_size=6, unique_by=lambda r: r[0]),
)
def test_every_ranked_reply_is_compared_with_its_rank(question: str, replies: list[tuple[str, int | None]]) -> None:
    ranked = [(text, rank) for text, rank in replies if rank is not None]
    found = rows_of(Comparison, asked(question, *(answered(text, rank=rank) for text, rank in replies)))
    if len(ranked) < 2:
        assert found == [Dropped(HERE, "no two ranked assistant replies to the same message")]
        return
    (row,) = found
    assert isinstance(row, Comparison)
    assert [message.content for message in row.completions] == [text for text, _ in ranked]
    for one, (_, first) in enumerate(ranked):
        for other, (_, second) in enumerate(ranked):
            assert ((one, other) in row.pairs) == (first < second)


@given(parents=st.lists(st.integers(0, 100), max_size=12), order=st.randoms(use_true_random=False))
def test_a_flat_export_gives_the_trees_it_was_made_from(parents: list[int], order: Any) -> None:
    """Message i hangs under one of those before it; the file holds them in any order."""
    messages = [flat("q0", None, "text 0")]
    for number, at in enumerate(parents, start=1):
        parent = messages[at % number]["message_id"]
        messages.append(flat(("a" if parent[0] == "q" else "q") + str(number), parent, f"text {number}"))
    shuffled = order.sample(messages, len(messages))
    (tree,) = gather_trees(iter([Record(value, Origin("f", row)) for row, value in enumerate(shuffled, start=1)]))
    seen: dict[str, str | None] = {}
    waiting: list[Any] = [(tree.value, None)]
    while waiting:
        each, parent = waiting.pop()
        seen[each.record.value["message_id"]] = parent
        waiting += [(reply, each.record.value["message_id"]) for reply in each.replies]
    assert seen == {message["message_id"]: message["parent_id"] for message in messages}


# Public data


@pytest.fixture(params=["oasst/en_100_tree.jsonl.gz", "oasst/en_100_message.jsonl.gz"])
def public(request: pytest.FixtureRequest) -> Path:
    if not (SHARED / request.param).exists():
        pytest.skip(f"{SHARED / request.param} is not here")
    return SHARED / request.param


def test_all_ranked_messages_of_a_public_file_are_compared(public: Path) -> None:
    """641 messages have a rank, in 212 sets; all 754 pairs of them are assistant replies."""
    found = import_rows(public, (Comparison,))
    assert (len(found.rows), len(found.dropped)) == (212, 0)
    assert sum(len(row.completions) for row in found.rows) == 641
    assert sum(len(row.pairs) for row in found.rows) == 754


def test_every_public_tree_is_a_demonstration_and_a_prompt(public: Path) -> None:
    found = import_rows(public, (Demonstration,)).rows
    assert len(found) == len(import_rows(public, (Prompt,)).rows) == 100
    assert {row.messages[-1].role for row in found} == {"assistant"}


def test_the_flat_form_of_a_public_file_gives_the_same_rows(public: Path, tmp_path: Path) -> None:
    if "tree" not in public.name:
        pytest.skip("one form is enough")
    records: list[dict[str, Any]] = []
    for line in gzip.decompress(public.read_bytes()).decode().splitlines():
        tree = json.loads(line)
        waiting = [tree["prompt"]]
        while waiting:
            message = waiting.pop()
            waiting += reversed(message.pop("replies"))
            records.append({"parent_id": None, **message, "message_tree_id": tree["message_tree_id"]})
    path = write(tmp_path, *records)
    for kind in (Demonstration, Comparison):
        nested, joined = (import_rows(each, (kind,)).rows for each in (public, path))
        assert [_said(row) for row in nested] == [_said(row) for row in joined]


def _said(row: Demonstration | Comparison) -> Any:
    return row.messages if isinstance(row, Demonstration) else (row.prompt, row.completions, row.ranks)

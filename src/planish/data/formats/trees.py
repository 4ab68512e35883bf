"""OpenAssistant's message trees (Koepf et al. 2023): a demonstration each, and comparisons of ranked replies."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

from planish.data.fields import child, children, fields, has, optional_number, text
from planish.data.formats.registry import importer
from planish.data.formats.turns import role_of
from planish.data.readers import Record
from planish.data.rows import Demonstration, Dropped, Message, Role

OASST_ROLES: dict[str, Role] = {"prompter": "user", "assistant": "assistant"}


def _is_tree(value: Any) -> bool:
    """An OpenAssistant tree, or its first message alone."""
    return has(("replies",), value["prompt"] if has(("prompt",), value) else value)


@importer("oasst", Demonstration, recognised_by=_is_tree)
def oasst(record: Record) -> Iterator[Demonstration | Dropped]:
    """The best path through an OpenAssistant tree: at each level the reply that people ranked first.

    Unranked siblings come after ranked ones, in the order of the file. Deleted messages and those that failed review
    are never followed. The path ends with its last assistant turn.
    """
    found: list[Message] = []
    node = _best([child(record, "prompt") if "prompt" in fields(record) else record])
    while node is not None:
        found.append(Message(role_of(node, "role", OASST_ROLES), text(node, "text")))
        node = _best(children(node, "replies"))
    while found and found[-1].role != "assistant":
        found.pop()
    row = Demonstration(tuple(found), record.origin)
    yield row if found else Dropped(record.origin, "no assistant reply that may be followed")


def _best(siblings: list[Record]) -> Record | None:
    ranks = ((optional_number(node, "rank"), node) for node in siblings if _may_be_followed(node))
    return min(ranks, key=lambda ranked: inf if ranked[0] is None else ranked[0], default=(None, None))[1]


def _may_be_followed(node: Record) -> bool:
    return not fields(node).get("deleted") and fields(node).get("review_result") is not False

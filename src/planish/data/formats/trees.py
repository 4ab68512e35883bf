"""OpenAssistant's message trees (Koepf et al. 2023): demonstrations, comparisons of ranked replies, and prompts.

A record is a nested tree, or, in flat exports, a message that names its parent. A message that is deleted, failed its
review, or is spam to most who labelled it is left out with all its replies, and listed; so is a tree that was aborted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from planish.data.fields import (
    called,
    child,
    children,
    fault,
    fields,
    has,
    is_list,
    is_object,
    optional_number,
    optional_text,
    refuse_half_characters,
    text,
)
from planish.data.files.readers import Record
from planish.data.formats.answers import compared, ranks_by
from planish.data.formats.notes import about, ignore_rest
from planish.data.formats.registry import importer
from planish.data.formats.turns import role_of
from planish.data.rows import About, Comparison, Demonstration, Dropped, Message, Prompt, Role

OASST_ROLES: dict[str, Role] = {"prompter": "user", "assistant": "assistant"}
USED = ("text", "role", "parent_id", "rank", "deleted", "review_result", "replies", "labels")
OF_THE_TREE = ("message_tree_id", "tree_state")
ENDED = ("aborted", "halted")  # how the states of trees begin that the makers gave up
FLAT = ("message_id", "parent_id", "message_tree_id", "role", "text")


@dataclass(frozen=True, slots=True)
class Node:
    """A message with the replies to it."""

    record: Record
    replies: list[Node] = field(default_factory=list["Node"])

    @property
    def message(self) -> Message:
        return Message(role_of(self.record, "role", OASST_ROLES), text(self.record, "text"))

    @property
    def rank(self) -> float | None:
        """Rank among its siblings, lowest is best. Some tables write NaN for no rank."""
        rank = optional_number(self.record, "rank")
        return None if rank is None or rank != rank else rank

    @property
    def fault(self) -> str | None:
        """The reason for which a message is left out; None if it is kept."""
        state = optional_text(self.record, "tree_state")
        if _flag(self.record, "deleted"):
            return "deleted"
        if _flag(self.record, "review_result") is False:
            return "rejected by its review"
        if _spam(fields(self.record).get("labels")):
            return "spam to most who labelled it"
        return f"of a tree whose state is {state}" if state.startswith(ENDED) else None

    @property
    def is_kept(self) -> bool:
        return self.fault is None

    @property
    def place(self) -> tuple[float, bool]:
        """Its place among its siblings: by rank, and of those without, reviewed ones first."""
        return inf if self.rank is None else self.rank, fields(self.record).get("review_result") is None

    @property
    def kept(self) -> list[Node]:
        """The replies that are kept."""
        return [reply for reply in self.replies if reply.is_kept]

    def left_out(self) -> Iterator[Node]:
        """The messages that are left out, each with its replies."""
        waiting: list[Node] = [self]
        while waiting:
            node = waiting.pop()
            if node.fault:
                yield node
            else:
                waiting += reversed(node.replies)

    def note_left_out(self) -> None:
        """Counts the messages that are left out among what no row holds."""
        for node in self.left_out():
            if node.record.ignored is not None:
                node.record.ignored.note(node.record.origin, f"messages ({node.fault})")


def _spam(labels: object) -> bool:
    """True if the mean of the labels "spam" is at least one half: an object by name, or, in flat exports, three lists."""
    value = labels.get("spam") if is_object(labels) else None
    if is_object(labels) and is_list(names := labels.get("name")) and is_list(values := labels.get("value")):
        value = dict(zip(names, values, strict=False)).get("spam")
    value = value.get("value") if is_object(value) else value
    return isinstance(value, int | float) and value >= 0.5


def _flag(record: Record, name: str) -> bool | None:
    value = fields(record).get(name)
    if value is not None and not isinstance(value, bool):  # a text "False" would count as true
        raise fault(child(record, name), f"found {called(value)}, expected true or false.")
    return value


def _is_tree(value: Any) -> bool:
    """An OpenAssistant tree, or only its first message."""
    return has(("replies",), value["prompt"] if has(("prompt",), value) else value)


def _is_flat(value: Any) -> bool:
    return has(FLAT, value) and not has(("replies",), value)


def gather_trees(records: Iterator[Record]) -> Iterator[Record]:
    """The trees of a flat export, in the order of their first messages. All messages are held in memory."""
    nodes: dict[str, Node] = {}
    for record in records:
        name = text(record, "message_id")
        if name in nodes:
            raise fault(child(record, "message_id"), f"{name!r} occurs twice, first in {nodes[name].record.origin}.")
        refuse_half_characters(record)
        nodes[name] = Node(record)
    roots = list(_joined(nodes))
    _refuse_circles(nodes, roots)
    for root in roots:
        yield Record(root, root.record.origin)


def _joined(nodes: dict[str, Node]) -> Iterator[Node]:
    """Adds each message to its parent's replies, and yields those without a parent."""
    roots: dict[str, Node] = {}
    for node in nodes.values():
        tree, parent = text(node.record, "message_tree_id"), optional_text(node.record, "parent_id")
        if not parent:
            if tree in roots:
                problem = f"the tree {tree!r} already has a first message, {roots[tree].record.origin}."
                raise fault(Record(None, node.record.origin, "parent_id"), f"missing, but {problem}")
            roots[tree] = node
            yield node
        elif parent not in nodes:
            raise fault(child(node.record, "parent_id"), f"{parent!r} is the message_id of no record here.")
        else:
            nodes[parent].replies.append(node)


def _refuse_circles(nodes: dict[str, Node], roots: list[Node]) -> None:
    reached: set[int] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        reached.add(id(node))
        waiting += node.replies
    for node in nodes.values():
        if id(node) not in reached:
            where = child(node.record, "parent_id")
            raise fault(where, "its parents lead to no first message: these messages form a circle.")


def _tree(record: Record) -> tuple[Node, About]:
    """The first message of a tree, and notes about the tree."""
    if isinstance(record.value, Node):
        root, more = record.value, {}
    else:
        inside = "prompt" in fields(record)
        root = _nested(child(record, "prompt") if inside else record)
        more = about(record, "prompt") if inside else {}
        if inside and (state := fields(record).get("tree_state")):
            root = replace(root, record=replace(root.record, value={"tree_state": state, **root.record.value}))
    return root, {**about(root.record, *USED), **more}


def _none_kept(root: Node, record: Record, reason: str) -> Dropped:
    """A tree that gives no row, with the first message that is left out."""
    first = next(root.left_out(), None)
    return Dropped(record.origin, f"{reason}: a message is {first.fault}" if first else reason)


def _nested(record: Record) -> Node:
    return Node(record, [_nested(reply) for reply in children(record, "replies")])


@importer("oasst_messages", Demonstration, recognized_by=_is_flat, gather=gather_trees)
@importer("oasst", Demonstration, recognized_by=_is_tree)
def best_path(record: Record) -> Iterator[Demonstration | Dropped]:
    """The best path through a tree: at each level the reply that people ranked first, up to the last assistant turn.

    Unranked siblings come after ranked ones, in the order of the file.
    """
    root, more = _tree(record)
    turns: list[Message] = []
    level = [root] if root.is_kept else []
    while level:
        best = min(level, key=lambda node: node.place)
        if best is not root:
            ignore_rest(best.record, *USED, *OF_THE_TREE)
        turns.append(best.message)
        level = best.kept
    while turns and turns[-1].role != "assistant":
        turns.pop()
    if turns:
        yield Demonstration(tuple(turns), record.origin, about=more)
        root.note_left_out()
    else:
        yield _none_kept(root, record, "no assistant reply is kept")


@importer("oasst_messages", Comparison)
@importer("oasst", Comparison)
def ranked_replies(record: Record) -> Iterator[Comparison | Dropped]:
    """A comparison for each message with two or more ranked assistant replies.

    Replies without a rank are left out, and so are ranked prompts: they were judged as questions, not answers.
    """
    root, more = _tree(record)
    comparisons = 0
    waiting: list[tuple[Node, tuple[Message, ...]]] = [(root, ())] if root.is_kept else []
    while waiting:
        node, before = waiting.pop()
        prompt = (*before, node.message)
        ranked = [(reply, reply.rank) for reply in node.kept if reply.rank is not None]
        ranked = [(reply.message, rank) for reply, rank in ranked if reply.message.role == "assistant"]
        if len(ranked) >= 2:
            comparisons += 1
            replies, ranks = zip(*ranked, strict=True)
            parent = {"parent_id": text(node.record, "message_id")} if has(("message_id",), node.record.value) else {}
            yield compared(node.record, prompt, replies, ranks_by(ranks), about={**more, **parent})
        waiting += [(reply, prompt) for reply in reversed(node.kept)]
    if comparisons:
        root.note_left_out()
    else:
        yield _none_kept(root, record, "no two ranked assistant replies to the same message")


@importer("oasst_messages", Prompt)
@importer("oasst", Prompt)
def first_prompt(record: Record) -> Iterator[Prompt | Dropped]:
    """The first message of each tree."""
    root, more = _tree(record)
    message = root.message
    if message.role != "user":
        yield Dropped(record.origin, "the tree begins with the assistant")
    elif not root.is_kept:
        yield Dropped(record.origin, f"the first message is {root.fault}")
    else:
        yield Prompt((message,), record.origin, about=more)

"""Importers: what each known format of training data means, as typed rows.

A new format is one small function here, from a record to rows. A record that gives no row yields a `Dropped` with the
reason; one that does not fit its format is an error that names file, row and field. Nothing is lost in silence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from math import inf
from pathlib import Path
from typing import Any

from planish.base.errors import DataError
from planish.data.fields import (
    as_text,
    called,
    cells,
    child,
    children,
    either,
    fault,
    fields,
    has,
    is_list,
    is_object,
    items,
    optional_number,
    optional_text,
    text,
)
from planish.data.readers import Record, read
from planish.data.rows import Demonstration, Dropped, Message, Origin, Role, Row, Rows, Text

Importer = Callable[[Record], Iterator[Row | Dropped]]
Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Format:
    name: str
    importer: Importer
    recognises: Test


FORMATS: dict[str, Format] = {}

CHAT_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
SHAREGPT_ROLES: dict[str, Role] = {**CHAT_ROLES, "human": "user", "gpt": "assistant", "observation": "tool"}
SHAREGPT_ROLES["function_call"] = "assistant"  # a call is what the assistant writes
OASST_ROLES: dict[str, Role] = {"prompter": "user", "assistant": "assistant"}


def importer(name: str, recognised_by: tuple[str, ...] | Test) -> Callable[[Importer], Importer]:
    """Adds a format to the list. It is recognised by fields a record must have, or by a test of the record's value."""
    recognises = partial(has, recognised_by) if isinstance(recognised_by, tuple) else recognised_by

    def register(function: Importer) -> Importer:
        FORMATS[name] = Format(name, function, recognises)
        return function

    return register


def import_rows(path: str | Path, format: str = "auto") -> Rows:
    """All rows of a file, folder, package or hub dataset, with what was left out of it and why."""
    rows = Rows()
    for row in stream_rows(path, format):
        if isinstance(row, Dropped):
            rows.dropped.append(row)
        else:
            rows.rows.append(row)
    return rows


def stream_rows(path: str | Path, format: str = "auto") -> Iterator[Row | Dropped]:
    """The rows one by one. With "auto" the first record tells the format of them all."""
    if format != "auto" and format not in FORMATS:
        raise DataError(f"{path}: unknown format {format!r}. Set `format` to auto or one of {', '.join(FORMATS)}.")
    records = read(path, cells=format == "flan_cot")
    first = next(records)
    chosen = recognise(first) if format == "auto" else FORMATS[format]
    for record in chain([first], records):
        try:
            yield from chosen.importer(record)
        except DataError as error:
            raise DataError(f"{error} It was read as {chosen.name}; set `format` if that is wrong.") from error


def recognise(record: Record) -> Format:
    """The one format a record fits. None or several is an error, never a guess."""
    value = record.value
    found = f"the fields {', '.join(value)}" if is_object(value) else called(value)
    choice = f"Set `format` to one of {', '.join(FORMATS)}."
    if judged := _judged(value):
        raise DataError(
            f"{record.origin}, field {judged}: found preference data ({found}), whose answers need not be good. "
            f"To imitate them all the same, name the format. {choice}"
        )
    fitting = [format for format in FORMATS.values() if format.recognises(value)]
    if len(fitting) > 1:  # several sets keep a rendered copy of the conversation in `text`
        fitting = [format for format in fitting if format.name != "text"]
    if len(fitting) != 1:
        names = " and ".join(format.name for format in fitting) or "no known format"
        raise DataError(f"{record.origin}: found {found}, which fits {names}. {choice}")
    return fitting[0]


# What a value looks like


def _judged(value: object) -> str | None:
    """The field that makes this preference data. A label that is not true or false may label anything."""
    if is_object(value) and isinstance(value.get("label"), bool):
        return "label"
    return next((name for name in ("chosen", "rejected") if has((name,), value)), None)


def _is_tree(value: Any) -> bool:
    """An OpenAssistant tree, or its first message alone."""
    return has(("replies",), value["prompt"] if has(("prompt",), value) else value)


def _is_prompted(value: object) -> bool:
    return has(("prompt", "completion"), value) or has(("prompt", "response"), value)


def _is_document(value: object) -> bool:
    """A message has a text as well, but belongs to a conversation."""
    return isinstance(value, str) or (has(("text",), value) and not has(("role",), value))


def _are_talks(kind: type | tuple[type, ...], value: object) -> bool:
    """Whether `conversations` starts with a value of this kind: one turn, or a whole conversation."""
    talks = value.get("conversations") if is_object(value) else None
    return is_list(talks) and isinstance(next(iter(talks), None), kind)


def _is_chitchat(value: object) -> bool:
    return is_object(value) and bool(value) and all(has(("messages",), talk) for talk in value.values())


# The formats


@importer("alpaca", recognised_by=("instruction", "output"))
def alpaca(record: Record) -> Iterator[Row]:
    """`input` follows the instruction after a blank line. `history` holds earlier [question, answer] pairs."""
    messages = _opening(record)
    for pair in children(record, "history") if fields(record).get("history") else []:
        question, answer = cells(pair, 2)
        messages += [Message("user", question), Message("assistant", answer)]
    given = optional_text(record, "input")
    messages.append(Message("user", text(record, "instruction") + (f"\n\n{given}" if given else "")))
    messages.append(Message("assistant", text(record, "output")))
    yield Demonstration(tuple(messages), record.origin)


@importer("messages", recognised_by=("messages",))
def messages(record: Record) -> Iterator[Row | Dropped]:
    """Chat messages {role, content}. An assistant turn with `loss_weight` 0 is read but not trained."""
    found = chat_turns(record)
    row = _conversation(record, "messages", found)
    trained = any(message.role == "assistant" and message.trained for message in found)
    yield row if trained else Dropped(record.origin, "every assistant turn has loss_weight 0")


@importer("sharegpt", recognised_by=partial(_are_talks, dict))
def sharegpt(record: Record) -> Iterator[Row]:
    """Turns {from, value}. An `observation` is what a tool replied to a `function_call`."""
    found = _opening(record)
    for turn in children(record, "conversations"):
        found.append(Message(_role(turn, "from", SHAREGPT_ROLES), text(turn, "value")))
    yield _conversation(record, "conversations", found)


@importer("oasst", recognised_by=_is_tree)
def oasst(record: Record) -> Iterator[Row | Dropped]:
    """The best path through an OpenAssistant tree: at each level the reply that people ranked first.

    Unranked siblings come after ranked ones, in the order of the file. Deleted messages and those that failed review
    are never followed. The path ends with its last assistant turn.
    """
    found: list[Message] = []
    node = _best([child(record, "prompt") if "prompt" in fields(record) else record])
    while node is not None:
        found.append(Message(_role(node, "role", OASST_ROLES), text(node, "text")))
        node = _best(children(node, "replies"))
    while found and found[-1].role != "assistant":
        found.pop()
    row = Demonstration(tuple(found), record.origin)
    yield row if found else Dropped(record.origin, "no assistant reply that may be followed")


@importer("flan_cot", recognised_by=lambda value: is_list(value) and len(value) == 3)
def flan_cot(record: Record) -> Iterator[Row]:
    r"""Cells input, answer, rationale; the two characters `\n` in them stand for a newline.

    The assistant gives the rationale, then on a line of its own: "So the answer is {answer}."
    """
    question, answer, rationale = (cell.replace("\\n", "\n") for cell in cells(record, 3))
    said = f"{rationale}\nSo the answer is {answer}."
    yield Demonstration((Message("user", question), Message("assistant", said)), record.origin)


@importer("prompt_completion", recognised_by=_is_prompted)
def prompt_completion(record: Record) -> Iterator[Row]:
    """One prompt with its completion, or `response`.

    T0 files end each completion in an end-of-text marker. It is removed: the chat template writes its own end of turn.
    """
    completion = either(record, "completion", "response")
    said = as_text(completion)
    said = said.removesuffix("</s>" if said.endswith("</s>") else "<|endoftext|>")
    if not said.strip():
        raise fault(completion, "is an end-of-text marker alone; expected a text before it.")
    turns = Message("user", text(record, "prompt")), Message("assistant", said)
    yield Demonstration((*_opening(record), *turns), record.origin)


@importer("text", recognised_by=_is_document)
def document(record: Record) -> Iterator[Row]:
    """A document for pretraining: a text file as a whole, or the field `text`."""
    yield Text(as_text(record if isinstance(record.value, str) else child(record, "text")), record.origin)


@importer("chatterbot", recognised_by=partial(_are_talks, (list, str)))
def chatterbot(record: Record) -> Iterator[Row | Dropped]:
    """Lists of utterances, user and assistant in turn. An unanswered one at the end stays; it is never trained."""
    for number, talk in enumerate(children(record, "conversations"), start=1):
        origin = Origin(record.origin.file, number)
        said = [talk] if isinstance(talk.value, str) else items(talk)
        if len(said) < 2:
            yield Dropped(origin, "a single utterance, without an answer")
        else:
            turns = (Message("assistant" if at % 2 else "user", as_text(part)) for at, part in enumerate(said))
            yield Demonstration(tuple(turns), origin)


@importer("chitchat", recognised_by=_is_chitchat)
def chitchat(record: Record) -> Iterator[Row | Dropped]:
    """One object from id to conversation between two people; who speaks first is the user.

    What one of them writes in a row is one turn, each utterance on its own line.
    """
    for number, key in enumerate(fields(record), start=1):
        origin = Origin(record.origin.file, number)
        utterances = [part for turn in children(child(record, key), "messages") for part in items(turn)]
        turns = [
            (sender, "\n".join(as_text(child(part, "text"), blank=True) for part in said))
            for sender, said in groupby(utterances, key=lambda part: text(part, "sender"))
        ]
        senders = list(dict(turns))
        if len(senders) != 2:
            yield Dropped(origin, f"speakers: found {len(senders)}, expected 2")
        elif not all(said.strip() for _, said in turns):
            yield Dropped(origin, "a turn is blank")
        else:
            roles: dict[str, Role] = {senders[0]: "user", senders[1]: "assistant"}
            yield Demonstration(tuple(Message(roles[sender], said) for sender, said in turns), origin)


# Parts that formats share


def chat_turns(record: Record) -> list[Message]:
    """The messages of a record with the field `messages`, after its system turn."""
    found = _opening(record)
    for turn in children(record, "messages"):
        if fields(turn).get("tool_calls"):
            raise fault(child(turn, "tool_calls"), "calls beside the content cannot be trained. Write them into it.")
        role = _role(turn, "role", CHAT_ROLES)
        found.append(Message(role, _content(turn), _is_trained(turn, role)))
    return found


def _opening(record: Record) -> list[Message]:
    """The system turn, from the fields `system` and `tools` where a record has them. Tools stay in their own words."""
    tools = fields(record).get("tools") or ""
    given = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)
    parts = [part for part in (optional_text(record, "system"), given) if part and part != "[]"]
    return [Message("system", "\n\n".join(parts))] if parts else []


def _conversation(record: Record, name: str, found: list[Message]) -> Demonstration:
    if all(message.role != "assistant" for message in found):
        raise fault(child(record, name), "no assistant turn, so there is nothing to imitate.")
    return Demonstration(tuple(found), record.origin)


def _content(turn: Record) -> str:
    content = child(turn, "content")
    return "".join(map(_text_part, items(content))) if isinstance(content.value, list) else as_text(content)


def _text_part(part: Record) -> str:
    if text(part, "type") != "text":
        raise fault(child(part, "type"), f"found {part.value['type']!r}, expected 'text': only text can be trained.")
    return as_text(either(part, "text", "value"))


def _is_trained(turn: Record, role: Role) -> bool:
    weight = optional_number(turn, "loss_weight")
    if weight not in ((None, 0, 1) if role == "assistant" else (None, 0)):
        expected = "0 or 1" if role == "assistant" else "0, because only assistant turns are trained"
        raise fault(child(turn, "loss_weight"), f"found {weight} on a turn of the {role}, expected {expected}.")
    return weight != 0


def _role(turn: Record, name: str, roles: dict[str, Role]) -> Role:
    said = text(turn, name)
    if said not in roles:
        raise fault(child(turn, name), f"unknown role {said!r}; expected one of {', '.join(roles)}.")
    return roles[said]


def _best(siblings: list[Record]) -> Record | None:
    ranks = ((optional_number(node, "rank"), node) for node in siblings if _may_be_followed(node))
    return min(ranks, key=lambda ranked: inf if ranked[0] is None else ranked[0], default=(None, None))[1]


def _may_be_followed(node: Record) -> bool:
    return not fields(node).get("deleted") and fields(node).get("review_result") is not False

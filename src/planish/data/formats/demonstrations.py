"""Formats of demonstrations and documents: conversations to imitate, text to learn."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import groupby

from planish.data.fields import (
    as_text,
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
    optional_text,
    text,
)
from planish.data.formats.registry import importer
from planish.data.formats.turns import SHAREGPT_ROLES, chat_turns, conversation, role_of, system_turn
from planish.data.readers import Record
from planish.data.rows import Demonstration, Dropped, Message, Origin, Role, Text


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


@importer("alpaca", Demonstration, recognised_by=("instruction", "output"))
def alpaca(record: Record) -> Iterator[Demonstration]:
    """`input` follows the instruction after a blank line. `history` holds earlier [question, answer] pairs."""
    messages = system_turn(record)
    for pair in children(record, "history") if fields(record).get("history") else []:
        question, answer = cells(pair, 2)
        messages += [Message("user", question), Message("assistant", answer)]
    given = optional_text(record, "input")
    messages.append(Message("user", text(record, "instruction") + (f"\n\n{given}" if given else "")))
    messages.append(Message("assistant", text(record, "output")))
    yield Demonstration(tuple(messages), record.origin)


@importer("messages", Demonstration, recognised_by=("messages",))
def messages(record: Record) -> Iterator[Demonstration | Dropped]:
    """Chat messages {role, content}. An assistant turn with `loss_weight` 0 is read but not trained."""
    found = chat_turns(record)
    row = conversation(record, "messages", found)
    trained = any(message.role == "assistant" and message.trained for message in found)
    yield row if trained else Dropped(record.origin, "every assistant turn has loss_weight 0")


@importer("sharegpt", Demonstration, recognised_by=partial(_are_talks, dict))
def sharegpt(record: Record) -> Iterator[Demonstration]:
    """Turns {from, value}. An `observation` is what a tool replied to a `function_call`."""
    found = system_turn(record)
    for turn in children(record, "conversations"):
        found.append(Message(role_of(turn, "from", SHAREGPT_ROLES), text(turn, "value")))
    yield conversation(record, "conversations", found)


@importer("flan_cot", Demonstration, recognised_by=lambda value: is_list(value) and len(value) == 3)
def flan_cot(record: Record) -> Iterator[Demonstration]:
    r"""Cells input, answer, rationale; the two characters `\n` in them stand for a newline.

    The assistant gives the rationale, then on a line of its own: "So the answer is {answer}."
    """
    question, answer, rationale = (cell.replace("\\n", "\n") for cell in cells(record, 3))
    said = f"{rationale}\nSo the answer is {answer}."
    yield Demonstration((Message("user", question), Message("assistant", said)), record.origin)


@importer("prompt_completion", Demonstration, recognised_by=_is_prompted)
def prompt_completion(record: Record) -> Iterator[Demonstration]:
    """One prompt with its completion, or `response`.

    T0 files end each completion in an end-of-text marker. It is removed: the chat template writes its own end of turn.
    """
    completion = either(record, "completion", "response")
    said = as_text(completion)
    said = said.removesuffix("</s>" if said.endswith("</s>") else "<|endoftext|>")
    if not said.strip():
        raise fault(completion, "is an end-of-text marker alone; expected a text before it.")
    turns = Message("user", text(record, "prompt")), Message("assistant", said)
    yield Demonstration((*system_turn(record), *turns), record.origin)


@importer("text", Text, recognised_by=_is_document)
def document(record: Record) -> Iterator[Text]:
    """A document for pretraining: a text file as a whole, or the field `text`."""
    yield Text(as_text(record if isinstance(record.value, str) else child(record, "text")), record.origin)


@importer("chatterbot", Demonstration, recognised_by=partial(_are_talks, (list, str)))
def chatterbot(record: Record) -> Iterator[Demonstration | Dropped]:
    """Lists of utterances, user and assistant in turn. An unanswered one at the end stays; it is never trained."""
    for number, talk in enumerate(children(record, "conversations"), start=1):
        origin = Origin(record.origin.file, number)
        said = [talk] if isinstance(talk.value, str) else items(talk)
        if len(said) < 2:
            yield Dropped(origin, "a single utterance, without an answer")
        else:
            turns = (Message("assistant" if at % 2 else "user", as_text(part)) for at, part in enumerate(said))
            yield Demonstration(tuple(turns), origin)


@importer("chitchat", Demonstration, recognised_by=_is_chitchat)
def chitchat(record: Record) -> Iterator[Demonstration | Dropped]:
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

"""Formats of conversations that are no lists of {role, content}: texts in turn, pairs, a transcript, a question with calls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from planish.data.fields import as_text, child, children, fault, first_of, has, is_list, is_object, optional_text, text
from planish.data.files.readers import Record
from planish.data.formats.names import exchange
from planish.data.formats.notes import CHAT, about, account_turn
from planish.data.formats.registry import importer
from planish.data.formats.tools import calls_of, tools_of
from planish.data.formats.turns import system_turn
from planish.data.rows import Demonstration, Dropped, Message, Role

GLAIVE_ROLES: dict[str, Role] = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}
GLAIVE_TURN = re.compile(r"(?:^|\n{2,})\s*(USER|ASSISTANT|FUNCTION RESPONSE): ?")
GLAIVE_END = "<|endoftext|>"


def _are_texts(value: object) -> bool:
    said = value.get("conversations") if is_object(value) else None
    return is_list(said) and bool(said) and all(isinstance(part, str) for part in said)


@importer("utterances", Demonstration, recognized_by=_are_texts, over=("chatterbot",))
def utterances(record: Record) -> Iterator[Demonstration | Dropped]:
    """A conversation as a list of texts, user and assistant in turn (LIMA, UltraChat). A last one without an answer is kept,
    but not learnt."""
    said = children(record, "conversations")
    if len(said) < 2:
        yield Dropped(record.origin, "a single utterance, without an answer")
        return
    turns = [Message("assistant" if at % 2 else "user", as_text(part)) for at, part in enumerate(said)]
    more = about(record, "conversations", *CHAT)
    yield Demonstration((*system_turn(record), *turns), record.origin, tools_of(record), more)


@importer(
    "exchanges",
    Demonstration,
    recognized_by=lambda value: exchange(first_of(value, "conversations")) is not None,
    over=("sharegpt",),
)
def exchanges(record: Record) -> Iterator[Demonstration]:
    """A conversation as a list of questions with their answers: {input, output} (Capybara), {human, assistant} (MOSS)."""
    turns: list[Message] = []
    for pair in children(record, "conversations"):
        names = exchange(pair.value)
        if names is None:
            raise fault(pair, "expected a question and its answer, as in the first of the list.")
        account_turn(pair, *names)
        turns += [Message("user", text(pair, names[0])), Message("assistant", text(pair, names[1]))]
    more = about(record, "conversations", *CHAT)
    yield Demonstration((*system_turn(record), *turns), record.origin, tools_of(record), more)


@importer("xlam", Demonstration, recognized_by=("query", "tools", "answers"))
def xlam(record: Record) -> Iterator[Demonstration | Dropped]:
    """A question with the functions that may be called, and the calls that answer it, both as lists or their JSON (Liu et al.
    2024)."""
    calls = calls_of(replace(record, value={"tool_calls": child(record, "answers").value}))
    if not calls:
        yield Dropped(record.origin, "answers: no function is called")
        return
    turns = (*system_turn(record), Message("user", text(record, "query")), Message("assistant", "", tool_calls=calls))
    yield Demonstration(turns, record.origin, tools_of(record), about(record, "query", "answers", *CHAT))


@importer(
    "glaive",
    Demonstration,
    recognized_by=lambda value: (
        has(("chat",), value) and is_object(value) and str(value["chat"]).lstrip().startswith("USER:")
    ),
)
def glaive(record: Record) -> Iterator[Demonstration | Dropped]:
    """Glaive's function calling: `chat` is a transcript of USER, ASSISTANT and FUNCTION RESPONSE, and `system` describes the
    functions in words. Calls stay the words that they are."""
    chat = child(record, "chat")
    before, *parts = GLAIVE_TURN.split(as_text(chat).strip())
    if before.strip():
        raise fault(chat, f"begins with {before[:20]!r}, expected 'USER: '.")
    said = [part.replace(GLAIVE_END, "").strip() for part in parts[1::2]]
    turns = [Message(GLAIVE_ROLES[name], words) for name, words in zip(parts[::2], said, strict=True)]
    if any(one.role == other.role == "assistant" for one, other in pairwise(turns)):
        yield Dropped(record.origin, "two turns of the assistant in a row")
    elif not all(turn.content or turn.role == "tool" for turn in turns):
        yield Dropped(record.origin, "a turn is empty")
    elif all(turn.role != "assistant" for turn in turns):
        yield Dropped(record.origin, "no answer of the assistant")
    else:
        system = optional_text(record, "system").removeprefix("SYSTEM:").strip()
        first = [Message("system", system)] if system else []
        yield Demonstration((*first, *turns), record.origin, about=about(record, "chat", "system"))

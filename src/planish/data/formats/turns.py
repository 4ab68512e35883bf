"""Parts shared by formats: roles, turns, and notes beside the texts of a record."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from planish.data.fields import (
    as_text,
    child,
    children,
    either,
    fault,
    fields,
    is_object,
    items,
    optional_number,
    optional_text,
    text,
)
from planish.data.files.readers import Record
from planish.data.formats.tools import calls_of, tools_of, tools_text
from planish.data.rows import About, Demonstration, Message, Role

CHAT_ROLES: dict[str, Role] = {
    **{"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"},
    **{"developer": "system", "function": "tool"},  # OpenAI's newer and older names
}
SHAREGPT_ROLES: dict[str, Role] = {
    **CHAT_ROLES,
    **{"human": "user", "gpt": "assistant", "observation": "tool"},
    "function_call": "assistant",  # the assistant writes calls
}
MAY_BE_BLANK: tuple[Role, ...] = ("system", "tool")  # no instructions; a function that returns nothing

PLAIN = {"role", "content"}
SHORT = 200  # characters: a longer text is content, not a note about the record
WEIGHTS = ("loss_weight", "weight", "train")  # names of the field that leaves a turn out of the loss
# Fields of a turn with content beside its text. A row cannot hold them, and they must not be lost silently.
CONTENT = ("reasoning_content", "reasoning", "thinking", "thought", "refusal", "tools", "functions")
MEDIA = ("image", "images", "audio", "audios", "video", "videos")


def chat_turns(record: Record) -> list[Message]:
    """The messages of a record with the field `messages`, after its system turn."""
    turns = system_turn(record)
    for turn in children(record, "messages"):
        if is_object(turn.value) and turn.value.keys() == PLAIN:  # by far the most common, with nothing else to check
            role = role_of(turn, "role", CHAT_ROLES)
            turns.append(Message(role, content_of(turn, blank=role in MAY_BE_BLANK)))
            continue
        role = role_of(turn, "role", CHAT_ROLES)
        calls = calls_of(turn)
        if calls and role != "assistant":
            raise fault(turn, f"calls a function in a turn of the {role}; only the assistant can call functions.")
        refuse_what_would_be_lost(turn, "role", "content", "tool_calls", "function_call", *WEIGHTS)
        blank = bool(calls) or role in MAY_BE_BLANK
        turns.append(Message(role, content_of(turn, blank=blank), _is_trained(turn, role), calls))
    return turns


def system_turn(record: Record) -> list[Message]:
    """The system turn, from the field `system`, and from `tools` if they are described in words."""
    refuse_what_would_be_lost(record, names=MEDIA)
    parts = [part for part in (optional_text(record, "system"), tools_text(record)) if part]
    return [Message("system", "\n\n".join(parts))] if parts else []


def conversation(record: Record, name: str, messages: list[Message]) -> Demonstration:
    """A demonstration of `messages`, the turns in the field `name`, maybe after a system turn from elsewhere.

    The assistant may speak first, and a user twice. Two turns of the assistant in a row are an error: after the first, a
    server never lets the model speak again.
    """
    if all(message.role != "assistant" for message in messages):
        raise fault(child(record, name), "no assistant turn, so there is nothing to imitate.")
    turns = children(record, name)
    for at, (earlier, later) in enumerate(pairwise(messages), start=1 - len(messages)):
        if earlier.role == later.role == "assistant":
            raise fault(turns[at], "a second turn of the assistant in a row. Join them, or add the turn between.")
    return Demonstration(tuple(messages), record.origin, tools_of(record), about(record, name, "system", "tools"))


def content_of(turn: Record, *, blank: bool = False) -> str:
    """The text of a message, whole or in parts. It may be absent only if `blank` is set."""
    value = fields(turn).get("content")
    if value is None and blank:
        return ""
    content = child(turn, "content")
    return "".join(map(_text_part, items(content))) if isinstance(value, list) else as_text(content, blank=blank)


def _text_part(part: Record) -> str:
    if text(part, "type") != "text":
        raise fault(child(part, "type"), f"found {part.value['type']!r}, expected 'text': only text can be trained.")
    return as_text(either(part, "text", "value"))


def refuse_what_would_be_lost(record: Record, *used: str, names: tuple[str, ...] = CONTENT + MEDIA) -> None:
    """Raises for a field whose content a row cannot hold. Notes (a name, an id, a date) pass."""
    for name, value in fields(record).items():
        too_long = names is not MEDIA and isinstance(value, str) and len(value) > SHORT
        if name not in used and (name in names or too_long) and value:
            raise fault(
                Record(value, record.origin, f"{record.field}.{name}" if record.field else name),
                "holds content that a row cannot hold, so it would be lost. Write it into the text, or remove it.",
            )


def _is_trained(turn: Record, role: Role) -> bool:
    name = next((name for name in WEIGHTS if fields(turn).get(name) is not None), WEIGHTS[0])
    weight = optional_number(turn, name)
    if weight not in ((None, 0, 1) if role == "assistant" else (None, 0)):
        expected = "0 or 1" if role == "assistant" else "0, because only assistant turns are trained"
        raise fault(child(turn, name), f"found {weight} on a turn of the {role}, expected {expected}.")
    return weight != 0


def role_of(turn: Record, name: str, roles: dict[str, Role]) -> Role:
    role = text(turn, name)
    if role not in roles:
        raise fault(child(turn, name), f"unknown role {role!r}; expected one of {', '.join(roles)}.")
    return roles[role]


def about(record: Record, *used: str) -> About:
    """Notes from the fields that were not `used`: short texts, numbers and truth values."""
    stated = _stated(fields(record).get("about"))
    names = (*used, "about") if stated else used
    rest = {name: value for name, value in fields(record).items() if name not in names}
    short = {
        name: value
        for name, value in rest.items()
        if isinstance(value, int | float) or (isinstance(value, str) and 0 < len(value) <= SHORT)
    }
    return {**short, **stated}


def _stated(value: object) -> dict[str, Any]:
    """The `about` of a converted file: an object, or its JSON text in a columnar file."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return {name: v for name, v in value.items() if isinstance(v, str | int | float)} if is_object(value) else {}

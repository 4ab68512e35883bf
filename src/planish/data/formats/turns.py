"""The one parser of turns, for all formats: roles, texts, calls, and which turns are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from planish.data.fields import (
    as_text,
    child,
    children,
    either,
    fault,
    fields,
    first_filled,
    has,
    is_list,
    is_object,
    items,
    optional_number,
    optional_text,
    text,
)
from planish.data.files.readers import Record
from planish.data.formats.notes import CHAT, MEDIA, SYSTEM, about, account_turn, lost
from planish.data.formats.tools import calls_in, calls_of, tools_of, tools_text
from planish.data.rows import Demonstration, Dropped, Message, Role

ROLES: dict[str, Role] = {
    **{"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"},
    **{"developer": "system", "function": "tool"},  # OpenAI's newer and older names
    **{"human": "user", "gpt": "assistant", "observation": "tool", "function_call": "assistant"},  # ShareGPT's
}
MAY_BE_BLANK: tuple[Role, ...] = ("system", "tool")  # no instructions; a function that returns nothing

PLAIN = {"role", "content"}
CALLS = ("tool_calls", "function_call")
TURN_WEIGHTS = ("loss_weight", "weight", "train")  # names of the field that leaves a turn out of the loss
OF_A_REPLY = ("name", "tool_call_id")  # fields that say which call a tool answers


def turns_of(record: Record, role: Role) -> list[Message]:
    """One turn of `role` from a text, one turn from a message, or several from a list of messages."""
    if is_list(record.value):
        turns = items(record)
        messages = [turn_of(turn) for turn in turns]
        _refuse_other_order(turns)
        return messages
    return [turn_of(record)] if is_object(record.value) else [Message(role, as_text(record))]


def turn_of(turn: Record, *, may_be_blank: bool = False) -> Message:
    """A turn {role, content} or {from, value}, with its calls. `may_be_blank` allows an answer of no words."""
    if is_object(turn.value) and turn.value.keys() == PLAIN:  # by far the most common, with nothing else to check
        role = role_of(turn, "role")
        if turn.value["role"] != "function_call":
            return Message(role, content_of(turn, "content", blank=may_be_blank or role in MAY_BE_BLANK))
    speaker, content = ("from", "value") if has(("from",), turn.value) else ("role", "content")
    role, calls = role_of(turn, speaker), calls_of(turn)
    if calls and role != "assistant":
        raise fault(turn, f"calls a function in a turn of the {role}; only the assistant can call functions.")
    account_turn(turn, speaker, content, *CALLS, *TURN_WEIGHTS, *(OF_A_REPLY if role == "tool" else ()))
    words = content_of(turn, content, blank=may_be_blank or bool(calls) or role in MAY_BE_BLANK)
    if not calls and fields(turn)[speaker] == "function_call" and (calls := calls_in(turn.inside(words, content))):
        words = ""
    return Message(role, words, _is_trained(turn, role), calls)


def system_turn(record: Record) -> list[Message]:
    """The system turn, from one of the fields SYSTEM, and from the tools if they are described in words."""
    for name in MEDIA:
        if fields(record).get(name):
            raise lost(record, name)
    stated = [name for name in SYSTEM if optional_text(record, name)]
    if len({text(record, name) for name in stated}) > 1:
        raise fault(child(record, stated[1]), f"differs from `{stated[0]}`; expected one system prompt. Join them.")
    parts = [part for part in (*(text(record, name) for name in stated[:1]), tools_text(record)) if part]
    return [Message("system", "\n\n".join(parts))] if parts else []


def conversation(record: Record, name: str) -> Demonstration | Dropped:
    """A demonstration of the turns in the field `name`, after the system turn of the record.

    The assistant may speak first, and a user twice. Two turns of the assistant in a row are an error: after the first, a
    server never lets the model speak again. `ended` beside the turns means that the last one is what a model said, and may
    be empty.
    """
    turns, before = children(record, name), system_turn(record)
    ended = fields(record).get("ended") is True
    messages = [turn_of(turn, may_be_blank=ended and turn is turns[-1]) for turn in turns]
    answers = [message for message in messages if message.role == "assistant"]
    if not answers:
        raise fault(child(record, name), "no assistant turn, so there is nothing to imitate.")
    for turn, (earlier, later) in zip(turns[1:], pairwise(messages), strict=True):
        if earlier.role == later.role == "assistant":
            raise fault(turn, "a second turn of the assistant in a row. Join them, or add the turn between.")
    _refuse_other_order(turns)
    if not any(answer.trained for answer in answers):
        return Dropped(record.origin, "every assistant turn has loss_weight 0")
    return Demonstration((*before, *messages), record.origin, tools_of(record), about(record, name, *CHAT))


def content_of(turn: Record, name: str, *, blank: bool = False) -> str:
    """The text of a turn, whole or in parts. It may be absent only if `blank` is set."""
    value = fields(turn).get(name)
    if value is None and blank:
        return ""
    content = child(turn, name)
    return "".join(map(_text_part, items(content))) if isinstance(value, list) else as_text(content, blank=blank)


def _text_part(part: Record) -> str:
    if text(part, "type") != "text":
        raise fault(child(part, "type"), f"found {part.value['type']!r}, expected 'text': only text can be trained.")
    account_turn(part, "type", "text", "value")
    return as_text(either(part, "text", "value"))


def _is_trained(turn: Record, role: Role) -> bool:
    name = first_filled(turn, TURN_WEIGHTS)
    if name is None:
        return True
    weight = optional_number(turn, name)
    if weight not in ((0, 1) if role == "assistant" else (0,)):
        expected = "0 or 1" if role == "assistant" else "0, because only assistant turns are trained"
        raise fault(child(turn, name), f"found {weight} on a turn of the {role}, expected {expected}.")
    return weight != 0


def role_of(turn: Record, name: str, roles: dict[str, Role] = ROLES) -> Role:
    role = text(turn, name)
    if role not in roles:
        raise fault(child(turn, name), f"unknown role {role!r}; expected one of {', '.join(roles)}.")
    return roles[role]


def _refuse_other_order(turns: Sequence[Record]) -> None:
    """Raises where replies name their calls in another order than the calls were made: a row links them by their order."""
    waiting: list[str] = []
    for turn in turns:
        called = fields(turn).get("tool_calls")
        if is_list(called):
            waiting = [str(call.get("id")) for call in called if is_object(call)]
        answered = fields(turn).get("tool_call_id")
        if answered in waiting:
            if answered != waiting[0]:
                raise fault(
                    child(turn, "tool_call_id"),
                    f"answers the call {answered!r} before {waiting[0]!r}. Put the replies in the order of the calls.",
                )
            waiting.pop(0)

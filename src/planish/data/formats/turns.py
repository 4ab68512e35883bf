"""Parts that formats share: roles, turns, and what a record says beside its texts."""

from __future__ import annotations

import json

from planish.data.fields import (
    as_text,
    child,
    children,
    either,
    fault,
    fields,
    items,
    optional_number,
    optional_text,
    text,
)
from planish.data.readers import Record
from planish.data.rows import About, Demonstration, Message, Role

CHAT_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
SHAREGPT_ROLES: dict[str, Role] = {**CHAT_ROLES, "human": "user", "gpt": "assistant", "observation": "tool"}
SHAREGPT_ROLES["function_call"] = "assistant"  # a call is what the assistant writes


def chat_turns(record: Record) -> list[Message]:
    """The messages of a record with the field `messages`, after its system turn."""
    found = system_turn(record)
    for turn in children(record, "messages"):
        if fields(turn).get("tool_calls"):
            raise fault(child(turn, "tool_calls"), "calls beside the content cannot be trained. Write them into it.")
        role = role_of(turn, "role", CHAT_ROLES)
        found.append(Message(role, content_of(turn), _is_trained(turn, role)))
    return found


def system_turn(record: Record) -> list[Message]:
    """The system turn, from the fields `system` and `tools` where a record has them. Tools stay in their own words."""
    tools = fields(record).get("tools") or ""
    given = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)
    parts = [part for part in (optional_text(record, "system"), given) if part and part != "[]"]
    return [Message("system", "\n\n".join(parts))] if parts else []


def conversation(record: Record, name: str, found: list[Message]) -> Demonstration:
    if all(message.role != "assistant" for message in found):
        raise fault(child(record, name), "no assistant turn, so there is nothing to imitate.")
    return Demonstration(tuple(found), record.origin)


def content_of(turn: Record) -> str:
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


def role_of(turn: Record, name: str, roles: dict[str, Role]) -> Role:
    said = text(turn, name)
    if said not in roles:
        raise fault(child(turn, name), f"unknown role {said!r}; expected one of {', '.join(roles)}.")
    return roles[said]


def about(record: Record, *used: str) -> About:
    """What a record says beside the fields that were used: its short texts, numbers and truth values."""
    rest = {name: value for name, value in fields(record).items() if name not in used}
    return {
        name: value
        for name, value in rest.items()
        if isinstance(value, int | float) or (isinstance(value, str) and 0 < len(value) <= 200)
    }

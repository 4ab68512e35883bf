"""Parts shared by comparisons, judgements, prompts and questions: prompts, answers, ranks and scores."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isfinite
from typing import Any, TypeVar

from planish.data.fields import (
    as_text,
    called,
    child,
    fault,
    fields,
    has,
    is_list,
    is_object,
    items,
    optional_text,
    text,
)
from planish.data.files.readers import Record
from planish.data.formats.tools import calls_in, calls_of, tools_of
from planish.data.formats.turns import (
    CHAT_ROLES,
    MAY_BE_BLANK,
    SHAREGPT_ROLES,
    content_of,
    refuse_what_would_be_lost,
    role_of,
    system_turn,
)
from planish.data.rows import About, Comparison, Dropped, Message, Role

Choice = TypeVar("Choice")

SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")
PROMPT_FIELDS = ("prompt", "conversations", "messages", "question", "instruction")


def transcript(record: Record) -> list[Message]:
    r"""The turns of a text such as "\n\nHuman: Hi.\n\nAssistant: Hello.", unchanged; a turn may be empty."""
    before, *parts = SPEAKER.split(as_text(record))
    if before or not parts:
        raise fault(record, f"begins with {record.value[:20]!r}, expected '\\n\\nHuman: ' before the first turn.")
    roles: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}
    return [Message(roles[speaker], content) for speaker, content in zip(parts[::2], parts[1::2], strict=True)]


def is_transcript(value: object) -> bool:
    return isinstance(value, str) and value.startswith("\n\nHuman:")


def turns_of(record: Record, role: Role) -> list[Message]:
    """One turn of `role` from a text, one turn from a message, or several from a list of messages."""
    if is_list(record.value):
        return [_turn(item) for item in items(record)]
    return [_turn(record)] if is_object(record.value) else [Message(role, as_text(record))]


def _turn(record: Record) -> Message:
    if has(("from",), record.value):
        refuse_what_would_be_lost(record, "from", "value")
        content = text(record, "value")
        calls = calls_in(content) if text(record, "from") == "function_call" else ()
        return Message(role_of(record, "from", SHAREGPT_ROLES), "" if calls else content, tool_calls=calls)
    role, calls = role_of(record, "role", CHAT_ROLES), calls_of(record)
    refuse_what_would_be_lost(record, "role", "content", "tool_calls", "function_call")
    return Message(role, content_of(record, blank=bool(calls) or role in MAY_BE_BLANK), tool_calls=calls)


def prompt_of(record: Record, *, with_tools: bool = False) -> list[Message]:
    """The conversation up to the answer, after the system turn, from the first of PROMPT_FIELDS that a record has.

    The `input` of an instruction follows it after a blank line. A prompt may be a transcript that ends in "Assistant:".
    """
    if not with_tools:
        refuse_tools(record)
    name = next((name for name in PROMPT_FIELDS if fields(record).get(name) is not None), PROMPT_FIELDS[0])
    return system_turn(record) + _question(child(record, name), optional_text(record, "input"))


def refuse_tools(record: Record) -> None:
    if tools_of(record):
        problem = "only demonstrations and prompts can have schemas of functions. Write them into `system`."
        raise fault(child(record, "tools"), problem)


def _question(record: Record, context: str) -> list[Message]:
    turns = _prompt_of_a_transcript(record) if is_transcript(record.value) else turns_of(record, "user")
    if not turns or turns[-1].role == "assistant":
        raise fault(record, "does not end in a question; expected a last turn of the user, the system or a tool.")
    if record.field.endswith("instruction") and context:
        turns[-1] = Message("user", f"{turns[-1].content}\n\n{context}")
    return turns


def _prompt_of_a_transcript(record: Record) -> list[Message]:
    turns = transcript(record)
    if turns[-1] == Message("assistant", ""):
        turns.pop()
    if not all(turn.content.strip() for turn in turns):
        raise fault(record, "one of its turns is empty, expected some text. Fill it or take the row out.")
    return turns


def answer_of(record: Record) -> Message:
    """The assistant's turn in a text, a message or a list of one message."""
    turns = turns_of(record, "assistant")
    if len(turns) != 1 or turns[0].role != "assistant":
        roles = " and ".join(turn.role for turn in turns) or "nothing"
        raise fault(record, f"found turns of {roles}, expected one of the assistant.")
    return turns[0]


def blank(record: Record, *names: str) -> Dropped | None:
    """A `Dropped` if one of these fields is blank. Published judgements contain empty answers: nothing to learn from."""
    for name in names:
        if not as_text(child(record, name), blank=True).strip():
            return Dropped(record.origin, f"{name} is empty")
    return None


def compared(
    record: Record,
    prompt: Sequence[Message],
    completions: Sequence[Message],
    ranks: Sequence[int],
    *,
    scores: Sequence[float] = (),
    annotator: str = "",
    group: str = "",
    about: About | None = None,
) -> Comparison | Dropped:
    """A comparison; a `Dropped` if two of its completions are the same but ranked apart."""
    for one, other in combinations(range(len(completions)), 2):
        if completions[one] == completions[other] and ranks[one] != ranks[other]:
            return Dropped(record.origin, f"completions {one + 1} and {other + 1} are the same, but ranked apart")
    numbers = tuple(map(float, scores))
    sides = tuple(prompt), tuple(completions), tuple(ranks)
    return Comparison(*sides, record.origin, numbers, annotator, group, about or {})


def ranks_by(values: Sequence[float]) -> list[int]:
    """Ranks from 0 by value, lowest first; equal values are a tie."""
    order = sorted(set(values))
    return [order.index(value) for value in values]


def number(record: Record) -> float:
    """A number, or its text as in CSV files."""
    value = record.value
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise fault(record, f"found {record.value!r}, expected a number.") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise fault(record, f"found {value if isinstance(value, float) else called(value)}, expected a number.")
    return value


def choice(record: Record, name: str, scale: Mapping[str, Choice]) -> Choice:
    """A label of a closed scale, as a number or as its text in CSV files."""
    field = child(record, name)
    label = f"{field.value:g}" if isinstance(field.value, float) else str(field.value)
    if label not in scale or isinstance(field.value, bool):
        raise fault(field, f"found {label[:40]!r}, expected one of {', '.join(scale)}.")
    return scale[label]


def about_of(record: Record) -> About:
    """The field `about` of planish's own formats: an object, or its JSON text in columnar files."""
    value = fields(record).get("about") or {}
    if isinstance(value, str):
        value = _parsed(child(record, "about"))
    notes = fields(Record(value, record.origin, "about"))
    for name, note in notes.items():
        if not isinstance(note, str | int | float):
            problem = f"found {called(note)}, expected a text, a number or a truth value."
            raise fault(Record(note, record.origin, f"about.{name}"), problem)
    return notes


def _parsed(record: Record) -> Any:
    try:
        return json.loads(as_text(record))
    except ValueError as error:
        raise fault(record, f"not valid JSON: {error}. Expected the JSON text of an object.") from None

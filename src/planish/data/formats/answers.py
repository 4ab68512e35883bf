"""Parts shared by comparisons, judgements, prompts and questions: prompts, answers, ranks and scores."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isfinite
from typing import TypeVar

from planish.data.fields import (
    as_text,
    called,
    child,
    fault,
    fields,
    first_filled,
    is_blank,
    is_object,
    optional_text,
)
from planish.data.files.readers import Record
from planish.data.formats.notes import TOOLS, about, ignore
from planish.data.formats.tools import json_of, tools_of
from planish.data.formats.turns import system_turn, turn_of, turns_of
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


def prompt_of(record: Record) -> list[Message]:
    """The conversation up to the answer, after the system turn, from the first of PROMPT_FIELDS that a record has.

    The `input` of an instruction follows it after a blank line. A prompt may be a transcript that ends in "Assistant:".
    """
    name = first_filled(record, PROMPT_FIELDS) or PROMPT_FIELDS[0]
    for other in PROMPT_FIELDS:
        if other != name and not is_blank(fields(record).get(other)):
            ignore(record, other)
    return system_turn(record) + _question(child(record, name), record)


def refuse_tools(record: Record) -> None:
    if tools_of(record):
        problem = (
            "only demonstrations, comparisons and prompts can have schemas of functions. Write them into `system`."
        )
        raise fault(child(record, first_filled(record, TOOLS) or TOOLS[0]), problem)


def _question(record: Record, whole: Record) -> list[Message]:
    turns = _prompt_of_a_transcript(record) if is_transcript(record.value) else turns_of(record, "user")
    if not turns or turns[-1].role == "assistant":
        raise fault(record, "does not end in a question; expected a last turn of the user, the system or a tool.")
    if context := optional_text(whole, "input"):
        if not record.field.endswith("instruction"):
            raise fault(child(whole, "input"), f"stands beside `{record.field}`; expected one of them. Join them.")
        turns[-1] = Message("user", f"{turns[-1].content}\n\n{context}")
    return turns


def _prompt_of_a_transcript(record: Record) -> list[Message]:
    turns = transcript(record)
    if turns[-1] == Message("assistant", ""):
        turns.pop()
    if not all(turn.content.strip() for turn in turns):
        raise fault(record, "one of its turns is empty, expected some text. Fill it or take the row out.")
    return turns


def answer_of(record: Record, *, blank: bool = False) -> Message:
    """The assistant's turn in a text, a message or a list of one message; of no words only if `blank` is set."""
    if blank and is_object(record.value):
        turns = [turn_of(record, may_be_blank=True)]
    elif blank and isinstance(record.value, str):
        turns = [Message("assistant", as_text(record, blank=True))]
    else:
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
    if not all(completion.trained for completion in completions):
        return Dropped(record.origin, "a completion has loss_weight 0")
    for one, other in combinations(range(len(completions)), 2):
        if completions[one] == completions[other] and ranks[one] != ranks[other]:
            return Dropped(record.origin, f"completions {one + 1} and {other + 1} are the same, but ranked apart")
    numbers = tuple(map(float, scores))
    sides = tuple(prompt), tuple(completions), tuple(ranks)
    return Comparison(*sides, record.origin, numbers, annotator, group, about or {}, tools_of(record))


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


def about_of(record: Record, *used: str, judged: bool = True) -> About:
    """The notes of planish's own formats: in `about`, an object, or its JSON text in columnar files."""
    value = fields(record).get("about") or {}
    if isinstance(value, str):
        value = json_of(child(record, "about"), "an object")
    notes = record.inside(value, "about")
    for name, note in fields(notes).items():
        if not isinstance(note, str | int | float):
            raise fault(notes.inside(note, name), f"found {called(note)}, expected a text, a number or a truth value.")
    return {**about(record, "about", *used, judged=judged), **value}

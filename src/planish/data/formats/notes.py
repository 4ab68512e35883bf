"""All that a record or a turn holds beside the texts of its row: a note, a verdict, an ignored field, or an error.

A note (an id, a category, a model's name) is kept with the row. A verdict on the row is obeyed, or refused where it cannot be.
Content that the model should have read is refused. The rest is ignored, counted and listed.
"""

from __future__ import annotations

from typing import Any

from planish.data.fields import fault, fields, is_blank, is_object
from planish.data.files.json_stream import parse_json
from planish.data.files.readers import Record
from planish.data.formats.verdicts import refuse_verdict
from planish.data.rows import About

SYSTEM = ("system", "system_prompt", "system_message")  # names of the field with instructions to the assistant
TOOLS = ("tools", "functions", "tool_defs")  # names of the field with the functions that it may call
CHAT = SYSTEM + TOOLS

SHORT = 200  # characters: a longer text is content, not a note about the record
MEDIA = ("image", "images", "audio", "audios", "video", "videos")
# Names of fields that the model is to read, where a format does not read them itself.
READ = ("documents", "document", "contexts", "context", "passages", "passage", "choices", "options", "history", *CHAT)
# A row has no place for thoughts yet. They are ignored and listed, never kept as a note.
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts", "chain_of_thought")
CONTENT_OF_A_TURN = ("refusal", "tools", "functions", "documents", "context")
# Opinions on a row, of unknown scale: kept as notes, for filters of your own, and listed as not used.
SCORES = ("score", "rating", "reward", "quality", "stars", "grade", "overall_score", "margin")


def about(record: Record, *used: str, judged: bool = True) -> About:
    """Notes from the fields that were not `used`: short texts, numbers and truth values.

    `judged` is True for rows with an answer that may be learnt, on which verdicts are refused.
    """
    stated = _stated(record)
    notes: dict[str, str | int | float | bool] = {}
    for name, value in fields(record).items():
        if name in used or is_blank(value) or (stated is not None and name == "about") or _is_origin(name, value):
            continue
        if name in MEDIA or name in READ:
            raise lost(record, name)
        if judged:
            refuse_verdict(record, name)
        if isinstance(value, int | float) or (isinstance(value, str) and len(value) <= SHORT and name not in THOUGHTS):
            notes[name] = value
            if judged and name in SCORES:
                ignore(record, name)
        else:
            ignore(record, name)
    return {**notes, **(stated or {})}


def notes_of(record: Record, *used: str) -> About:
    """Notes on a question or prompt, of which nothing is learnt: what would be a verdict on an answer is one of them."""
    return about(record, *used, judged=False)


def account_turn(turn: Record, *used: str, refused: tuple[str, ...] = CONTENT_OF_A_TURN + MEDIA) -> None:
    """Lists the fields of a turn that no row holds. Raises for content, and for a verdict on the turn."""
    for name, value in fields(turn).items():
        if name in used or is_blank(value):
            continue
        is_long = isinstance(value, str) and len(value) > SHORT and name not in THOUGHTS
        if name in refused or is_long:
            raise lost(turn, name)
        refuse_verdict(turn, name)
        ignore(turn, name)


def ignore_rest(record: Record, *used: str) -> None:
    """Notes the fields beside those `used` that no row holds."""
    for name, value in fields(record).items():
        if name not in used and not is_blank(value):
            ignore(record, name)


def lost(record: Record, name: str) -> Exception:
    return fault(
        record.inside(None, name),
        "holds content that a row cannot hold, so it would be lost. Write it into the text, or remove it.",
    )


def ignore(record: Record, name: str) -> None:
    """Notes that no row holds a field."""
    if record.ignored is not None:
        record.ignored.note(record.origin, record.inside(None, name).field)


def _is_origin(name: str, value: object) -> bool:
    """The origin of a converted row."""
    return name == "origin" and is_object(value) and value.keys() == {"file", "row"}


def _stated(record: Record) -> dict[str, Any] | None:
    """The `about` of a converted file: an object, or its JSON text in a columnar file; None if there is no such field."""
    value = fields(record).get("about")
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = parse_json(value)
        except ValueError:
            return None
    if not is_object(value):
        return None
    kept = {name: note for name, note in value.items() if isinstance(note, str | int | float)}
    for name in value.keys() - kept.keys():
        ignore(record, f"about.{name}")
    return kept

"""Comparisons of a rendered text with its row: every turn, tool and call must be in it. A missing one is an error or a note."""

from __future__ import annotations

import re

from planish.base.errors import DataError
from planish.data.chat.masks import Span
from planish.data.chat.notes import Note
from planish.data.chat.rendering import Renderer
from planish.data.chat.tool_calls import missing, missing_of_tools, written
from planish.data.rows import Demonstration, Role

EVERYONE: tuple[Role, ...] = ("system", "user", "assistant", "tool")
OTHERS: tuple[Role, ...] = ("system", "user", "tool")
# The tag that ends a thought: </think>, [/THINK], <|END_THINKING|>, <channel|> and their like.
_END_OF_THOUGHT = re.compile(r"(</[^<>]+>|\[/[^\[\]]+\]|<\|[^<>]*\|>|<[^<>|]*\|>|\u25c1/[^\u25b7]*\u25b7)\s*")
_FLAGS = re.compile(r"/(?:no_)?think\b")  # some templates read these in a question, and take them out
SHOWN = 40  # characters of a text in a message


def words_of_turns(renderer: Renderer, row: Demonstration, text: str, notes: list[Note]) -> dict[int, Span]:
    """The span of the words of each answer, found one by one, after a comparison of all other turns."""
    compare_others(renderer, row, text)
    spans: dict[int, Span] = {}
    for turn, message in enumerate(row.messages):
        if message.role == "assistant" and not message.tool_calls:
            spans[turn], note = words_of_answer(renderer, row, turn, text)
            notes += [note] if note else []
    return spans


def compare_others(renderer: Renderer, row: Demonstration, text: str, prompt: bool = False) -> None:
    """Refuses a template that changes or leaves out a turn that is not the assistant's."""
    if renderer.marked([row], [text], OTHERS, prompt)[0]:
        return
    for turn, message in enumerate(row.messages):
        if message.role == "assistant" or not message.content.strip():
            continue
        try:
            start, end = renderer.changed_by(row, turn, text, prompt)
        except DataError:  # the template takes no other words there
            start, end = 0, len(text)
        if not is_in(message.content, text[start:end]):
            raise DataError(
                f"{row.origin}: turn {turn + 1}: the chat template leaves out the {message.role} message "
                f"{message.content[:SHOWN]!r}, or changes it: the model would not read all of the row. Set another template "
                "with data.template=FILE, or move the message to where the template has a place for it"
            )


def compare_tools(row: Demonstration, text: str) -> None:
    """Refuses a template that leaves out a part of a call or of the functions that may be called."""
    if row.tools and (lost := missing_of_tools(row.tools, text)):
        raise DataError(
            f"{row.origin}: the chat template leaves {lost[0][:SHOWN]!r} of the row's tools out: the model would not know what "
            "it may call. Set another template with data.template=FILE"
        )
    for turn, message in enumerate(row.messages):
        if message.tool_calls:
            compare_calls(row, turn, text)


def compare_calls(row: Demonstration, turn: int, text: str) -> None:
    """Refuses a template that leaves a name, a value or the words of a calling turn out of `text`."""
    message = row.messages[turn]
    lost = missing(message.tool_calls, text)
    if message.content.strip() not in text:
        lost.append(message.content)
    if lost:
        raise DataError(
            f"{row.origin}: turn {turn + 1}: the chat template leaves {lost[0][:SHOWN]!r} of this call out: the model would "
            "not learn the call of the row"
        )


def words_of_answer(renderer: Renderer, row: Demonstration, turn: int, text: str) -> tuple[Span, Note | None]:
    """The span of a turn's words in `text`. A template may trim them, set the white space of a thought anew or leave out a
    thought before them; the last two are noted."""
    content = row.messages[turn].content.rstrip()
    start, end = renderer.changed_by(row, turn, text)
    kept = text[start:end].rstrip()
    where = f"turn {turn + 1}"
    spaced = not content.endswith(kept)
    if spaced:
        kept = _squeezed(kept) if _END_OF_THOUGHT.search(content) else kept
        content = _squeezed(content)
    lost = content[: len(content) - len(kept)].strip()
    if not content.endswith(kept):
        raise DataError(
            f"{row.origin}: {where}: the chat template turns the assistant's words "
            f"{row.messages[turn].content[:SHOWN]!r} into {text[start:end][:SHOWN]!r}: the model would not learn the words of "
            "the row"
        )
    if lost and not _squeezed(text[:start]).endswith(_squeezed(lost)):
        if not _END_OF_THOUGHT.search(lost[-SHOWN:]):
            raise DataError(
                f"{row.origin}: {where}: the chat template leaves out {lost[:SHOWN]!r} of the assistant's words: the model "
                "would not learn the words of the row"
            )
        return (start, end), Note("thought", f"{where}: {lost[:SHOWN]!r} is left out")
    return (start, end), Note("space", where) if spaced else None


def _squeezed(text: str) -> str:
    return "".join(text.split())


def is_in(content: str, text: str) -> bool:
    """True if the text has what a turn says, in one of the ways in which templates write it."""
    if written(content, text):
        return True
    flagless = _squeezed(_FLAGS.sub("", content))
    return flagless != _squeezed(content) and flagless in _squeezed(text)

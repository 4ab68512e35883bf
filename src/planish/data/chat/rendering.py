"""Conversations as the text of a tokenizer's chat template, and the spans of it that belong to one turn.

Nothing about a template is assumed. A conversation is rendered, then again with other words in place of a turn's: the part
that differs is that turn's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from jinja2 import Environment
from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from planish.base import clock
from planish.base.errors import DataError
from planish.data.chat.masks import Span
from planish.data.chat.tool_calls import as_dicts, as_schemas
from planish.data.rows import Demonstration, Message, Role

REFUSALS = (TemplateError, TypeError, KeyError)  # raised by templates on conversations that they cannot render
# Characters for private use: no conversation begins or ends with both of a pair.
FIRST, LAST = ("\ue000", "\ue001", "\ue002"), ("\ue003", "\ue004", "\ue005")


class TemplateClock:
    """A stopped clock for templates, which read it with strftime_now. transformers gives a template plain data alone, so it
    gets the time in every format that it names, and a macro of that name that looks it up."""

    MACRO = (
        "{%- macro strftime_now(format) %}{{ stopped_clock[format] if format in stopped_clock else "
        "raise_exception('the template asks for the time in a format that it does not write out') }}{%- endmacro %}\n"
    )

    def __init__(self, time: datetime) -> None:
        self.time = time
        self._known: dict[str, tuple[str, dict[str, Any]]] = {}

    def stop(self, template: str) -> tuple[str, dict[str, Any]]:
        """The template that reads this clock, and the variables that it needs."""
        if template not in self._known:
            self._known[template] = self._stopped(template) if "strftime_now" in template else (template, {})
        return self._known[template]

    def _stopped(self, template: str) -> tuple[str, dict[str, Any]]:
        texts = [value[1:-1] for _, kind, value in Environment().lex(template) if kind == "string"]
        times = {text: self.time.strftime(text) for text in texts if "%" in text}
        return self.MACRO + template, {"stopped_clock": times}


class Renderer:
    """A tokenizer's chat template at one time of the clock.

    `closing_answer` and `closing_call` follow a conversation that ends with an answer or a call, where the template leaves it
    to the next turn to end the one before. `arguments_as_text` is True for a template that wants them as JSON text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._clock = TemplateClock(clock.now())
        self.closing_answer = self.closing_call = ""
        self.arguments_as_text = False

    @property
    def template(self) -> str:
        untyped: Any = self.tokenizer
        return str(untyped.get_chat_template())

    def render(self, row: Demonstration, messages: Sequence[Message] | None = None, prompt: bool = False) -> str:
        """The row's text, or that of other `messages` in place of its own. With `prompt` it is as a server gives it to the
        model, up to where the assistant begins."""
        return self.render_all([(row.messages if messages is None else messages, row)], prompt)[0]

    def render_all(self, pairs: Sequence[tuple[Sequence[Message], Demonstration]], prompt: bool = False) -> list[str]:
        """Renders many, all at once if none has tools or is refused."""
        if len(pairs) > 1 and not any(row.tools for _, row in pairs):
            try:
                return self._apply([messages for messages, _ in pairs], None, prompt)
            except REFUSALS:
                pass  # rendered one by one, the refused one is named
        return [self._render(messages, row, prompt) for messages, row in pairs]

    def _render(self, messages: Sequence[Message], row: Demonstration, prompt: bool) -> str:
        try:
            return self._apply([messages], as_schemas(row.tools), prompt)[0]
        except REFUSALS as error:
            raise DataError(f"{row.origin}: the model's chat template refuses this conversation: {error}") from None

    def _apply(self, conversations: Sequence[Sequence[Message]], tools: list[Any] | None, prompt: bool) -> list[str]:
        untyped: Any = self.tokenizer
        turns = [as_dicts(messages, self.arguments_as_text) for messages in conversations]
        template, times = self._clock.stop(untyped.get_chat_template(None, tools))
        texts: list[str] = untyped.apply_chat_template(
            turns, tools, chat_template=template, tokenize=False, add_generation_prompt=prompt, **times
        )
        if prompt or not (self.closing_answer or self.closing_call):
            return texts
        return [text + self._closing(messages) for text, messages in zip(texts, conversations, strict=True)]

    def _closing(self, messages: Sequence[Message]) -> str:
        last = messages[-1]
        return "" if last.role != "assistant" else self.closing_call if last.tool_calls else self.closing_answer

    def difference(self, row: Demonstration, turn: int, text: str, message: Message, prompt: bool = False) -> Span:
        """The span of `text` that changes if `message` replaces the turn's own."""
        other = self.render(row, [*row.messages[:turn], message, *row.messages[turn + 1 :]], prompt)
        start = shared_start(text, other)
        return start, len(text) - shared_start(text[start:][::-1], other[start:][::-1])

    def changed_by(self, row: Demonstration, turn: int, text: str, prompt: bool = False) -> Span:
        """The span of `text` that changes if the turn has other words."""
        content = row.messages[turn].content
        taken = {content[:1], content[-1:], content.strip()[:1], content.strip()[-1:]}
        first, last = (next(c for c in choices if c not in taken) for choices in (FIRST, LAST))
        return self.difference(row, turn, text, replace(row.messages[turn], content=f"{first}words{last}"), prompt)

    def marked(
        self, rows: Sequence[Demonstration], texts: Sequence[str], roles: Sequence[Role], prompt: bool = False
    ) -> list[dict[int, Span]]:
        """The spans of the words of all turns of these `roles` by turn, found with one more rendering of a row, with marks in
        their place. No span of a row is returned if one of them is not where its mark is."""
        turns = [[i for i, m in enumerate(row.messages) if m.role in roles and not m.tool_calls] for row in rows]
        pairs = [
            ([replace(m, content=_mark(i)) if i in marked else m for i, m in enumerate(row.messages)], row)
            for row, marked in zip(rows, turns, strict=True)
        ]
        try:
            marked_texts = self.render_all(pairs, prompt)
        except DataError:  # a template may read a tool's reply as JSON, which a mark is not
            if len(rows) == 1:
                return [{}]
            return [self.marked([row], [text], roles, prompt)[0] for row, text in zip(rows, texts, strict=True)]
        return [_between_marks(*row) for row in zip(rows, turns, texts, marked_texts, strict=True)]


def _between_marks(row: Demonstration, turns: list[int], text: str, rest: str) -> dict[int, Span]:
    """The text between the marks must be exactly the text between the words, unchanged or trimmed."""
    if FIRST[0] in text or not turns:
        return {}
    between: list[str] = []
    for turn in turns:
        head, _, rest = rest.partition(_mark(turn))
        between.append(head)
    spans: dict[int, Span] = {}
    start = len(between[0]) if text.startswith(between[0]) else -1
    for turn, after in zip(turns, [*between[1:], rest], strict=False):
        content = row.messages[turn].content
        end = next((start + len(c) for c in (content, content.strip()) if text.startswith(c + after, start)), -1)
        if start < 0 or end < 0:
            return {}
        spans[turn] = start, end
        start = end + len(after)
    return spans if start == len(text) else {}


def _mark(turn: int) -> str:
    return f"{FIRST[0]}{turn}{LAST[0]}"


def shared_start(one: str, other: str) -> int:
    """The number of characters that two texts share from the start. Bisection with slices is faster than a loop."""
    shared, most = 0, min(len(one), len(other))
    while shared < most:
        middle = (shared + most + 1) // 2
        if one[shared:middle] == other[shared:middle]:
            shared = middle
        else:
            most = middle - 1
    return shared

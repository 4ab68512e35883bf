"""Chat templates, and which parts of the text that they render are learnt.

Every turn of a conversation must be in its text (rendering.py); a template that changes or loses words is refused. Learnt are
the assistant's words, whatever the template writes between the prompt for a server and them (so a server's first token is
learnt), and the end-of-turn token (ends.py), without which a model never stops. A turn that calls functions is learnt from
the end of its prompt on, and must contain every name and value. What a template is allowed to do and a reader should know,
such as leaving out a thought, becomes a note (notes.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from planish.base.errors import DataError, ModelError
from planish.data.chat.defaults import MaskName
from planish.data.chat.ends import find_ends, known_ends, other_calls, writes_calls, writes_replies
from planish.data.chat.kept import EVERYONE, compare_calls, compare_others, compare_tools, words_of_turns
from planish.data.chat.masks import Span, masked_tokens
from planish.data.chat.notes import Note, control_tokens, one_of
from planish.data.chat.rendering import FIRST, LAST, Renderer, shared_start
from planish.data.chat.tool_calls import Tools, in_words
from planish.data.rows import Demonstration, Message, Origin

# What a prompt may end in where the text does not: the beginning of a thought, in a tag of its own.
_OPENED = re.compile(r"\s*(<[^<>]*>|\[[^\[\]]*\])?\s*")
_SHOWN = 30  # characters of a text in a message


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a conversation, the spans of it that are learnt, in characters, and notes on it."""

    text: str
    spans: list[Span]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of a conversation, and which of them are learnt."""

    tokens: np.ndarray  # int32 [t]
    loss_mask: np.ndarray  # bool [t]
    notes: tuple[Note, ...] = ()


class ChatTemplate:
    """A tokenizer's chat template, which must end the assistant's turn with a special token.

    >>> template = ChatTemplate(tokenizer)
    >>> template.stop_token
    '<|im_end|>'
    >>> encoded = template.encode([Demonstration(messages, origin)])[0]

    `end_ids` are the tokens at which the model's own settings end a generation. If `writes_tools` is False, the template cannot
    write functions and their calls, and `tool_calls.in_words` puts them into the conversation.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, mask: MaskName = "assistant", end_ids: Sequence[int] = ()
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError("the tokenizer has no character offsets: save a tokenizer.json beside the model")
        self.tokenizer = tokenizer
        self.mask: MaskName = mask
        self._control = one_of(control_tokens(tokenizer))
        self._renderer = renderer = Renderer(tokenizer)
        self.writes_tools = writes_calls(renderer)
        self._writes_replies = self.writes_tools or writes_replies(renderer)
        self._ends = find_ends(renderer, known_ends(tokenizer, end_ids), self.writes_tools)
        renderer.closing_answer, renderer.closing_call = self._ends.closing_answer, self._ends.closing_call

    def with_mask(self, mask: MaskName) -> ChatTemplate:
        """This template with another mask."""
        other = copy(self)
        other.mask = mask
        return other

    @property
    def stop_token(self) -> str:
        """The token after a last answer."""
        return self._ends.tokens[0]

    @property
    def stop_token_id(self) -> int:
        return self.stop_token_ids[0]

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """The tokens that end a turn: that of a last answer, and any other of a history or of a call."""
        untyped: Any = self.tokenizer
        return tuple(int(untyped.convert_tokens_to_ids(token)) for token in self._ends.tokens)

    @property
    def closing_ids(self) -> list[int]:
        """The ends of turns of a template that leaves them to the next turn, which a model's settings must name."""
        return list(self.stop_token_ids) if self._ends.closing_answer else []

    def encode(self, rows: Sequence[Demonstration]) -> list[Encoded]:
        """Tokens and masks of conversations."""
        return self.tokenize(self.render(rows))

    def render(self, rows: Sequence[Demonstration]) -> list[Rendered]:
        """The text of each conversation, and the spans of it that are learnt."""
        spelt = [self._spelt(row) for row in rows]
        texts = self._renderer.render_all([(row.messages, row) for row in spelt])
        words = self._renderer.marked(spelt, texts, EVERYONE)
        turns = [self._learnt_turns(row) for row in spelt]
        past = [(row.messages[:turn], row) for row, learnt in zip(spelt, turns, strict=True) for turn in learnt if turn]
        prompts = iter(self._renderer.render_all(past, prompt=True))
        rendered: list[Rendered] = []
        for row, spelt_row, learnt, spans, text in zip(rows, spelt, turns, words, texts, strict=True):
            notes = self.control_notes(row.messages)
            spans = spans or words_of_turns(self._renderer, spelt_row, text, notes)
            compare_tools(spelt_row, text)
            turn_spans = [
                self._span(spelt_row, turn, text, next(prompts) if turn else "", spans.get(turn), notes)
                for turn in learnt
            ]
            rendered.append(Rendered(text, [(0, len(text))] if self.mask == "all" else turn_spans, tuple(notes)))
        return rendered

    def tokenize(self, rendered: Sequence[Rendered]) -> list[Encoded]:
        """Tokens and masks of the results of `render`. Most of it runs outside Python, in parallel with other threads."""
        encodings = zip(rendered, self._tokens([row.text for row in rendered]), strict=True)
        return [
            Encoded(*masked_tokens(row.text, row.spans, tokens, self._tokens), row.notes) for row, tokens in encodings
        ]

    def encode_prompt(self, messages: Sequence[Message], tools: Tools = (), origin: Origin | None = None) -> list[int]:
        """The tokens that a server gives the model before it answers."""
        row = self._spelt(Demonstration(tuple(messages), origin or Origin("the prompt", 1), tuple(tools)))
        text = self._renderer.render(row, prompt=True)
        compare_others(self._renderer, row, text, prompt=True)
        return list(self._tokens([text])[0].ids)

    def control_notes(self, messages: Sequence[Message]) -> list[Note]:
        """A note if people's words hold a control token."""
        texts = chain.from_iterable((m.content, *(str(call.arguments) for call in m.tool_calls)) for m in messages)
        found = next((match for text in texts if (match := self._control.search(text))), None)
        return [Note("control_token", found[0])] if found else []

    def _spelt(self, row: Demonstration) -> Demonstration:
        """The row, with its calls and tools in words if the template cannot write them."""
        if self.writes_tools or not (row.tools or any(m.tool_calls or m.role == "tool" for m in row.messages)):
            return row
        words = in_words(row.messages, row.tools, replies_too=not self._writes_replies)
        return replace(row, messages=tuple(words), tools=())

    def _tokens(self, texts: Sequence[str]) -> list[Encoding]:
        untyped: Any = self.tokenizer
        backend: Tokenizer = untyped.backend_tokenizer
        backend.no_truncation()  # a tokenizer.json may set either
        backend.no_padding()
        # The template writes all special tokens; adding some here would give a second BOS.
        return backend.encode_batch(list(texts), add_special_tokens=False)

    def _learnt_turns(self, row: Demonstration) -> list[int]:
        """The turns whose spans are learnt; none with the mask `all`, which needs no spans."""
        if self.mask == "all":
            return []
        turns = [i for i, message in enumerate(row.messages) if message.role == "assistant" and message.trained]
        return turns[-1:] if self.mask == "last_turn" else turns

    def _span(
        self, row: Demonstration, turn: int, text: str, prompt: str, words: Span | None, notes: list[Note]
    ) -> Span:
        """The learnt span of a turn: from the end of its prompt, if `text` begins with that, to its end-of-turn token."""
        shared = len(prompt) if text.startswith(prompt) else shared_start(prompt, text)
        follows = shared == len(prompt)
        if turn and not follows:
            there = f"{prompt[shared:][:_SHOWN]!r} there, {text[shared:][:_SHOWN]!r} in the text"
            notes.append(Note("prompt", f"turn {turn + 1}: {there}"))
        begins = turn > 0 and (follows or _OPENED.fullmatch(prompt, shared) is not None)
        if words is None:
            return self._span_of_calls(row, turn, text, shared if begins else None)
        start, end = words
        if begins:
            start = shared if follows and shared < end else min(start, shared)
        stop = self._ends.after(text, end)
        if stop is None:
            raise DataError(
                f"{row.origin}: turn {turn + 1}: after the assistant's words the chat template writes "
                f"{text[end:][:_SHOWN]!r}, not the end-of-turn token {self.stop_token!r}: the model would never learn to stop "
                "there. data.mask=last_turn learns the last answer of each row alone"
            )
        if turn + 1 < len(row.messages) and not text[:stop].endswith(self.stop_token) and not self._ends.closing_answer:
            notes.append(Note("end", f"turn {turn + 1}: {text[end:stop].strip()!r}, not {self.stop_token!r}"))
        return start, stop

    def _span_of_calls(self, row: Demonstration, turn: int, text: str, start: int | None) -> Span:
        """The learnt span: from the end of the prompt to the end-of-turn token after the calls, before the next turn."""
        _, end = self._renderer.difference(row, turn, text, other_calls(row.messages[turn]))
        limit = len(text)
        if turn + 1 < len(row.messages):
            following = replace(row.messages[turn + 1], content=f"{FIRST[0]}{LAST[0]}")
            limit, _ = self._renderer.difference(row, turn + 1, text, following)
        stop = self._ends.within(text, end, limit)
        if start is None or stop is None:
            raise DataError(
                f"{row.origin}: turn {turn + 1}: the chat template writes no end-of-turn token {self.stop_token!r} after the "
                f"calls of this turn, or does not begin it with its own prompt; it writes "
                f"{text[len(text) if start is None else start : limit][:60]!r}: the model would not learn to call"
            )
        compare_calls(row, turn, text[start:stop])
        return start, stop

"""Chat templates, and the loss mask derived from what they render.

Nothing about a template is assumed. A conversation is rendered as a whole; then once more with other words in place of
the assistant's. Where the two renderings begin and stop to differ, the words stand. Learnt are the words, whatever the
template writes between them and the prompt it would give a server (so the first token a server has to produce is
learnt), and the end-of-turn token, without which a model never stops. A template that rewrites the words, or has no
end-of-turn token, is refused. A turn that calls functions is learnt from where the prompt ends, and must hold every
name and value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2.exceptions import TemplateError
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from planish.base.errors import ConfigError, DataError, ModelError
from planish.data.chat.tool_calls import Tools, as_dicts, as_schemas, in_words, missing
from planish.data.rows import Demonstration, Message, Origin, ToolCall

MaskName = Literal["assistant", "last_turn", "all"]
Span = tuple[int, int]
Rendered = tuple[str, list[Span]]  # a conversation, and the stretches of it that are learnt
REFUSALS = (TemplateError, TypeError, KeyError)  # what a template raises on a conversation it has no words for

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# For a base model without ChatML's tokens: headings in words, and the end-of-sequence token as the end of a turn.
HEADINGS = (
    "{% for message in messages %}### {{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
# Characters for private use: no conversation begins or ends with both of a pair.
_FIRST, _LAST = ("\ue000", "\ue001", "\ue002"), ("\ue003", "\ue004", "\ue005")
# A conversation with a call, to see whether a template has words for one.
_TRIAL = Demonstration(
    (
        Message("user", "a question"),
        Message("assistant", "", tool_calls=(ToolCall("look_up", {"place": "Zanzibar"}),)),
        Message("tool", "a reply"),
        Message("assistant", "an answer"),
    ),
    Origin("a call and its reply", 1),
    ({"name": "look_up", "description": "Finds a thing.", "parameters": {"type": "object", "properties": {}}},),
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation's tokens and which of them are learnt."""

    tokens: np.ndarray  # int32 [t]
    loss_mask: np.ndarray  # bool [t]


def ensure_template(tokenizer: PreTrainedTokenizerBase, path: str | None = None) -> None:
    """Gives the tokenizer the chat template in the jinja file `path`, or keeps its own, or takes one that fits its vocabulary."""
    if path is not None:
        try:
            tokenizer.chat_template = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"data.template={path}: cannot be read: {error.strerror}") from None
    elif not tokenizer.chat_template:
        vocabulary = tokenizer.get_vocab()
        tokenizer.chat_template = CHATML if {"<|im_start|>", "<|im_end|>"} <= vocabulary.keys() else HEADINGS


class ChatTemplate:
    """A tokenizer's chat template, checked once: it must end the assistant's turn with a special token.

    >>> template = ChatTemplate(tokenizer)
    >>> template.stop_token
    '<|im_end|>'
    >>> encoded = template.encode([Demonstration(messages, origin)])[0]

    Where `writes_tools` is False, the template has no words of its own for functions and their calls, and those of
    `planish.data.chat.tool_calls` are put into the conversation.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, mask: MaskName = "assistant") -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                "the tokenizer has no character offsets (it is a slow one): save a tokenizer.json beside the model"
            )
        self.tokenizer = tokenizer
        self.mask: MaskName = mask
        self._special = _special_tokens(tokenizer)
        self.stop_token = self._find_stop_token()
        self.writes_tools = self._writes(_TRIAL, ("Zanzibar", "Finds a thing.", "a reply"))
        self._writes_replies = self.writes_tools or self._writes(
            replace(_TRIAL, messages=tuple(in_words(_TRIAL.messages, (), replies_too=False)), tools=()), ("a reply",)
        )

    @property
    def stop_token_id(self) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(self.stop_token))  # pyright: ignore[reportArgumentType]

    def encode(self, rows: Sequence[Demonstration]) -> list[Encoded]:
        """Tokens and masks of whole conversations."""
        return self.tokenize(self.render(rows))

    def render(self, rows: Sequence[Demonstration]) -> list[Rendered]:
        """The text of each conversation and the stretches of it that are learnt, in characters."""
        spelt = [self._spelt(row) for row in rows]
        texts = self._render_all([(row.messages, row) for row in spelt])
        if self.mask == "all":
            return [(text, [(0, len(text))]) for text in texts]
        turns = [self._learnt_turns(row) for row in spelt]
        words = self._all_words(spelt, turns, texts)
        asked = [
            (row.messages[:turn], row) for row, learnt in zip(spelt, turns, strict=True) for turn in learnt if turn
        ]
        prompts = iter(self._render_all(asked, prompt=True))
        rendered: list[Rendered] = []
        for row, learnt, found, text in zip(spelt, turns, words, texts, strict=True):
            spans = [self._span(row, turn, text, next(prompts) if turn else "", found.get(turn)) for turn in learnt]
            rendered.append((text, spans))
        return rendered

    def tokenize(self, rendered: Sequence[Rendered]) -> list[Encoded]:
        """Tokens and masks of what `render` gave. Most of it runs outside Python, beside which other work can go on."""
        return [self._mask(*each, tokens) for each, tokens in zip(rendered, self._tokens(rendered), strict=True)]

    def encode_prompt(self, messages: Sequence[Message], tools: Tools = ()) -> list[int]:
        """The tokens a server feeds the model before it answers."""
        row = self._spelt(Demonstration(tuple(messages), Origin("the prompt", 1), tuple(tools)))
        return list(self._tokens([(self._render(row.messages, row, prompt=True), [])])[0].ids)

    def _spelt(self, row: Demonstration) -> Demonstration:
        """The row with its calls and tools in words, if the template has none for them."""
        if self.writes_tools or not (row.tools or any(m.tool_calls or m.role == "tool" for m in row.messages)):
            return row
        return replace(
            row, messages=tuple(in_words(row.messages, row.tools, replies_too=not self._writes_replies)), tools=()
        )

    def _tokens(self, rendered: Sequence[Rendered]) -> list[Encoding]:
        untyped: Any = self.tokenizer
        backend: Tokenizer = untyped.backend_tokenizer
        backend.no_truncation()  # a tokenizer.json may ask for either
        backend.no_padding()
        # The template writes every special token itself: adding some here would give a second BOS.
        return backend.encode_batch([text for text, _ in rendered], add_special_tokens=False)

    def _render(self, messages: Sequence[Message], row: Demonstration, prompt: bool = False) -> str:
        """Messages that stand in for those of a row, with its tools."""
        try:
            return self._apply([as_dicts(messages)], as_schemas(row.tools), prompt)[0]
        except REFUSALS as error:
            raise DataError(f"{row.origin}: the model's chat template refuses this conversation: {error}") from None

    def _render_all(self, each: Sequence[tuple[Sequence[Message], Demonstration]], prompt: bool = False) -> list[str]:
        """The same for many, at once where no tools are involved and none is refused."""
        if each and not any(row.tools for _, row in each):
            try:
                return self._apply([as_dicts(messages) for messages, _ in each], None, prompt)
            except REFUSALS:
                pass  # which one it was is found by rendering each by itself
        return [self._render(messages, row, prompt) for messages, row in each]

    def _apply(self, conversations: list[list[dict[str, Any]]], tools: list[Any] | None, prompt: bool) -> list[str]:
        untyped: Any = self.tokenizer
        return untyped.apply_chat_template(conversations, tools, tokenize=False, add_generation_prompt=prompt)

    def _learnt_turns(self, row: Demonstration) -> list[int]:
        turns = [i for i, message in enumerate(row.messages) if message.role == "assistant" and message.trained]
        return turns[-1:] if self.mask == "last_turn" else turns

    def _span(self, row: Demonstration, turn: int, text: str, prompt: str, words: Span | None) -> Span:
        """From the end of the prompt that a server would give for this turn, if `text` begins with it, to its end."""
        if row.messages[turn].tool_calls:
            return self._span_of_calls(row, turn, text, prompt)
        start, end = words or self._words(row, turn, text)
        if turn and len(prompt) <= start and text.startswith(prompt):
            start = len(prompt)
        after = text[end:]
        if not after.lstrip().startswith(self.stop_token):
            raise DataError(
                f"{row.origin}: turn {turn + 1}: after the assistant's words the chat template writes {after[:30]!r}, not "
                f"the end-of-turn token {self.stop_token!r}: the model would never learn to stop there"
            )
        return start, end + after.index(self.stop_token) + len(self.stop_token)

    def _all_words(
        self, rows: Sequence[Demonstration], turns: Sequence[list[int]], texts: Sequence[str]
    ) -> list[dict[int, Span]]:
        """Where the words of these turns stand in the texts, found with one more rendering for all turns of a row.

        That has a mark in place of each turn's words.
        """
        others: list[tuple[Sequence[Message], Demonstration]] = []
        for row, learnt in zip(rows, turns, strict=True):
            marked = {turn for turn in learnt if not row.messages[turn].tool_calls}
            others.append(
                ([replace(m, content=_mark(i)) if i in marked else m for i, m in enumerate(row.messages)], row)
            )
        marked_texts = self._render_all(others)
        return [self._between_marks(*each) for each in zip(rows, turns, texts, marked_texts, strict=True)]

    def _between_marks(self, row: Demonstration, learnt: list[int], text: str, rest: str) -> dict[int, Span]:
        """What stands between the marks must be what `text` holds between the words, each either as they are or trimmed, to
        the last character. If not, nothing is found."""
        turns = [turn for turn in learnt if not row.messages[turn].tool_calls]
        if _FIRST[0] in text or not turns:
            return {}
        between: list[str] = []
        for turn in turns:
            head, _, rest = rest.partition(_mark(turn))
            between.append(head)
        found: dict[int, Span] = {}
        start = len(between[0]) if text.startswith(between[0]) else -1
        for turn, after in zip(turns, [*between[1:], rest], strict=False):
            content = row.messages[turn].content
            end = next((start + len(c) for c in (content, content.strip()) if text.startswith(c + after, start)), -1)
            if start < 0 or end < 0:
                return {}
            found[turn] = start, end
            start = end + len(after)
        return found if start == len(text) else {}

    def _words(self, row: Demonstration, turn: int, text: str) -> Span:
        """Where the words of one turn stand in `text`: where it differs from the same with other words in their place."""
        content = row.messages[turn].content
        taken = {content[:1], content[-1:], content.strip()[:1], content.strip()[-1:]}
        first, last = (next(c for c in choices if c not in taken) for choices in (_FIRST, _LAST))
        start, end = self._difference(row, turn, text, Message("assistant", f"{first}words{last}"))
        # A template may trim the words, or leave out the thoughts before them; their end it must keep.
        if not content.rstrip().endswith(text[start:end].rstrip()):
            raise DataError(
                f"{row.origin}: turn {turn + 1}: the chat template turns the assistant's words {content[:40]!r} into "
                f"{text[start:end][:40]!r}: what is learnt would not be what the row says"
            )
        return start, end

    def _span_of_calls(self, row: Demonstration, turn: int, text: str, prompt: str) -> Span:
        """From the end of the prompt to the end-of-turn token that follows the calls, before the next turn's content."""
        message = row.messages[turn]
        start = len(prompt) if turn and text.startswith(prompt) else len(text)
        others = tuple(ToolCall(_FIRST[0], {_FIRST[1]: _LAST[0]}) for _ in message.tool_calls)
        _, end = self._difference(row, turn, text, replace(message, tool_calls=others))
        limit = len(text)
        if turn + 1 < len(row.messages):
            following = replace(row.messages[turn + 1], content=f"{_FIRST[0]}{_LAST[0]}")
            limit, _ = self._difference(row, turn + 1, text, following)
        stop = text.find(self.stop_token, end, limit)
        where = f"{row.origin}: turn {turn + 1}"
        if start == len(text) or stop < 0:
            raise DataError(
                f"{where}: the chat template writes no end-of-turn token {self.stop_token!r} after the calls of this turn, or "
                f"does not begin it with its own prompt; it writes {text[start:limit][:60]!r}: the model would not learn to call"
            )
        written = text[start:stop]
        lost = missing(message.tool_calls, written)
        if message.content.strip() not in written:
            lost.append(message.content)
        if lost:
            raise DataError(
                f"{where}: the chat template leaves {lost[0][:40]!r} of this call out: it writes {written[:60]!r}, and what is "
                "learnt would not be what the row says"
            )
        return start, stop + len(self.stop_token)

    def _difference(self, row: Demonstration, turn: int, text: str, message: Message) -> Span:
        """The stretch of `text` that changes if this message is put in the place of the turn's own."""
        other = self._render([*row.messages[:turn], message, *row.messages[turn + 1 :]], row)
        start = _shared_start(text, other)
        return start, len(text) - _shared_start(text[start:][::-1], other[start:][::-1])

    def _writes(self, row: Demonstration, words: Sequence[str]) -> bool:
        try:
            text = self._render(row.messages, row)
        except DataError:
            return False
        return all(word in text for word in words)

    def _mask(self, text: str, spans: list[Span], tokens: Encoding) -> Encoded:
        ids = tokens.ids
        mask = np.zeros(len(ids), np.bool_)
        for span in spans:
            found = _tokens_of(tokens, len(ids), *span)
            if found is None:
                return self._mask_by_offsets(text, spans, tokens)
            mask[slice(*found)] = True
        mask[:1] = False  # nothing precedes the first token, so nothing can predict it
        return Encoded(np.array(ids, np.int32), mask)

    def _mask_by_offsets(self, text: str, spans: list[Span], tokens: Encoding) -> Encoded:
        """The same by the place of every token, where the edges of a span are not edges of tokens."""
        ids, places = tokens.ids, _columns(tokens.offsets)
        edges = {edge for span in spans for edge in span} - {0, len(text)}
        torn = sorted(edge for edge in edges if np.any((places[0] < edge) & (edge < places[1])))
        if torn:
            # A token reaches over the edge of the prompt. A server tokenises the prompt by itself, so do we.
            ids, places = self._tokenize_apart(text, torn)
        begins, ends = places
        mask = np.zeros(len(ids), np.bool_)
        for start, end in spans:
            mask |= (begins >= start) & (ends <= end) & (ends > start)
        mask[:1] = False
        return Encoded(np.array(ids, np.int32), mask)

    def _tokenize_apart(self, text: str, cuts: list[int]) -> tuple[list[int], np.ndarray]:
        bounds = [0, *cuts, len(text)]
        pieces = self._tokens([(text[a:b], []) for a, b in pairwise(bounds)])
        places = [_columns(piece.offsets) + start for start, piece in zip(bounds, pieces, strict=False)]
        return [token for piece in pieces for token in piece.ids], np.concatenate(places, axis=1)

    def _find_stop_token(self) -> str:
        """The first special token after the assistant's last words."""
        messages = Message("user", "a question"), Message("assistant", "an answer")
        row = Demonstration(messages, Origin("a question and its answer", 1))
        try:
            text = self._render(messages, row)
            _, end = self._words(row, 1, text)
        except DataError as error:
            raise ModelError(f"the model's chat template, tried on {error}") from None
        found = [(place, token) for token in self._special if (place := text.find(token, end)) >= 0]
        if not found or text[end : min(found)[0]].strip():
            raise ModelError(
                f"the chat template writes {text[end:]!r} after the assistant's last words, and no special token: trained with "
                "it, the model would never stop. End the turn with eos_token in the template (chat_template.jinja), or give "
                "another template with template=FILE"
            )
        place = min(found)[0]
        return max((token for at, token in found if at == place), key=len)


def _mark(turn: int) -> str:
    return f"{_FIRST[0]}{turn}{_LAST[0]}"


def _tokens_of(tokens: Encoding, count: int, start: int, end: int) -> Span | None:
    """The first token of a stretch of text and the one after its last, if both edges are those of tokens."""
    first, last = tokens.char_to_token(start), tokens.char_to_token(end - 1)
    if first is None or last is None:
        return None
    # A character may be spread over several tokens, of which the first is found: then another follows it.
    edges = [tokens.token_to_chars(i) for i in (first, last, min(last + 1, count - 1))]
    (begin, _), (_, stop), (after, _) = (edge or (-1, -1) for edge in edges)
    whole = begin == start and stop == end and (after >= end or last + 1 == count)
    return (first, last + 1) if whole else None


def _columns(offsets: list[Span]) -> np.ndarray:
    """int64 [2, t]: where each token begins and ends."""
    return np.fromiter(chain.from_iterable(offsets), np.int64, 2 * len(offsets)).reshape(-1, 2).T


def _shared_start(one: str, other: str) -> int:
    """How many characters two texts share from the start, by bisection: comparing slices is faster than characters."""
    shared, most = 0, min(len(one), len(other))
    while shared < most:
        middle = (shared + most + 1) // 2
        if one[shared:middle] == other[shared:middle]:
            shared = middle
        else:
            most = middle - 1
    return shared


def _special_tokens(tokenizer: Any) -> set[str]:
    """Tokens that can end a turn: all special ones but the beginning of a sequence."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    begins = {tokenizer.bos_token} - {tokenizer.eos_token}
    return {str(token) for token in (added | set(tokenizer.all_special_tokens)) - begins if token}

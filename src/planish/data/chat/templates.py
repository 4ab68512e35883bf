"""Chat templates, and which parts of the text that they render are learnt.

Nothing about a template is assumed. A conversation is rendered, then again with other words in place of the assistant's:
the part that differs is the assistant's words. Learnt are these words, whatever the template writes between the prompt
for a server and them (so a server's first token is learnt), and the end-of-turn token, without which a model never
stops. A template that changes the words, or has no end-of-turn token, is refused. A turn that calls functions is learnt
from the end of its prompt on, and must contain every name and value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2.exceptions import TemplateError
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from planish.base.errors import ConfigError, DataError, ModelError
from planish.data.chat.masks import Span, masked_tokens
from planish.data.chat.tool_calls import Tools, as_dicts, as_schemas, in_words, missing
from planish.data.rows import Demonstration, Message, Origin, ToolCall

MaskName = Literal["assistant", "last_turn", "all"]
Rendered = tuple[str, list[Span]]  # a conversation, and the spans of it that are learnt
REFUSALS = (TemplateError, TypeError, KeyError)  # raised by templates on conversations that they cannot render

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# For base models without ChatML's tokens: headings in words, and the end-of-sequence token as end of turn.
HEADINGS = (
    "{% for message in messages %}### {{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
# Characters for private use: no conversation begins or ends with both of a pair.
_FIRST, _LAST = ("\ue000", "\ue001", "\ue002"), ("\ue003", "\ue004", "\ue005")
# A conversation with a call, to test if a template can write one.
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
    """The tokens of a conversation, and which of them are learnt."""

    tokens: np.ndarray  # int32 [t]
    loss_mask: np.ndarray  # bool [t]


def ensure_template(tokenizer: PreTrainedTokenizerBase, path: str | None = None) -> None:
    """Sets the tokenizer's chat template: the jinja file `path`, else its own, else one that fits its vocabulary."""
    if path is not None:
        try:
            tokenizer.chat_template = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"data.template={path}: cannot be read: {error.strerror}") from None
    elif not tokenizer.chat_template:
        vocabulary = tokenizer.get_vocab()
        tokenizer.chat_template = CHATML if {"<|im_start|>", "<|im_end|>"} <= vocabulary.keys() else HEADINGS


class ChatTemplate:
    """A tokenizer's chat template, which must end the assistant's turn with a special token.

    >>> template = ChatTemplate(tokenizer)
    >>> template.stop_token
    '<|im_end|>'
    >>> encoded = template.encode([Demonstration(messages, origin)])[0]

    If `writes_tools` is False, the template cannot write functions and their calls, and `tool_calls.in_words` puts them
    into the conversation.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, mask: MaskName = "assistant") -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError("the tokenizer has no character offsets: save a tokenizer.json beside the model")
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
        """Tokens and masks of conversations."""
        return self.tokenize(self.render(rows))

    def render(self, rows: Sequence[Demonstration]) -> list[Rendered]:
        """The text of each conversation, and the spans of it that are learnt, in characters."""
        spelt = [self._spelt(row) for row in rows]
        texts = self._render_all([(row.messages, row) for row in spelt])
        if self.mask == "all":
            return [(text, [(0, len(text))]) for text in texts]
        turns = [self._learnt_turns(row) for row in spelt]
        words = self._all_words(spelt, turns, texts)
        past = [(row.messages[:turn], row) for row, learnt in zip(spelt, turns, strict=True) for turn in learnt if turn]
        prompts = iter(self._render_all(past, prompt=True))
        rendered: list[Rendered] = []
        for row, learnt, spans, text in zip(spelt, turns, words, texts, strict=True):
            whole = [self._span(row, turn, text, next(prompts) if turn else "", spans.get(turn)) for turn in learnt]
            rendered.append((text, whole))
        return rendered

    def tokenize(self, rendered: Sequence[Rendered]) -> list[Encoded]:
        """Tokens and masks of the results of `render`. Most of it runs outside Python, in parallel with other threads."""
        encodings = zip(rendered, self._tokens([text for text, _ in rendered]), strict=True)
        return [Encoded(*masked_tokens(*conversation, tokens, self._tokens)) for conversation, tokens in encodings]

    def encode_prompt(self, messages: Sequence[Message], tools: Tools = ()) -> list[int]:
        """The tokens that a server gives the model before it answers."""
        row = self._spelt(Demonstration(tuple(messages), Origin("the prompt", 1), tuple(tools)))
        return list(self._tokens([self._render(row.messages, row, prompt=True)])[0].ids)

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

    def _render(self, messages: Sequence[Message], row: Demonstration, prompt: bool = False) -> str:
        """Renders `messages` in place of the row's own, with its tools."""
        try:
            return self._apply([as_dicts(messages)], as_schemas(row.tools), prompt)[0]
        except REFUSALS as error:
            raise DataError(f"{row.origin}: the model's chat template refuses this conversation: {error}") from None

    def _render_all(self, pairs: Sequence[tuple[Sequence[Message], Demonstration]], prompt: bool = False) -> list[str]:
        """Renders many, all at once if none has tools or is refused."""
        if pairs and not any(row.tools for _, row in pairs):
            try:
                return self._apply([as_dicts(messages) for messages, _ in pairs], None, prompt)
            except REFUSALS:
                pass  # rendered one by one, the refused one is named
        return [self._render(messages, row, prompt) for messages, row in pairs]

    def _apply(self, conversations: list[list[dict[str, Any]]], tools: list[Any] | None, prompt: bool) -> list[str]:
        untyped: Any = self.tokenizer
        return untyped.apply_chat_template(conversations, tools, tokenize=False, add_generation_prompt=prompt)

    def _learnt_turns(self, row: Demonstration) -> list[int]:
        turns = [i for i, message in enumerate(row.messages) if message.role == "assistant" and message.trained]
        return turns[-1:] if self.mask == "last_turn" else turns

    def _span(self, row: Demonstration, turn: int, text: str, prompt: str, words: Span | None) -> Span:
        """The learnt span of a turn: from the end of its prompt, if `text` begins with that, to its end-of-turn token."""
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
        """The spans of these turns' words by turn, found with one more rendering of a row, with marks in their place."""
        pairs: list[tuple[Sequence[Message], Demonstration]] = []
        for row, learnt in zip(rows, turns, strict=True):
            marks = {turn for turn in learnt if not row.messages[turn].tool_calls}
            pairs.append(([replace(m, content=_mark(i)) if i in marks else m for i, m in enumerate(row.messages)], row))
        marked_texts = self._render_all(pairs)
        return [self._between_marks(*row) for row in zip(rows, turns, texts, marked_texts, strict=True)]

    def _between_marks(self, row: Demonstration, learnt: list[int], text: str, rest: str) -> dict[int, Span]:
        """The spans of the words. The text between the marks must be exactly the text between the words, unchanged or
        trimmed; if not, no span is returned."""
        turns = [turn for turn in learnt if not row.messages[turn].tool_calls]
        if _FIRST[0] in text or not turns:
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

    def _words(self, row: Demonstration, turn: int, text: str) -> Span:
        """The span of a turn's words in `text`: the part that changes if the turn has other words."""
        content = row.messages[turn].content
        taken = {content[:1], content[-1:], content.strip()[:1], content.strip()[-1:]}
        first, last = (next(c for c in choices if c not in taken) for choices in (_FIRST, _LAST))
        start, end = self._difference(row, turn, text, Message("assistant", f"{first}words{last}"))
        # A template may trim the words, or leave out thoughts before them, but must keep their end.
        if not content.rstrip().endswith(text[start:end].rstrip()):
            raise DataError(
                f"{row.origin}: turn {turn + 1}: the chat template turns the assistant's words {content[:40]!r} into "
                f"{text[start:end][:40]!r}: the model would not learn the words of the row"
            )
        return start, end

    def _span_of_calls(self, row: Demonstration, turn: int, text: str, prompt: str) -> Span:
        """The learnt span: from the end of the prompt to the end-of-turn token after the calls, before the next turn."""
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
                f"{where}: the chat template leaves {lost[0][:40]!r} of this call out: it writes {written[:60]!r}, and the "
                "model would not learn the call of the row"
            )
        return start, stop + len(self.stop_token)

    def _difference(self, row: Demonstration, turn: int, text: str, message: Message) -> Span:
        """The span of `text` that changes if `message` replaces the turn's own."""
        other = self._render([*row.messages[:turn], message, *row.messages[turn + 1 :]], row)
        start = _shared_start(text, other)
        return start, len(text) - _shared_start(text[start:][::-1], other[start:][::-1])

    def _writes(self, row: Demonstration, words: Sequence[str]) -> bool:
        try:
            text = self._render(row.messages, row)
        except DataError:
            return False
        return all(word in text for word in words)

    def _find_stop_token(self) -> str:
        """The first special token after the assistant's last words."""
        messages = Message("user", "a question"), Message("assistant", "an answer")
        row = Demonstration(messages, Origin("a question and its answer", 1))
        try:
            text = self._render(messages, row)
            _, end = self._words(row, 1, text)
        except DataError as error:
            raise ModelError(f"the model's chat template, tried on {error}") from None
        found = [(start, token) for token in self._special if (start := text.find(token, end)) >= 0]
        if not found or text[end : min(found)[0]].strip():
            raise ModelError(
                f"the chat template writes {text[end:]!r} after the assistant's last words, and no special token: trained with "
                "it, the model would never stop. End the turn with eos_token in the template (chat_template.jinja), or set "
                "another with template=FILE"
            )
        first = min(found)[0]
        return max((token for start, token in found if start == first), key=len)


def _mark(turn: int) -> str:
    return f"{_FIRST[0]}{turn}{_LAST[0]}"


def _shared_start(one: str, other: str) -> int:
    """The number of characters that two texts share from the start. Bisection with slices is faster than a loop."""
    shared, most = 0, min(len(one), len(other))
    while shared < most:
        middle = (shared + most + 1) // 2
        if one[shared:middle] == other[shared:middle]:
            shared = middle
        else:
            most = middle - 1
    return shared


def _special_tokens(tokenizer: Any) -> set[str]:
    """Tokens that can end a turn: all special ones except the beginning of a sequence."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    begins = {tokenizer.bos_token} - {tokenizer.eos_token}
    return {str(token) for token in (added | set(tokenizer.all_special_tokens)) - begins if token}

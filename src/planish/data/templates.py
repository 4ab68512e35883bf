"""Chat templates, and the loss mask derived from what they render.

Nothing about a template is assumed. A conversation is rendered as a whole; then, for each assistant turn, once more with
other words in its place. Where the two renderings begin and stop to differ, the turn's words stand. Learnt are the words,
whatever the template writes between them and the prompt it would give a server (so the first token a server has to
produce is learnt), and the end-of-turn token, without which a model never stops. A template that rewrites the words, or
has no end-of-turn token, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from planish.base.errors import DataError, ModelError
from planish.data.rows import Message, Origin

MaskName = Literal["assistant", "last_turn", "all"]
Span = tuple[int, int]

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


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation's tokens and which of them are learnt."""

    tokens: np.ndarray  # int32 [t]
    loss_mask: np.ndarray  # bool [t]


def ensure_template(tokenizer: PreTrainedTokenizerBase, template: str | None = None) -> None:
    """Gives the tokenizer `template` if one is named, else keeps its own, else the one that fits its vocabulary."""
    if template is not None:
        tokenizer.chat_template = template
    elif not tokenizer.chat_template:
        vocabulary = tokenizer.get_vocab()
        tokenizer.chat_template = CHATML if {"<|im_start|>", "<|im_end|>"} <= vocabulary.keys() else HEADINGS


class ChatTemplate:
    """A tokenizer's chat template, checked once: it must end the assistant's turn with a special token.

    >>> template = ChatTemplate(tokenizer)
    >>> template.stop_token
    '<|im_end|>'
    >>> encoded = template.encode([(messages, origin)])[0]
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

    @property
    def stop_token_id(self) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(self.stop_token))  # pyright: ignore[reportArgumentType]

    def encode(self, conversations: Sequence[tuple[Sequence[Message], Origin]]) -> list[Encoded]:
        """Tokens and masks of whole conversations."""
        rendered = [self._render_with_spans(messages, origin) for messages, origin in conversations]
        batch = self._tokenize([text for text, _ in rendered])
        return [self._mask(*pair, ids, offsets) for pair, (ids, offsets) in zip(rendered, batch, strict=True)]

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """The tokens a server feeds the model before it answers."""
        text = self._render(messages, Origin("the prompt", 1), prompt=True)
        return self._tokenize([text])[0][0]

    def _tokenize(self, texts: list[str]) -> list[tuple[list[int], list[Span]]]:
        # The template writes every special token itself: adding some here would give a second BOS.
        batch = self.tokenizer(
            texts, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False
        )
        return list(zip(batch["input_ids"], batch["offset_mapping"], strict=True))  # pyright: ignore

    def _render(self, messages: Sequence[Message], origin: Origin, prompt: bool = False) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt))
        except (TemplateError, TypeError, KeyError) as error:
            raise DataError(f"{origin}: the model's chat template refuses this conversation: {error}") from None

    def _render_with_spans(self, messages: Sequence[Message], origin: Origin) -> tuple[str, list[Span]]:
        """The rendered conversation and the stretches of it that are learnt, in characters."""
        text = self._render(messages, origin)
        if self.mask == "all":
            return text, [(0, len(text))]
        turns = [i for i, message in enumerate(messages) if message.role == "assistant" and message.trained]
        if self.mask == "last_turn":
            turns = turns[-1:]
        return text, [self._turn_span(messages, turn, text, origin) for turn in turns]

    def _turn_span(self, messages: Sequence[Message], turn: int, text: str, origin: Origin) -> Span:
        start, end = self._words(messages, turn, text, origin)
        prompt = self._render(messages[:turn], origin, prompt=True) if turn else ""
        if turn and len(prompt) <= start and text.startswith(prompt):
            start = len(prompt)
        after = text[end:]
        if not after.lstrip().startswith(self.stop_token):
            raise DataError(
                f"{origin}: turn {turn + 1}: after the assistant's words the chat template writes {after[:30]!r}, not the "
                f"end-of-turn token {self.stop_token!r}: the model would never learn to stop there"
            )
        return start, end + after.index(self.stop_token) + len(self.stop_token)

    def _words(self, messages: Sequence[Message], turn: int, text: str, origin: Origin) -> Span:
        """Where the words of one turn stand in `text`: where it differs from the same with other words in their place."""
        content = messages[turn].content
        taken = {content[:1], content[-1:], content.strip()[:1], content.strip()[-1:]}
        first, last = (next(c for c in choices if c not in taken) for choices in (_FIRST, _LAST))
        other = [*messages[:turn], Message("assistant", f"{first}words{last}"), *messages[turn + 1 :]]
        other_text = self._render(other, origin)
        start = _shared_start(text, other_text)
        end = len(text) - _shared_start(text[start:][::-1], other_text[start:][::-1])
        # A template may trim the words, or leave out the thoughts before them; their end it must keep.
        if not content.rstrip().endswith(text[start:end].rstrip()):
            raise DataError(
                f"{origin}: turn {turn + 1}: the chat template turns the assistant's words {content[:40]!r} into "
                f"{text[start:end][:40]!r}: what is learnt would not be what the row says"
            )
        return start, end

    def _mask(self, text: str, spans: list[Span], ids: list[int], offsets: list[Span]) -> Encoded:
        edges = {edge for span in spans for edge in span}
        torn = sorted({e for a, b in offsets if b - a > 1 for e in edges if a < e < b} - {0, len(text)})
        if torn:
            # A token reaches over the edge of the prompt. A server tokenises the prompt by itself, so do we.
            ids, offsets = self._tokenize_apart(text, torn)
        begins, ends = (np.array(column, np.int64) for column in (list(zip(*offsets, strict=True)) or [(), ()]))
        mask = np.zeros(len(ids), np.bool_)
        for start, end in spans:
            mask |= (begins >= start) & (ends <= end) & (ends > start)
        mask[:1] = False  # nothing precedes the first token, so nothing can predict it
        return Encoded(np.array(ids, np.int32), mask)

    def _tokenize_apart(self, text: str, cuts: list[int]) -> tuple[list[int], list[Span]]:
        ids: list[int] = []
        offsets: list[Span] = []
        bounds = [0, *cuts, len(text)]
        for (start, _), (piece, spans) in zip(
            pairwise(bounds), self._tokenize([text[a:b] for a, b in pairwise(bounds)]), strict=True
        ):
            ids += piece
            offsets += [(a + start, b + start) for a, b in spans]
        return ids, offsets

    def _find_stop_token(self) -> str:
        """The first special token after the assistant's last words."""
        messages = [Message("user", "a question"), Message("assistant", "an answer")]
        origin = Origin("a question and its answer", 1)
        try:
            text = self._render(messages, origin)
            _, end = self._words(messages, 1, text, origin)
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

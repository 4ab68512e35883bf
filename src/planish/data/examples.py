"""Tokenised rows of one source, flat in memory, and what became of every row on the way.

A row longer than `max_tokens` stops the run by default: cutting an answer or leaving a row out is the user's decision.
Whatever is dropped or cut on request is listed row by row. A document for pretraining is split, not cut: no token of it
is lost.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from planish.base.errors import DataError
from planish.base.types import Example
from planish.data.rows import Demonstration, Dropped, Learnt, Text
from planish.data.templates import ChatTemplate, Encoded

TooLong = Literal["stop", "drop", "cut"]
BATCH = 500  # rows tokenised at once


class Digest(Protocol):
    """A running hash of hashlib."""

    def update(self, data: memoryview, /) -> None: ...


class Examples:
    """Examples of one source, appended once and then read by number. About 5 bytes a token."""

    def __init__(self, source: int = 0) -> None:
        self.source = source
        self._tokens = array("i")
        self._mask = bytearray()
        self._offsets = array("q", [0])
        self.names: list[str] = []

    def append(self, encoded: Encoded, name: str) -> None:
        self._tokens.frombytes(encoded.tokens.astype(np.int32).tobytes())
        self._mask += encoded.loss_mask.tobytes()
        self._offsets.append(len(self._tokens))
        self.names.append(name)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> Example:
        start, stop = self._offsets[i], self._offsets[i + 1]
        tokens = np.frombuffer(self._tokens, np.int32)[start:stop]
        mask = np.frombuffer(self._mask, np.bool_)[start:stop]
        return Example(tokens, mask, self.names[i], self.source)

    def update_digest(self, digest: Digest) -> None:
        """Adds every token and mask bit to a running hash."""
        for part in (self._tokens, self._mask, self._offsets):
            digest.update(memoryview(part))

    @property
    def num_tokens(self) -> np.ndarray:
        """Tokens of each example."""
        return np.diff(np.frombuffer(self._offsets, np.int64))

    @property
    def num_targets(self) -> int:
        """Learnt tokens of all examples."""
        return int(np.count_nonzero(np.frombuffer(self._mask, np.uint8)))


@dataclass(slots=True)
class Encoding:
    """A source after tokenisation."""

    examples: Examples
    dropped: list[Dropped] = field(default_factory=list)
    cut: list[Dropped] = field(default_factory=list)  # rows that were shortened, and by how much


def encode_rows(
    rows: Iterable[Learnt],
    tokenizer: PreTrainedTokenizerBase,
    template: ChatTemplate | None,
    max_tokens: int,
    too_long: TooLong = "stop",
    source: int = 0,
) -> Encoding:
    """Tokenises demonstrations through the chat template and documents as they are."""
    encoding = Encoding(Examples(source))
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH)):
        for row, encoded in _encode_batch(batch, tokenizer, template):
            if isinstance(row, Text):
                if not encoded.loss_mask.any():
                    encoding.dropped.append(Dropped(row.origin, "the document is empty"))
                    continue
                for part in _split(encoded, max_tokens):
                    encoding.examples.append(part, str(row.origin))
            else:
                _add_demonstration(encoding, row, encoded, max_tokens, too_long)
    return encoding


def _encode_batch(
    rows: list[Learnt], tokenizer: PreTrainedTokenizerBase, template: ChatTemplate | None
) -> Iterator[tuple[Learnt, Encoded]]:
    chats = [row for row in rows if isinstance(row, Demonstration)]
    if chats and template is None:
        raise DataError(f"{chats[0].origin}: a conversation needs a chat template, and none was made")
    encoded = iter(template.encode([(row.messages, row.origin) for row in chats]) if template and chats else [])
    for row in rows:
        yield row, next(encoded) if isinstance(row, Demonstration) else encode_text(tokenizer, row.text)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> Encoded:
    """A document: the tokenizer's own beginning if it has one, the text, end-of-sequence. All but token 0 is learnt."""
    untyped: Any = tokenizer
    tokens: list[int] = list(untyped(text)["input_ids"])
    bos, eos = untyped.bos_token_id, untyped.eos_token_id
    if bos is not None and tokens[:2] == [bos, bos]:  # the text brought its own
        tokens = tokens[1:]
    if eos is not None and tokens[-1:] != [eos]:
        tokens.append(eos)
    return Encoded(np.array(tokens, np.int32), np.arange(len(tokens)) > 0)


def _split(encoded: Encoded, max_tokens: int) -> Iterator[Encoded]:
    """Pieces of at most `max_tokens`. Each begins with the last token of the one before, so that none goes unlearnt."""
    start = 0
    while start == 0 or start < len(encoded.tokens) - 1:
        piece = encoded.tokens[start : start + max_tokens]
        yield Encoded(piece, np.arange(len(piece)) > 0)
        start += max_tokens - 1


def _add_demonstration(encoding: Encoding, row: Learnt, encoded: Encoded, max_tokens: int, too_long: TooLong) -> None:
    length, name = len(encoded.tokens), str(row.origin)
    if length <= max_tokens:
        if encoded.loss_mask.any():
            encoding.examples.append(encoded, name)
        else:
            encoding.dropped.append(
                Dropped(row.origin, "no token of it is learnt: every assistant turn is left out of the loss")
            )
        return
    if too_long == "stop":
        raise DataError(
            f"{name}: {length} tokens, more than max_tokens={max_tokens}. Nothing is cut unasked: raise data.max_tokens, or "
            "set data.too_long to drop (leave such rows out) or cut (keep their first tokens); both are listed in data.json"
        )
    if too_long == "drop":
        encoding.dropped.append(Dropped(row.origin, f"{length} tokens, more than max_tokens={max_tokens}"))
        return
    shorter = Encoded(encoded.tokens[:max_tokens], encoded.loss_mask[:max_tokens])
    if not shorter.loss_mask.any():
        encoding.dropped.append(
            Dropped(row.origin, f"the prompt alone fills max_tokens={max_tokens}: nothing is left to learn")
        )
        return
    encoding.examples.append(shorter, name)
    encoding.cut.append(Dropped(row.origin, f"{length - max_tokens} of {length} tokens cut off at the end"))

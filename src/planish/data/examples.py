"""Examples: the tokenized rows of one source, flat in memory, with a list of all rows that were dropped or truncated.

A row longer than `max_tokens` stops the run by default: truncating an answer or dropping a row is the user's decision.
Documents for pretraining are split instead: none of their tokens is lost.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from planish.base.errors import DataError
from planish.base.types import Choices, Example
from planish.data.chat.notes import Note, Notes, control_tokens, one_of
from planish.data.chat.templates import ChatTemplate, Encoded, Rendered
from planish.data.mixture.pairs import ChoiceTable, join_completions
from planish.data.provenance import Origins
from planish.data.rows import Comparison, Demonstration, Dropped, Labelled, Learnt, Origin, Text

TooLong = Literal["error", "drop", "truncate"]
BATCH = 500  # rows tokenized at once
SPILL = 1 << 22  # bytes of tokens that are gathered in memory before they go to disk


class Digest(Protocol):
    """A hash object of hashlib."""

    def update(self, data: memoryview, /) -> None: ...


class Examples:
    """The examples of one source by number, append-only.

    Their tokens, 4 bytes each, are in a nameless file mapped into memory, so a source may be larger than memory and
    nothing is left behind when the process ends. Memory holds 20 bytes a row.
    """

    def __init__(self, source: int = 0, folder: Path | None = None) -> None:
        self.source = source
        self._folder = folder
        self._file: int | None = None
        self._unwritten = (
            bytearray()
        )  # tokens not in the file yet; a token that is not learnt is stored as its complement
        self._coded = np.zeros(0, np.int32)
        self._offsets = array("q", [0])
        self._origins = Origins()
        self.choices: ChoiceTable | None = None  # of comparisons
        self.weights: np.ndarray | None = None  # of rows that have their own
        self.num_targets = 0  # learnt tokens of all examples
        self.largest = (-1, 0)  # the highest number of a token, and the first example that has it

    def append(self, encoded: Encoded, origin: Origin, choices: Choices | None = None) -> None:
        if choices is not None:
            self.choices = self.choices or ChoiceTable()
            self.choices.append(choices)
        tokens = encoded.tokens.astype(np.int32)
        self._unwritten += np.where(encoded.loss_mask, tokens, ~tokens).tobytes()
        self._offsets.append(self._offsets[-1] + len(tokens))
        if (largest := int(tokens.max(initial=-1))) > self.largest[0]:
            self.largest = (largest, len(self))
        self._origins.add(origin)
        self.num_targets += int(np.count_nonzero(encoded.loss_mask))
        if len(self._unwritten) >= SPILL:
            self._spill()

    def __len__(self) -> int:
        return len(self._origins)

    def __getitem__(self, i: int) -> Example:
        coded = self._all()[self._offsets[i] : self._offsets[i + 1]]
        choices = None if self.choices is None else self.choices[i]
        weight = 1.0 if self.weights is None else float(self.weights[i])
        tokens = np.where(coded < 0, ~coded, coded)
        return Example(tokens, coded >= 0, self.name(i), self.source, choices, weight=weight)

    def name(self, i: int) -> str:
        """The origin of example i: "alpaca.json row 12"."""
        return str(self._origins[i])

    @property
    def names(self) -> list[str]:
        return [self.name(i) for i in range(len(self))]

    @property
    def num_tokens(self) -> np.ndarray:
        """The number of tokens of each example."""
        return np.diff(np.frombuffer(self._offsets, np.int64))

    def update_digest(self, digest: Digest) -> None:
        """Adds all tokens, mask bits and ends of rows to a hash."""
        coded = self._all()
        for start in range(0, len(coded), SPILL):
            digest.update(coded[start : start + SPILL].data)
        digest.update(memoryview(self._offsets))
        for part in self.choices.parts() if self.choices is not None else []:
            digest.update(part)
        if self.weights is not None:
            digest.update(self.weights.data)

    def _spill(self) -> None:
        if self._file is None:
            self._file, name = tempfile.mkstemp(dir=self._folder)
            Path(name).unlink()
            weakref.finalize(self, os.close, self._file)
        left = bytes(self._unwritten)
        while left:
            left = left[os.write(self._file, left) :]
        self._unwritten.clear()

    def _all(self) -> np.ndarray:
        if self._unwritten:
            self._spill()
        if self._file is not None and len(self._coded) < self._offsets[-1]:
            self._coded = np.frombuffer(mmap.mmap(self._file, 0, access=mmap.ACCESS_READ), np.int32)
        return self._coded


@dataclass(slots=True)
class Encoding:
    """A tokenized source or a part of one."""

    examples: Examples
    dropped: list[Dropped] = field(default_factory=list)
    truncated: list[Dropped] = field(default_factory=list)  # truncated rows, and by how much
    comparisons: list[Comparison] | None = None  # the rows of the examples, if they are kept
    notes: Notes = field(default_factory=Notes)  # on the rows of the examples


Encodable = Learnt | Comparison
Batch = list[tuple[Encodable, Encoding]]


def encode_rows(
    rows: Iterable[Encodable],
    tokenizer: PreTrainedTokenizerBase,
    template: ChatTemplate | None,
    max_tokens: int,
    too_long: TooLong = "error",
    source: int = 0,
) -> Encoding:
    """Tokenizes demonstrations and comparisons with the chat template, documents without."""
    encoding = Encoding(Examples(source))
    encode_into(((row, encoding) for row in rows), tokenizer, template, max_tokens, too_long)
    return encoding


def encode_into(
    rows: Iterable[tuple[Encodable, Encoding]],
    tokenizer: PreTrainedTokenizerBase,
    template: ChatTemplate | None,
    max_tokens: int,
    too_long: TooLong = "error",
) -> None:
    """Tokenizes each row into its encoding. While a batch is tokenized, the next is read and rendered."""
    remaining = iter(rows)
    with ThreadPoolExecutor(1) as worker:
        waiting: list[tuple[Batch, Future[list[list[Encoded]]]]] = []
        while (batch := list(islice(remaining, BATCH))) or waiting:
            if batch:
                rendered = _render([row for row, _ in batch], template)
                future = worker.submit(_tokenize, [row for row, _ in batch], rendered, tokenizer, template)
                waiting.append((batch, future))
            if len(waiting) > 1 or not batch:
                _add(*waiting.pop(0), max_tokens, too_long)


def _render(rows: list[Encodable], template: ChatTemplate | None) -> list[Rendered]:
    chats = [chat for row in rows for chat in conversations(row)]
    if chats and template is None:
        raise DataError(f"{chats[0].origin}: a conversation needs a chat template, but there is none")
    return template.render(chats) if template else []


def conversations(row: Encodable) -> list[Demonstration]:
    """The row as conversations: itself, or one for each completion, in which only the completion is learnt."""
    if isinstance(row, Comparison):
        prompt = [replace(message, trained=False) for message in row.prompt]
        return [
            Demonstration((*prompt, replace(answer, trained=True)), row.origin, row.tools) for answer in row.completions
        ]
    return [row] if isinstance(row, Demonstration) else []


def _tokenize(
    rows: list[Encodable], rendered: list[Rendered], tokenizer: PreTrainedTokenizerBase, template: ChatTemplate | None
) -> list[list[Encoded]]:
    """The tokens of each row: one sequence, or one for each completion of a comparison."""
    chats = iter(template.tokenize(rendered) if template and rendered else [])
    documents = iter(encode_texts(tokenizer, [row.text for row in rows if isinstance(row, Text)]))
    batch = [[next(documents)] if isinstance(row, Text) else [next(chats) for _ in conversations(row)] for row in rows]
    stops = template.stop_token_ids if template else ()
    return [
        [_ended(completion, stops) for completion in encoded] if isinstance(row, Comparison | Labelled) else encoded
        for row, encoded in zip(rows, batch, strict=True)
    ]


def _ended(encoded: Encoded, stop_token_ids: Sequence[int]) -> Encoded:
    """Up to the last end-of-turn token: behind it a template may write a line break, which the mask `all` would learn."""
    stop = 1 + int(np.flatnonzero(np.isin(encoded.tokens, stop_token_ids))[-1])
    return replace(encoded, tokens=encoded.tokens[:stop], loss_mask=encoded.loss_mask[:stop])


def _add(batch: Batch, tokenised: Future[list[list[Encoded]]], max_tokens: int, too_long: TooLong) -> None:
    for (row, encoding), encoded in zip(batch, tokenised.result(), strict=True):
        if isinstance(row, Text):
            _add_document(encoding, row, encoded[0], max_tokens)
        elif isinstance(row, Comparison):
            _add_comparison(encoding, row, encoded, max_tokens, too_long)
        else:
            _add_demonstration(encoding, row, encoded[0], max_tokens, too_long)
        encoding.notes.add(row.origin, tuple(note for completion in encoded for note in completion.notes))


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[Encoded]:
    """Documents: beginning-of-sequence if the tokenizer adds it, the text, end-of-sequence. Token 0 is not learnt."""
    if not texts:
        return []
    untyped: Any = tokenizer
    bos, eos = untyped.bos_token_id, untyped.eos_token_id
    control = one_of(control_tokens(tokenizer))
    encoded: list[Encoded] = []
    for text, tokens in zip(texts, untyped(texts, return_attention_mask=False)["input_ids"], strict=True):
        if bos is not None and tokens[:2] == [bos, bos]:  # the text begins with one of its own
            tokens = tokens[1:]
        if eos is not None and tokens[-1:] != [eos]:
            tokens = [*tokens, eos]
        notes = tuple(Note("control_token", match[0]) for match in [control.search(text)] if match)
        encoded.append(Encoded(np.array(tokens, np.int32), np.arange(len(tokens)) > 0, notes))
    return encoded


def _add_document(encoding: Encoding, row: Text, encoded: Encoded, limit: int) -> None:
    if not encoded.loss_mask.any():
        encoding.dropped.append(Dropped(row.origin, "the document is empty"))
        return
    for part in _split(encoded, limit):
        encoding.examples.append(part, row.origin)


def _split(encoded: Encoded, limit: int) -> Iterator[Encoded]:
    """Pieces of at most `max_tokens`. Each begins with the last token of the one before, so that all tokens are learnt."""
    start = 0
    while start == 0 or start < len(encoded.tokens) - 1:
        piece = encoded.tokens[start : start + limit]
        yield Encoded(piece, np.arange(len(piece)) > 0)
        start += limit - 1


def _add_demonstration(encoding: Encoding, row: Demonstration, encoded: Encoded, limit: int, too_long: TooLong) -> None:
    if not encoded.loss_mask.any():
        reason = "no token of it is learnt: every assistant turn is left out of the loss"
        encoding.dropped.append(Dropped(row.origin, reason))
    elif fitted := _fitted(encoding, row.origin, [encoded], limit, too_long):
        encoding.examples.append(fitted[0], row.origin, _label(row, fitted[0]) if isinstance(row, Labelled) else None)


def _label(row: Labelled, encoded: Encoded) -> Choices:
    """A completion without another to compare with: rank 0 is desirable, 1 is not."""
    return Choices(int(np.argmax(encoded.loss_mask)), (len(encoded.tokens),), (int(not row.desirable),))


def _add_comparison(encoding: Encoding, row: Comparison, encoded: list[Encoded], limit: int, too_long: TooLong) -> None:
    if not row.pairs:
        reason = f"its {len(row.completions)} completions are all tied: there is no pair to learn from"
        encoding.dropped.append(Dropped(row.origin, reason))
    elif fitted := _fitted(encoding, row.origin, encoded, limit, too_long):
        if equal := next((p for p in row.pairs if np.array_equal(fitted[p[0]].tokens, fitted[p[1]].tokens)), None):
            one, other = sorted(equal)
            reason = f"completions {one + 1} and {other + 1} are the same tokens, but ranked apart"
            encoding.dropped.append(Dropped(row.origin, reason))
            return
        joined, choices = join_completions(row.ranks, fitted, row.scores)
        encoding.examples.append(joined, row.origin, choices)
        if encoding.comparisons is not None:
            encoding.comparisons.append(row)


def _fitted(encoding: Encoding, origin: Origin, encoded: list[Encoded], limit: int, too_long: TooLong) -> list[Encoded]:
    """The conversations of a row, none longer than `max_tokens`; empty if the row is left out."""
    length = max(len(conversation.tokens) for conversation in encoded)
    if length <= limit:
        return encoded
    if too_long == "error":
        raise DataError(
            f"{origin}: {length} tokens, more than max_tokens={limit}. Nothing is truncated unasked: raise data.max_tokens, "
            "or set data.too_long to drop (leave such rows out) or truncate (keep their first tokens); data.json lists both"
        )
    if too_long == "drop":
        encoding.dropped.append(Dropped(origin, f"{length} tokens, more than max_tokens={limit}"))
        return []
    shorter = [Encoded(whole.tokens[:limit], whole.loss_mask[:limit]) for whole in encoded]
    if not all(short.loss_mask.any() for short in shorter):
        reason = f"the prompt alone fills max_tokens={limit}: nothing is left to learn"
        encoding.dropped.append(Dropped(origin, reason))
        return []
    encoding.truncated.append(Dropped(origin, f"{length - limit} of {length} tokens cut off at the end"))
    return shorter

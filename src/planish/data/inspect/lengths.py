"""Lengths of rows and their learnt parts, in tokens of a model or in characters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any, Protocol

import numpy as np

from planish.data.chat.notes import Note
from planish.data.chat.templates import ChatTemplate, Encoded
from planish.data.examples import TooLong, encode_texts
from planish.data.inspect.result import Fate, Piece, ShownPart, Unit
from planish.data.rows import Comparison, Demonstration, Judged, Message, Prompt, Question, Row, Text


@dataclass(frozen=True, slots=True)
class Measured:
    """Lengths of a row. A comparison is as long as its longest completion with the prompt; it has no learnt length."""

    length: int
    prompt: int | None = None
    completions: tuple[int, ...] = ()
    learnt: int | None = None
    fate: tuple[Fate, str] | None = None  # its fate in a run, with the reason; None if it is kept whole
    notes: tuple[Note, ...] = ()


class LengthMeasure(Protocol):
    unit: Unit

    def measure(self, rows: Sequence[Row]) -> list[Measured]: ...

    def parts(self, row: Row) -> tuple[ShownPart, ...]: ...


def conversations(row: Row) -> list[Demonstration]:
    """The conversations that are tokenized for a row. Only the completions of a comparison are learnt."""
    if isinstance(row, Demonstration):
        return [row]
    if isinstance(row, Comparison | Judged):
        completions, tools = (row.completions, row.tools) if isinstance(row, Comparison) else ((row.completion,), ())
        prompt = tuple(replace(message, trained=False) for message in row.prompt)
        return [Demonstration((*prompt, replace(answer, trained=True)), row.origin, tools) for answer in completions]
    return [Demonstration(row.messages, row.origin)] if isinstance(row, Prompt | Question) else []


def headings(row: Row) -> list[str]:
    """A heading for each of the conversations."""
    if isinstance(row, Judged):
        return [f"completion, judged {_verdict_text(row.verdict)}"]
    if not isinstance(row, Comparison):
        return ["prompt" if isinstance(row, Prompt | Question) else ""]
    scores = [f", score {score:g}" for score in row.scores] or [""] * len(row.ranks)
    return [
        f"completion {k}, rank {rank}{' (best)' if rank == min(row.ranks) else ''}{score}"
        for k, (rank, score) in enumerate(zip(row.ranks, scores, strict=True), 1)
    ]


def _verdict_text(verdict: bool | str) -> str:
    return verdict if isinstance(verdict, str) else "desirable" if verdict else "undesirable"


class CharacterLengths:
    """Lengths of the words only, without the text that a chat template adds."""

    unit: Unit = "characters"

    def measure(self, rows: Sequence[Row]) -> list[Measured]:
        return [self._measure(row) for row in rows]

    def _measure(self, row: Row) -> Measured:
        if isinstance(row, Text):
            return Measured(len(row.text), learnt=len(row.text))
        talks = conversations(row)
        sizes = [[len(_words(message)) for message in talk.messages] for talk in talks]
        length = max(map(sum, sizes))
        if isinstance(row, Prompt | Question):
            return Measured(length, length)
        if not isinstance(row, Demonstration):
            return Measured(length, sum(sizes[0][:-1]), tuple(size[-1] for size in sizes))
        answers = [i for i, message in enumerate(row.messages) if _is_learnt(message)]
        learnt = tuple(sizes[0][i] for i in answers)
        return Measured(length, sum(sizes[0][: min(answers, default=len(sizes[0]))]), learnt, sum(learnt))

    def parts(self, row: Row) -> tuple[ShownPart, ...]:
        if isinstance(row, Text):
            return (ShownPart("", (Piece(row.text, learnt=True),)),)
        talks = conversations(row)
        if isinstance(row, Comparison | Judged):
            prompt = ShownPart("prompt", _pieces(talks[0].messages[:-1]))
            return (prompt, *map(ShownPart, headings(row), (_pieces(talk.messages[-1:]) for talk in talks)))
        return (ShownPart(headings(row)[0], _pieces(talks[0].messages)),)


def _is_learnt(message: Message) -> bool:
    return message.role == "assistant" and message.trained


def _words(message: Message) -> str:
    calls = [json.dumps({"name": c.name, "arguments": c.arguments}, ensure_ascii=False) for c in message.tool_calls]
    return "\n".join(filter(None, [message.content, *calls]))


def _pieces(messages: Sequence[Message]) -> tuple[Piece, ...]:
    turns = [(Piece(f"{m.role}: ", special=True), Piece(_words(m), _is_learnt(m)), Piece("\n")) for m in messages]
    return tuple(chain.from_iterable(turns))


class TokenLengths:
    """Lengths in tokens, as in a run."""

    unit: Unit = "tokens"

    def __init__(self, template: ChatTemplate, max_tokens: int | None = None, too_long: TooLong = "error") -> None:
        self.template, self.max_tokens = template, max_tokens
        self.too_long: TooLong = too_long
        # The mask "all" does not separate a completion from its prompt.
        self.answers = template if template.mask == "assistant" else template.with_mask("assistant")
        untyped: Any = template.tokenizer
        added = (number for number, token in untyped.added_tokens_decoder.items() if token.special)
        self._special = {*added, *untyped.all_special_ids}

    def measure(self, rows: Sequence[Row]) -> list[Measured]:
        return [
            replace(self._measured(row, encoded), notes=tuple(note for talk in encoded for note in talk.notes))
            for row, encoded in zip(rows, self._encode(rows), strict=True)
        ]

    def _encode(self, rows: Sequence[Row]) -> list[list[Encoded]]:
        """All conversations of each row, or the document."""
        judged = [talk for row in rows if isinstance(row, Comparison | Judged) for talk in conversations(row)]
        answers = iter(self.answers.encode(judged) if judged else [])
        chats = [row for row in rows if isinstance(row, Demonstration)]
        learnt = iter(self.template.encode(chats) if chats else [])
        encoded: list[list[Encoded]] = []
        for row in rows:
            if isinstance(row, Text):
                encoded.append([*encode_texts(self.template.tokenizer, [row.text])])
            elif isinstance(row, Prompt | Question):
                tools = row.tools if isinstance(row, Prompt) else ()
                tokens = np.array(self.template.encode_prompt(row.messages, tools, row.origin), np.int32)
                notes = tuple(self.template.control_notes(row.messages))
                encoded.append([Encoded(tokens, np.zeros(len(tokens), np.bool_), notes)])
            else:
                source = learnt if isinstance(row, Demonstration) else answers
                encoded.append([next(source) for _ in conversations(row)])
        return encoded

    def _measured(self, row: Row, encoded: list[Encoded]) -> Measured:
        length = max(len(conversation.tokens) for conversation in encoded)
        fate = self._fate(row, encoded, length)
        mask = encoded[0].loss_mask
        learnt = int(mask.sum())
        if isinstance(row, Text):
            return Measured(length, learnt=learnt, fate=fate)
        if isinstance(row, Prompt | Question):
            return Measured(length, length, fate=fate)
        prompt = int(mask.argmax()) if learnt else length
        if not isinstance(row, Demonstration):
            return Measured(length, prompt, tuple(int(answer.loss_mask.sum()) for answer in encoded), fate=fate)
        if self.template.mask == "all":
            return Measured(length, learnt=learnt, fate=fate)
        runs = tuple(len(list(run)) for is_learnt, run in groupby(mask.tolist()) if is_learnt)
        return Measured(length, prompt, runs, learnt, fate)

    def _fate(self, row: Row, encoded: list[Encoded], length: int) -> tuple[Fate, str] | None:
        if isinstance(row, Demonstration | Text) and not encoded[0].loss_mask.any():
            return "dropped", "no token of it is learnt"
        most = self.max_tokens
        if most is None or length <= most or isinstance(row, Prompt | Question):  # not learnt by any run
            return None
        reason = f"{length:,} tokens, more than max_tokens={most:,}"
        if isinstance(row, Text):
            return "split", f"{reason}: {-(-(length - 1) // (most - 1)):,} pieces"
        if self.too_long != "truncate":
            return ("dropped" if self.too_long == "drop" else "stops the run"), reason
        if not all(answer.loss_mask[:most].any() for answer in encoded):
            return "dropped", f"the prompt alone fills max_tokens={most:,}"
        lost = sum(int(answer.loss_mask[most:].sum()) for answer in encoded)
        return "truncated", f"{reason}: {length - most:,} cut off at the end, {lost:,} of them learnt"

    def parts(self, row: Row) -> tuple[ShownPart, ...]:
        (encoded,) = self._encode([row])
        pieces = list(map(self._pieces, encoded))
        if not isinstance(row, Comparison | Judged):
            return (ShownPart(headings(row)[0], tuple(piece for piece, _ in pieces[0])),)
        start = int(encoded[0].loss_mask.argmax())
        prompt = ShownPart("prompt", tuple(piece for piece, at in pieces[0] if at < start))
        answers = (
            tuple(piece for piece, at in answer if at >= int(conversation.loss_mask.argmax()))
            for answer, conversation in zip(pieces, encoded, strict=True)
        )
        return (prompt, *map(ShownPart, headings(row), answers))

    def _pieces(self, encoded: Encoded) -> list[tuple[Piece, int]]:
        """The text as learnt and special pieces, each with the index of its first token."""
        tokens: list[int] = encoded.tokens.tolist()
        flags = [
            (bool(learnt), token in self._special) for learnt, token in zip(encoded.loss_mask, tokens, strict=True)
        ]
        pieces: list[tuple[Piece, int]] = []
        before, start = "", 0
        for (learnt, special), run in groupby(flags):
            stop = start + len(list(run))
            so_far = self._decode(tokens[:stop])
            # Decoded alone, a piece can lose the space before its first word.
            whole = so_far.startswith(before)
            text = so_far[len(before) :] if whole else self._decode(tokens[start:stop])
            pieces.append((Piece(text, learnt, special), start))
            before, start = so_far, stop
        return pieces

    def _decode(self, tokens: list[int]) -> str:
        untyped: Any = self.template.tokenizer
        return str(untyped.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))

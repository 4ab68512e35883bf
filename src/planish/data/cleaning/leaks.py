"""Leaks: training rows that repeat an evaluation set, on which the model would then score too well.

An exact leak is a user turn, or a whole document, that equals an evaluation prompt after normalizing. An n-gram leak
shares a run of words with the prompt or an answer (13 words in Brown et al. 2020, appendix C).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from planish.base.errors import DataError
from planish.data.cleaning.fingerprints import (
    Cleanable,
    hash64,
    normalized,
    texts,
    turn_text,
    user_text,
    windows,
    word_hashes,
    words,
)
from planish.data.formats import stream_rows
from planish.data.prompts import stream_prompts
from planish.data.rows import Comparison, Demonstration, Dropped, Judged, Message, Origin, Prompt, Question, Row, Text

KINDS = (Question, Demonstration, Prompt, Comparison, Judged, Text)
STANDS_ALONE = 4  # words; a shorter prompt ("hi") is too common


def evaluation_rows(paths: Sequence[str]) -> Iterator[Row]:
    """The rows of evaluation sets, and of conversations that wait for an answer."""
    for path in paths:
        rows: list[Row | Dropped]
        try:
            rows = list(stream_rows(path, KINDS))
        except DataError:  # a conversation without an answer is no demonstration; other faults are raised again
            rows = list(stream_prompts(path))
        yield from (row for row in rows if not isinstance(row, Dropped))


class EvaluationPrompts:
    """An index of evaluation sets: 8 bytes and a number for each prompt, and for each run of `leak_words` words, if set.

    Only the first turn of a conversation counts as its prompt: later ones ("Can you explain that?") say little alone. A
    prompt of fewer than four words is leaked only together with one of its answers.
    """

    def __init__(self, rows: Iterable[Row], leak_words: int | None) -> None:
        self.prompts: list[tuple[Origin, str]] = []
        self._leak_words = leak_words
        self._exact: dict[int, Origin] = {}
        runs = [(np.zeros(0, np.uint64), np.zeros(0, np.int64))]
        for row in rows:
            runs += self._add(row)
        self._runs, first = np.unique(np.concatenate([hashes for hashes, _ in runs]), return_index=True)
        self._owners = np.concatenate([owners for _, owners in runs])[first]

    def _add(self, row: Row) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        turns, answers = _prompt_and_answers(row)
        self.prompts.append((row.origin, user_text(turns)))
        for prompt in [message.content for message in turns if message.role == "user"][:1]:
            keys = [_key(prompt)] if stands_alone(prompt) else [_key(prompt, answer) for answer in answers]
            for key in keys:
                self._exact.setdefault(key, row.origin)
        follow_ups = row.follow_ups if isinstance(row, Prompt) else ()
        for text in (*(turn.content for turn in turns if turn.role == "user"), *follow_ups, *answers):
            hashes = self._runs_of(text)
            yield hashes, np.full(len(hashes), len(self.prompts) - 1)

    def _runs_of(self, text: str) -> np.ndarray:
        if self._leak_words is None or len(hashes := word_hashes(text)) < self._leak_words:
            return np.zeros(0, np.uint64)
        return windows(hashes, self._leak_words)

    def exact(self, row: Cleanable) -> str | None:
        """The reason if the row is an exact leak, else None."""
        for text, answers in _exchanges(row):
            keys = [_key(text)] if stands_alone(text) else [_key(text, answer) for answer in answers]
            for key in keys:
                if key in self._exact:
                    what = "the document" if isinstance(row, Text) else "a user turn"
                    return f"{what} is the prompt of {self._exact[key]}"
        return None

    def shared_words(self, row: Cleanable) -> str | None:
        """The reason if the row is an n-gram leak, with the first shared words and the evaluation row; else None."""
        for text in texts(row) if self._leak_words and len(self._runs) else ():
            runs = self._runs_of(text)
            at = np.minimum(np.searchsorted(self._runs, runs), len(self._runs) - 1)
            if len(hits := np.flatnonzero(self._runs[at] == runs)):
                origin, _ = self.prompts[int(self._owners[at[hits[0]]])]
                shared = " ".join(words(text)[hits[0] : hits[0] + self._leak_words])
                return f"shares {self._leak_words} words in a row with {origin}: {shared}"
        return None


def stands_alone(text: str) -> bool:
    return len(words(text)) >= STANDS_ALONE


def _key(prompt: str, answer: str = "") -> int:
    return hash64(f"{normalized(prompt)}\x1e{normalized(answer)}")


def _prompt_and_answers(row: Row) -> tuple[Sequence[Message], list[str]]:
    """The turns of an evaluation row before its answers, and the answers: right ones or sampled ones."""
    match row:
        case Text():
            return [Message("user", row.text)], []
        case Question():
            return row.messages, list(row.answers)
        case Demonstration() | Prompt():
            return row.messages, [turn_text(message) for message in row.messages if message.role == "assistant"]
        case Comparison():
            return row.prompt, [turn_text(message) for message in row.completions]
        case Judged():
            return row.prompt, [turn_text(row.completion)]


def _exchanges(row: Cleanable) -> Iterator[tuple[str, list[str]]]:
    """Each user turn of a training row with its answers; or the document."""
    if isinstance(row, Text):
        yield row.text, []
        return
    messages = row.prompt if isinstance(row, Comparison) else row.messages
    for at, message in enumerate(messages):
        if message.role == "user":
            answers = messages[at + 1 : at + 2]
            if not answers and isinstance(row, Comparison):
                answers = row.completions
            yield message.content, [turn_text(answer) for answer in answers]

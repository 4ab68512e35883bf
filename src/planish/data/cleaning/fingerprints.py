"""Fingerprints: hashes of the content of rows, equal for rows that say the same, on every machine and in every process."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from planish.data.rows import Comparison, Demonstration, Labelled, Learnt, Message, Text

Cleanable = Learnt | Comparison
OPERATORS = "#%&*-/@\\_"  # punctuation to Unicode, but 8/2 is not 8*2
PUNCTUATION = "".join(
    re.escape(chr(code))
    for code in range(0x10000)
    if unicodedata.category(chr(code)).startswith("P") and chr(code) not in OPERATORS
)
FOLDED = re.compile(rf"(?<!\d)[{PUNCTUATION}]|[{PUNCTUATION}](?!\d)")  # kept between digits: 3.5 is not 3 5
# Thai, Lao, Burmese, Khmer, Kana and Han have no space between words: each of their characters counts as a word.
SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
WORD = re.compile(rf"[{SPACELESS}]|[^\s{SPACELESS}]+")
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio, odd: multiplication by it spreads over all bits


def normalized(text: str) -> str:
    """The text in one case, one form of each character (NFKC), with single spaces and without sentence punctuation.

    A text of punctuation only keeps it.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(FOLDED.sub(" ", plain).split()) or " ".join(plain.split())


def words(text: str) -> list[str]:
    """The words of the normalized text."""
    return WORD.findall(normalized(text))


def hash64(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


_word_hash = lru_cache(maxsize=2**17)(hash64)


def word_hashes(text: str) -> np.ndarray:
    """A 64-bit hash of each word, in order."""
    listed = words(text)
    return np.fromiter(map(_word_hash, listed), np.uint64, len(listed))


def windows(hashes: np.ndarray, length: int) -> np.ndarray:
    """A hash of each run of `length` words; of all words if there are fewer."""
    length = min(length, len(hashes))
    count = len(hashes) - length + 1 if length else 0
    runs = np.zeros(count, np.uint64)
    for k in range(length):
        runs = runs * FACTOR + hashes[k : k + count]
    return runs


def digest(row: Cleanable) -> int:
    """64 bits of the normalized content of a row; for a comparison of its texts, without the judgement."""
    if isinstance(row, Comparison):
        return _digest(_turns(row.prompt), sorted(normalized(turn_text(message)) for message in row.completions))
    return _digest([normalized(row.text)]) if isinstance(row, Text) else _digest(_turns(row.messages))


def copy_digest(row: Cleanable) -> int:
    """As `digest`, but another judgement, or the same by another annotator, is not a copy."""
    if isinstance(row, Labelled):
        return _digest(_turns(row.messages), [str(row.desirable)])
    if not isinstance(row, Comparison):
        return digest(row)
    ranked = zip(row.ranks, row.completions, strict=True)
    judged = sorted(f"{rank} {normalized(turn_text(message))}" for rank, message in ranked)
    return _digest(_turns(row.prompt), [row.annotator], judged)


def split_digest(row: Cleanable) -> int:
    """Rows with the same one are held out together. For a comparison or a labelled answer, it is the digest of its prompt."""
    if isinstance(row, Labelled):
        return _digest(_turns(row.messages[:-1]))
    return _digest(_turns(row.prompt)) if isinstance(row, Comparison) else digest(row)


def _turns(messages: Sequence[Message]) -> list[str]:
    return [f"{message.role} {normalized(turn_text(message))}" for message in messages]


def _digest(*parts: Sequence[str]) -> int:
    # The separators count as white space, so no normalized text contains them.
    return hash64("\x1d".join("\x1e".join(part) for part in parts))


def turn_text(message: Message) -> str:
    """The content of a turn with its function calls."""
    calls = [f"{call.name} {json.dumps(dict(call.arguments), sort_keys=True)}" for call in message.tool_calls]
    return "\n".join([message.content, *calls]) if calls else message.content


def turn_texts(messages: Iterable[Message]) -> list[str]:
    """The texts of all turns except the system's, which whole sources share."""
    return [turn_text(message) for message in messages if message.role != "system"]


def texts(row: Cleanable) -> list[str]:
    """All texts of a row except the system's."""
    if isinstance(row, Text):
        return [row.text]
    return turn_texts((*row.prompt, *row.completions) if isinstance(row, Comparison) else row.messages)


def user_text(messages: Iterable[Message]) -> str:
    """The content of all turns of the user."""
    return "\n".join(message.content for message in messages if message.role == "user")


def prompt(row: Cleanable) -> str:
    """The user's turns of a row; empty for a document."""
    if isinstance(row, Text):
        return ""
    return user_text(row.prompt if isinstance(row, Comparison) else row.messages)


def learnt_lengths(row: Cleanable) -> list[int]:
    """Numbers of learnt characters: of the document, of all trained turns, or of each completion of a comparison."""
    if isinstance(row, Text):
        return [len(row.text)]
    if isinstance(row, Demonstration):
        return [sum(len(turn_text(turn)) for turn in row.messages if turn.role == "assistant" and turn.trained)]
    return [len(turn_text(completion)) for completion in row.completions]


def shingles(row: Cleanable, length: int = 5) -> list[np.ndarray]:
    """The runs of five words in each part of a row, as sorted sets of 64-bit hashes. The parts are the turns of user and
    tools and those of the assistant; the document; or the prompt and each completion of a comparison, best first.

    The hashes depend on the part, and in a comparison on annotator and rank, so no two parts share any.
    """
    parts: list[tuple[str, str]]
    if isinstance(row, Text):
        parts = [("document", row.text)]
    elif isinstance(row, Demonstration):
        request = [turn_text(turn) for turn in row.messages if turn.role in ("user", "tool")]
        answer = [turn_text(turn) for turn in row.messages if turn.role == "assistant"]
        parts = [("asked", "\n".join(request)), ("answered", "\n".join(answer))]
    else:
        ranked = zip(row.ranks, (normalized(turn_text(message)) for message in row.completions), strict=True)
        marked = [(f"{at} {rank} {row.annotator}", text) for at, (rank, text) in enumerate(sorted(ranked))]
        parts = [(row.annotator, "\n".join(turn_texts(row.prompt))), *marked]
    return [np.unique(windows(word_hashes(text), length) ^ np.uint64(hash64(mark))) for mark, text in parts]

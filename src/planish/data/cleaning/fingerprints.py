"""What a row says, and when two rows say the same. All hashes are the same on every machine and in every process."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from planish.data.rows import Comparison, Demonstration, Learnt, Message, Text

Cleanable = Learnt | Comparison
OPERATORS = "#%&*-/@\\_"  # punctuation to Unicode, but 8/2 is not 8*2
PUNCTUATION = "".join(
    re.escape(chr(code))
    for code in range(0x10000)
    if unicodedata.category(chr(code)).startswith("P") and chr(code) not in OPERATORS
)
FOLDED = re.compile(rf"(?<!\d)[{PUNCTUATION}]|[{PUNCTUATION}](?!\d)")  # between digits it stays: 3.5 is not 3 5
# Thai, Lao, Burmese, Khmer, Kana and Han put no space between words: there, each character counts as a word.
SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
WORD = re.compile(rf"[{SPACELESS}]|[^\s{SPACELESS}]+")
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio, odd: spreads what it multiplies over all bits


def normalised(text: str) -> str:
    """The text in one case, one form of each character (NFKC), single spaces, and without sentence punctuation.

    What is nothing but punctuation keeps it.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(FOLDED.sub(" ", plain).split()) or " ".join(plain.split())


def words(text: str) -> list[str]:
    """The words of the normalised text."""
    return WORD.findall(normalised(text))


def hash64(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


_word_hash = lru_cache(maxsize=2**17)(hash64)


def word_hashes(text: str) -> np.ndarray:
    """64 bits for each word, in order."""
    found = words(text)
    return np.fromiter(map(_word_hash, found), np.uint64, len(found))


def windows(hashes: np.ndarray, length: int) -> np.ndarray:
    """A hash for each run of so many words; for all of them together where there are fewer."""
    length = min(length, len(hashes))
    count = len(hashes) - length + 1 if length else 0
    runs = np.zeros(count, np.uint64)
    for k in range(length):
        runs = runs * FACTOR + hashes[k : k + count]
    return runs


def digest(row: Cleanable) -> int:
    """64 bits of what the row says, after normalising. Of a comparison: its texts, whoever judged them and however."""
    if isinstance(row, Comparison):
        return _digest(_turns(row.prompt), sorted(normalised(said(message)) for message in row.completions))
    return _digest([normalised(row.text)]) if isinstance(row, Text) else _digest(_turns(row.messages))


def copy_digest(row: Cleanable) -> int:
    """As `digest`, but another judgement, or the same by another annotator, is no copy."""
    if not isinstance(row, Comparison):
        return digest(row)
    ranked = zip(row.ranks, row.completions, strict=True)
    judged = sorted(f"{rank} {normalised(said(message))}" for rank, message in ranked)
    return _digest(_turns(row.prompt), [row.annotator], judged)


def apart_digest(row: Cleanable) -> int:
    """Rows with the same one are held out together. Comparisons of one prompt are: what is measured there would be learnt."""
    return _digest(_turns(row.prompt)) if isinstance(row, Comparison) else digest(row)


def _turns(messages: Sequence[Message]) -> list[str]:
    return [f"{message.role} {normalised(said(message))}" for message in messages]


def _digest(*parts: Sequence[str]) -> int:
    # The separators count as white space, so no normalised text holds them.
    return hash64("\x1d".join("\x1e".join(part) for part in parts))


def said(message: Message) -> str:
    """A turn's content, with the function calls it makes."""
    calls = [f"{call.name} {json.dumps(dict(call.arguments), sort_keys=True)}" for call in message.tool_calls]
    return "\n".join([message.content, *calls]) if calls else message.content


def spoken(messages: Iterable[Message]) -> list[str]:
    """All turns but the system's, which whole sources share."""
    return [said(message) for message in messages if message.role != "system"]


def texts(row: Cleanable) -> list[str]:
    """Every text of a row but the system's."""
    if isinstance(row, Text):
        return [row.text]
    return spoken((*row.prompt, *row.completions) if isinstance(row, Comparison) else row.messages)


def asked(messages: Iterable[Message]) -> str:
    """What the user says, in all turns."""
    return "\n".join(message.content for message in messages if message.role == "user")


def prompt(row: Cleanable) -> str:
    """What the user of a row says; a document has none."""
    if isinstance(row, Text):
        return ""
    return asked(row.prompt if isinstance(row, Comparison) else row.messages)


def learnt_lengths(row: Cleanable) -> list[int]:
    """Characters of what is learnt: the document, the trained turns together, or each completion of a comparison."""
    if isinstance(row, Text):
        return [len(row.text)]
    if isinstance(row, Demonstration):
        return [sum(len(said(turn)) for turn in row.messages if turn.role == "assistant" and turn.trained)]
    return [len(said(completion)) for completion in row.completions]


def shingles(row: Cleanable, length: int = 5) -> list[np.ndarray]:
    """The runs of five words in each part of a row, as sets of 64-bit hashes, sorted: what the user and the tools say and
    what the assistant says; the document; or the prompt and each completion of a comparison, the best first.

    The hashes are marked with the part, and of a comparison with annotator and rank, so no two parts share any.
    """
    parts: list[tuple[str, str]]
    if isinstance(row, Text):
        parts = [("document", row.text)]
    elif isinstance(row, Demonstration):
        asked = [said(turn) for turn in row.messages if turn.role in ("user", "tool")]
        answered = [said(turn) for turn in row.messages if turn.role == "assistant"]
        parts = [("asked", "\n".join(asked)), ("answered", "\n".join(answered))]
    else:
        ranked = zip(row.ranks, (normalised(said(message)) for message in row.completions), strict=True)
        marked = [(f"{at} {rank} {row.annotator}", text) for at, (rank, text) in enumerate(sorted(ranked))]
        parts = [(row.annotator, "\n".join(spoken(row.prompt))), *marked]
    return [np.unique(windows(word_hashes(text), length) ^ np.uint64(hash64(mark))) for mark, text in parts]

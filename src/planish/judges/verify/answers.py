"""Answers in running text: where a text gives its answer, and when two answers are the same."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

# Where an answer is marked, the surest sign first: GSM8K's line, LaTeX's box, tags, and words.
HASHES = re.compile(r"####[ \t]*([^\n]*)")
TAGS = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
WORDS = re.compile(r"\banswer(?:\s+is\s*:?|\s*:)\s*([^\n]+?)(?=\.?\s*(?:\n|$)|\.\s)", re.IGNORECASE)
NUMBER = re.compile(r"(?<![\w.])[-−]?\$?[-−]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?")
LETTERS = (
    re.compile(r"^\W*([A-Za-z])(?:[).:,\]*]|\s*$)"),  # "B", "(B)", "B. Paris"
    re.compile(r"\b(?:option|choice)\s+\W?([A-Za-z])\b", re.IGNORECASE),
    re.compile(r"\(([A-Za-z])\)"),
    re.compile(r"\b([B-HJ-Z])\b"),  # A and I are words
)


def marked_answer(text: str) -> str | None:
    """The answer that a text marks as such: behind the last `####`, in the last box, the last tags, or behind the last "answer
    is" or "answer:". None without such a mark.

    >>> marked_answer("3 + 4 = 7. The answer is 7.")
    '7'
    """
    for found in (HASHES.findall(text), _boxes(text), TAGS.findall(text), WORDS.findall(text)):
        if found:
            return found[-1].strip()
    return None


def final_answer(text: str) -> str:
    """The marked answer, else the whole text."""
    marked = marked_answer(text)
    return text.strip() if marked is None else marked


def last_number(text: str) -> Decimal | None:
    """The first number of the marked answer, or the last of the text if no answer is marked.

    >>> last_number("She has 1,200 − 3 = 1,197 left.")
    Decimal('1197')
    """
    marked = marked_answer(text)
    found = [match for match in NUMBER.findall(text if marked is None else marked) if any(map(str.isdigit, match))]
    if not found:
        return None
    return Decimal(re.sub(r"[$,]", "", found[-1 if marked is None else 0]).replace("−", "-"))


def letter(text: str) -> str | None:
    """The letter of a multiple choice that a text gives, as a capital.

    >>> letter("So the answer is (b).")
    'B'
    """
    answer = final_answer(text)
    for pattern in LETTERS:
        if found := pattern.findall(answer):
            return found[-1].upper()
    return None


def normalized(text: str) -> str:
    """A text without what does not change an answer: letter case, white space, commas within numbers, and quotes, dollars,
    asterisks and full stops around it.

    >>> normalized(' **1,200 Apples.** ')
    '1200 apples'
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain.strip("\"'`“”‘’*$.!? "))


def _boxes(text: str) -> list[str]:
    r"""What the last \boxed{…} holds, with the braces in it."""
    start = text.rfind("\\boxed{")
    depth = 0
    for at in range(start + 6, len(text)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return [text[start + 7 : at]]
    return []

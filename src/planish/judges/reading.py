"""Verdicts and grades in the words of a judge, read strictly: a reply that leaves room for doubt is unread, never guessed.

Read are JSON with one field that names a verdict, and sentences that say nothing else: "A", "Grade: 7/10", "Answer B is better",
"[[A>B]]". Such a sentence counts at the end of a reply, and at its beginning if the rest names no other option. Two that
disagree are unread, unless one says that it is final.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

Choice = Literal["first", "second", "tie", "unread"]
CUT = "…"  # ends a reply that max_tokens cut short

_CHOICES: dict[str, Choice] = {"a": "first", "b": "second", "tie": "tie"}
_FIELDS = (
    "verdict",
    "winner",
    "better",
    "answer",
    "choice",
    "preference",
    "preferred",
    "decision",
    "grade",
    "score",
    "rating",
)
_LABEL = (
    r"(?:(?:my|the|a|an) )?(?P<final>final |overall )?(?:verdict|decision|choice|judge?ment|conclusion|winner|preference|"
    r"answer|(?:better|best|preferred|winning) (?:answer|response|one)|grade|score|rating|mark|number)"
)
_LEAD = r"(?:(?:so|therefore|thus|hence|overall|finally|in (?:conclusion|summary|short|the end)),? )?"
_SAYS = (
    rf"(?:{_LABEL}(?: is|:| =| would be|) ?:? ?|i(?:'d| would| will|'ll)? (?:choose|pick|prefer|say|go with|vote for|"
    r"give|rate|grade|assign)(?: (?:it|this|this answer|the answer))?(?: as)? |final:? |overall:? )?"
)
_NAMED = r"(?:(?:the )?(?:answer|response|option) )?"
_PRAISE = (
    r"(?: (?:is|wins as|remains) (?:the )?(?:clearly |slightly |much |overall )?(?:better|best|winner|preferred|stronger)"
    r"(?: (?:answer|response|one|choice|option))?(?: overall)?| wins)?"
)
_OUT_OF = r"(?: ?/ ?10| out of 10| of 10)?(?: points)?"
_REASON = r"(?:,? because .*)?"
_VERDICT = re.compile(
    rf"{_LEAD}{_SAYS}{_NAMED}(?P<value>(?-i:A|B)|(?:an? )?tie|it is a tie|it's a tie){_PRAISE}"
    rf"(?: than {_NAMED}(?P<other>(?-i:A|B)))?{_REASON}",
    re.IGNORECASE,
)
_VERSUS = re.compile(
    rf"{_LEAD}{_SAYS}{_NAMED}(?P<left>(?-i:[AB])) ?(?P<sign>>{{1,2}}|<{{1,2}}|=) ?{_NAMED}(?P<right>(?-i:[AB]))",
    re.IGNORECASE,
)
_GRADE = re.compile(rf"{_LEAD}{_SAYS}(?:a )?(?P<value>[0-9]+(?:\.[0-9]+)?){_OUT_OF}{_REASON}", re.IGNORECASE)
_THOUGHT = re.compile(r"\A.*</think(?:ing)?>|<think(?:ing)?>.*\Z", re.DOTALL | re.IGNORECASE)
_ECHOES = re.compile(r"\bA, B,? or tie\b|\bfrom 1\b.{0,40}?\bto 10\b|(?<!out )\bof 10\b(?= ?[,:])", re.IGNORECASE)
_MARKUP = re.compile(r"\\boxed\{([^{}]*)\}|\\text\{([^{}]*)\}|[*_`#$\"“”()\[\]]")
_ITEM = re.compile(r"^(?:[-•]|[0-9]+[.)])\s+(?=\S)")
_OPTION = re.compile(r"\b(?:A|B|[Tt]ie)\b")


def read_reply(reply: str) -> Choice:
    """The answer that a reply names as the better one."""
    text = _spoken(reply)
    if text.rstrip(".") == "a" or text.removesuffix(CUT) in ("A", "B"):  # a small a is an article elsewhere
        return _CHOICES[text[0].lower()]
    value = _final(text, _chosen, lambda rest, own: _options(rest) <= {own})
    return "unread" if value is None else _CHOICES.get(value.lower(), "unread")


def read_grade(reply: str) -> float | None:
    """The number from 1 to 10 that a reply gives."""
    value = _final(_spoken(reply), _graded, lambda rest, _: not re.search("[0-9]", rest))
    try:
        grade = float(value) if value is not None else 0.0
    except ValueError:
        return None
    return grade if 1 <= grade <= 10 else None


@dataclass(frozen=True, slots=True)
class _Statement:
    value: str
    final: bool


def _spoken(reply: str) -> str:
    """Without thoughts in tags, and out of its fence."""
    text = _THOUGHT.sub("", reply).strip()
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", text, re.DOTALL)
    return fenced[1] if fenced else text


def _final(text: str, read: Callable[[str], _Statement | None], alone: Callable[[str, str], bool]) -> str | None:
    """The value that a reply states. `alone(rest, value)`: the rest of a reply that begins with it names no other."""
    if text.startswith("{"):
        return _field(text)
    sentences = _sentences(text)
    found = [read(sentence) for sentence in sentences]
    stated = [statement for statement in found if statement is not None]
    values = {statement.value for statement in [one for one in stated if one.final] or stated}
    if len(values) != 1 or text.endswith(CUT):  # "7…" may have begun as 70
        return None
    (value,) = values
    return value if found[-1] or (found[0] and alone(" ".join(sentences[1:]), value)) else None


def _field(text: str) -> str | None:
    """The value of the one field of a JSON object that names a verdict."""
    try:
        found = cast(dict[str, Any], json.loads(text))
    except ValueError:
        return None
    values = {str(value).strip() for key, value in found.items() if key.lower() in _FIELDS and not _is_odd(value)}
    return values.pop().removeprefix("Answer ").removeprefix("answer ") if len(values) == 1 else None


def _is_odd(value: Any) -> bool:
    return isinstance(value, bool) or not isinstance(value, str | int | float)


def _sentences(text: str) -> list[str]:
    """Lines, and the sentences of each, without markup and the numbers of lists. A line behind a colon belongs to the one
    before it: "The worse answer:" and "A" are one sentence."""
    plain = _MARKUP.sub(lambda match: match[1] or match[2] or "", _ECHOES.sub("", text))
    lines = [_ITEM.sub("", line.strip()) for line in plain.splitlines()]
    joined: list[str] = []
    for line in filter(None, lines):
        if joined and joined[-1].endswith(":"):
            joined[-1] += " " + line
        else:
            joined.append(line)
    parts = [part for line in joined for part in re.split(r"(?<=[.!?;])\s+", line)]
    trimmed = (
        " ".join(part.split()).strip(" ,.!;:") for part in parts
    )  # a question keeps its mark, and states nothing
    return [part for part in trimmed if part]


def _chosen(sentence: str) -> _Statement | None:
    if (match := _VERSUS.fullmatch(sentence)) and match["left"] != match["right"]:
        ahead = {">": match["left"], "<": match["right"], "=": "tie"}[match["sign"][0]]
        return _Statement(ahead.lower(), match["final"] is not None)
    if not (match := _VERDICT.fullmatch(sentence)) or match["value"] == match["other"]:
        return None
    value = match["value"].lower()
    return _Statement("tie" if value.endswith("tie") else value, match["final"] is not None)


def _graded(sentence: str) -> _Statement | None:
    match = _GRADE.fullmatch(sentence)
    return _Statement(str(float(match["value"])), match["final"] is not None) if match else None


def _options(text: str) -> set[str]:
    return {option.lower() for option in _OPTION.findall(text)}

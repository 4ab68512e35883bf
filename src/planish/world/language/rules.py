"""Rules of form that a prompt may add ("End with the word moss."), which a program can check."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from planish.world.language.words import ANIMALS, PLANTS

RuleName = Literal["begin", "end", "stars", "twice", "short"]
FORMS: dict[RuleName, str] = {
    "begin": "Begin with the word {word}.",
    "end": "End with the word {word}.",
    "stars": "Write it between stars.",
    "twice": "Say it twice.",
    "short": "Use at most {word} words.",
}
WORDS = {"begin": ANIMALS, "end": PLANTS, "short": ["3", "4", "5", "6"]}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of form. `word` is the word to begin or end with, or the number of words."""

    name: RuleName
    word: str = ""

    @property
    def text(self) -> str:
        return FORMS[self.name].replace("{word}", self.word)

    def keeps(self, answer: str) -> bool:
        """True if an answer keeps the rule, ignoring case, outer spaces and a closing full stop."""
        text = _plain(answer.lower())
        words = text.split()
        match self.name:
            case "begin":
                return words[0].strip(".,:;") == self.word if words else False
            case "end":
                return words[-1:] == [self.word]
            case "stars":
                return bool(text.strip("* ")) and text[0] == text[-1] == "*"
            case "twice":
                first, second = _halves(words)
                return bool(first) and [word.strip(".") for word in first] == [word.strip(".") for word in second]
            case "short":
                return 0 < len(words) <= int(self.word)

    def dress(self, answer: str) -> str:
        """The answer changed to keep the rule. A rule of length does not change it."""
        match self.name:
            case "begin":
                return f"{self.word} {answer}"
            case "end":
                return f"{answer} {self.word}"
            case "stars":
                return f"* {answer} *"
            case "twice":
                return f"{answer} {answer}"
            case "short":
                return answer

    def undress(self, answer: str) -> str:
        """The answer without the rule's additions; unchanged if it does not keep the rule."""
        if not self.keeps(answer) or self.name == "short":
            return answer
        words = _plain(answer).split()
        match self.name:
            case "begin":
                return " ".join(words[1:])
            case "end":
                return " ".join(words[:-1])
            case "stars":
                return _plain(answer).strip("* ")
            case "twice":
                return " ".join(_halves(words)[0])


def _plain(text: str) -> str:
    return " ".join(text.split()).removesuffix(".").strip()


def _halves(words: list[str]) -> tuple[list[str], list[str]]:
    half = len(words) // 2
    return (words[:half], words[half:]) if len(words) % 2 == 0 else ([], [])


def find_rule(text: str) -> tuple[str, Rule | None]:
    """The prompt before its rule, and the rule, which comes last."""
    for name, form in FORMS.items():
        match = re.fullmatch(r"(?P<rest>.*) " + re.escape(form).replace(r"\{word\}", "(?P<word>[a-z0-9]+)"), text)
        if match:
            word = match.groupdict().get("word") or ""
            if word in WORDS.get(name, [""]):
                return match["rest"], Rule(name, word)
    return text, None

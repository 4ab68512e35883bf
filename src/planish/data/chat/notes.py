"""Changes that a chat template makes to rows which a run learns from all the same: reported on the terminal, in
data.json and by `planish data inspect`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from planish.data.rows import Dropped, Origin, as_records

NoteKind = Literal["thought", "space", "prompt", "end", "control_token"]
MOST = 20  # rows that are listed

MEANINGS: Mapping[str, str] = {
    "thought": "the chat template leaves out thoughts of the assistant, so they are not learned; a template that keeps them can "
    "be set with data.template=FILE",
    "space": "the chat template sets the white space around thoughts anew; it is learned as the template writes it",
    "prompt": "the prompt that a server gives the model is not the beginning of the text that is learned; data.template=FILE can "
    "set a template whose prompt is, or take the difference out of add_generation_prompt",
    "end": "the chat template ends an answer that others follow in another way than a last one; both are learned as they are, "
    "data.mask=last_turn learns the last alone",
    "control_token": "words hold a control token, which the tokenizer does not read as text",
}


@dataclass(frozen=True, slots=True)
class Note:
    """A change to a row, and the text that shows it."""

    kind: NoteKind
    found: str


@dataclass(slots=True)
class Notes:
    """The notes of many rows: the number of rows by kind, and the first of them."""

    rows: Counter[str] = field(default_factory=Counter[str])
    first: dict[str, list[Dropped]] = field(default_factory=dict[str, list[Dropped]])

    def add(self, origin: Origin, notes: tuple[Note, ...]) -> None:
        for kind, note in {note.kind: note for note in reversed(notes)}.items():
            self.rows[kind] += 1
            listed = self.first.setdefault(kind, [])
            if len(listed) < MOST:
                listed.append(Dropped(origin, note.found))

    def merged(self, other: Notes) -> Notes:
        kinds = {**self.first, **other.first}
        first = {kind: [*self.first.get(kind, []), *other.first.get(kind, [])][:MOST] for kind in kinds}
        return Notes(self.rows + other.rows, first)

    def account(self) -> dict[str, Any]:
        """The notes as data.json has them."""
        return {kind: {"rows": self.rows[kind], "first": as_records(first)} for kind, first in self.first.items()}

    def lines(self) -> list[str]:
        """A line for each kind."""
        return [
            f"{self.rows[kind]:,} row{'s' if self.rows[kind] > 1 else ''}, such as {first[0].origin}: {MEANINGS[kind]} "
            f"({first[0].reason})"
            for kind, first in self.first.items()
        ]


def control_tokens(tokenizer: Any) -> set[str]:
    """The texts that the tokenizer reads as special tokens wherever they occur."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return {str(token) for token in added | set(tokenizer.all_special_tokens) if token}


def one_of(tokens: Collection[str]) -> re.Pattern[str]:
    """A pattern of these tokens, of which a longer one comes first."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or r"(?!)")

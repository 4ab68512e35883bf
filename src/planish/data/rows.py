"""Typed rows: what every file format becomes before anything is tokenised.

A row remembers where it came from, so that whatever happens to it later (dropped, cut, a loss that is not finite)
can be reported by file and row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row stands: the file as the user named it, and the record's number in it, counted from 1."""

    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.file} row {self.row}"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `trained` matters for assistant turns only: False leaves the turn out of the loss."""

    role: Role
    content: str
    trained: bool = True


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A conversation with at least one assistant turn worth imitating."""

    messages: tuple[Message, ...]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Text:
    """A document for pretraining: every token is learnt."""

    text: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that waits for the assistant."""

    messages: tuple[Message, ...]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that gives no row, and why. Importers return it rather than stay silent; the run lists it."""

    origin: Origin
    reason: str


Row = Demonstration | Text


@dataclass(slots=True)
class Rows:
    """All rows of one source, with what was left out of it."""

    rows: list[Row] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)

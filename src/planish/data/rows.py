"""Typed rows: what every file format becomes before anything is tokenised.

A row remembers where it came from, so that whatever happens to it later (dropped, cut, a loss that is not finite)
can be reported by file and row. What a record says beside its texts (a category, a score, a model's name) is kept in
`about`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

Role = Literal["system", "user", "assistant", "tool"]
About = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row stands: the file as the user named it, and the record's number in it, counted from 1."""

    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.file} row {self.row}"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the assistant asks to be run. `arguments` is a JSON object."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `trained` matters for assistant turns only: False leaves the turn out of the loss.

    Only an assistant turn has `tool_calls`; its content may then be empty.
    """

    role: Role
    content: str
    trained: bool = True
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A conversation with at least one assistant turn worth imitating. `tools` are JSON schemas of functions it may call."""

    messages: tuple[Message, ...]
    origin: Origin
    tools: tuple[Mapping[str, Any], ...] = ()
    about: About = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Text:
    """A document for pretraining: every token is learnt."""

    text: str
    origin: Origin
    about: About = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Comparison:
    """K >= 2 completions of one prompt, ranked by one annotator.

    `ranks[k]` is the place of `completions[k]`: 0 is best, equal numbers are a tie. `scores`, where the annotator gave
    any, has one number for each completion, higher is better. `group` is the annotators' group (a country, a pool).
    """

    prompt: tuple[Message, ...]
    completions: tuple[Message, ...]
    ranks: tuple[int, ...]
    origin: Origin
    scores: tuple[float, ...] = ()
    annotator: str = ""
    group: str = ""
    about: About = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        assert len(self.completions) == len(self.ranks) >= 2
        assert len(self.scores) in (0, len(self.ranks))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(better, worse) for each two completions that are not tied."""
        ranks = self.ranks
        return [(w, r) for w in range(len(ranks)) for r in range(len(ranks)) if ranks[w] < ranks[r]]


@dataclass(frozen=True, slots=True)
class Judged:
    """One completion and a verdict on it: True or False for desirable or not (KTO), else a word of the source's own scale."""

    prompt: tuple[Message, ...]
    completion: Message
    verdict: bool | str
    origin: Origin
    annotator: str = ""
    about: About = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that waits for the assistant. `follow_ups` are the user's later turns, each after an answer; `tools`
    are JSON schemas of functions the assistant may call."""

    messages: tuple[Message, ...]
    origin: Origin
    follow_ups: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    about: About = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with the answers that count as right, and with some that do not where the source lists any."""

    messages: tuple[Message, ...]
    answers: tuple[str, ...]
    origin: Origin
    wrong_answers: tuple[str, ...] = ()
    about: About = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that gives no row, and why. Importers return it rather than stay silent; the run lists it."""

    origin: Origin
    reason: str


Learnt = Demonstration | Text  # what supervised methods learn from
Row = Demonstration | Text | Comparison | Judged | Prompt | Question
LEARNT: tuple[type[Demonstration], type[Text]] = (Demonstration, Text)

R = TypeVar("R", bound=Row)


@dataclass(slots=True)
class Rows(Generic[R]):
    """All rows of one source, with what was left out of it."""

    rows: list[R] = field(default_factory=list[R])
    dropped: list[Dropped] = field(default_factory=list[Dropped])

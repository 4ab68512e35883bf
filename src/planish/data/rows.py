"""Typed rows: every file format becomes rows of these types before anything is tokenized.

A row remembers its origin, so that whatever happens to it later (dropped, truncated, a loss that is not finite) can be
reported by file and row. Notes beside the texts of a record (a category, a score, a model's name) are kept in `about`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from planish.base.errors import ConfigError

Role = Literal["system", "user", "assistant", "tool"]
About = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Origin:
    """The file of a row, as the user named it, and the number of its record, from 1."""

    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.file} row {self.row}"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a function by the assistant. `arguments` is a JSON object."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """A turn of a conversation. `trained=False` leaves an assistant turn out of the loss.

    Only assistant turns have `tool_calls`; their content may then be empty.
    """

    role: Role
    content: str
    trained: bool = True
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A conversation with at least one assistant turn to imitate. `tools` are JSON schemas of functions it may call."""

    messages: tuple[Message, ...]
    origin: Origin
    tools: tuple[Mapping[str, Any], ...] = ()
    about: About = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Labelled(Demonstration):
    """A conversation whose last turn is desirable or not, and alone counts (KTO)."""

    desirable: bool = True


@dataclass(frozen=True, slots=True)
class Text:
    """A document for pretraining: every token is learnt."""

    text: str
    origin: Origin
    about: About = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Comparison:
    """K >= 2 completions of one prompt, ranked by one annotator.

    `ranks[k]` is the rank of `completions[k]`: 0 is best, equal numbers are a tie. `scores` is empty, or has a number for
    each completion, higher is better. `group` is the annotator's group (a country, a pool); `tools` are JSON schemas of
    functions that the assistant may call.
    """

    prompt: tuple[Message, ...]
    completions: tuple[Message, ...]
    ranks: tuple[int, ...]
    origin: Origin
    scores: tuple[float, ...] = ()
    annotator: str = ""
    group: str = ""
    about: About = field(default_factory=dict[str, Any])
    tools: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        assert len(self.completions) == len(self.ranks) >= 2
        assert len(self.scores) in (0, len(self.ranks))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(better, worse) for all pairs of completions that are not tied."""
        ranks = self.ranks
        return [(w, r) for w in range(len(ranks)) for r in range(len(ranks)) if ranks[w] < ranks[r]]


@dataclass(frozen=True, slots=True)
class Judged:
    """A completion with a verdict: True or False for desirable or not (KTO), else a word of the source's own scale."""

    prompt: tuple[Message, ...]
    completion: Message
    verdict: bool | str
    origin: Origin
    annotator: str = ""
    about: About = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation up to the assistant's turn. `follow_ups` are later turns of the user, each after an answer; `tools` are
    JSON schemas of functions that the assistant may call. `record` is the record as it was read, for what scores answers."""

    messages: tuple[Message, ...]
    origin: Origin
    follow_ups: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    about: About = field(default_factory=dict[str, Any])
    record: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False, repr=False)

    @property
    def fields(self) -> dict[str, Any]:
        """All fields of the record, and the notes on it."""
        return {**self.record, **self.about}


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with the answers that count as right, and wrong ones if the source lists any."""

    messages: tuple[Message, ...]
    answers: tuple[str, ...]
    origin: Origin
    wrong_answers: tuple[str, ...] = ()
    about: About = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record or row that is left out, truncated or leaked, with the reason. data.json lists it."""

    origin: Origin
    reason: str

    @property
    def as_record(self) -> dict[str, Any]:
        return {"file": self.origin.file, "row": self.origin.row, "reason": self.reason}


def as_records(dropped: Iterable[Dropped]) -> list[dict[str, Any]]:
    return [row.as_record for row in dropped]


Learnt = Demonstration | Text  # the rows of supervised methods
Row = Demonstration | Text | Comparison | Judged | Prompt | Question
TAUGHT = "taught"  # the note that `planish data teach` leaves: what it did to a row
LEARNT: tuple[type[Demonstration], type[Text]] = (Demonstration, Text)

R = TypeVar("R", bound=Row)
T = TypeVar("T")


@dataclass(slots=True)
class Rows(Generic[R]):
    """All rows of a source, with the records left out."""

    rows: list[R] = field(default_factory=list[R])
    dropped: list[Dropped] = field(default_factory=list[Dropped])


def values_of(rows: Sequence[Row], by: str) -> list[str]:
    """The field `by` of `about` of each row."""
    if not any(by in row.about for row in rows):
        kind = "question" if isinstance(rows[0], Question) else "answer"
        names = sorted({name for row in rows for name in row.about})
        raise ConfigError(f"by={by}: no {kind} has this field; there are: {', '.join(names) or 'none'}")
    return [str(row.about.get(by, f"(no {by})")) for row in rows]


def groups_of(
    rows: Sequence[Demonstration] | Sequence[Question], found: Sequence[T], by: str | None
) -> list[tuple[str, list[T]]]:
    """The findings of rows grouped by their value of the field `by`, in order of the values; then those of all."""
    groups: dict[str, list[T]] = {}
    for name, item in zip(values_of(rows, by), found, strict=True) if by is not None else ():
        groups.setdefault(name, []).append(item)
    return [*sorted(groups.items()), ("all", list(found))]

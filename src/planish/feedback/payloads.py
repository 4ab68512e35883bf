"""What the page sends: small strict models, in which nothing unknown, oversized or unprintable passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from planish.feedback.judgements import Opinion, StudyVerdict

MOST_SECONDS = 86_400


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds the character NUL, which no database keeps")
    return text


Storable = AfterValidator(_storable)
Short = Annotated[str, Field(max_length=100), Storable]
Ranks = Annotated[list[int], Field(min_length=2, max_length=9)]
Strengths = Literal["", "slightly", "clearly"]


class Payload(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SentOpinion(Payload):
    """Ranks by place on the page, from left to right."""

    ranks: Ranks
    strength: Strengths = ""

    def as_kept(self, shown: Sequence[int]) -> Opinion:
        return Opinion(by_completion(self.ranks, shown), self.strength)


class SentSpan(Payload):
    answer: int = Field(ge=0, le=8)  # by place on the page
    quote: Annotated[str, Field(min_length=1, max_length=2_000), Storable]
    kind: Literal["good", "bad"]


class SentJudgement(Payload):
    key: str = Field(pattern=r"^[0-9a-f]{32}$")
    assignment: int = Field(ge=1, lt=2**31)
    revision: int = Field(ge=0, lt=2**31)
    guideline: str = Field(pattern=r"^[0-9a-f]{16}$")
    verdict: Literal["ranked", "all_bad", "cannot_tell"]
    ranks: Ranks | None = None
    strength: Strengths = ""
    aspects: dict[Short, SentOpinion] = Field(default_factory=dict[str, SentOpinion], max_length=20)
    reason: Short = ""
    comment: Annotated[str, Field(max_length=5_000), Storable] = ""
    spans: list[SentSpan] = Field(default_factory=list[SentSpan], max_length=50)
    rewrite: Annotated[str, Field(max_length=50_000), Storable] = ""
    seconds: float = Field(default=0, ge=0, le=MOST_SECONDS)
    paused: float = Field(default=0, ge=0, le=MOST_SECONDS)

    def as_verdict(self, shown: Sequence[int], texts: Sequence[str]) -> StudyVerdict:
        """The verdict by completion, where this is by place. A better answer that is one of the answers is none."""
        return StudyVerdict(
            kind=self.verdict,
            ranks=None if self.ranks is None else by_completion(self.ranks, shown),
            strength=self.strength,
            aspects={name: opinion.as_kept(shown) for name, opinion in self.aspects.items()},
            reason=self.reason,
            comment=self.comment.strip(),
            spans=[
                {
                    "answer": shown[span.answer] if span.answer < len(shown) else -1,
                    "quote": span.quote,
                    "kind": span.kind,
                }
                for span in self.spans
            ],
            rewrite="" if self.rewrite.strip() in {text.strip() for text in texts} else self.rewrite.strip(),
            seconds=self.seconds,
            paused=self.paused,
        )


class SentDraft(Payload):
    assignment: int = Field(ge=1, lt=2**31)
    revision: int = Field(ge=0, lt=2**31)
    content: Annotated[str, Field(max_length=100_000), Storable]  # JSON, for the page alone


class SentUndo(Payload):
    assignment: int = Field(ge=1, lt=2**31)
    revision: int = Field(ge=0, lt=2**31)


class SentProfile(Payload):
    profile: dict[Short, Short] = Field(default_factory=dict[str, str], max_length=20)


class SentPerson(Payload):
    name: Annotated[str, Field(min_length=1, max_length=100), Storable]
    role: Literal["annotator", "adjudicator"] = "annotator"
    group: Short = ""


class SentDeletion(Payload):
    judgements: bool


class SentNothing(Payload):
    """An empty object."""


def by_completion(ranks: Sequence[int], shown: Sequence[int]) -> tuple[int, ...]:
    """Ranks by completion from ranks by place: `shown[place]` is the completion there."""
    if len(ranks) != len(shown):
        return tuple(ranks)  # refused when it is checked
    kept = [0] * len(ranks)
    for place, rank in enumerate(ranks):
        kept[shown[place]] = rank
    return tuple(kept)


def by_place(ranks: Sequence[int], shown: Sequence[int]) -> list[int]:
    return [ranks[completion] for completion in shown]

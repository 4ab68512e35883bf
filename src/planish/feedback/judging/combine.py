"""From a judge's replies to its verdict on an item, and from the members of a jury to the jury's.

A pair is asked in both orders. Two replies that name the same answer are a choice; a choice that changes with the order is a tie,
and counted as `split`. More than two answers are ranked by the pairs that each wins, a tie for half. A reply that cannot be read
leaves its aspect without a verdict.

    details of a judgement:  model, rubric, tokens_in, tokens_out, cost, split, unread, and `asked`, for each question
        {"aspect": "overall", "shown": [1, 0], "said": "A", "reply": "A", …}        `said` is a number for a grade
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from planish.feedback.judgements import OVERALL, JudgedItem, Opinion, StudyVerdict
from planish.feedback.judging.rubric import ItemQuestion
from planish.judges.asking import JudgeReply
from planish.judges.base import SAME
from planish.judges.llm import OUTCOME, SWAPPED
from planish.judges.reading import CUT

SAID = {"first": "A", "second": "B", "tie": "tie", "unread": "unread"}
UNREAD = "The replies name no verdict"
LONGEST_REPLY = 300  # characters of a reply in the database; the file of replies has all of it


@dataclass(frozen=True, slots=True)
class AspectResult:
    """Points of each answer, more are better; None where a reply could not be read. `split` pairs changed with the order."""

    points: tuple[float, ...] | None
    split: int = 0


def verdict_of(
    asked: Sequence[tuple[ItemQuestion, JudgeReply]], average: bool, details: Mapping[str, Any]
) -> StudyVerdict:
    """The verdict on one item, from all that was asked of it."""
    by_aspect: dict[str, dict[tuple[int, ...], JudgeReply]] = defaultdict(dict)
    for question, reply in asked:
        by_aspect[question.aspect][question.shown] = reply
    results = {aspect: _result(replies, average) for aspect, replies in by_aspect.items()}
    replies = [reply for _, reply in asked]
    told = {
        **details,
        "tokens_in": sum(reply.tokens_in for reply in replies),
        "tokens_out": sum(reply.tokens_out for reply in replies),
        "split": sum(result.split for result in results.values()),
        "unread": sum(reply.value == "unread" for reply in replies),
        "asked": [_record(question, reply) for question, reply in asked],
    }
    overall = results[OVERALL].points if OVERALL in results else mean_points([each.points for each in results.values()])
    aspects = {
        aspect: Opinion(ranks_of(result.points))
        for aspect, result in results.items()
        if aspect != OVERALL and result.points is not None
    }
    return _verdict(overall, aspects, UNREAD, told, sum(reply.seconds for reply in replies))


def jury_verdict(votes: Mapping[str, StudyVerdict]) -> StudyVerdict:
    """The majority's, pair by pair; members who cannot tell do not vote. Without half of the members there is none."""
    voted = {name: vote.ranks for name, vote in votes.items() if vote.ranks is not None}
    details = {"votes": {name: vote.ranks and list(vote.ranks) for name, vote in votes.items()}}
    points = majority(list(voted.values())) if 2 * len(voted) >= len(votes) and voted else None
    named = sorted({aspect for vote in votes.values() for aspect in vote.aspects})
    opinions = {
        aspect: [vote.aspects[aspect].ranks for vote in votes.values() if aspect in vote.aspects] for aspect in named
    }
    aspects = {
        aspect: Opinion(ranks_of(majority(ranks))) for aspect, ranks in opinions.items() if 2 * len(ranks) >= len(votes)
    }
    return _verdict(
        points, aspects, "Most of the jury cannot tell", details, sum(vote.seconds for vote in votes.values())
    )


def majority(ranks: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """Points of each answer: for each other one 1 if more members prefer it, a half if as many do."""
    points = [0.0] * len(ranks[0])
    for i, j in combinations(range(len(points)), 2):
        lead = sum((own[j] > own[i]) - (own[i] > own[j]) for own in ranks)
        gain = 0.5 if lead == 0 else float(lead > 0)
        points[i] += gain
        points[j] += 1 - gain
    return tuple(points)


def ranks_of(points: Sequence[float]) -> tuple[int, ...]:
    """Ranks by points, the most first; points that are equal but for rounding are a tie.

    >>> ranks_of([0.5, 2.0, 0.5])
    (1, 0, 1)
    """
    levels = sorted(points, reverse=True)
    starts = [level for n, level in enumerate(levels) if n == 0 or levels[n - 1] - level > SAME]
    return tuple(sum(start - point > SAME for start in starts) for point in points)


def mean_points(points: Sequence[tuple[float, ...] | None]) -> tuple[float, ...] | None:
    read = [own for own in points if own is not None]
    if len(read) < len(points):
        return None
    return tuple(sum(column) / len(read) for column in zip(*read, strict=True))


def choices_by_order(row: JudgedItem, aspect: str | None = None) -> Iterator[tuple[tuple[int, int], int | None]]:
    """What a model said of each pair in each order: the completions as they were shown, and the one it chose, None for a tie.
    Grades and replies that could not be read give nothing. Without an aspect, all of them."""
    for asked in row.judgement.details.get("asked", ()):
        if aspect in (None, asked["aspect"]) and asked["said"] in ("A", "B", "tie") and len(asked["shown"]) == 2:
            first, second = asked["shown"]
            yield (first, second), {"A": first, "B": second}.get(asked["said"])


def _result(replies: Mapping[tuple[int, ...], JudgeReply], average: bool) -> AspectResult:
    if any(reply.value == "unread" for reply in replies.values()):
        return AspectResult(None)
    if all(len(shown) == 1 for shown in replies):
        return AspectResult(tuple(float(replies[shown].value) for shown in sorted(replies)))
    points, split = [0.0] * (1 + max(map(max, replies))), 0
    for i, j in combinations(range(len(points)), 2):
        one, other = replies[i, j], replies[j, i]
        agree = one.value == SWAPPED[other.value]  # pyright: ignore[reportArgumentType]
        gain = OUTCOME[one.value] if agree else _averaged(one, other) if average else 0.5  # pyright: ignore
        split += not agree
        points[i] += gain
        points[j] += 1 - gain
    return AspectResult(tuple(points), split)


def _averaged(one: JudgeReply, other: JudgeReply) -> float:
    """The outcome by the mean log odds of both orders, in which a lean to a place cancels."""
    lead = (one.log_odds or 0.0) - (other.log_odds or 0.0)
    return 0.5 if abs(lead) < SAME else float(lead > 0)


def _record(question: ItemQuestion, reply: JudgeReply) -> dict[str, Any]:
    said = SAID[reply.value] if isinstance(reply.value, str) else reply.value
    words = reply.reply if len(reply.reply) <= LONGEST_REPLY else reply.reply[:LONGEST_REPLY] + CUT
    record = {"aspect": question.aspect, "shown": list(question.shown), "said": said, "reply": words}
    return {
        **record,
        **({"repaired": True} if reply.repaired else {}),
        **({} if reply.log_odds is None else {"log_odds": round(reply.log_odds, 4)}),
    }


def _verdict(
    points: tuple[float, ...] | None,
    aspects: Mapping[str, Opinion],
    reason: str,
    details: Mapping[str, Any],
    seconds: float,
) -> StudyVerdict:
    if points is None:
        return StudyVerdict("cannot_tell", None, "", aspects, reason, details=details, seconds=seconds)
    return StudyVerdict("ranked", ranks_of(points), "", aspects, details=details, seconds=seconds)

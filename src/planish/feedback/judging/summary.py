"""What a judge's choices show of the judge: how often they follow the order or cannot be read, whether it is right on gold pairs,
and whether it likes the first place or length.

A liking for length shows on gold: a judge that knows is as often right where the shorter answer is the better one as where the
longer one is. Without gold, the share of its choices that are the longer answer may be merit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planish.feedback.judgements import JudgedItem
from planish.feedback.judging.combine import choices_by_order
from planish.feedback.judging.rubric import message_text
from planish.statistics.estimate import Estimate, estimate_text, wilson

FEWEST_PAIRS = 10  # of a kind, from which on a lean is told


@dataclass(frozen=True, slots=True)
class JudgeSummary:
    """Counts over all that an annotator judged, and shares with 95% intervals, None where there is nothing to count.

    `split` of the `pairs` that were asked in both orders changed with it. `gold_longer` is the share of right choices where
    the better answer is the longer one, `gold_shorter` where it is the shorter one.
    """

    name: str
    items: int
    ties: int
    unable: int
    unread: int
    pairs: int
    split: int
    first: Estimate | None
    longer: Estimate | None
    gold: Estimate | None
    gold_longer: Estimate | None
    gold_shorter: Estimate | None
    tokens_in: int
    tokens_out: int
    seconds: float

    @property
    def findings(self) -> list[str]:
        """What one should know before one learns from these choices."""
        found: list[str] = []
        if self.pairs >= FEWEST_PAIRS and self.split > self.pairs / 2:
            found.append(f"{self.split} of {self.pairs} choices follow the order of the answers: these are ties")
        if _leans(self.first):
            found.append(f"chooses the answer in the first place in {estimate_text(self.first)} of its choices")
        longer, shorter = self.gold_longer, self.gold_shorter
        if longer and shorter and (longer.low or 0) > (shorter.high or 1):
            found.append(
                f"likes length: right on gold in {estimate_text(longer)} where the better answer is the longer one, in "
                f"{estimate_text(shorter)} where it is the shorter one"
            )
        elif (longer is None or shorter is None) and _leans(self.longer):
            found.append(f"chooses the longer answer in {estimate_text(self.longer)}; gold pairs tell if that is merit")
        return found


def summarize(name: str, rows: Sequence[JudgedItem]) -> JudgeSummary:
    """The summary of one annotator's rows."""
    tasks = [row for row in rows if row.item.kind == "task"]
    asked = [choice for row in rows for choice in choices_by_order(row)]
    sides = [shown[0] == chosen for shown, chosen in asked if chosen is not None]
    longer = [value for row in tasks for value in _longer_chosen(row)]
    gold = [(row.judgement.ranks == row.item.expected, _longer_is_better(row)) for row in rows if row.item.expected]
    details = [row.judgement.details for row in rows]
    return JudgeSummary(
        name=name,
        items=len(rows),
        ties=sum(row.judgement.ranks is not None and len({*row.judgement.ranks}) == 1 for row in rows),
        unable=sum(row.judgement.ranks is None for row in rows),
        unread=sum(own.get("unread", 0) for own in details),
        pairs=len(asked) // 2,
        split=sum(own.get("split", 0) for own in details),
        first=_share(sides),
        longer=_share(longer),
        gold=_share([right for right, _ in gold]),
        gold_longer=_share([right for right, is_longer in gold if is_longer is True]),
        gold_shorter=_share([right for right, is_longer in gold if is_longer is False]),
        tokens_in=sum(own.get("tokens_in", 0) for own in details),
        tokens_out=sum(own.get("tokens_out", 0) for own in details),
        seconds=sum(row.judgement.seconds for row in rows),
    )


def _share(values: Sequence[bool]) -> Estimate | None:
    return wilson(sum(values), len(values)) if values else None


def _leans(share: Estimate | None) -> bool:
    """True if a share is surely above or below a half."""
    if share is None or share.n < FEWEST_PAIRS or share.low is None or share.high is None:
        return False
    return not share.low <= 0.5 <= share.high


def _lengths(row: JudgedItem) -> list[int]:
    return [len(message_text(completion)) for completion in row.item.completions]


def _longer_chosen(row: JudgedItem) -> Iterator[bool]:
    """For two answers of different lengths, one of which was chosen."""
    ranks, lengths = row.judgement.ranks, _lengths(row)
    if ranks is not None and len(ranks) == 2 and ranks[0] != ranks[1] and lengths[0] != lengths[1]:
        yield (ranks[0] < ranks[1]) == (lengths[0] > lengths[1])


def _longer_is_better(row: JudgedItem) -> bool | None:
    """Of a gold pair; None where neither is."""
    expected, lengths = row.item.expected or [], _lengths(row)
    if len(expected) != 2 or expected[0] == expected[1] or lengths[0] == lengths[1]:
        return None
    return (expected[0] < expected[1]) == (lengths[0] > lengths[1])

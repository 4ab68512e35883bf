"""Comparisons as tokens: the completions behind their prompt, and the pairs of them to learn from."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from planish.base.transfer import numbers
from planish.base.types import Choices, Packed
from planish.data.chat.templates import Encoded


class ChoiceTable:
    """`Choices` by example number, append-only, in a few flat arrays."""

    def __init__(self) -> None:
        self._starts = array("q", [0])
        self._prompt_lengths = array("i")
        self._ends = array("i")
        self._ranks = array("i")
        self._scores = array("d")  # NaN if the annotator gave none
        self.reference: np.ndarray | None = None  # one log-probability for each completion of all examples, in order

    def append(self, choices: Choices) -> None:
        count = len(choices.ends)
        self._prompt_lengths.append(choices.prompt_length)
        self._ends.extend(choices.ends)
        self._ranks.extend(choices.ranks)
        self._scores.extend(choices.scores or [float("nan")] * count)
        self._starts.append(self._starts[-1] + count)

    @property
    def has_scores(self) -> bool:
        """True if any completion has an annotator's score."""
        return any(score == score for score in self._scores)

    def __getitem__(self, i: int) -> Choices:
        here = slice(self._starts[i], self._starts[i + 1])
        scores = tuple(self._scores[here])
        return Choices(
            self._prompt_lengths[i],
            tuple(self._ends[here]),
            tuple(self._ranks[here]),
            () if scores[0] != scores[0] else scores,
            () if self.reference is None else tuple(self.reference[here].tolist()),
        )

    def parts(self) -> list[memoryview]:
        """Everything but the reference, for a digest."""
        return list(map(memoryview, (self._starts, self._prompt_lengths, self._ends, self._ranks, self._scores)))


def join_completions(
    ranks: tuple[int, ...], encoded: Sequence[Encoded], scores: tuple[float, ...] = ()
) -> tuple[Encoded, Choices]:
    """Joins the conversations of a comparison, one for each completion: the prompt once, the completions behind it.

    The prompt ends where tokens begin to differ or to be learnt. A chat template that writes a prompt differently before
    different answers only makes it shorter. A completion ends with its end-of-turn token; anything after it is left out.
    """
    prompt_length = _shared(encoded)
    tokens, masks = [encoded[0].tokens[:prompt_length]], [encoded[0].loss_mask[:prompt_length]]
    ends: list[int] = []
    for conversation in encoded:
        stop = 1 + int(np.flatnonzero(conversation.loss_mask)[-1])
        tokens.append(conversation.tokens[prompt_length:stop])
        masks.append(conversation.loss_mask[prompt_length:stop])
        ends.append((ends[-1] if ends else prompt_length) + stop - prompt_length)
    return Encoded(np.concatenate(tokens), np.concatenate(masks)), Choices(prompt_length, tuple(ends), ranks, scores)


def _shared(encoded: Sequence[Encoded]) -> int:
    """The number of tokens that all begin with, none of them learnt."""
    limit = min(int(np.argmax(np.append(other.loss_mask, True))) for other in encoded)
    first = encoded[0].tokens[:limit]
    differs = [other.tokens[: len(first)] != first[: len(other.tokens)] for other in encoded]
    return min(int(np.argmax(np.append(mask, True))) for mask in differs)


@dataclass(frozen=True, slots=True)
class Pairs:
    """All pairs of completions of one prompt that are not tied, in all examples of a packed row.

    The pairs of an example weigh 1 in all (Ouyang et al. 2022, eq. 1), so a prompt with four ranked answers counts as much
    as one with nine.
    """

    better_P: Tensor  # int64, number of the sequence
    worse_P: Tensor  # int64
    weights_P: Tensor  # float64
    score_gaps_P: Tensor  # float64: the annotator's score of the better less that of the worse, 0 without scores


def pairs_of(packed: Packed) -> Pairs:
    rows: list[tuple[int, int, float, float]] = []
    first = 0
    for example in packed.examples:
        choices = example.choices
        assert choices is not None
        ranks, scores = choices.ranks, choices.scores or (0.0,) * len(choices.ranks)
        both = [(i, j) for i in range(len(ranks)) for j in range(len(ranks)) if ranks[i] < ranks[j]]
        rows += [(first + i, first + j, 1 / len(both), scores[i] - scores[j]) for i, j in both]
        first += len(ranks)
    device = packed.tokens_T.device
    columns = numbers(np.array(rows).reshape(-1, 4).T, device)
    return Pairs(columns[0].long(), columns[1].long(), columns[2], columns[3])


def sequence_sums(values_L: Tensor, packed: Packed) -> Tensor:
    """Sums over the learnt tokens of each sequence, [S]."""
    return values_L.new_zeros(packed.num_sequences).index_add(0, packed.sequences_L, values_L)

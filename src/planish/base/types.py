"""The two shapes of data that cross floors: a tokenised example, and the packed row one forward pass sees.

Letters: T tokens in a packed row, E examples in it, S sequences, L tokens that count towards the loss. An example is one
sequence, or, where completions of one prompt are compared, one for each completion.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from planish.base.transfer import to_device


@dataclass(frozen=True, slots=True)
class Choices:
    """Several completions of one prompt, laid behind it one after the other: the prompt's tokens occur once.

    Two completions of 2 and 1 tokens behind a prompt of 3: `prompt_length` 3, `ends` (5, 6).
    """

    prompt_length: int  # tokens of the prompt, which every completion follows
    ends: tuple[int, ...]  # where each completion ends; each begins where the one before ends
    ranks: tuple[int, ...]  # the place of each, 0 is best, equal numbers are a tie
    scores: tuple[float, ...] = ()  # what the annotator gave each, if anything
    reference: tuple[
        float, ...
    ] = ()  # what a frozen model gives each, once that is known: a log-probability, or a score


@dataclass(frozen=True, slots=True)
class Experience:
    """The record of each learnt token of an example since it was sampled; float64, one entry a learnt token, in order."""

    old_logprobs: np.ndarray  # under the policy that sampled it
    reference_logprobs: np.ndarray
    advantages: np.ndarray
    returns: np.ndarray
    old_values: np.ndarray  # zeros where there is no value model
    kl_weights: np.ndarray | None = (
        None  # 0 where the loss's KL term does not count; None: it counts everywhere, or nowhere
    )
    importance: np.ndarray | None = None  # weights that correct for the sampler; None: 1


@dataclass(frozen=True, slots=True)
class Example:
    """One tokenised row. `loss_mask[t]` is True where token t is learnt; token 0 has no past and never is."""

    tokens: np.ndarray  # int32 [t]
    loss_mask: np.ndarray  # bool [t]
    name: str  # where it came from, for messages: "alpaca.json row 12"
    source: int = 0  # number of the mixture's source
    choices: Choices | None = None
    experience: Experience | None = None
    weight: float = 1.0  # in the loss, where rows have weights of their own

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class Places:
    """Places of a row at which hidden states are read; they may repeat."""

    all_N: Tensor  # int64
    read_M: Tensor  # int64: each once, increasing
    read_from: tuple[int, ...]  # the first in each sequence, or its end; none at all where nothing is read


@dataclass(frozen=True, slots=True)
class Packed:
    """Several examples laid end to end in one row, without padding; attention never crosses from one to the next.

    Two examples of 3 and 2 tokens, the first with a one-token prompt, the second learnt whole:

        tokens_T     a b c | d e
        positions_T  0 1 2 | 0 1
        bounds       (0, 3, 5)
        targets_L    [1, 2, 4]      the tokens that are learnt, by place in the row
        predictors_L [0, 1, 3]      the places that predict them

    One example of two completions, c d and e, behind the prompt a b. The second sees the prompt, but not the first:

        tokens_T     a b c d | e
        positions_T  0 1 2 3 | 2
        bounds       (0, 4, 5)
        prefixes     ((0, 0), (0, 2))   start and end of the prompt that each sequence continues
        targets_L    [2, 3, 4]
        predictors_L [1, 2, 1]

    All of it is worked out on the CPU, so that no GPU is asked for a number.
    """

    tokens_T: Tensor  # int64
    positions_T: Tensor  # int64, from 0 in each sequence, or from the end of its prefix
    bounds: tuple[int, ...]  # S+1 places, from 0 to T
    prefixes: tuple[tuple[int, int], ...]  # S
    targets_L: Tensor  # int64, increasing
    predictors_L: Tensor  # int64
    sequences_L: Tensor  # int64: to which of the S sequences each target belongs
    num_targets_S: Tensor  # int64: learnt tokens of each sequence
    last_S: Tensor  # int64: the place of each sequence's last token
    read_M: Tensor  # int64: the places of `predictors_L`, each once and increasing
    read_from: tuple[int, ...]  # S: the first of them in each sequence, or its end; none at all where nothing is learnt
    examples: tuple[Example, ...]  # E

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(example.name for example in self.examples)

    @property
    def sources(self) -> tuple[int, ...]:
        return tuple(example.source for example in self.examples)

    @property
    def num_tokens(self) -> int:
        return self.bounds[-1]

    @property
    def num_sequences(self) -> int:
        return len(self.bounds) - 1

    @property
    def num_targets(self) -> int:
        return len(self.targets_L)

    @property
    def predictors(self) -> Places:
        """The places that predict the learnt tokens."""
        return Places(self.predictors_L, self.read_M, self.read_from)

    @property
    def ends(self) -> Places:
        """The place of each sequence's last token."""
        return Places(self.last_S, self.last_S, tuple(stop - 1 for stop in self.bounds[1:]))

    def to(self, device: torch.device) -> Packed:
        if self.tokens_T.device == device:
            return self
        names = [f.name for f in fields(self) if isinstance(getattr(self, f.name), Tensor)]
        moved = to_device([getattr(self, name) for name in names], device)
        return replace(self, **dict(zip(names, moved, strict=True)))


def pack(examples: Sequence[Example]) -> Packed:
    """Lays examples end to end. None at all gives a row of one token that nothing is learnt from, so that a rank
    without work can still take part in its neighbours' collectives."""
    laid = examples or [Example(np.zeros(1, np.int32), np.zeros(1, np.bool_), "")]
    starts = np.cumsum([0, *(len(e) for e in laid)]).tolist()
    sequences = [sequence for e, start in zip(laid, starts, strict=False) for sequence in _sequences(e, start)]
    bounds = (0, *(stop for _, stop, _ in sequences))
    targets = np.flatnonzero(np.concatenate([e.loss_mask for e in laid]))
    sequence_of = np.repeat(np.arange(len(sequences)), np.diff(bounds))
    predictors = targets - 1
    for start, _, (_, end) in sequences:
        if end:  # its first token is predicted by the prompt's last
            predictors[targets == start] = end - 1
    positions = [np.arange(stop - start) + (p[1] - p[0]) for start, stop, p in sequences]
    read_M = np.unique(predictors)
    return Packed(
        tokens_T=torch.from_numpy(np.concatenate([e.tokens for e in laid]).astype(np.int64)),
        positions_T=torch.from_numpy(np.concatenate(positions)),
        bounds=bounds,
        prefixes=tuple(prefix for _, _, prefix in sequences),
        targets_L=torch.from_numpy(targets),
        predictors_L=torch.from_numpy(predictors),
        sequences_L=torch.from_numpy(sequence_of[targets]),
        num_targets_S=torch.from_numpy(np.bincount(sequence_of[targets], minlength=len(sequences))),
        last_S=torch.tensor(bounds[1:]) - 1,
        read_M=torch.from_numpy(read_M),
        read_from=_read_from(bounds, read_M.tolist()),
        examples=tuple(examples),
    )


def _read_from(bounds: Sequence[int], places: Sequence[int]) -> tuple[int, ...]:
    """The first of these positions in each sequence, or its end where there is none. Without any position every weight must
    still have a gradient, of zeros, so nothing is left out."""
    if not places:
        return ()
    found = (bisect_left(places, start) for start in bounds[:-1])
    return tuple(min([stop, *places[i : i + 1]]) for i, stop in zip(found, bounds[1:], strict=True))


def unshared(packed: Packed) -> Packed:
    """A row with each prompt repeated before every completion: longer, for models that cannot continue a prefix. The
    targets keep their order."""
    examples: list[Example] = []
    for example in packed.examples:
        for start, stop, (first, last) in _sequences(example, 0):
            mask = np.concatenate([np.zeros(last - first, np.bool_), example.loss_mask[start:stop]])
            tokens = np.concatenate([example.tokens[first:last], example.tokens[start:stop]])
            examples.append(Example(tokens, mask, example.name, example.source))
    return pack(examples).to(packed.tokens_T.device)


def _sequences(example: Example, start: int) -> list[tuple[int, int, tuple[int, int]]]:
    """Start and end of each sequence of an example in the row, and its prefix. The first completion continues
    from the prompt as any text does, so prompt and completion are one sequence."""
    if example.choices is None:
        return [(start, start + len(example), (0, 0))]
    ends = [start, *(start + end for end in example.choices.ends)]
    prefix = (start, start + example.choices.prompt_length)
    own = (0, 0)
    return [(a, b, prefix if k and prefix[1] > prefix[0] else own) for k, (a, b) in enumerate(pairwise(ends))]

"""The two shapes of data that cross floors: a tokenised example, and the packed row one forward pass sees.

Letters: T tokens in a packed row, S sequences in it, L tokens that count towards the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Example:
    """One tokenised row. `loss_mask[t]` is True where token t is learnt; token 0 has no past and never is."""

    tokens: np.ndarray  # int32 [t]
    loss_mask: np.ndarray  # bool [t]
    name: str  # where it came from, for messages: "alpaca.json row 12"
    source: int = 0  # number of the mixture's source

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class Packed:
    """Several examples laid end to end in one row, without padding; attention never crosses from one to the next.

    Two examples of 3 and 2 tokens, the first with a one-token prompt, the second learnt whole:

        tokens_T     a b c | d e
        positions_T  0 1 2 | 0 1
        bounds       (0, 3, 5)
        targets_L    [1, 2, 4]      the tokens that are learnt, by place in the row
        predictors_L [0, 1, 3]      the places that predict them
    """

    tokens_T: Tensor  # int64
    positions_T: Tensor  # int64, from 0 in each sequence
    bounds: tuple[int, ...]  # S+1 places, from 0 to T
    targets_L: Tensor  # int64, increasing
    sequences_L: Tensor  # int64: to which of the S sequences each target belongs
    names: tuple[str, ...]  # S
    sources: tuple[int, ...]  # S

    @property
    def predictors_L(self) -> Tensor:
        return self.targets_L - 1

    @property
    def num_tokens(self) -> int:
        return self.bounds[-1]

    @property
    def num_sequences(self) -> int:
        return len(self.bounds) - 1

    @property
    def num_targets(self) -> int:
        return len(self.targets_L)

    def num_targets_S(self) -> Tensor:
        """Learnt tokens of each sequence, [S]."""
        return torch.bincount(self.sequences_L, minlength=self.num_sequences)

    def to(self, device: torch.device) -> Packed:
        if self.tokens_T.device == device:
            return self
        moved = (
            t.to(device, non_blocking=True) for t in (self.tokens_T, self.positions_T, self.targets_L, self.sequences_L)
        )
        tokens, positions, targets, sequences = moved
        return Packed(tokens, positions, self.bounds, targets, sequences, self.names, self.sources)


def pack(examples: Sequence[Example]) -> Packed:
    """Lays examples end to end. None at all gives a row of one token that nothing is learnt from, so that a rank
    without work can still take part in its neighbours' collectives."""
    if not examples:
        examples, names, sources = [Example(np.zeros(1, np.int32), np.zeros(1, np.bool_), "")], (), ()
        bounds = (0, 1)
    else:
        names, sources = tuple(e.name for e in examples), tuple(e.source for e in examples)
        bounds = (0, *np.cumsum([len(e) for e in examples]).tolist())
    mask = np.concatenate([e.loss_mask for e in examples])
    targets = np.flatnonzero(mask)
    sequence_of = np.repeat(np.arange(len(examples)), [len(e) for e in examples])
    return Packed(
        tokens_T=torch.from_numpy(np.concatenate([e.tokens for e in examples]).astype(np.int64)),
        positions_T=torch.from_numpy(np.concatenate([np.arange(len(e)) for e in examples])),
        bounds=bounds,
        targets_L=torch.from_numpy(targets),
        sequences_L=torch.from_numpy(sequence_of[targets]),
        names=names,
        sources=sources,
    )

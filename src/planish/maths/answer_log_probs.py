"""Log-probabilities of an answer that the model is shown: of its tokens, and of the ways to end it there.

Letters: C places of one chunk, V vocabulary, M tokens that may end an answer.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Ahead(NamedTuple):
    """Log-probabilities of what may follow at each position."""

    likeliest_C: Tensor  # int64: the token that greedy decoding takes
    next_C: Tensor  # log-probability of the token that does follow
    end_C: Tensor  # log-probability that one of the ending tokens follows; -inf where none is given


def look_ahead(logits_CV: Tensor, next_C: Tensor, ends_CM: Tensor, temperature: float) -> Ahead:
    """At each place, the log-probability at this temperature of the token `next_C`, and of any of the tokens `ends_CM`.

    `ends_CM` is filled up with -1 where a place has fewer than M. Greedy decoding is that of temperature 0.
    """
    logprobs_CV = torch.log_softmax(logits_CV / temperature, 1)
    ends = logprobs_CV.gather(1, ends_CM.clamp(min=0)).masked_fill(ends_CM < 0, float("-inf"))
    return Ahead(logits_CV.argmax(1), logprobs_CV.gather(1, next_C[:, None]).squeeze(1), ends.logsumexp(1))

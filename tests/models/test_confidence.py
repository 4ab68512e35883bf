"""The confidence of a frozen model in a completion: its features against plain transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from planish.base.types import Example, pack, unshared
from planish.models.confidence import Confidence, FeatureName, confidence_features
from planish.models.packed import CausalLM
from support.examples import compared, example, random_examples
from support.models import random_model

NAMES: tuple[FeatureName, ...] = ("mean_logprob", "min_logprob", "mean_entropy")
COMPARED = compared(random_examples([40], seed=5)[0], prompt_length=10, ends=(17, 25, 30, 40))
TWO_TURNS = example([3, 4, 5, 6, 7, 8, 9], [1, 2, 5, 6])  # the completion is the last turn: tokens 5 and 6


def by_hand(model: PreTrainedModel, row: Example, first: int) -> list[float]:
    """Of the tokens from `first` on."""
    tokens = torch.from_numpy(row.tokens.astype(np.int64))
    with torch.no_grad():
        logprobs_TV = torch.log_softmax(model(input_ids=tokens[None]).logits[0], -1)
    own = [logprobs_TV[t - 1, tokens[t]].item() for t in range(first, len(tokens))]
    entropies = [-(logprobs_TV[t - 1].exp() * logprobs_TV[t - 1]).sum().item() for t in range(first, len(tokens))]
    return [sum(own) / len(own), min(own), sum(entropies) / len(entropies)]


@pytest.mark.usefixtures("nothing_below_float64")
@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom"])  # bloom cannot be packed
def test_features_are_those_of_transformers(name: str) -> None:
    model = random_model(name, torch.float64)
    reference = CausalLM(model)
    found_SF = confidence_features(reference, pack([COMPARED, TWO_TURNS]), NAMES)
    alone = unshared(pack([COMPARED])).examples
    expected = [by_hand(model, row, 10) for row in alone] + [by_hand(model, TWO_TURNS, 5)]
    torch.testing.assert_close(found_SF, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10)


def test_a_sequence_without_a_learnt_token_has_features_of_zero() -> None:
    found_SF = confidence_features(CausalLM(random_model("llama")), pack([example([3, 4, 5], [])]), NAMES)
    assert found_SF.tolist() == [[0, 0, 0]]


def test_the_term_is_the_weighted_distance_of_the_features_from_their_means() -> None:
    reference = CausalLM(random_model("llama"))
    packed = pack([COMPARED])
    logprob_S, entropy_S = confidence_features(reference, packed, ("mean_logprob", "mean_entropy")).T
    term_S = Confidence(reference, {"mean_logprob": (2.0, -3.0), "mean_entropy": (-0.5, 1.0)})(packed)
    torch.testing.assert_close(term_S, 2 * (logprob_S + 3) - 0.5 * (entropy_S - 1))

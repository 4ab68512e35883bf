"""The zero of a reward model's scores: where it is put, and whether it is still there when the model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig

from planish.base.errors import ModelError
from planish.base.types import Example, pack
from planish.inference.sequences import sequence_values
from planish.models.reward_head import Scorer

KEPT = 8  # demonstrations whose tokens and scores stay with the model
COARSE = (torch.bfloat16, torch.float16)


def tolerance(*types: torch.dtype | None) -> float:
    """The difference that a score may show on another machine, given the types of weights and products."""
    return 0.1 if any(each in COARSE for each in types) else 1e-3


def centre(
    scorer: Scorer,
    demonstrations: Sequence[Example],
    micro_tokens: int,
    device: torch.device,
    saved: torch.dtype | None = None,
) -> None:
    """Moves all scores by a constant, so that the demonstrations have mean 0 (InstructGPT, before PPO). Some of them stay in
    the model's config.json with their scores, for `check_scores`; `saved` is the type that the weights are rounded to."""
    scorer.offset = 0.0
    scorer.offset = float(sequence_values(scorer, demonstrations, micro_tokens, device).mean())
    scores = sequence_values(scorer, demonstrations, micro_tokens, device)
    if abs(scores.mean()) > 1e-4:
        raise ModelError(f"the demonstrations have a mean score of {scores.mean():g} after it was made 0")
    shortest = np.argsort([len(each) for each in demonstrations], kind="stable")[:KEPT].tolist()
    scorer.config.score_check = {
        "demonstrations": len(demonstrations),
        "tokens": [demonstrations[i].tokens.tolist() for i in shortest],
        "completions": [num_completion(demonstrations[i]) for i in shortest],
        "scores": [float(scores[i]) for i in shortest],
        "tolerance": tolerance(scorer.model.dtype, scorer.compute_dtype, saved),
    }


def num_completion(example: Example) -> int:
    """Tokens of the completion at the end of a conversation: the last unbroken stretch of learnt tokens."""
    return int(np.argmin(np.append(example.loss_mask[::-1], False)))


def kept_scores(settings: PreTrainedConfig, path: str) -> dict[str, Any]:
    """The demonstrations in a reward model's config.json, with their tokens and scores."""
    kept: dict[str, Any] | None = getattr(settings, "score_check", None)
    if kept is None:
        raise ModelError(
            f"{path}: says nothing of the mean score of demonstrations, so a score of 0 means nothing. Train it with "
            "planish reward, which sets the constant"
        )
    return kept


@torch.no_grad()
def check_scores(scorer: Scorer, path: str) -> None:
    """That a loaded model gives some demonstrations the scores they had when their mean was made 0."""
    kept = kept_scores(scorer.config, path)
    lengths = kept.get("completions", [0] * len(kept["tokens"]))
    rows = [
        Example(np.array(ids, np.int32), np.arange(len(ids)) >= len(ids) - length, "")
        for ids, length in zip(kept["tokens"], lengths, strict=True)
    ]
    found = [scorer(pack([row]).to(scorer.model.device)).item() for row in rows]
    worst = max(abs(a - b) for a, b in zip(found, kept["scores"], strict=True))
    if not worst <= max(kept["tolerance"], tolerance(scorer.model.dtype, scorer.compute_dtype)):
        raise ModelError(
            f"{path}: a demonstration's score differs by {worst:.2g} from what it was when the model was saved: its weights or "
            "its score_offset were changed, or this version of transformers computes otherwise"
        )

"""A reward model as a judge: the answer of higher score wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from planish.base.progress import track
from planish.data.rows import Prompt
from planish.inference.score import RewardModel, check_reward_model
from planish.judges.base import AnswerTexts, JudgedAnswers, Scores, judged_by_scores
from planish.judges.config import RewardJudgeConfig
from planish.models.load import ModelConfig

ROWS = 256  # prompts whose answers are scored at once


class RewardJudge:
    """Loads its weights when it judges, after the systems have made room."""

    def __init__(self, config: RewardJudgeConfig, device: torch.device, prompts: Sequence[Prompt]) -> None:
        self.path, self.device = config.path, device
        check_reward_model(config.path, prompts)

    def judge(self, prompts: Sequence[Prompt], answers: Mapping[str, AnswerTexts], baseline: str) -> JudgedAnswers:
        """Scores each text once, so that equal answers have equal scores."""
        model = RewardModel(ModelConfig(path=self.path), self.device)
        by_text: list[dict[str, float]] = []
        starts = range(0, len(prompts), ROWS)
        for start in track(starts, "scoring", len(starts)):
            some = range(start, min(start + ROWS, len(prompts)))
            texts = [list(dict.fromkeys(text for own in answers.values() for text in own[i])) for i in some]
            scored = model.score_answers([prompts[i] for i in some], texts)
            by_text += [dict(zip(row, scores, strict=True)) for row, scores in zip(texts, scored, strict=True)]
        scores = {
            name: Scores([[scores[text] for text in row] for scores, row in zip(by_text, own, strict=True)])
            for name, own in answers.items()
        }
        return judged_by_scores(scores, baseline)

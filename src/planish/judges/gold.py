"""The world's rules as a judge: the answer of higher gold utility wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from planish.base.errors import DataError
from planish.data.rows import Prompt
from planish.judges.base import AnswerTexts, JudgedAnswers, Scores, judged_by_scores
from planish.judges.config import GoldJudgeConfig
from planish.world.gold.files import judge_one
from planish.world.gold.utility import World
from planish.world.make import open_world


def open_for(path: str, prompts: Sequence[Prompt]) -> World:
    """The world in a folder. Refuses prompts that it does not understand."""
    world = open_world(Path(path))
    for prompt in prompts:
        try:
            world.parse(prompt.messages)
        except DataError as error:
            raise DataError(f"{prompt.origin}: {error}") from None
    return world


class GoldJudge:
    """Refuses prompts that the world does not understand, before anything is sampled."""

    def __init__(self, config: GoldJudgeConfig, prompts: Sequence[Prompt]) -> None:
        self.world = open_for(config.world, prompts)

    def judge(self, prompts: Sequence[Prompt], answers: Mapping[str, AnswerTexts], baseline: str) -> JudgedAnswers:
        return judged_by_scores({name: self._scores(prompts, own) for name, own in answers.items()}, baseline)

    def _scores(self, prompts: Sequence[Prompt], answers: AnswerTexts) -> Scores:
        about = [
            [judge_one(self.world, prompt.messages[-1].content, text).record() for text in texts]
            for prompt, texts in zip(prompts, answers, strict=True)
        ]
        return Scores([[record["utility"] for record in records] for records in about], about)

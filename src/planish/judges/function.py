"""Functions of yours that score completions: as a reward, and as a judge."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from planish.base.errors import ConfigError
from planish.base.plugins import find_function
from planish.data.chat.tool_calls import as_dicts
from planish.data.rows import Prompt
from planish.judges.base import AnswerTexts, JudgedAnswers, Scores, judged_by_scores
from planish.judges.config import FunctionJudgeConfig


class ScoringFunction:
    """A function of the prompts, each a list of {role, content}, and of a completion for each. One with a parameter `about` is
    also given the further fields of each prompt's row."""

    def __init__(self, name: str, setting: str) -> None:
        self.name, self.setting, self.function = name, setting, find_function(name, setting)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[float]:
        turns = [as_dicts(prompt.messages) for prompt in prompts]
        wanted = "about" in inspect.signature(self.function).parameters
        more: dict[str, Any] = {"about": [dict(prompt.about) for prompt in prompts]} if wanted else {}
        return self._checked(self.function(turns, list(completions), **more), len(completions))

    def _checked(self, returned: Any, count: int) -> list[float]:
        expected = (
            f"{self.setting}: {self.name} must return one finite number for each of {count} completions; it returned"
        )
        try:
            numbers = [float(number) for number in returned]
        except (TypeError, ValueError):
            raise ConfigError(f"{expected} {repr(returned)[:80]}") from None
        if len(numbers) != count:
            raise ConfigError(f"{expected} {len(numbers)}")
        if not all(map(math.isfinite, numbers)):
            raise ConfigError(f"{expected} {next(number for number in numbers if not math.isfinite(number))}")
        return numbers


class FunctionJudge:
    """A function of yours as a judge: the answer of higher number wins."""

    def __init__(self, config: FunctionJudgeConfig) -> None:
        self.function = ScoringFunction(config.function, "judge")

    def judge(self, prompts: Sequence[Prompt], answers: Mapping[str, AnswerTexts], baseline: str) -> JudgedAnswers:
        return judged_by_scores({name: self._scores(prompts, own) for name, own in answers.items()}, baseline)

    def _scores(self, prompts: Sequence[Prompt], answers: AnswerTexts) -> Scores:
        repeated = [prompt for prompt, texts in zip(prompts, answers, strict=True) for _ in texts]
        numbers = iter(self.function(repeated, [text for texts in answers for text in texts]))
        return Scores([[next(numbers) for _ in texts] for texts in answers])

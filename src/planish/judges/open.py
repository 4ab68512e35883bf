"""The judge that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from planish.data.rows import Prompt
from planish.judges.base import Judge
from planish.judges.config import FunctionJudgeConfig, GoldJudgeConfig, JudgeConfig, RewardJudgeConfig
from planish.judges.function import FunctionJudge
from planish.judges.gold import GoldJudge
from planish.judges.llm import LlmJudge
from planish.judges.reward_model import RewardJudge


def open_judge(config: JudgeConfig, prompts: Sequence[Prompt], memory: Path, device: torch.device) -> Judge:
    """Checks what it can before the systems answer. `memory` is the file that keeps the replies of an LLM."""
    if isinstance(config, GoldJudgeConfig):
        return GoldJudge(config, prompts)
    if isinstance(config, RewardJudgeConfig):
        return RewardJudge(config, device, prompts)
    if isinstance(config, FunctionJudgeConfig):
        return FunctionJudge(config, prompts)
    return LlmJudge(config, memory)

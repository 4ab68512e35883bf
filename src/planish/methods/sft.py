"""Supervised fine-tuning: a base model learns to answer from demonstrations (Ouyang et al. 2022, step 1).

    L = -sum_i sum_t m_it log p(y_it | x_i, y_i,<t) / sum_i sum_t m_it

over the learnt tokens of a step: those of the assistant's turns, each with its end-of-turn token. The division is by the
whole step's count, so micro-batches and ranks do not change it. Two other reductions go by name (maths/reductions.py).
"""

from __future__ import annotations

from pathlib import Path

import torch

from planish.base.config import Field
from planish.base.distributed import distributed
from planish.maths.reductions import Reduction
from planish.methods.callbacks import SamplingRunConfig
from planish.methods.run import run_method
from planish.methods.supervised import SupervisedMethod
from planish.models.load import ModelConfig
from planish.models.loaded import LoadedModel, load_chat_model
from planish.train.run_folder import RunFolder


class SftConfig(SamplingRunConfig):
    """Settings of `planish sft`."""

    model: ModelConfig = Field(description="the model to fine-tune")
    reduction: Reduction = Field(default="token_mean", description="token_mean, seq_mean or seq_sum")


@distributed
def sft(config: SftConfig) -> Path:
    """Fine-tunes `config.model` on `config.data`; returns the run's folder, whose `model/` is the result."""
    return run_method(config, SftMethod(config.reduction))


class SftMethod(SupervisedMethod[SftConfig]):
    def __init__(self, reduction: Reduction) -> None:
        self.reduction = reduction

    def load_model(self, config: SftConfig, folder: RunFolder, device: torch.device) -> LoadedModel:
        return load_chat_model(config.model, device, config.data.chat, config.seed)

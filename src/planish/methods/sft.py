"""Supervised fine-tuning: a base model learns to answer from demonstrations (Ouyang et al. 2022, step 1).

    L = -sum_i sum_t m_it log p(y_it | x_i, y_i,<t) / sum_i sum_t m_it

over the learnt tokens of a step: those of the assistant's turns, each with its end-of-turn token. The division is by the
whole step's count, so micro-batches and ranks do not change it. Two other reductions go by name (maths/reductions.py).
"""

from __future__ import annotations

from pathlib import Path

import torch

from planish.base.config import Field
from planish.base.errors import ConfigError
from planish.data.templates import ChatTemplate, ensure_template
from planish.maths.reductions import Reduction
from planish.methods.supervised import Learner, SupervisedConfig, learn
from planish.models.load import ModelConfig, check_vocabulary, compute_dtype, load_model, load_tokenizer
from planish.models.lora import add_lora
from planish.train.run_folder import RunFolder


class SftConfig(SupervisedConfig):
    model: ModelConfig = Field(description="the model to fine-tune")
    reduction: Reduction = Field(default="token_mean", description="token_mean, seq_mean or seq_sum")


def sft(config: SftConfig) -> Path:
    """Fine-tunes `config.model` on `config.data`; returns the run's folder, whose `model/` is the result."""

    def bring(run: RunFolder, device: torch.device) -> Learner:
        model = load_model(config.model, device)
        tokenizer = load_tokenizer(config.model.path, config.model.trust_remote_code)
        check_vocabulary(model, tokenizer)
        ensure_template(tokenizer, read_template(config.data.template))
        template = ChatTemplate(tokenizer, config.data.mask)
        adapted = add_lora(model, config.model.lora, config.seed) if config.model.lora else None
        return Learner(
            model, tokenizer, template, adapted, compute_dtype(config.model, device), config.model.save_dtype
        )

    return learn(config, config.reduction, bring)


def read_template(path: str | None) -> str | None:
    """The chat template in a jinja file, if one is named."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"data.template={path}: cannot be read: {error.strerror}") from None

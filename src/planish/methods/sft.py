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
from planish.base.errors import ConfigError
from planish.data.chat.templates import ChatTemplate, ensure_template
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.settings import DataConfig
from planish.maths.reductions import Reduction
from planish.methods.callbacks import SamplingRunConfig
from planish.methods.run import LoadedModel, run_method
from planish.methods.supervised import SupervisedMethod
from planish.models.load import ModelConfig, check_vocabulary, compute_dtype, load_model
from planish.models.lora import add_lora
from planish.train.run_folder import RunFolder


class SftConfig(SamplingRunConfig):
    model: ModelConfig = Field(description="the model to fine-tune")
    reduction: Reduction = Field(default="token_mean", description="token_mean, seq_mean or seq_sum")


@distributed
def sft(config: SftConfig) -> Path:
    """Fine-tunes `config.model` on `config.data`; returns the run's folder, whose `model/` is the result."""
    return run_method(config, SftMethod(config.reduction))


class SftMethod(SupervisedMethod[SftConfig]):
    def __init__(self, reduction: Reduction) -> None:
        self.reduction = reduction

    def bring(self, config: SftConfig, folder: RunFolder, device: torch.device) -> LoadedModel:
        return bring_policy(config.model, config.data, config.seed, device)


def bring_policy(config: ModelConfig, data: DataConfig | None, seed: int, device: torch.device) -> LoadedModel:
    """A causal LM with its tokenizer and chat template, and with LoRA where that is asked for."""
    model, tokenizer = load_model(config, device), load_tokenizer(config.path, config.trust_remote_code)
    check_vocabulary(model, tokenizer)
    ensure_template(tokenizer, read_template(data.template if data else None))
    template = ChatTemplate(tokenizer, data.mask if data else "assistant")
    adapted = add_lora(model, config.lora, seed) if config.lora else None
    return LoadedModel(model, tokenizer, template, adapted, compute_dtype(config, device), config.save_dtype)


def read_template(path: str | None) -> str | None:
    """The chat template in a jinja file, if one is named."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"data.template={path}: cannot be read: {error.strerror}") from None

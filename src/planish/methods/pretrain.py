"""Pretraining: next-token prediction over documents, from fresh weights or from a trained model.

Documents are packed without crossing each other. With the WSD schedule (Hu et al. 2024) and a second stage of the
mixture, instruction data is blended into the decay:

    optim: {schedule: wsd, decay_ratio: 0.1, min_lr_ratio: 0.1}
    data:
      stages:
        - {share: 0.9, weights: {web: 1}}
        - {share: 0.1, weights: {web: 0.55, alpaca: 0.45}}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from planish.base.config import Config, Field
from planish.base.distributed import barrier, distributed, is_main
from planish.data.chat.tokenizer import (
    load_tokenizer,
    open_template,
    save_tokenizer,
    train_tokenizer,
    vocabulary_size,
)
from planish.data.rows import LEARNT, Text
from planish.data.settings import DataConfig
from planish.data.sources import SourceRows
from planish.methods.callbacks import SamplingRunConfig
from planish.methods.run import run_method
from planish.methods.supervised import SupervisedMethod
from planish.models.load import DtypeName, ModelConfig, SavedDtypeName, build_model, check_vocabulary
from planish.models.loaded import LoadedModel, load_chat_model
from planish.train.run_folder import RunFolder


class NewModel(Config):
    """A model with fresh weights."""

    architecture: dict[str, Any] = Field(description="settings of a transformers config: model_type, hidden_size, …")
    tokenizer: str | None = Field(default=None, description="folder or hub name of a tokenizer; absent trains one")
    vocab_size: int = Field(default=4096, ge=300, description="tokens of a trained tokenizer")
    dtype: DtypeName = Field(default="float32", description="type of the weights")
    save_dtype: SavedDtypeName | None = Field(default=None, description="type of the saved weights; absent is dtype")


class PretrainConfig(SamplingRunConfig):
    """Settings of `planish pretrain`."""

    model: ModelConfig | NewModel = Field(description="path: a model to train further; architecture: a new one")


@distributed
def pretrain(config: PretrainConfig) -> Path:
    """Trains on every token of `config.data`'s documents; returns the run's folder, whose `model/` is the result."""
    return run_method(config, PretrainMethod())


class PretrainMethod(SupervisedMethod[PretrainConfig]):
    def load_model(self, config: PretrainConfig, folder: RunFolder, device: torch.device) -> LoadedModel:
        if isinstance(config.model, ModelConfig):
            return load_chat_model(config.model, device, config.data.chat, config.seed)
        model, tokenizer = _new(config, config.model, folder, device)
        check_vocabulary(model, tokenizer)
        template = open_template(None, tokenizer, config.data.chat)
        return LoadedModel(model, tokenizer, template, save_dtype=config.model.save_dtype)


def _new(
    config: PretrainConfig, new: NewModel, run: RunFolder, device: torch.device
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Fresh weights, and the named tokenizer or one trained on the documents. The main rank trains it, once for all."""
    folder = run.path / "tokenizer"
    if new.tokenizer is None and is_main() and not folder.exists():
        save_tokenizer(train_tokenizer(documents(config.data), new.vocab_size), folder)
    barrier()
    tokenizer = load_tokenizer(new.tokenizer or folder)
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model = build_model({**special, **new.architecture}, vocabulary_size(tokenizer), new.dtype, config.seed, device)
    return model, tokenizer


def documents(config: DataConfig) -> Iterator[str]:
    """The text of every row, for a tokenizer to be trained on."""
    for name, source in config.sources.items():
        for row in SourceRows(name, source, LEARNT):
            yield row.text if isinstance(row, Text) else "\n".join(message.content for message in row.messages)

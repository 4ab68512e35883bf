"""A model with its tokenizer and chat template, checked to belong together: the one way in which every command loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from planish.base.model_folder import model_folder
from planish.data.chat.defaults import AS_IT_IS, TemplateChoice
from planish.data.chat.templates import ChatTemplate
from planish.data.chat.tokenizer import load_tokenizer, open_template
from planish.models.confidence import FOLDER, Confidence, FeatureName
from planish.models.load import ModelConfig, SavedDtypeName, check_vocabulary, compute_dtype, load_model
from planish.models.lora import add_lora
from planish.models.packed import CausalLM
from planish.models.reward_head import HEAD, Scorer, load_scorer, set_padding


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A Hugging Face model and what belongs to it. `adapted` is the same model when LoRA trains it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate
    adapted: PeftModel | None = None
    compute_dtype: torch.dtype | None = None  # autocast to this; None computes in the weights' own type
    save_dtype: SavedDtypeName | None = None
    confidence: Confidence | None = None  # of a reward model that reads it

    def causal_lm(self) -> CausalLM:
        """The model as it takes packed rows."""
        return CausalLM(self.model, self.compute_dtype)

    def scorer(self) -> Scorer:
        """A reward model as it takes packed rows."""
        scorer = Scorer(self.model, self.compute_dtype)
        scorer.confidence = self.confidence
        return scorer


def load_with_tokenizer(config: ModelConfig, device: torch.device) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal LM and its tokenizer, without a chat template."""
    model, tokenizer = load_model(config, device), load_tokenizer(config.path, config.trust_remote_code)
    check_vocabulary(model, tokenizer)
    return model, tokenizer


def load_chat_model(
    config: ModelConfig,
    device: torch.device,
    template: TemplateChoice = AS_IT_IS,
    seed: int | None = None,
) -> LoadedModel:
    """A causal LM that answers. With a seed it is loaded for training: LoRA is added, if the
    settings ask for it."""
    model, tokenizer = load_with_tokenizer(config, device)
    adapted = add_lora(model, config.lora, seed) if config.lora and seed is not None else None
    chat = open_template(config.path, tokenizer, template)
    return LoadedModel(model, tokenizer, chat, adapted, compute_dtype(config, device), config.save_dtype)


def load_reward_model(
    config: ModelConfig,
    device: torch.device,
    template: TemplateChoice = AS_IT_IS,
    seed: int | None = None,
) -> LoadedModel:
    """A reward model. With a seed it is loaded for training: a causal LM gets a fresh head, the tokenizer a token to pad with,
    and LoRA is added, if the settings ask for it."""
    model = load_scorer(config, device, seed or 0)
    tokenizer = load_tokenizer(config.path, config.trust_remote_code)
    check_vocabulary(model, tokenizer)
    chat = open_template(config.path, tokenizer, template)
    if seed is not None:
        set_padding(model, tokenizer, chat.stop_token_ids)
        model.config.eos_token_id = chat.closing_ids or model.config.eos_token_id
    adapted = add_lora(model, config.lora, seed, whole=(HEAD,)) if config.lora and seed is not None else None
    if seed is not None:
        return LoadedModel(model, tokenizer, chat, adapted, compute_dtype(config, device), config.save_dtype)
    return LoadedModel(
        model,
        tokenizer,
        chat,
        compute_dtype=compute_dtype(config, device),
        confidence=load_confidence(config, model.config, device),
    )


def load_confidence(config: ModelConfig, settings: Any, device: torch.device) -> Confidence | None:
    """The confidence term of a reward model that was saved with one."""
    features: dict[FeatureName, list[float]] | None = getattr(settings, "confidence", None)
    if not features:
        return None
    folder = Path(model_folder(config.path)) / FOLDER
    reference = load_model(config.model_copy(update={"path": str(folder), "lora": None}), device)
    pairs: dict[FeatureName, tuple[float, float]] = {name: (weight, mean) for name, (weight, mean) in features.items()}
    return Confidence(CausalLM(reference.requires_grad_(False), compute_dtype(config, device)), pairs)

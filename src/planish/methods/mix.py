"""What a recipe's data come to, without training: rows and tokens of each source in each stage, steps, passes."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from planish.base.config import Field
from planish.data.sources import prepare_sources
from planish.data.templates import ChatTemplate, ensure_template
from planish.data.tokenizer import train_tokenizer
from planish.maths.reductions import Reduction
from planish.methods.pretrain import NewModel, documents
from planish.methods.running import RunConfig, account, longest
from planish.methods.sft import read_template
from planish.models.load import ModelConfig, context_length, load_settings, load_tokenizer
from planish.train.feed import plan_feed


class MixConfig(RunConfig):
    """A recipe of `planish sft` or of `planish pretrain`."""

    out: str = Field(default="", description="not used: nothing is written")
    model: ModelConfig | NewModel = Field(description="its tokenizer and context length alone are read")
    reduction: Reduction = Field(default="token_mean", description="not used")


def mix(config: MixConfig) -> dict[str, Any]:
    """The account that a run of this recipe would write to data.json."""
    tokenizer, own = _tokenizer(config)
    ensure_template(tokenizer, read_template(config.data.template))
    template = ChatTemplate(tokenizer, config.data.mask)
    sources = prepare_sources(config.data, tokenizer, template, longest(config.data, own), config.seed)
    feed, plan = plan_feed(config.data, config.batch, sources, config.steps, config.epochs, config.seed)
    return account(sources, feed, plan)


def _tokenizer(config: MixConfig) -> tuple[PreTrainedTokenizerBase, int | None]:
    """The tokenizer, and the longest row that the model is made for."""
    model = config.model
    if isinstance(model, ModelConfig):
        own = context_length(load_settings(model.path, model.trust_remote_code))
        return load_tokenizer(model.path, model.trust_remote_code), own
    named = load_tokenizer(model.tokenizer) if model.tokenizer else None
    return named or train_tokenizer(documents(config.data), model.vocab_size), model.architecture.get(
        "max_position_embeddings"
    )

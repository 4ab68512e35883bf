"""Looking at the data of a recipe, or at files, with the tokens of a model where one is named."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ConfigDict

from planish.base.config import Config, Field
from planish.data.chat.templates import ChatTemplate, ensure_template
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.inspect.lengths import TokenLengths
from planish.data.inspect.result import Inspection, SourceView
from planish.data.inspect.run import InspectOptions, inspect_source
from planish.data.rows import Comparison, Row
from planish.data.settings import DataConfig
from planish.methods.pretrain import NewModel
from planish.models.load import ModelConfig, context_length, load_settings


class InspectConfig(Config):
    """What of a recipe matters for looking at its data. The rest of it, which belongs to its method, is not read."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    data: DataConfig = Field(description="what to look at")
    model: ModelConfig | NewModel | None = Field(
        default=None, description="whose tokens to count; absent is characters"
    )
    seed: int = Field(default=0, ge=0, description="of the rows that are shown by chance")


def inspect(config: InspectConfig, looking: InspectOptions) -> Inspection:
    """Reads all sources as they stand, before hygiene and limits. The model's tokens, if there is one, are the ruler."""
    ruler, named = _ruler(config)
    looking = replace(looking, ruler=ruler or looking.ruler, seed=config.seed)
    views: list[SourceView] = []
    for name, source in config.data.sources.items():
        best: tuple[type[Row], ...] = (Comparison,) if looking.kinds and source.take == "best" else looking.kinds
        paths = [source.path] if isinstance(source.path, str) else source.path
        views.append(inspect_source(name, paths, source.format, replace(looking, kinds=best)))
    if ruler is None:
        return Inspection(views, "characters")
    return Inspection(views, "tokens", named, ruler.max_tokens, ruler.too_long)


def _ruler(config: InspectConfig) -> tuple[TokenLengths | None, str | None]:
    """A new model without a tokenizer has no tokens before it has read its data."""
    model, data = config.model, config.data
    path = model.path if isinstance(model, ModelConfig) else model.tokenizer if model else None
    if model is None or path is None:
        return None, None
    if isinstance(model, ModelConfig):
        own = context_length(load_settings(model.path, model.trust_remote_code))
    else:
        own = model.architecture.get("max_position_embeddings")
    tokenizer = load_tokenizer(path, isinstance(model, ModelConfig) and model.trust_remote_code)
    ensure_template(tokenizer, data.template)
    return TokenLengths(ChatTemplate(tokenizer, data.mask), data.max_tokens or own, data.too_long), path

"""The command `data inspect`: the data of a recipe, or files, in the tokens of a model where one is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, model_validator

from planish.base.config import Config, Field
from planish.base.plugins import Plugins
from planish.base.text import source_names
from planish.data.chat.tokenizer import load_tokenizer, open_template
from planish.data.formats.mapping import ColumnsSetting
from planish.data.inspect.lengths import CharacterLengths, TokenLengths
from planish.data.inspect.result import Inspection, SourceView
from planish.data.inspect.run import FEW_LISTED, InspectOptions, inspect_source
from planish.data.rows import LEARNT, Comparison, Row
from planish.data.settings import DataConfig
from planish.evaluate.refusals.mixture import safety_of
from planish.methods.pretrain import NewModel
from planish.models.load import ModelConfig, context_length, load_settings
from planish.reports.pages.inspection import write_inspection_page


class InspectConfig(Config):
    """The part of a recipe that says how its data are read. The rest, which belongs to its method, is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    files: tuple[str, ...] = Field(default=(), description="files to look at, in place of data.sources")
    plugins: Plugins = ()
    format: str = Field(default="auto", description="how to read these files; auto recognizes it")
    columns: ColumnsSetting | None = Field(
        default=None,
        description="column of each field in these files, {prompt: Question}; absent recognizes them",
    )
    data: DataConfig = Field(description="the data of a recipe")
    model: ModelConfig | NewModel | None = Field(
        default=None, description="the model whose tokens are counted; absent is characters"
    )
    rows: int = Field(default=5, ge=0, description="rows to show of each source and kind")
    list_all: bool = Field(default=False, description="name every row that is dropped, cut, or does not fit")
    keep_going: bool = Field(default=False, description="read on behind a row that does not fit")
    page: str | None = Field(default=None, description="an HTML page to write as well")
    seed: int = Field(default=0, ge=0, description="seed of the choice of rows that are shown")

    @model_validator(mode="before")
    @classmethod
    def _sources(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The files, in place of the sources of a recipe, and of its stages, which would name those."""
        files, data = values.get("files") or (), values.get("data") or {}
        how = {name: values[name] for name in ("format", "columns") if values.get(name)}
        if not files:
            if how:
                raise ValueError(f"{next(iter(how))} is for files; in a recipe each source has its own")
            return values
        sources = {name: {"path": path, **how} for name, path in zip(source_names(files), files, strict=True)}
        return {**values, "data": {**data, "sources": sources, "stages": ()}}


def inspect(config: InspectConfig) -> Inspection:
    """Reads all sources as they are, before cleaning and limits; of a recipe's, the rows that its run would learn from."""
    measure, named = _measure(config)
    options = InspectOptions(
        measure=measure or CharacterLengths(),
        num_samples=config.rows,
        listed=None if config.list_all else FEW_LISTED,
        keep_going=config.keep_going,
        seed=config.seed,
        safety=safety_of,
    )
    views: list[SourceView] = []
    for name, source in config.data.sources.items():
        kinds: tuple[type[Row], ...] = (Comparison,) if source.take == "best" else LEARNT
        paths = [source.path] if isinstance(source.path, str) else source.path
        how = replace(options, kinds=() if config.files else kinds, handling=source.handling)
        views.append(inspect_source(name, paths, source.format, how, source.columns))
    found = Inspection(views, "characters")
    if measure is not None:
        found = Inspection(views, "tokens", named, measure.max_tokens, measure.too_long)
    if config.page:
        write_inspection_page(found, Path(config.page))
    return found


def _measure(config: InspectConfig) -> tuple[TokenLengths | None, str | None]:
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
    return TokenLengths(open_template(path, tokenizer, data.chat), data.max_tokens or own, data.too_long), path

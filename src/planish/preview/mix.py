"""The command `data mix`: rows and tokens of each source in each stage of a recipe, steps and passes, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from planish.base.config import load_config
from planish.base.errors import ConfigError
from planish.data.chat.tokenizer import load_tokenizer, open_template, train_tokenizer
from planish.data.formats.registry import open_files
from planish.data.rows import LEARNT, Comparison
from planish.data.settings import DataConfig, longest
from planish.data.sources import prepare_sources
from planish.methods.base import Method
from planish.methods.dpo import DpoConfig, DpoMethod
from planish.methods.kto import KtoConfig, KtoMethod
from planish.methods.pretrain import NewModel, PretrainConfig, PretrainMethod, documents
from planish.methods.reward_model import RewardConfig, RewardMethod
from planish.methods.run import mixture_account
from planish.methods.sft import SftConfig, SftMethod
from planish.models.load import ModelConfig, context_length, load_settings
from planish.train.feed import plan_feed

AnyConfig = SftConfig | PretrainConfig | RewardConfig | DpoConfig | KtoConfig
METHODS: dict[str, tuple[type[AnyConfig], type[Method[Any]]]] = {
    "sft": (SftConfig, SftMethod),
    "pretrain": (PretrainConfig, PretrainMethod),
    "reward": (RewardConfig, RewardMethod),
    "dpo": (DpoConfig, DpoMethod),
    "kto": (KtoConfig, KtoMethod),
}


@dataclass(frozen=True, slots=True)
class MixRecipe:
    """A recipe as its command reads it. `guessed`: its settings fit a command for text and one for comparisons."""

    command: str
    config: AnyConfig
    guessed: bool


def read_recipe(
    path: str | None,
    settings: Sequence[str] = (),
    command: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> MixRecipe:
    """The command is the one named, or one that knows all of the settings. Where one for text and one for comparisons do,
    the files tell: text, if each source gives any."""
    fitting: dict[str, AnyConfig] = {}
    errors: list[str] = []
    for name in [command] if command else METHODS:
        try:
            fitting[name] = load_config(
                METHODS[name][0], path, settings, {**(values or {}), "out": "nothing is written"}
            )
        except ConfigError as error:
            errors.append(str(error))
    if not fitting:
        raise ConfigError(min(errors, key=lambda text: (text.count("unknown setting"), text.count("\n"))))
    compares = {name: Comparison in METHODS[name][1].kinds for name in fitting}
    guessed = len(set(compares.values())) == 2
    name = next(iter(fitting))
    if guessed and not _give_text(fitting[name].data):
        name = next(name for name, does in compares.items() if does)
    return MixRecipe(name, fitting[name], guessed)


def _give_text(data: DataConfig) -> bool:
    """Whether every source does, by its first file."""
    for source in data.sources.values():
        path = source.path if isinstance(source.path, str) else source.path[0]
        format, _, _ = next(open_files(path, source.format, source.columns))
        if not any(kind in format.importers for kind in LEARNT):
            return False
    return True


def mix(recipe: MixRecipe) -> dict[str, Any]:
    """The account that a run of this recipe would write to data.json, but for what it measures on beside its sources."""
    config = recipe.config
    tokenizer, own = tokenizer_of(config.model, config.data)
    named = config.model.path if isinstance(config.model, ModelConfig) else None
    template = open_template(named, tokenizer, config.data.chat)
    limit, kinds = longest(config.data, own), METHODS[recipe.command][1].kinds
    sources = prepare_sources(config.data, tokenizer, template, limit, config.seed, kinds=kinds)
    feed, plan = plan_feed(config.data, config.batch, sources, config.steps, config.epochs, config.seed)
    return mixture_account(sources, feed, plan)


def tokenizer_of(model: ModelConfig | NewModel, data: DataConfig) -> tuple[PreTrainedTokenizerBase, int | None]:
    """The tokenizer, and the longest row that the model is made for."""
    if isinstance(model, ModelConfig):
        own = context_length(load_settings(model.path, model.trust_remote_code))
        return load_tokenizer(model.path, model.trust_remote_code), own
    named = load_tokenizer(model.tokenizer) if model.tokenizer else None
    tokenizer = named or train_tokenizer(documents(data), model.vocab_size)
    return tokenizer, model.architecture.get("max_position_embeddings")

"""The checks of `planish compare` before the first model answers: that models, reference, the reward model of best of n and
documents can be had, fit each other, and have room for the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planish.base.errors import ConfigError, PlanishError
from planish.data.chat.templates import ChatTemplate
from planish.data.chat.tokenizer import load_tokenizer, open_template
from planish.data.formats import stream_rows
from planish.data.rows import LEARNT, Prompt
from planish.evaluate.compare.config import CompareConfig
from planish.inference.room import check_room
from planish.inference.score import check_reward_model
from planish.models.load import ModelConfig, check_folder, context_length


@dataclass(frozen=True, slots=True)
class _Model:
    """All of a model but its weights."""

    template: ChatTemplate
    limit: int | None

    @property
    def vocabulary(self) -> Mapping[str, int]:
        return self.template.tokenizer.get_vocab()


def check_systems(config: CompareConfig, prompts: Sequence[Prompt]) -> None:
    """Reads settings and tokenizers alone, so that it takes seconds."""
    reference = None if config.reference is None else _opened("reference", ModelConfig(path=config.reference))
    most, setting = config.sampling.max_completion_tokens, "sampling.max_completion_tokens"
    for name, model in config.models.items():
        found = _opened(f"models.{name}", model)
        if reference is not None and found.vocabulary != reference.vocabulary:
            raise ConfigError(
                f"models.{name}: has another vocabulary than the reference, so there is no KL between them"
            )
        encoded = [found.template.encode_prompt(prompt.messages, prompt.tools, prompt.origin) for prompt in prompts]
        limits = [found.limit, reference.limit if reference else None]
        limit = min((limit for limit in limits if limit is not None), default=None)
        check_room(prompts, encoded, most, limit, model.path, setting)
    if config.best_of is not None:
        check_reward_model(config.best_of.reward, prompts)
    for name, source in (config.documents.sources if config.documents else {}).items():
        for path in (source.path,) if isinstance(source.path, str) else source.path:
            if next(stream_rows(path, LEARNT, source.format, source.columns), None) is None:
                raise ConfigError(f"documents.sources.{name}: {path} holds no row")


def _opened(setting: str, config: ModelConfig) -> _Model:
    try:
        settings = check_folder(config)
        tokenizer = load_tokenizer(config.path, config.trust_remote_code)
        return _Model(open_template(config.path, tokenizer), context_length(settings))
    except PlanishError as error:
        raise type(error)(f"{setting}: {error}") from None

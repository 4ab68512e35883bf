"""What a run would read and how much of it: rows of some of its steps, and the tokens of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from planish.base.errors import ConfigError
from planish.base.types import Choices, Example, Experience
from planish.data.chat.defaults import AS_IT_IS
from planish.data.chat.tokenizer import load_tokenizer, open_template
from planish.data.prompt_dataset import read_prompts
from planish.data.settings import longest
from planish.data.sources import Source, prepare_sources
from planish.methods.ppo.config import PpoConfig
from planish.models.load import ModelConfig, context_length, load_settings
from planish.preview.mix import METHODS, AnyConfig, tokenizer_of
from planish.train.feed import MixtureFeed, plan_feed

SHOWN = 24  # steps that are looked at


@dataclass(frozen=True, slots=True)
class Workload:
    """Examples of some steps of a run, and of its pretraining documents; prompts of one iteration of PPO."""

    steps: Sequence[Sequence[Example]]
    documents: Sequence[Sequence[Example]] = ()
    prompts: Sequence[Sequence[int]] = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """How much a run learns from."""

    steps: int
    tokens: int  # of all steps
    rows: int  # of the training rows, or prompts
    row_tokens: int  # of all training rows together
    longest: int  # tokens of the longest row, or of the longest prompt with a full completion
    document_tokens: int = 0  # PPO's, of all steps


def read_work(config: AnyConfig | PpoConfig, vocabulary: list[int]) -> tuple[Workload, Volume]:
    """Reads the data as the run would. The number of tokens of a tokenizer that is trained is left in `vocabulary`."""
    if isinstance(config, PpoConfig):
        return _work_of_ppo(config)
    tokenizer, own = tokenizer_of(config.model, config.data)
    vocabulary.append(len(tokenizer))
    named = config.model.path if isinstance(config.model, ModelConfig) else None
    template, limit = open_template(named, tokenizer, config.data.chat), longest(config.data, own)
    kinds = next(method.kinds for kind, method in METHODS.values() if kind is type(config))
    sources = prepare_sources(config.data, tokenizer, template, limit, config.seed, kinds=kinds)
    feed, plan = plan_feed(config.data, config.batch, sources, config.steps, config.epochs, config.seed)
    most, row = _longest(sources)
    volume = Volume(
        feed.steps,
        sum(chain(*plan.tokens)),
        sum(len(source.training) for source in sources),
        sum(int(source.training.num_tokens.sum()) for source in sources),
        most,
    )
    return Workload([*_some(feed), *([[row]] if row else [])]), volume


def _some(feed: MixtureFeed) -> list[list[Example]]:
    numbers = np.unique(np.linspace(0, feed.steps - 1, min(SHOWN, feed.steps)).astype(int)).tolist()
    return [feed.examples(step) for step in numbers]


def _longest(sources: Sequence[Source]) -> tuple[int, Example | None]:
    """The longest training row: where it is longer than a pass may be, it is a pass by itself."""
    found: Example | None = None
    for source in sources:
        if len(source.training):
            row = source.training[int(np.argmax(source.training.num_tokens))]
            found = row if found is None or len(row) > len(found) else found
    return len(found) if found else 0, found


def _work_of_ppo(config: PpoConfig) -> tuple[Workload, Volume]:
    tokenizer = load_tokenizer(config.model.path, config.model.trust_remote_code)
    chat = config.pretraining.chat if config.pretraining else AS_IT_IS
    template = open_template(config.model.path, tokenizer, chat)
    own = context_length(load_settings(config.model.path, config.model.trust_remote_code))
    most = config.sampling.max_completion_tokens
    if own is not None and own <= most:
        raise ConfigError(
            f"sampling.max_completion_tokens={most} leaves no room for a prompt: the model was made for {own} tokens"
        )
    read = read_prompts(
        config.prompts, config.held_out_prompts, template, None if own is None else own - most, config.held_out,
        config.seed, config.too_long, config.columns,
    )  # fmt: skip
    asked = [prompt.tokens for prompt in read.of(0, config.batch.prompts)]
    lengths = [len(prompt.tokens) for prompt in read.training]
    volume = Volume(
        config.num_steps,
        config.iterations * config.batch.epochs * sum(len(p) + config.batch.completions * most for p in asked),
        len(read.training),
        sum(lengths),
        max(lengths) + config.batch.completions * most,
    )
    work = ppo_work(config, asked, max(read.training, key=lambda prompt: len(prompt.tokens)).tokens)
    if config.pretraining is None or not (config.ptx.gamma or config.ptx.ratio) or config.mixture is None:
        return work, volume
    limit = longest(config.pretraining, own)
    sources = prepare_sources(config.pretraining, tokenizer, template, limit, config.seed)
    feed, plan = plan_feed(config.pretraining, config.mixture.batch, sources, config.num_steps, 1.0, config.seed)
    _, row = _longest(sources)
    return (
        replace(work, documents=[*_some(feed), *([[row]] if row else [])]),
        replace(volume, document_tokens=sum(chain(*plan.tokens))),
    )


def ppo_work(config: PpoConfig, prompts: Sequence[Sequence[int]], longest: Sequence[int] = ()) -> Workload:
    """The steps of one iteration, if no completion ends before it is cut."""
    rows = [_answered(prompt, config) for prompt in prompts]
    parts = np.array_split(np.arange(len(rows)), config.batch.minibatches)
    steps = [[rows[i] for i in part.tolist()] for part in parts if len(part)]
    return Workload([*steps, *([[_answered(longest, config)]] if longest else [])], prompts=prompts)


def _answered(prompt: Sequence[int], config: PpoConfig) -> Example:
    """A prompt with its completions, and a record of zeros."""
    count, most, start = config.batch.completions, config.sampling.max_completion_tokens, len(prompt)
    tokens = np.array([*prompt, *[0] * (count * most)], np.int32)
    choices = Choices(start, tuple(start + most * (k + 1) for k in range(count)), (0,) * count)
    zeros = np.zeros(count * most)
    return Example(tokens, np.arange(len(tokens)) >= start, "", choices=choices, experience=Experience(*[zeros] * 5))

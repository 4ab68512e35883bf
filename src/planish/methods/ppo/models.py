"""The models of PPO: policy, value model, reference and rewards, and sampling with them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from planish.base.distributed import all_sum_list, rank, world_size
from planish.base.errors import ConfigError
from planish.base.types import Example, Packed
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.prompt_dataset import EncodedPrompt, PromptDataset
from planish.inference.decode import Sampled, SampleRequest, TokenSampling
from planish.inference.sample import completion_of
from planish.inference.sampler import LocalSampler, Sampler
from planish.inference.sequences import token_values
from planish.inference.vllm import VllmSampler
from planish.methods.base import RunContext, policy_as
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.rewards import (
    FunctionReward,
    ModelReward,
    ModelSource,
    Reward,
    Rollouts,
    VerifierReward,
    open_rewards,
)
from planish.models.actor_critic import ActorCritic
from planish.models.load import compute_dtype, context_length, load_model, num_embeddings, refuse_beyond_embeddings
from planish.models.loaded import LoadedModel
from planish.models.lora import add_lora
from planish.models.packed import CausalLM
from planish.models.reward_head import HEAD, Values, load_scorer
from planish.models.sharding import gathered, shard


@dataclass(slots=True)
class PpoModels:
    """Everything that an iteration calls: actor, reference, sampler, rewards and prompts."""

    actor: ActorCritic
    reference: CausalLM | None  # None where it is the policy without LoRA's updates
    loaded: LoadedModel
    sampler: Sampler
    rewards: dict[str, Reward]
    prompts: PromptDataset
    beta: Tensor  # float64, a number: what a nat of KL costs by now
    next_beta: float  # what it costs from the next iteration on
    kl: float = 0.0  # of the last iteration's completions

    def sample(
        self,
        prompts: Sequence[EncodedPrompt],
        count: int,
        config: PpoConfig,
        key: tuple[str | int, ...],
        iteration: int,
    ) -> list[Rollouts]:
        """`count` completions of each prompt. The noise of a prompt's k-th completion has the key (seed, key, prompt, k),
        whoever is beside it; a prompt that occurs twice counts on."""
        template, counts = self.loaded.template, defaultdict[int, Iterator[int]](itertools.count)
        requests = [
            SampleRequest(i, (config.seed, *key, prompt.number, next(counts[prompt.number])))
            for i, prompt in enumerate(prompts)
            for _ in range(count)
        ]
        sampling = config.sampling
        choosing = TokenSampling(sampling.temperature, sampling.top_p, sampling.top_k)
        tokens, stops = [prompt.tokens for prompt in prompts], template.stop_token_ids
        self.sampler.update(self.actor.policy)
        with nullcontext() if config.server else gathered(self.actor.policy):
            # Each rank samples for some of the prompts, the main one for all where a server samples: it has the weights by now.
            owners = [0 if config.server else request.prompt % world_size() for request in requests]
            mine = [i for i, owner in enumerate(owners) if owner == rank()]
            own = [requests[i] for i in mine]
            found = self.sampler.sample(tokens, own, choosing, sampling.max_completion_tokens, stops) if own else []
        sampled = all_gather_completions(dict(zip(mine, found, strict=True)), len(requests))
        completions = iter([completion_of(template.tokenizer, one.tokens, stops, one.logprobs) for one in sampled])
        return [
            Rollouts(prompt.prompt, prompt.tokens, tuple(itertools.islice(completions, count)), iteration)
            for prompt in prompts
        ]

    def truncated(self) -> dict[str, int]:
        """Completions so far that a reward model with a tokenizer of its own had no room for."""
        return {
            name: reward.judge.truncated for name, reward in self.rewards.items() if isinstance(reward, ModelReward)
        }

    def score_tokens(
        self, examples: Sequence[Example], config: PpoConfig, run: RunContext[PpoConfig]
    ) -> tuple[np.ndarray, ...]:
        """Log-probabilities under policy and reference, and values, of every sampled token, [M] each, from the forward pass of
        training."""
        temperature = config.sampling.temperature

        def policy_and_values(packed: Packed) -> Tensor:
            logprobs_L, values_L = self.actor(packed, temperature)
            values_L = torch.zeros_like(logprobs_L) if values_L is None else values_L
            return torch.stack([logprobs_L.double(), values_L.double()], 1)

        old_M, values_M = token_values(policy_and_values, 2, examples, run.micro_tokens, run.device).T
        with self.starting_policy() as reference:
            (reference_M,) = token_values(
                lambda packed: reference(packed, temperature=temperature)[:, None],
                1,
                examples,
                run.micro_tokens,
                run.device,
            ).T
        return old_M, reference_M, values_M

    @contextmanager
    def starting_policy(self) -> Generator[CausalLM]:
        if self.reference is not None:
            yield self.reference
        else:
            assert self.loaded.adapted is not None
            with self.loaded.adapted.disable_adapter():
                yield self.actor.policy


def all_gather_completions(mine: dict[int, Sampled], count: int) -> list[Sampled]:
    """The completions of all ranks, each sampled on one of them, in the order of the requests: all learn from the same."""
    lengths = all_sum_list([float(len(mine[i].tokens)) if i in mine else 0.0 for i in range(count)])
    blank = [Sampled((0,) * int(length), (0.0,) * int(length)) for length in lengths]
    padded = [mine.get(i) or blank[i] for i in range(count)]
    tokens = all_sum_list([float(token) for completion in padded for token in completion.tokens])
    logprobs = all_sum_list([logprob for completion in padded for logprob in completion.logprobs])
    ends = np.cumsum([len(completion.tokens) for completion in padded]).tolist()
    return [
        Sampled(tuple(map(int, tokens[start:end])), tuple(logprobs[start:end])) for start, end in pairwise([0, *ends])
    ]


def build_models(run: RunContext[PpoConfig], prompts: PromptDataset) -> PpoModels:
    """Loads everything beside the policy. Nothing is computed with the policy here: its weights are not yet an optimizer's."""
    config, policy = run.config, policy_as(CausalLM, run)
    longest = max(len(prompt.tokens) for prompt in (*prompts.training, *prompts.held_out))
    longest += config.sampling.max_completion_tokens
    separate = config.advantage.needs_values and not config.value.shared
    value = _value_model(config, run.loaded, run.device, longest) if separate else None
    reference = None
    if run.loaded.adapted is None:
        start = load_model(config.model, run.device).requires_grad_(requires_grad=False)
        reference = shard(CausalLM(start, run.loaded.compute_dtype), run.device)
    rewards = open_rewards(config.rewards, run.loaded.template, run.device, config.batch.micro_tokens, run.folder.path)
    rows = [encoded.prompt for encoded in (*prompts.training, *prompts.held_out)]
    for name, source in config.rewards.items():
        reward = rewards[name]
        if isinstance(source, ModelSource) and isinstance(reward, ModelReward) and reward.reads_tokens:
            _check_room(f"rewards.{name}.path={source.path}", reward.judge.limit, longest)
        elif isinstance(reward, ModelReward):
            reward.judge.check_room(rows, config.sampling.max_completion_tokens, same_tokens=False)
        if isinstance(reward, FunctionReward | VerifierReward):
            reward.check(rows)
    actor = ActorCritic(policy, None if value is None else shard(value, run.device))
    beta = torch.tensor(config.kl.beta, dtype=torch.float64)
    sampler = LocalSampler(policy) if config.server is None else VllmSampler(config.server)
    return PpoModels(actor, reference, run.loaded, sampler, rewards, prompts, beta, config.kl.beta)


def _value_model(config: PpoConfig, loaded: LoadedModel, device: torch.device, longest: int) -> Values:
    """A copy of the first reward model that is learnt from, head and offset included (Ouyang et al. 2022), unless another model
    is named; where there is neither, of the policy, with a fresh head."""
    learnt = [source.path for source in config.rewards.values() if isinstance(source, ModelSource) and source.weight]
    path = config.value.path or (learnt or [config.model.path])[0]
    own = load_tokenizer(path, config.model.trust_remote_code).get_vocab()
    if not own.items() >= loaded.tokenizer.get_vocab().items():
        raise ConfigError(
            f"value.path={path}: its tokenizer has other tokens than the policy's, so it cannot say what they are worth. Name a "
            "model with the same tokenizer, the policy itself for example, or set value.shared=true"
        )
    settings = config.model.model_copy(update={"path": path, "lora": None})
    model = load_scorer(settings, device, config.seed)
    _check_room(f"value.path={path}", context_length(model.config), longest)
    if num_embeddings(model) < num_embeddings(
        loaded.model
    ):  # beyond its tokens a policy has some to spare, which it may sample
        refuse_beyond_embeddings(model, loaded.tokenizer)
    if config.value.lora is not None:
        add_lora(model, config.value.lora, config.seed, whole=(HEAD,))
    return Values(model, compute_dtype(settings, device))


def _check_room(what: str, limit: int | None, longest: int) -> None:
    if limit is not None and limit < longest:
        raise ConfigError(
            f"{what}: made for {limit} tokens; a prompt with its completion may have {longest}. Lower "
            "sampling.max_completion_tokens, or take the longest prompts out"
        )

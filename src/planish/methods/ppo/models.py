"""What PPO works with: the models that answer, value and score, and what the policy is held to."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
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
from planish.methods.ppo.rewards import ModelReward, ModelSource, Reward, Rollouts, open_rewards
from planish.models.actor_critic import ActorCritic
from planish.models.load import compute_dtype, context_length, load_model
from planish.models.loaded import LoadedModel
from planish.models.lora import add_lora
from planish.models.packed import CausalLM
from planish.models.reward_head import HEAD, Values, load_scorer
from planish.models.sharding import gathered, shard


@dataclass(slots=True)
class PpoModels:
    """What an iteration needs: who answers, who values, who scores, and what they are held to."""

    actor: ActorCritic
    reference: CausalLM | None  # None where it is the policy without LoRA's updates
    loaded: LoadedModel
    sampler: Sampler
    rewards: dict[str, Reward]
    prompts: PromptDataset
    beta: Tensor  # float64, a number: what a nat of KL costs by now
    kl: float = 0.0  # of the last iteration's completions

    def sample(
        self, asked: Sequence[EncodedPrompt], count: int, config: PpoConfig, place: tuple[str | int, ...]
    ) -> list[Rollouts]:
        """`count` completions of each prompt. The noise of a prompt's k-th is that of (seed, place, prompt, k), whoever is beside
        it; a prompt that is asked twice counts on."""
        how, template, counts = config.sampling, self.loaded.template, defaultdict[int, Iterator[int]](itertools.count)
        requests = [
            SampleRequest(i, (config.seed, *place, each.number, next(counts[each.number])))
            for i, each in enumerate(asked)
            for _ in range(count)
        ]
        choosing = TokenSampling(how.temperature, how.top_p, how.top_k)
        self.sampler.update(self.actor.policy)
        prompts, stops = [each.tokens for each in asked], (template.stop_token_id,)
        with gathered(self.actor.policy):
            # Each rank draws for prompts of its own, the main one for all where a server does.
            owners = [0 if config.server else each.prompt % world_size() for each in requests]
            mine = [i for i, owner in enumerate(owners) if owner == rank()]
            own = [requests[i] for i in mine]
            found = self.sampler.sample(prompts, own, choosing, how.max_completion_tokens, stops) if own else []
        drawn = all_gather_completions(dict(zip(mine, found, strict=True)), len(requests))
        completions = iter(
            [completion_of(template.tokenizer, d.tokens, template.stop_token_id, d.logprobs) for d in drawn]
        )
        return [Rollouts(each.prompt, each.tokens, tuple(itertools.islice(completions, count))) for each in asked]

    def score_tokens(
        self, examples: Sequence[Example], config: PpoConfig, run: RunContext[PpoConfig]
    ) -> tuple[np.ndarray, ...]:
        """Log-probabilities under policy and reference, and values, of every sampled token, [M] each, from the forward pass of
        training."""

        def ours(packed: Packed) -> Tensor:
            logprobs_L, values_L = self.actor(packed, config.sampling.temperature)
            return torch.stack(
                [logprobs_L.double(), torch.zeros_like(logprobs_L).double() if values_L is None else values_L.double()],
                1,
            )

        def theirs(packed: Packed) -> Tensor:
            return reference(packed, temperature=config.sampling.temperature)[:, None]

        old_M, values_M = token_values(ours, 2, examples, run.micro_tokens, run.device).T
        with self.starting_policy() as reference:
            (reference_M,) = token_values(theirs, 1, examples, run.micro_tokens, run.device).T
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
    """What the ranks drew, each completion on one of them, by the numbers of the requests: all learn from the same."""
    lengths = all_sum_list([float(len(mine[i].tokens)) if i in mine else 0.0 for i in range(count)])
    known = [mine.get(i) or Sampled((0,) * int(length), (0.0,) * int(length)) for i, length in enumerate(lengths)]
    tokens = all_sum_list([float(token) for each in known for token in each.tokens])
    logprobs = all_sum_list([logprob for each in known for logprob in each.logprobs])
    ends = np.cumsum([len(each.tokens) for each in known]).tolist()
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
        reference = CausalLM(start, run.loaded.compute_dtype)
    rewards = open_rewards(config.rewards, run.loaded.template, run.device, config.batch.micro_tokens, run.folder.path)
    for name, source in config.rewards.items():
        reward = rewards[name]
        if isinstance(source, ModelSource) and isinstance(reward, ModelReward) and reward.reads_tokens:
            _check_room(f"rewards.{name}.path={source.path}", reward.judge.limit, longest)
    actor = ActorCritic(policy, None if value is None else shard(value, run.device))
    beta = torch.tensor(config.kl.beta, dtype=torch.float64)
    sampler = LocalSampler(policy) if config.server is None else VllmSampler(config.server)
    return PpoModels(actor, reference, run.loaded, sampler, rewards, prompts, beta)


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
    if config.value.lora is not None:
        add_lora(model, config.value.lora, config.seed, whole=(HEAD,))
    return Values(model, compute_dtype(settings, device))


def _check_room(what: str, limit: int | None, longest: int) -> None:
    if limit is not None and limit < longest:
        raise ConfigError(
            f"{what}: made for {limit} tokens; a prompt with its completion may have {longest}. Lower "
            "sampling.max_completion_tokens, or take the longest prompts out"
        )

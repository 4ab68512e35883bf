"""The feed of PPO: an iteration's completions, sampled when its first step asks for them, and dealt out in minibatches."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np

from planish.base.distributed import rank, world_size
from planish.base.random import Permutation
from planish.base.types import Example, Experience, Packed
from planish.data.mixture.packing import deal
from planish.inference.sample import Completion
from planish.maths.policy_gradient import adapted_beta, explained_variance, flat_groups, importance_weights, k1
from planish.methods.base import RunContext
from planish.methods.ppo.advantages import ScoredCompletions
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.models import PpoModels
from planish.methods.ppo.rewards import to_example
from planish.train.optimizer import Trainer
from planish.train.record import RunRecord


class RolloutFeed:
    """Samples once an iteration; its examples are split into minibatches, each pass in an order of its own."""

    def __init__(self, run: RunContext[PpoConfig], models: PpoModels, trainer: Trainer, record: RunRecord) -> None:
        self.run, self.config, self.models, self.trainer, self.record = run, run.config, models, trainer, record
        self.iteration, self.examples = -1, list[Example]()

    def micro_batches(self, step: int) -> Sequence[Packed]:
        config, count = self.config, self.config.batch.minibatches
        iteration, inner = divmod(step, config.steps_of_iteration)
        if iteration != self.iteration:
            self.iteration, self.examples = iteration, self.collect(iteration)
        order = Permutation(len(self.examples), config.seed, "minibatches", iteration, inner // count)
        chosen = np.array_split(order(np.arange(len(self.examples))), count)[inner % count]
        return deal([self.examples[i] for i in chosen.tolist()], self.run.micro_tokens, rank(), world_size())

    def collect(self, iteration: int) -> list[Example]:
        """One round of sampling: an example for each prompt, its tokens with their advantages and returns."""
        config, models, clock = self.config, self.models, Clock()

        asked = models.prompts.of(iteration, config.batch.prompts)
        rollouts = models.sample(asked, config.batch.completions, config, ("sample", iteration), iteration)
        completions = [completion for each in rollouts for completion in each.completions]
        lengths_N = np.array([completion.num_tokens for completion in completions])
        ended_N = np.array([completion.ended for completion in completions])
        clock.lap("sampling")

        examples = [to_example(each) for each in rollouts]
        old_M, reference_M, values_M = models.score_tokens(examples, config, self.run)
        clock.lap("log-probabilities")

        cut = models.truncated()
        scores = {name: reward(rollouts) for name, reward in models.rewards.items()}
        truncated = {name: (count - cut[name]) / len(lengths_N) or None for name, count in models.truncated().items()}
        score_N = sum(
            (config.rewards[name].weight * each_N for name, each_N in scores.items()), np.zeros(len(lengths_N))
        )
        if config.missing_eos is not None:
            score_N = np.where(ended_N, score_N, config.missing_eos)  # replaced, whatever the reward model says
        clock.lap("scoring")

        sampled_M, importance_M = sampled_logprobs(completions), None
        if (importance := config.importance) is not None:
            of_completions_N = lengths_N if importance.level == "sequence" else None
            importance_M = importance_weights(old_M, sampled_M, importance.cap, of_completions_N)
        kl_M, beta = k1(old_M, reference_M), float(models.beta)  # recorded and paid: one estimator for both
        kl_N = np.add.reduceat(kl_M, np.cumsum(lengths_N) - lengths_N)
        models.kl = float(kl_N.mean())
        scored = ScoredCompletions(score_N, kl_M, values_M, lengths_N, beta, config.batch.completions)
        advantages_M, returns_M = config.advantage.estimate(scored)
        flat_P = flat_groups(scored.by_prompt(score_N))
        if config.kl.target is not None:
            models.next_beta = adapted_beta(beta, models.kl, config.kl.target, len(kl_N), config.kl.horizon)

        self.record.note(
            self.trainer.step + 1,
            {
                "iteration": iteration,
                "score": score_N.mean(),
                "score_std": score_N.std(),
                **{f"score/{name}": each_N.mean() for name, each_N in scores.items()},
                "kl": models.kl,  # of a completion, in nats
                "kl_token": kl_M.mean(),
                "beta": beta,
                "entropy": -old_M.mean(),  # of a token, in nats: the mean of -log p over what was sampled
                "completion_tokens": lengths_N.mean(),
                "unended": 1 - ended_N.mean(),
                "sampler_mismatch": np.abs(old_M - sampled_M).mean(),
                **defined(
                    {
                        "explained_variance": explained_variance(returns_M, values_M)
                        if models.actor.has_values
                        else None,
                        "importance": None if importance_M is None else importance_M.mean(),
                        "importance_capped": None if importance is None else (importance_M == importance.cap).mean(),
                        "flat_groups": flat_P.mean() if config.advantage.needs_group else None,
                        **{f"truncated/{name}": share for name, share in truncated.items()},
                    }
                ),
                **{f"seconds/{name}": seconds for name, seconds in clock.laps.items()},
            },
        )
        self.record.headline = f"score {score_N.mean():+.3f}  KL {models.kl:.2f}  "
        kl_weights_M = None
        if config.advantage.kl_in_loss:  # a group without spread moves nothing: its KL would, alone
            kl_weights_M = np.repeat(np.repeat(~flat_P, config.batch.completions), lengths_N).astype(np.float64)
        return with_experience(
            examples, Experience(old_M, reference_M, advantages_M, returns_M, values_M, kl_weights_M, importance_M)
        )


def with_experience(examples: Sequence[Example], all_tokens: Experience) -> list[Example]:
    """The examples, each with the record of its own tokens."""
    ends = np.cumsum([int(example.loss_mask.sum()) for example in examples])[:-1]
    columns = {field.name: getattr(all_tokens, field.name) for field in fields(all_tokens)}
    split = {name: np.split(column_M, ends) for name, column_M in columns.items() if column_M is not None}
    return [
        replace(example, experience=Experience(**{name: parts[i] for name, parts in split.items()}))
        for i, example in enumerate(examples)
    ]


def defined(values: Mapping[str, float | None]) -> dict[str, float]:
    """Without the statistics that are not defined here."""
    return {name: float(value) for name, value in values.items() if value is not None}


def sampled_logprobs(completions: Sequence[Completion]) -> np.ndarray:
    """The log-probabilities that the sampler gave its tokens, [M]."""
    return np.array([logprob for completion in completions for logprob in completion.logprobs])


class Clock:
    """Seconds of each part of an iteration."""

    def __init__(self) -> None:
        self.laps, self._since = dict[str, float](), time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._since = now - self._since, now

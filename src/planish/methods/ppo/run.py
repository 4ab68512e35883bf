"""PPO and PPO-ptx: a policy learns from the scores of its own completions (Ouyang et al. 2022, step 3).

    maximise  E_(y ~ pi) [ r(x, y) - beta log pi(y | x) / pi_SFT(y | x) ]  +  gamma E_(z ~ D_pretrain) [ log pi(z) ]

In rounds, called iterations: the policy completes prompts, the completions are scored, each token is told what it was worth
(`RolloutFeed.collect`), and a few optimiser steps make the better tokens likelier (`Clipped`). Pretraining documents are a
second part of every step, with a coefficient of their own. RLOO and GRPO differ in `advantages` and need no value model.

Nothing is carried from one iteration to the next but weights, moments, beta and the moving average: a run that was killed
samples its last iteration again, to the same bits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from planish.base.config import CHANGEABLE_ON_RESUME
from planish.base.distributed import distributed, is_main, local_device, rank, world_size
from planish.base.errors import ConfigError
from planish.base.files import write_json
from planish.base.metrics import Mean, Metrics
from planish.base.random import Permutation
from planish.base.types import Example, Experience, Packed
from planish.data.mixture.packing import deal
from planish.data.prompt_dataset import read_prompts
from planish.data.rows import LEARNT
from planish.data.settings import longest
from planish.data.sources import prepare_sources
from planish.inference.sample import Completion
from planish.maths.policy_gradient import (
    adapted_beta,
    clipped_policy_losses,
    clipped_value_losses,
    gae,
    k1,
    k3,
    leave_one_out,
    normalised_in_group,
    whiten,
)
from planish.maths.reductions import Reduction, token_weights, total_weight
from planish.methods.ppo.config import Gae, Grpo, PpoConfig, Rloo
from planish.methods.ppo.models import PpoModels, build_models
from planish.methods.ppo.monitor import PpoMonitor
from planish.methods.ppo.rewards import to_example
from planish.methods.run import LoadedModel, Method, RunContext, account, fit, resolve_micro_tokens
from planish.methods.sft import bring_policy
from planish.methods.supervised import NextTokenLoss
from planish.models.actor_critic import ActorCritic
from planish.models.load import context_length
from planish.train.feed import BatchConfig, MixtureFeed, plan_feed
from planish.train.loop import Callback, LossTerm
from planish.train.optimizer import Trainer
from planish.train.record import RunRecord
from planish.train.run_folder import RunFolder, open_run

REDUCTIONS: dict[str, Reduction] = {"gae": "token_mean", "rloo": "seq_sum", "grpo": "seq_mean"}  # of each one's paper
AVERAGE = "average."


class PpoObjective:
    """The objective: PPO's clipped policy loss, the clipped value loss beside it, and GRPO's KL term."""

    def __init__(self, actor: ActorCritic, config: PpoConfig, device: torch.device) -> None:
        self.actor, self.config, self.device = actor, config, device
        self.reduction: Reduction = config.reduction or REDUCTIONS[config.advantage.name]

    def weight(self, packed: Packed) -> float:
        return total_weight(self.reduction, packed.num_targets_S())

    def loss(self, packed: Packed) -> tuple[Tensor, Metrics]:
        config, packed = self.config, packed.to(self.device)
        weights_L = token_weights(self.reduction, packed.sequences_L, packed.num_targets_S())
        logprobs_L, values_L = self.actor(packed, config.sampling.temperature)
        logprobs_L, known = logprobs_L.double(), experience_tensors(packed)
        old_L, reference_L = known["old_logprobs"], known["reference_logprobs"]

        policy_loss = (
            weights_L * clipped_policy_losses(logprobs_L, old_L, known["advantages"], config.clip_range)
        ).sum()
        loss, value_loss = policy_loss, torch.zeros(())
        if values_L is not None:
            losses_L = clipped_value_losses(
                values_L.double(), known["old_values"], known["returns"], config.value.clip_range
            )
            value_loss = (weights_L * losses_L).sum()
            loss = loss + config.value.coefficient * value_loss
        if config.advantage.name == "grpo" and config.kl.beta:
            loss = loss + config.kl.beta * (weights_L * k3(logprobs_L, reference_L)).sum()

        with torch.no_grad():
            num, total, ratio_L = packed.num_targets, self.weight(packed), (logprobs_L - old_L).exp()
            return loss, {
                "policy_loss": Mean(policy_loss.detach(), total),
                "value_loss": Mean(value_loss.detach(), total if values_L is not None else 0),
                "clip_fraction": Mean(((ratio_L - 1).abs() > config.clip_range).sum(), num),
                "ratio_change": Mean((ratio_L - 1).abs().sum(), num),  # rounding alone at an iteration's first step
                "old_kl": Mean(k3(old_L, logprobs_L).sum(), num),  # KL(old, new) by token
            }


def experience_tensors(packed: Packed) -> dict[str, Tensor]:
    """What is known of each learnt token since it was sampled, each [L], in float64."""
    experiences = [cast(Experience, example.experience) for example in packed.examples]
    return {
        name: torch.from_numpy(np.concatenate([np.empty(0), *(getattr(each, name) for each in experiences)])).to(
            packed.tokens_T.device
        )
        for name in Experience.__dataclass_fields__
    }


class RolloutFeed:
    """The feed: an iteration's completions, sampled when its first step asks for them, and dealt out in minibatches."""

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
        rollouts = models.sample(asked, config.batch.completions, config, ("sample", iteration))
        completions = [completion for each in rollouts for completion in each.completions]
        lengths_N = np.array([completion.num_tokens for completion in completions])
        ended_N = np.array([completion.ended for completion in completions])
        clock.lap("sampling")

        examples = [to_example(each) for each in rollouts]
        old_M, reference_M, values_M = models.score_tokens(examples, config, self.run)
        clock.lap("log-probabilities")

        scores = {name: reward(rollouts) for name, reward in models.rewards.items()}
        score_N = sum(
            (config.rewards[name].weight * each_N for name, each_N in scores.items()), np.zeros(len(lengths_N))
        )
        if config.missing_eos is not None:
            score_N = np.where(ended_N, score_N, config.missing_eos)  # replaced, whatever the reward model says
        clock.lap("scoring")

        kl_M, beta = k1(old_M, reference_M), float(models.beta)  # recorded and paid: one estimator for both
        kl_N = np.add.reduceat(kl_M, np.cumsum(lengths_N) - lengths_N)
        models.kl = float(kl_N.mean())
        advantages_M, returns_M = advantages(config, score_N, kl_M, values_M, lengths_N, beta)
        if config.kl.target is not None:  # from the next iteration on
            models.beta.fill_(adapted_beta(beta, models.kl, config.kl.target, len(kl_N), config.kl.horizon))

        self.record.note(
            self.trainer.step + 1,
            {
                "iteration": iteration,
                "score": score_N.mean(),
                **{f"score/{name}": each_N.mean() for name, each_N in scores.items()},
                "kl": models.kl,  # of a completion, in nats
                "kl_token": kl_M.mean(),
                "beta": beta,
                "entropy": -old_M.mean(),  # of a token, in nats: the mean of -log p over what was sampled
                "completion_tokens": lengths_N.mean(),
                "unended": 1 - ended_N.mean(),
                "sampler_mismatch": np.abs(old_M - sampled_logprobs(completions)).mean(),
                **(
                    {"explained_variance": 1 - (returns_M - values_M).var() / (returns_M.var() + 1e-12)}
                    if models.actor.has_values
                    else {}
                ),
                **{f"seconds/{name}": seconds for name, seconds in clock.laps.items()},
            },
        )
        self.record.headline = f"score {score_N.mean():+.3f}  KL {models.kl:.2f}  "
        return [
            replace(example, experience=Experience(*parts))
            for example, *parts in zip(
                examples,
                *(
                    np.split(each_M, np.cumsum([int(example.loss_mask.sum()) for example in examples])[:-1])
                    for each_M in (old_M, reference_M, advantages_M, returns_M, values_M)
                ),
                strict=True,
            )
        ]


def advantages(
    config: PpoConfig, score_N: np.ndarray, kl_M: np.ndarray, values_M: np.ndarray, lengths_N: np.ndarray, beta: float
) -> tuple[np.ndarray, np.ndarray]:
    """What each of M tokens was worth, and GAE's returns. N completions, those of a prompt side by side."""
    ends = np.cumsum(lengths_N)
    match config.advantage:
        case Gae() as how:
            rewards_M = -beta * kl_M
            rewards_M[ends - 1] += score_N  # at the last token, which is the end of turn if the completion ended
            if how.whiten_rewards:
                rewards_M = whiten(rewards_M, keep_mean=True)
            both = [
                gae(rewards_M[end - length : end], values_M[end - length : end], how.gamma, how.gae_lambda)
                for end, length in zip(ends, lengths_N, strict=True)
            ]
            advantages_M, returns_M = (np.concatenate(part) for part in zip(*both, strict=True))
            return (whiten(advantages_M) if how.whiten else advantages_M), returns_M
        case Rloo():
            rewards_N = score_N - beta * np.add.reduceat(kl_M, ends - lengths_N)
            found_PK = leave_one_out(rewards_N.reshape(-1, config.batch.completions))
        case Grpo():
            found_PK = normalised_in_group(score_N.reshape(-1, config.batch.completions))
    return np.repeat(found_PK.ravel(), lengths_N), np.zeros(len(kl_M))


def sampled_logprobs(completions: Sequence[Completion]) -> np.ndarray:
    return np.array([logprob for completion in completions for logprob in completion.logprobs])


class Clock:
    """Seconds of each part of an iteration."""

    def __init__(self) -> None:
        self.laps, self._since = dict[str, float](), time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._since = now - self._since, now


class PpoMethod(Method[PpoConfig]):
    """The run around it (running.py)."""

    models: PpoModels
    trainer: Trainer
    mix: MixtureFeed | None = None

    def bring(self, config: PpoConfig, folder: RunFolder, device: torch.device) -> LoadedModel:
        return bring_policy(config.model, config.pretraining, config.seed, device)

    def parts(self, run: RunContext[PpoConfig], trainer: Trainer, record: RunRecord) -> Sequence[LossTerm]:
        config, models = run.config, self.models
        parts = [LossTerm(PpoObjective(models.actor, config, run.device), RolloutFeed(run, models, trainer, record))]
        if self.mix is not None and config.ptx.gamma:
            likelihood = NextTokenLoss(models.actor.policy, "token_mean", run.device)
            parts.append(LossTerm(likelihood, self.mix, "ptx", config.ptx.gamma))
        return parts

    def callbacks(self, run: RunContext[PpoConfig], record: RunRecord, last: int) -> Sequence[tuple[int, Callback]]:
        watch, iteration = PpoMonitor(run, self.models, record), run.config.steps_of_iteration

        def average(step: int) -> None:
            """Moves the average of the weights a little towards where they are."""
            if step:
                for p, mean in self._averaged():
                    mean.lerp_(p.detach(), 1 - (run.config.ema or 0))

        def stop(step: int) -> None:
            """Ends the run where the policy has gone as far as it may."""
            limit = run.config.kl.stop
            if step and limit is not None and self.models.kl > limit:
                self.trainer.kept["stopped"].fill_(1)
                if is_main():
                    print(f"the run ends: a KL of {self.models.kl:.2f}, more than kl.stop={limit:g}", file=sys.stderr)

        return [
            (1, average),
            (iteration, stop),
            (iteration, watch.alarms),
            (iteration * run.config.evaluate_every, watch.held_out),
        ]

    def finish(self, run: RunContext[PpoConfig], record: RunRecord) -> None:
        """What is saved is the moving average, if there is one."""
        with torch.no_grad():
            for p, mean in self._averaged():
                p.copy_(mean)

    def _averaged(self) -> list[tuple[Tensor, Tensor]]:
        """Each weight of the policy with its moving average."""
        named = (
            (name.removeprefix(AVERAGE), mean) for name, mean in self.trainer.kept.items() if name.startswith(AVERAGE)
        )
        return [(self.trainer.parameters[name], mean) for name, mean in named]


@distributed
def ppo(config: PpoConfig) -> Path:
    """Trains `config.model` on `config.prompts`; returns the run's folder, whose `model/` is the policy."""
    device, method = local_device(config.device), PpoMethod()
    with open_run(config.out, config, CHANGEABLE_ON_RESUME) as folder:
        learner = method.bring(config, folder, device)
        limit = context_length(learner.model.config)
        room = None if limit is None else limit - config.sampling.max_completion_tokens
        if room is not None and room < 1:
            raise ConfigError(
                f"sampling.max_completion_tokens={config.sampling.max_completion_tokens} leaves no room for a prompt: the model "
                f"was made for {limit} tokens"
            )
        prompts = read_prompts(
            config.prompts,
            config.held_out_prompts,
            learner.template,
            room,
            config.held_out,
            config.seed,
            config.too_long,
        )
        method.models = models = build_models(config, learner, prompts, device, folder.path)
        micro_tokens = resolve_micro_tokens(models.actor.policy, config.batch.micro_tokens, device)
        steps = config.iterations * config.steps_of_iteration
        told, fingerprint, sources = {"prompts": prompts.account()}, prompts.fingerprint(), []
        if (data := config.pretraining) is not None:
            sources = prepare_sources(
                data, learner.tokenizer, learner.template, longest(data, limit), config.seed, folder.path, LEARNT
            )
            batch = BatchConfig(examples=config.ptx.examples, micro_tokens=micro_tokens)
            method.mix, plan = plan_feed(data, batch, sources, steps, 1.0, config.seed)
            told, fingerprint = told | account(sources, method.mix, plan), fingerprint + method.mix.fingerprint()
        if is_main():
            write_json(folder.data, told)
        run = RunContext(config, folder, device, learner, models.actor.policy, sources, micro_tokens)
        others = {"value": config.optim.model_copy(update={"lr": config.value.lr})} if models.actor.value else None
        method.trainer = trainer = Trainer(models.actor, config.optim, steps, others)
        trainer.kept |= {"beta": models.beta, "stopped": torch.zeros(())}
        if config.ema is not None:
            learnt = [(name, p) for name, p in trainer.parameters.items() if name.startswith("policy.")]
            trainer.kept |= {f"{AVERAGE}{name}": p.detach().clone() for name, p in learnt}
        fit(run, method, trainer, fingerprint, unit=config.steps_of_iteration)
    return folder.path

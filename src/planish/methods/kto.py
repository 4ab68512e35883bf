"""Kahneman-Tversky optimization: a policy learns from answers that are desirable or not, without pairs (Ethayarajh et al. 2024).

    r(x, y) = log pi(y | x) / pi_ref(y | x)
    L = 1/N sum_n  w_D sigmoid(beta (z0 - r(x_n, y_n)))  if y_n is desirable,  else  w_U sigmoid(beta (r(x_n, y_n) - z0))

z0 estimates KL(pi, pi_ref): the mean of r over the step's prompts, each with an answer to another prompt of its source, held at 0
or above, without a gradient. It is of the whole step, so micro-batches and ranks do not change it. The reference is the policy
as it starts, also with LoRA; its log-probabilities, of both kinds of answers, are computed once and kept beside the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor

from planish.base.config import Field
from planish.base.distributed import all_sum, distributed, is_main, rank, world_size
from planish.base.metrics import Mean, Metrics
from planish.base.model_folder import ModelPathOrNone
from planish.base.notices import say
from planish.base.random import fold_in
from planish.base.transfer import numbers
from planish.base.types import Choices, Example, Packed
from planish.data.examples import Encodable, Examples
from planish.data.mixture.packing import deal
from planish.data.rows import Labelled
from planish.data.settings import longest
from planish.inference.reference_log_probs import (
    attach,
    completion_logprobs,
    digest_tokens,
    digest_weights,
    kept_values,
)
from planish.inference.sequences import sequence_values
from planish.maths.preference import kto as kto_losses
from planish.methods.base import Method, RunContext, mixture_feed, policy_as
from planish.methods.callbacks import SamplingCallback, SamplingRunConfig, note_unmoved
from planish.methods.ranking_eval import reference_of, refuse_what_sft_takes
from planish.methods.reference import reference_policy
from planish.methods.run import run_method
from planish.models.load import ModelConfig, context_length
from planish.models.loaded import LoadedModel, load_chat_model
from planish.models.packed import CausalLM
from planish.train.feed import MixtureFeed
from planish.train.loop import Callback, LossTerm
from planish.train.optimizer import OptimConfig, Trainer
from planish.train.record import RunRecord
from planish.train.run_folder import RunFolder

OTHERS = "/other answers"  # of a set's name: its prompts, each with an answer to another


class KtoConfig(SamplingRunConfig):
    """Settings of `planish kto`."""

    optim: OptimConfig = Field(default=OptimConfig(lr=1e-6), description="optimizer")
    model: ModelConfig = Field(description="the policy, usually the fine-tuned model")
    beta: float = Field(default=0.1, gt=0, description="strength of the KL constraint to the reference")
    desirable_weight: float = Field(
        default=1.0,
        ge=0,
        description="weight of desirable answers; with the other, best such that both kinds weigh about the same in all",
    )
    undesirable_weight: float = Field(default=1.0, ge=0, description="weight of undesirable answers")
    reference: ModelPathOrNone = Field(default=None, description="reference model; absent: the policy as it starts")

    @model_validator(mode="after")
    def _check_take(self) -> KtoConfig:
        refuse_what_sft_takes(self.data)
        return self


@distributed
def kto(config: KtoConfig) -> Path:
    """Trains on the labelled answers of `config.data`; returns the run's folder, whose `model/` is the policy."""
    return run_method(config, KtoMethod())


class OtherAnswers(Sequence[Example]):
    """The prompts of a source, each with the answer to another of its prompts: that of the row so many rows on, as the seed says,
    or of the first behind it that has another prompt."""

    def __init__(self, examples: Examples, limit: int, seed: int) -> None:
        count = len(examples)
        self.examples, self.limit, self.reference = examples, limit, np.zeros(count)
        self.shift = 1 + fold_in(seed, "other answers", count) % (count - 1) if count > 1 else 0

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: Any) -> Any:
        own, start = self.examples[i], _prompt_length(self.examples[i])
        other = self._other(i, own.tokens[:start])
        tokens = np.concatenate([own.tokens[:start], other.tokens[_prompt_length(other) :]])[: self.limit]
        choices = Choices(start, (len(tokens),), (0,), (), (float(self.reference[i]),))
        return Example(tokens, np.arange(len(tokens)) >= start, own.name, own.source, choices)

    def _other(self, i: int, prompt: np.ndarray) -> Example:
        count = len(self.examples)
        places = [(i + self.shift + further) % count for further in range(min(count, 8))]
        found = (self.examples[place] for place in places)
        first = self.examples[places[0]]
        return next((each for each in found if not np.array_equal(each.tokens[: _prompt_length(each)], prompt)), first)


def _prompt_length(example: Example) -> int:
    assert example.choices is not None
    return example.choices.prompt_length


class KtoObjective:
    """Each answer has weight 1. `baseline` is z0 of the step."""

    def __init__(self, policy: CausalLM, config: KtoConfig, device: torch.device) -> None:
        self.policy, self.config, self.device = policy, config, device
        self.baseline = torch.zeros((), dtype=torch.float64, device=device)

    def weight(self, packed: Packed) -> float:
        return len(packed.examples)

    def ratios(self, packed: Packed) -> Tensor:
        """log pi / pi_ref of each answer, [S]."""
        return completion_logprobs(self.policy, packed) - reference_of(packed)

    def losses(self, ratio_S: Tensor, desirable_S: Tensor, baseline: Tensor) -> Tensor:
        config = self.config
        return kto_losses(
            ratio_S, desirable_S, baseline, config.beta, config.desirable_weight, config.undesirable_weight
        )

    def loss(self, packed: Packed) -> tuple[Tensor, Metrics]:
        packed = packed.to(self.device)
        ratio_S, desirable_S = self.ratios(packed), desirable(packed)
        real = bool(packed.examples)  # not the empty row of a rank without work
        loss = (self.losses(ratio_S, desirable_S, self.baseline) * real).sum()
        reward_S = self.config.beta * ratio_S.detach()
        both = {"desirable": desirable_S & real, "undesirable": ~desirable_S & real}
        rewards = {f"reward/{name}": Mean((reward_S * where_S).sum(), where_S.sum()) for name, where_S in both.items()}
        kl = self.baseline.clamp(min=0) * len(packed.examples)
        return loss, {**rewards, "kl": Mean(kl, len(packed.examples))}


def desirable(packed: Packed) -> Tensor:
    ranks = [example.choices.ranks[0] for example in packed.examples if example.choices]
    return numbers(ranks or [0], packed.tokens_T.device, torch.int64) == 0


class KtoFeed:
    """The answers of a step. Before they are handed out, z0 is estimated with the policy as it is now."""

    def __init__(
        self, feed: MixtureFeed, others: Sequence[OtherAnswers], objective: KtoObjective, micro_tokens: int
    ) -> None:
        self.feed, self.others, self.objective, self.micro_tokens = feed, others, objective, micro_tokens

    def micro_batches(self, step: int) -> list[Packed]:
        refs = self.feed.mixture.refs(int(self.feed.bounds[step]), int(self.feed.bounds[step + 1]))
        others = [self.others[k][row] for k, row in zip(refs.sources.tolist(), refs.rows.tolist(), strict=True)]
        self.objective.baseline = self._mean_ratio(others)
        return self.feed.micro_batches(step)

    @torch.no_grad()
    def _mean_ratio(self, examples: list[Example]) -> Tensor:
        device, total = self.objective.device, torch.zeros((), dtype=torch.float64, device=self.objective.device)
        for packed in deal(examples, self.micro_tokens, rank(), world_size()):
            ratio_S = self.objective.ratios(packed.to(device))
            if packed.examples:
                total += ratio_S.sum()
        return numbers(all_sum(total.item()) / len(examples), device)


class KtoMethod(Method[KtoConfig]):
    kinds: tuple[type[Encodable], ...] = (Labelled,)

    def __init__(self) -> None:
        self.digest = ""
        self.others: dict[str, OtherAnswers] = {}

    def load_model(self, config: KtoConfig, folder: RunFolder, device: torch.device) -> LoadedModel:
        return load_chat_model(config.model, device, config.data.chat, config.seed)

    def as_packed(self, config: KtoConfig, loaded: LoadedModel) -> CausalLM:
        self.digest = digest_weights(loaded.model)
        return loaded.causal_lm()

    def describe(self, run: RunContext[KtoConfig]) -> dict[str, Any]:
        """Computes the reference's log-probabilities, of the answers and of the other answers."""
        limit = longest(run.config.data, context_length(run.loaded.model.config))
        sets = {f"{s.name}/{part}": table for s in run.sources for part, table in parts_of(s).items()}
        self.others = {name: OtherAnswers(examples, limit, run.config.seed) for name, examples in sets.items()}
        path = run.folder.path / "reference.safetensors"
        with reference_policy(run, self.digest) as (reference, digest):

            def logprobs(examples: Examples | Sequence[Example]) -> np.ndarray:
                return sequence_values(
                    lambda packed: completion_logprobs(reference, packed), examples, run.micro_tokens, run.device
                )

            key = {"weights": digest, "precision": str(reference.compute_dtype), "tokens": digest_tokens(sets)}
            key["others"] = repr([(other.shift, other.limit) for other in self.others.values()])
            every = {**sets, **{name + OTHERS: other for name, other in self.others.items()}}
            found, known = kept_values(logprobs, every, path, key)
        attach({name: found[name] for name in sets}, sets)
        for name, other in self.others.items():
            other.reference = found[name + OTHERS]
        if known and is_main():
            say(f"the reference's log-probabilities are taken from {path}")
        return {"labels": {name: _counts(examples) for name, examples in sets.items()}}

    def loss_terms(self, run: RunContext[KtoConfig], trainer: Trainer, record: RunRecord) -> Sequence[LossTerm]:
        objective = KtoObjective(policy_as(CausalLM, run), run.config, run.device)
        others = [self.others[f"{source.name}/training"] for source in run.sources]
        return [LossTerm(objective, KtoFeed(mixture_feed(run), others, objective, run.micro_tokens))]

    def callbacks(
        self, run: RunContext[KtoConfig], trainer: Trainer, record: RunRecord
    ) -> Sequence[tuple[int, Callback]]:
        objective = KtoObjective(policy_as(CausalLM, run), run.config, run.device)

        def ratios(examples: Examples | Sequence[Example]) -> np.ndarray:
            return sequence_values(objective.ratios, examples, run.micro_tokens, run.device)

        def evaluate(step: int) -> None:
            """Losses and rewards of what is held out, with z0 of all of it."""
            names = [source.name for source in run.sources]
            ratio = {source.name: ratios(source.held_out) for source in run.sources}
            label = {source.name: labels(source.held_out) for source in run.sources}
            z0 = np.concatenate([ratios(self.others[f"{name}/held_out"]) for name in names]).mean()
            loss = {
                name: objective.losses(
                    torch.from_numpy(ratio[name]), torch.from_numpy(label[name]), torch.tensor(z0)
                ).numpy()
                for name in names
            }
            ratio_N, label_N = np.concatenate([*ratio.values()]), np.concatenate([*label.values()])
            record.note(
                step,
                {
                    "held_out/all": float(np.concatenate([*loss.values()]).mean()),
                    **{f"held_out/{name}": float(losses.mean()) for name, losses in loss.items()},
                    "held_out_kl": float(max(z0, 0.0)),
                    **rewards_of(run.config.beta * ratio_N, label_N),
                },
            )
            note_unmoved(run, step, trainer.steps, record)
            record.pause()

        measured = [(run.config.evaluate_every, evaluate)] if run.config.data.held_out else []
        return [*measured, (run.config.sample_every, SamplingCallback(run, record))]


def parts_of(source: Any) -> dict[str, Examples]:
    parts = {"training": source.training, "held_out": source.held_out}
    return {name: examples for name, examples in parts.items() if len(examples)}


def labels(examples: Examples) -> np.ndarray:
    """True for the desirable, [N]."""
    return np.array(list(_labels(examples)))


def _labels(examples: Examples) -> Iterator[bool]:
    assert examples.choices is not None
    for i in range(len(examples)):
        yield examples.choices[i].ranks[0] == 0


def _counts(examples: Examples) -> dict[str, int]:
    good = int(labels(examples).sum())
    return {"desirable": good, "undesirable": len(examples) - good}


def rewards_of(reward_N: np.ndarray, label_N: np.ndarray) -> Mapping[str, float]:
    """Mean implied rewards, and as accuracy the share of pairs of a desirable and an undesirable answer in which the former has
    the higher reward, ties counting a half."""
    good, bad = reward_N[label_N], reward_N[~label_N]
    found = {"desirable": good, "undesirable": bad}
    means = {f"held_out_reward/{name}": float(rewards.mean()) for name, rewards in found.items() if len(rewards)}
    if not len(good) or not len(bad):
        return means
    above = np.searchsorted(np.sort(bad), good, "left") + np.searchsorted(np.sort(bad), good, "right")
    return means | {"held_out_accuracy/all": float(above.mean() / 2 / len(bad))}

"""Direct preference optimization: the policy is fitted to comparisons as a reward model would be (Rafailov et al. 2023).

    r(x, y) = beta log pi(y | x) / pi_ref(y | x)
    L = -1/N sum_n 1/C_n sum_(w, l) log sigmoid(r(x_n, y_w) - r(x_n, y_l))        (eq. 7, over all pairs of a prompt)

docs/dpo.md derives it by hand. The reference is the policy as it starts, also with LoRA; its log-probabilities are computed
once and kept beside the run. `loss` selects a relative (preference_losses.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from planish.base.config import Field
from planish.base.distributed import distributed, is_main
from planish.base.metrics import Mean, Metrics
from planish.base.model_folder import ModelPathOrNone
from planish.base.notices import say
from planish.base.types import Example, Packed, pack
from planish.data.mixture.pairs import pairs_of
from planish.inference.reference_log_probs import attach_reference, completion_logprobs, digest_weights
from planish.inference.sample import SamplingConfig, sample
from planish.maths.preference import PairLogprobs, implicit_reward_accuracy, logprob_accuracy
from planish.methods.base import RunContext, mixture_feed, policy_as
from planish.methods.callbacks import SamplingCallback, SamplingRunConfig, fitting_prompts
from planish.methods.preference_losses import Dpo, PreferenceLoss
from planish.methods.ranking_eval import (
    ComparisonConfig,
    ComparisonMethod,
    RankingCallback,
    comparison_sets,
    reference_of,
)
from planish.methods.reference import reference_policy
from planish.methods.run import run_method
from planish.models.load import ModelConfig
from planish.models.loaded import LoadedModel, load_chat_model
from planish.models.packed import CausalLM
from planish.models.sharding import gathered
from planish.train.loop import Callback, LossTerm
from planish.train.optimizer import OptimConfig, Trainer
from planish.train.record import RunRecord
from planish.train.run_folder import RunFolder


class DpoConfig(ComparisonConfig, SamplingRunConfig):
    """Settings of `planish dpo`."""

    optim: OptimConfig = Field(default=OptimConfig(lr=1e-6), description="optimizer")
    model: ModelConfig = Field(description="the policy, usually the fine-tuned model")
    loss: PreferenceLoss = Field(default=Dpo(), description="dpo or one of its relatives, by name")
    reference: ModelPathOrNone = Field(default=None, description="reference model; absent: the policy as it starts")
    nll: float = Field(
        default=0.0,
        ge=0,
        description="weight of the chosen completion's negative log-likelihood per token, beside the loss (Pang et al. 2024)",
    )
    kl_prompts: int = Field(
        default=0, ge=0, description="held-out prompts answered at temperature 1 to estimate the KL to the reference"
    )


@distributed
def dpo(config: DpoConfig) -> Path:
    """Trains on the comparisons of `config.data`; returns the run's folder, whose `model/` is the policy."""
    return run_method(config, DpoMethod())


class DpoObjective:
    """Each prompt has weight 1, each of its pairs one over their number."""

    def __init__(self, policy: CausalLM, loss: PreferenceLoss, device: torch.device, nll: float = 0.0) -> None:
        self.policy, self.function, self.device, self.nll = policy, loss, device, nll

    def weight(self, packed: Packed) -> float:
        return len(packed.examples)

    def loss(self, packed: Packed) -> tuple[Tensor, Metrics]:
        packed = packed.to(self.device)
        logprobs_S, pairs = completion_logprobs(self.policy, packed), pairs_of(packed)
        w_P, l_P = pairs.better_P, pairs.worse_P
        tokens_S, reference_S = packed.num_targets_S, reference_of(packed)
        both = PairLogprobs(
            logprobs_S[w_P], logprobs_S[l_P], reference_S[w_P], reference_S[l_P], tokens_S[w_P], tokens_S[l_P]
        )
        losses_P, nll_P = self.function.losses(both), -both.chosen_P / both.chosen_tokens_P
        if self.nll:
            losses_P = losses_P + self.nll * nll_P
        loss = (pairs.weights_P * losses_P).sum() + 0 * logprobs_S.sum()
        reward_S = self.function.reward(logprobs_S.detach(), reference_S, tokens_S)
        seen = {
            "accuracy": implicit_reward_accuracy(both),  # of the implied reward; 0 before the first step
            "accuracy_logprobs": logprob_accuracy(both),
            "margin": reward_S[w_P] - reward_S[l_P],
            "chosen": both.chosen_P,
            "rejected": both.rejected_P,
            "chosen_change": both.logratios[0],
            "rejected_change": both.logratios[1],
            "chosen_tokens": both.chosen_tokens_P.double(),
            "rejected_tokens": both.rejected_tokens_P.double(),
            **({"nll": nll_P} if self.nll else {}),
        }
        num = len(packed.examples)
        return loss, {name: Mean((pairs.weights_P * each_P.detach()).sum(), num) for name, each_P in seen.items()}


class DpoMethod(ComparisonMethod[DpoConfig]):
    def __init__(self) -> None:
        super().__init__()
        self.digest = ""

    def load_model(self, config: DpoConfig, folder: RunFolder, device: torch.device) -> LoadedModel:
        return load_chat_model(config.model, device, config.data.chat, config.seed)

    def as_packed(self, config: DpoConfig, loaded: LoadedModel) -> CausalLM:
        self.digest = digest_weights(loaded.model)
        return loaded.causal_lm()

    def describe(self, run: RunContext[DpoConfig]) -> dict[str, Any]:
        described = super().describe(run) | {"loss": asdict(run.config.loss.facts)}
        sets = comparison_sets(run, self.eval_sets)
        path = run.folder.path / "reference.safetensors"
        with reference_policy(run, self.digest) as (reference, digest):
            known = attach_reference(reference, digest, sets, path, run.micro_tokens, run.device)
        if known and is_main():
            say(f"the reference's log-probabilities are taken from {path}")
        return described

    def loss_terms(self, run: RunContext[DpoConfig], trainer: Trainer, record: RunRecord) -> Sequence[LossTerm]:
        config, policy = run.config, policy_as(CausalLM, run)
        return [LossTerm(DpoObjective(policy, config.loss, run.device, config.nll), mixture_feed(run))]

    def callbacks(
        self, run: RunContext[DpoConfig], trainer: Trainer, record: RunRecord
    ) -> Sequence[tuple[int, Callback]]:
        policy = policy_as(CausalLM, run)

        def reward(packed: Packed) -> Tensor:
            logprobs_S = completion_logprobs(policy, packed)
            return run.config.loss.reward(logprobs_S, reference_of(packed), packed.num_targets_S)

        def drift(step: int) -> None:
            """Mean over completions that the policy samples of log pi - log pi_ref: an unbiased estimate of KL(pi, pi_ref)."""
            if step and run.config.kl_prompts:
                if not (rows := sampled_rows(run, run.config.kl_prompts)):
                    return
                packed = [pack([row]).to(run.device) for row in rows]
                with torch.no_grad():
                    ours = [completion_logprobs(policy, row).item() for row in packed]
                    with reference_policy(run, self.digest, moved=True) as (reference, _):
                        theirs = [completion_logprobs(reference, row).item() for row in packed]
                changes = np.array(ours) - np.array(theirs)
                values = {"kl": float(changes.mean())}
                if len(changes) > 1:
                    values["kl_standard_error"] = float(changes.std(ddof=1) / len(changes) ** 0.5)
                record.note(step, values)
                record.pause()

        ranked = RankingCallback(run, record, reward, self.eval_sets, trainer.steps)
        sampling = SamplingCallback(run, record)
        return [
            (run.config.evaluate_every, ranked),
            (run.config.sample_every, sampling),
            (run.config.sample_every, drift),
        ]


def sampled_rows(run: RunContext[DpoConfig], count: int) -> list[Example]:
    """Held-out prompts, each with a completion that the policy samples at temperature 1."""
    loaded, template = run.loaded, run.loaded.template
    sampling = SamplingConfig(
        max_completion_tokens=run.config.sampling.max_completion_tokens, temperature=1.0, seed=run.config.seed
    )
    _, prompts, sampling = fitting_prompts(run, count, sampling, tell=False)  # SamplingCallback tells of the same
    with gathered(run.policy):
        sampled = sample(policy_as(CausalLM, run), loaded.tokenizer, prompts, sampling, template.stop_token_ids)
    return [
        Example(
            np.array([*prompt, *completion.tokens], np.int32),
            np.arange(len(prompt) + completion.num_tokens) >= len(prompt),
            "",
        )
        for prompt, completion in zip(prompts, chain(*sampled), strict=True)
    ]

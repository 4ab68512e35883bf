"""The settings of PPO, RLOO and GRPO (ppo.py)."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.model_folder import ModelPathOrNone
from planish.data.formats.mapping import ColumnsSetting
from planish.data.settings import SHARE_OR_NUMBER, DataConfig, HeldOut
from planish.inference.vllm import VllmConfig
from planish.judges.verify.verifiers import RowVerifier
from planish.maths.reductions import Reduction
from planish.methods.base import CommonConfig, MixtureConfig
from planish.methods.ppo.advantages import Advantage, Gae
from planish.methods.ppo.rewards import FunctionSource, RewardSource
from planish.models.load import LoraConfig, ModelConfig
from planish.statistics.alarms import AlarmConfig
from planish.train.checkpoint import CheckpointConfig
from planish.train.feed import BatchConfig
from planish.train.optimizer import OptimConfig


class PolicySampling(Config):
    max_completion_tokens: int = Field(default=128, ge=1, description="a completion is cut after this many tokens")
    temperature: float = Field(
        default=1.0, gt=0, description="temperature of sampling, and of all log-probabilities in training"
    )
    top_p: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="nucleus sampling; below 1 the samples are not the policy's own, and gradients are biased",
    )
    top_k: int = Field(
        default=0,
        ge=0,
        description="number of likeliest tokens to sample from; 0 is all. Above 0 gradients are biased, too",
    )


class RolloutBatch(Config):
    prompts: int = Field(default=64, ge=1, description="prompts of one iteration")
    completions: int = Field(default=1, ge=1, description="completions sampled for each prompt")
    epochs: int = Field(default=1, ge=1, description="passes over the completions of an iteration")
    minibatches: int = Field(
        default=1, ge=1, description="optimizer steps of each pass; a prompt's completions stay together"
    )
    micro_tokens: int | None = Field(
        default=None,
        ge=1,
        description="tokens of one forward pass; never changes the numbers. Absent: chosen for model and device",
    )
    changeable = Config.changeable | {"micro_tokens"}

    @model_validator(mode="after")
    def _check(self) -> RolloutBatch:
        if self.minibatches > self.prompts:
            raise ValueError(f"batch.minibatches={self.minibatches} is more than batch.prompts={self.prompts}")
        return self


class KlConfig(Config):
    beta: float = Field(
        default=0.02, ge=0, description="KL coefficient: reward lost per nat of KL to the starting policy"
    )
    target: float | None = Field(
        default=None,
        gt=0,
        description="adapts beta so that a completion's mean KL is this many nats (Ziegler et al. 2019)",
    )
    horizon: float = Field(default=10_000, gt=0, description="completions over which beta adapts")
    stop: float | None = Field(
        default=None, gt=0, description="mean KL of a completion, in nats, after which the run ends"
    )


class ImportanceConfig(Config):
    cap: float = Field(
        default=2.0, ge=1, description="largest weight; without one, a rare token could outweigh all others"
    )
    level: Literal["token", "sequence"] = Field(
        default="token",
        description="a weight for each token, or one for each completion, which is exact and varies more",
    )


class ValueConfig(Config):
    path: ModelPathOrNone = Field(
        default=None,
        description="initial value model; absent: the first reward model with a weight, else the policy",
    )
    shared: bool = Field(
        default=False, description="value head on the policy's own backbone, starting at zero, instead of a model"
    )
    lora: LoraConfig | None = Field(default=None, description="LoRA for the value model")
    lr: float = Field(
        default=9e-6, gt=0, description="peak learning rate of the value model; everything else is as in optim"
    )
    coefficient: float = Field(default=0.1, ge=0, description="coefficient of the value loss")
    clip_range: float = Field(
        default=0.2, gt=0, description="clip range: a value is clipped to the one at sampling ± this"
    )


class PtxConfig(Config):
    gamma: float = Field(
        default=27.8,
        ge=0,
        description="coefficient of the pretraining loss; 0 only measures it. Not portable: watch ptx/grad_ratio",
    )
    ratio: float | None = Field(
        default=None,
        gt=0,
        description="in place of gamma: norm of the pretraining gradient, as a multiple of that of the scores, at every step",
    )
    examples: int = Field(default=32, ge=1, description="pretraining documents of one optimizer step")


class PpoConfig(CommonConfig):
    """Settings of `planish ppo`."""

    optim: OptimConfig = Field(default=OptimConfig(lr=3e-6), description="optimizer")
    model: ModelConfig = Field(
        description="the policy, usually the fine-tuned model; as it starts, it is the reference"
    )
    rewards: dict[str, RewardSource] = Field(description="reward sources that score completions, by name")
    prompts: dict[str, str] = Field(description="files of prompts, or of rows that have some: a name for each")
    columns: ColumnsSetting | None = Field(
        default=None,
        description="column of each field in the files of prompts, {prompt: Question}; absent recognizes them",
    )
    held_out: HeldOut = Field(default=32, ge=0, description=f"prompts to measure on: {SHARE_OR_NUMBER}")
    held_out_prompts: dict[str, str] = Field(
        default={}, description="files of prompts to measure on, instead of held_out"
    )
    too_long: Literal["error", "drop"] = Field(
        default="error", description="prompts without room for a completion: error stops the run, drop leaves them out"
    )
    iterations: int = Field(default=100, ge=1, description="rounds of sampling and learning")
    batch: RolloutBatch = Field(default=RolloutBatch(), description="prompts, samples and minibatches per iteration")
    sampling: PolicySampling = Field(default=PolicySampling(), description="sampling of completions")
    server: VllmConfig | None = Field(
        default=None, description="a vLLM server that samples in place of this process (docs/rollout.md)"
    )
    importance: ImportanceConfig | None = Field(
        default=None,
        description="importance weights that correct for a sampler whose probabilities are not training's; true is one for each "
        "token, at most 2",
    )
    missing_eos: float | None = Field(
        default=-1.0, description="score of a completion that did not end, in place of its own; null keeps its own"
    )
    kl: KlConfig = Field(default=KlConfig(), description="KL penalty to the starting policy")
    advantage: Advantage = Field(default=Gae(), description="gae (PPO), rloo or grpo, by name")
    clip_range: float = Field(
        default=0.2, gt=0, lt=1, description="clip range: the policy ratio is clipped to 1 ± this"
    )
    reduction: Reduction | None = Field(
        default=None,
        description="token_mean, seq_mean or seq_sum; absent is token_mean for gae, seq_sum for rloo, seq_mean for grpo",
    )
    value: ValueConfig = Field(default=ValueConfig(), description="the value model, for gae")
    pretraining: DataConfig | None = Field(default=None, description="pretraining documents to mix in (PPO-ptx)")
    ptx: PtxConfig = Field(default=PtxConfig(), description="mixing in of the pretraining documents")
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay per step of a moving average of the weights, which is then the saved policy",
    )
    checkpoint: CheckpointConfig = Field(
        default=CheckpointConfig(every=10), description="when the run is saved; `every` counts iterations"
    )
    evaluate_every: int = Field(
        default=10, ge=0, description="iterations between two evaluations on held-out prompts; 0 is first and last"
    )
    num_samples: int = Field(default=10, ge=0, description="held-out prompts whose completions are recorded")
    alarms: AlarmConfig = Field(default=AlarmConfig(), description="thresholds of the alarms")

    @model_validator(mode="after")
    def _check(self) -> PpoConfig:
        if not any(source.weight for source in self.rewards.values()):
            raise ValueError(
                "rewards: none has a weight, so there is nothing to learn from: set rewards.NAME or its weight"
            )
        if not self.prompts:
            raise ValueError("prompts: names no file: set prompts.NAME=FILE")
        if self.advantage.needs_group and self.batch.completions < 2:
            raise ValueError(
                f"advantage.name={self.advantage.name}: compares a prompt's completions: set batch.completions to 2 or more"
            )
        if self.value.shared and (self.value.path or self.value.lora):
            raise ValueError("value.shared=true has no model of its own: leave value.path and value.lora out")
        if self.server is not None and (self.sampling.top_p < 1 or self.sampling.top_k):
            raise ValueError("server: samples from all tokens: leave sampling.top_p and sampling.top_k out")
        if self.kl.target is not None:
            self._check_adaptation(self.kl, self.batch.prompts * self.batch.completions)
        return self

    def _check_adaptation(self, kl: KlConfig, count: int) -> None:
        if self.advantage.kl_in_loss:
            raise ValueError(
                "kl.target: adapts what the reward pays, and with grpo the KL is in the loss: leave it out"
            )
        if not kl.beta:
            raise ValueError("kl.target: multiplies kl.beta, which is 0 and would stay so: set where it begins")
        if count >= 5 * kl.horizon:  # 1 - 0.2 n / H must be above 0
            raise ValueError(
                f"kl.horizon={kl.horizon:g}: with {count} completions an iteration, beta could fall to 0 in one: set more than "
                f"{count / 5:g}"
            )

    @property
    def reads_rows(self) -> bool:
        """True if a reward is given the rows of the prompts."""
        return any(isinstance(source, FunctionSource | RowVerifier) for source in self.rewards.values())

    @property
    def steps_of_iteration(self) -> int:
        return self.batch.epochs * self.batch.minibatches

    @property
    def num_steps(self) -> int:
        return self.iterations * self.steps_of_iteration

    @property
    def mixture(self) -> MixtureConfig | None:
        batch = BatchConfig(examples=self.ptx.examples)
        return MixtureConfig(self.pretraining, batch, self.num_steps, 1.0) if self.pretraining else None

    @property
    def micro_tokens(self) -> int | None:
        return self.batch.micro_tokens

    @property
    def checkpoint_unit(self) -> int:
        return self.steps_of_iteration

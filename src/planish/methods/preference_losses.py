"""The losses that `planish dpo` offers, by name, each with the settings of its paper (maths/preference.py has the equations).

`losses` gives one loss a pair. `reward` is what the policy is taken to think of one completion: the difference of two is
the argument of the sigmoid, but for what depends on the pair alone.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from pydantic import Field as Tagged
from torch import Tensor

from planish.base.config import Config, Field
from planish.maths import preference
from planish.maths.preference import PairLogprobs


class _WithReference(Config):
    beta: float = Field(default=0.1, gt=0, description="strength of the KL constraint to the reference")

    def reward(self, logprobs_S: Tensor, reference_S: Tensor, tokens_S: Tensor) -> Tensor:
        return self.beta * (logprobs_S - reference_S)


class Dpo(_WithReference):
    name: Literal["dpo"] = "dpo"

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.dpo(pairs, self.beta)


class Ipo(Config):
    name: Literal["ipo"] = "ipo"
    tau: float = Field(default=0.1, gt=0, description="the gap of log-ratios is to become 1 / (2 tau)")
    logratio: Literal["sum", "mean"] = Field(
        default="sum", description="over the tokens of a completion; TRL takes the mean"
    )

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.ipo(pairs, self.tau, self.logratio)

    def reward(self, logprobs_S: Tensor, reference_S: Tensor, tokens_S: Tensor) -> Tensor:
        ratio_S = logprobs_S - reference_S
        return self.tau * (ratio_S if self.logratio == "sum" else ratio_S / tokens_S)


class ConservativeDpo(_WithReference):
    name: Literal["cdpo"] = "cdpo"
    label_smoothing: float = Field(default=0.1, ge=0, lt=0.5, description="share of labels taken to be wrong")

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.cdpo(pairs, self.beta, self.label_smoothing)


class RobustDpo(_WithReference):
    name: Literal["robust_dpo"] = "robust_dpo"
    label_smoothing: float = Field(default=0.1, ge=0, lt=0.5, description="share of labels that are flipped")

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.robust_dpo(pairs, self.beta, self.label_smoothing)


class LengthNormalisedDpo(Config):
    name: Literal["length_normalized"] = "length_normalized"
    beta: float = Field(
        default=5.0, gt=0, description="strength of the constraint, on log-ratios per token, hence larger than DPO's"
    )

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.length_normalized_dpo(pairs, self.beta)

    def reward(self, logprobs_S: Tensor, reference_S: Tensor, tokens_S: Tensor) -> Tensor:
        return self.beta * (logprobs_S - reference_S) / tokens_S


class RDpo(_WithReference):
    name: Literal["r_dpo"] = "r_dpo"
    alpha: float = Field(
        default=0.01, ge=0, description="reward that the annotator is assumed to give for each further token"
    )

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.r_dpo(pairs, self.beta, self.alpha)

    def reward(self, logprobs_S: Tensor, reference_S: Tensor, tokens_S: Tensor) -> Tensor:
        return self.beta * (logprobs_S - reference_S) + self.alpha * tokens_S.to(logprobs_S.dtype)


class SimPo(Config):
    name: Literal["simpo"] = "simpo"
    beta: float = Field(default=2.0, gt=0, description="scale of log-probabilities per token")
    gamma: float = Field(default=1.0, ge=0, description="the gap that a pair is to have at least")

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.simpo(pairs, self.beta, self.gamma)

    def reward(self, logprobs_S: Tensor, reference_S: Tensor, tokens_S: Tensor) -> Tensor:
        return self.beta * logprobs_S / tokens_S


class Orpo(Config):
    name: Literal["orpo"] = "orpo"
    weight: float = Field(
        default=0.1, gt=0, description="weight of the odds ratio, beside the chosen completion's likelihood"
    )

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.orpo(pairs, self.weight)

    def reward(self, logprobs_S: Tensor, reference_S: Tensor, tokens_S: Tensor) -> Tensor:
        return preference.log_odds(logprobs_S / tokens_S)


def _named(value: Any) -> Any:
    """Settings without a name are DPO's own, as in loss.beta=0.3."""
    return {"name": "dpo", **value} if isinstance(value, dict) else value


PreferenceLoss = Annotated[
    Dpo | Ipo | ConservativeDpo | RobustDpo | LengthNormalisedDpo | RDpo | SimPo | Orpo,
    Tagged(discriminator="name"),
    BeforeValidator(_named),
]

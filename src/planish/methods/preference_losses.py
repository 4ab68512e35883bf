"""The losses of `planish dpo`: one class each, with the settings of its paper, its function of pairs, and the facts that the
report needs. A new one is added to `PreferenceLoss` at the end of this file, and nowhere else. maths/preference.py has the
equations of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator
from pydantic import Field as Tagged
from torch import Tensor

from planish.base.config import Config, Field
from planish.base.plugins import OrPlugin
from planish.maths import preference
from planish.maths.preference import PairLogprobs


@dataclass(frozen=True, slots=True)
class LossFacts:
    """What the report says of a loss."""

    title: str = ""  # empty is the name
    reward: str = "that of its loss"
    zero_at_start: bool = False  # rewards are 0 where the policy is the reference
    chance_at_start: bool = False  # the loss is ln 2 there


class Loss(Config):
    """Settings of a loss on preference pairs."""

    facts: ClassVar[LossFacts] = LossFacts()

    name: Any = None

    def losses(self, pairs: PairLogprobs) -> Tensor:
        """One loss for each pair, [P]."""
        raise NotImplementedError

    def reward(self, logprobs_S: Tensor, reference_S: Tensor, tokens_S: Tensor) -> Tensor:
        """The implicit reward of each completion, [S]: the loss is a function of the difference of two."""
        raise NotImplementedError


LOG_RATIO = "β ln(policy/reference)"


class ReferenceLoss(Loss):
    """A loss whose implicit reward is beta log(policy / reference)."""

    facts: ClassVar[LossFacts] = LossFacts("", LOG_RATIO, zero_at_start=True)

    beta: float = Field(default=0.1, gt=0, description="strength of the KL constraint to the reference")

    def reward(self, logprobs_S: Tensor, reference_S: Tensor, tokens_S: Tensor) -> Tensor:
        return self.beta * (logprobs_S - reference_S)


class Dpo(ReferenceLoss):
    facts: ClassVar[LossFacts] = LossFacts("Direct preference optimization (DPO)", LOG_RATIO, True, True)

    name: Literal["dpo"] = "dpo"

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.dpo(pairs, self.beta)


class Ipo(Loss):
    facts: ClassVar[LossFacts] = LossFacts("Identity preference optimization (IPO)", "τ ln(policy/reference)", True)

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


class ConservativeDpo(ReferenceLoss):
    facts: ClassVar[LossFacts] = LossFacts("Conservative DPO", LOG_RATIO, True, True)

    name: Literal["cdpo"] = "cdpo"
    label_smoothing: float = Field(default=0.1, ge=0, lt=0.5, description="share of labels taken to be wrong")

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.cdpo(pairs, self.beta, self.label_smoothing)


class RobustDpo(ReferenceLoss):
    facts: ClassVar[LossFacts] = LossFacts("Robust DPO", LOG_RATIO, True, True)

    name: Literal["robust_dpo"] = "robust_dpo"
    label_smoothing: float = Field(default=0.1, ge=0, lt=0.5, description="share of labels that are flipped")

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.robust_dpo(pairs, self.beta, self.label_smoothing)


class LengthNormalizedDpo(Loss):
    facts: ClassVar[LossFacts] = LossFacts("Length-normalized DPO", f"{LOG_RATIO} per token", True)

    name: Literal["length_normalized_dpo"] = "length_normalized_dpo"
    beta: float = Field(
        default=5.0, gt=0, description="strength of the constraint, on log-ratios per token, hence larger than DPO's"
    )

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.length_normalized_dpo(pairs, self.beta)

    def reward(self, logprobs_S: Tensor, reference_S: Tensor, tokens_S: Tensor) -> Tensor:
        return self.beta * (logprobs_S - reference_S) / tokens_S


class RDpo(ReferenceLoss):
    facts: ClassVar[LossFacts] = LossFacts("Length-regularized DPO (R-DPO)", f"{LOG_RATIO} + α for each token")

    name: Literal["r_dpo"] = "r_dpo"
    alpha: float = Field(
        default=0.01, ge=0, description="reward that the annotator is assumed to give for each further token"
    )

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.r_dpo(pairs, self.beta, self.alpha)

    def reward(self, logprobs_S: Tensor, reference_S: Tensor, tokens_S: Tensor) -> Tensor:
        return self.beta * (logprobs_S - reference_S) + self.alpha * tokens_S.to(logprobs_S.dtype)


class SimPo(Loss):
    facts: ClassVar[LossFacts] = LossFacts("Simple preference optimization (SimPO)", "β ln(policy) per token")

    name: Literal["simpo"] = "simpo"
    beta: float = Field(default=2.0, gt=0, description="scale of log-probabilities per token")
    gamma: float = Field(default=1.0, ge=0, description="the gap that a pair is to have at least")

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return preference.simpo(pairs, self.beta, self.gamma)

    def reward(self, logprobs_S: Tensor, reference_S: Tensor, tokens_S: Tensor) -> Tensor:
        return self.beta * logprobs_S / tokens_S


class Orpo(Loss):
    facts: ClassVar[LossFacts] = LossFacts(
        "Odds-ratio preference optimization (ORPO)", "log-odds per token, from the mean of ln(policy)"
    )

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
    Dpo | Ipo | ConservativeDpo | RobustDpo | LengthNormalizedDpo | RDpo | SimPo | Orpo,
    Tagged(discriminator="name"),
    OrPlugin("loss.name", Loss),
    BeforeValidator(_named),
]

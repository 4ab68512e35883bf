"""The confidence term of a reward model: the frozen model's features of all completions, and the weights that rank them best.

The weights are fitted before the first step and then stay, so the network learns what they leave unexplained. The fit is the
reward model's own likelihood, of the features alone, and concave: it has one answer, whatever learning rate the network gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from planish.base.config import Config, Field
from planish.base.errors import ConfigError, ModelError
from planish.base.model_folder import ModelPathOrNone
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.examples import Examples
from planish.inference.reference_log_probs import attach, digest_tokens, digest_weights, kept_values
from planish.inference.sequences import sequence_columns
from planish.methods.base import RunContext
from planish.models.confidence import Confidence, FeatureName, confidence_features
from planish.models.load import ModelConfig, load_model
from planish.models.packed import CausalLM
from planish.statistics.logistic import Likelihood, fit, sigmoid

RIDGE = 1.0  # prior precision of a weight, per standard deviation of its feature; keeps it finite where all pairs are ranked


class ConfidenceConfig(Config):
    """The confidence of a frozen model in a completion, read by the reward model's head."""

    path: ModelPathOrNone = Field(default=None, description="the frozen causal LM; absent is the model as it starts")
    features: tuple[FeatureName, ...] = Field(
        default=("mean_logprob", "min_logprob", "mean_entropy"),
        min_length=1,
        description="what the head reads of the completion's tokens: mean_logprob, min_logprob, mean_entropy",
    )


@dataclass(frozen=True, slots=True)
class FittedFeature:
    """`weight` per unit of the feature; `spread` is its standard deviation over the training completions."""

    weight: float
    mean: float
    spread: float


def attach_confidence(
    run: RunContext[Any], config: ConfidenceConfig, path: str, sets: Mapping[str, Examples]
) -> tuple[Confidence, dict[str, Any]]:
    """Fits the weights to the training sets and gives every completion of all sets its confidence term; returns the term, and
    what data.json says of it. `path` is the model as it starts."""
    reference = load_reference(run, config.path or path)
    names = config.features
    key = {
        "weights": digest_weights(reference.model),
        "precision": str(reference.compute_dtype),
        "tokens": digest_tokens(sets),
        "features": ", ".join(names),
    }

    def features(examples: Examples) -> np.ndarray:
        return sequence_columns(
            lambda packed: confidence_features(reference, packed, names),
            len(names),
            examples,
            run.micro_tokens,
            run.device,
        )

    values, _ = kept_values(features, sets, run.folder.path / "confidence.safetensors", key)
    training = [name for name in sets if name.endswith("/training")]
    features_NF = np.concatenate([values[name] for name in training])
    ranks = [choices.ranks for name in training for choices in choices_of(sets[name])]
    weights_F, means_F, spreads_F = fit_confidence(features_NF, ranks)
    attach({name: (values[name] - means_F) @ weights_F for name in sets}, sets)
    fitted: dict[FeatureName, FittedFeature] = {
        name: FittedFeature(float(weights_F[i]), float(means_F[i]), float(spreads_F[i])) for i, name in enumerate(names)
    }
    confidence = Confidence(reference, {name: (found.weight, found.mean) for name, found in fitted.items()})
    return confidence, {name: asdict(found) for name, found in fitted.items()}


def load_reference(run: RunContext[Any], path: str) -> CausalLM:
    """The frozen causal LM, whose tokenizer must be the reward model's."""
    settings: ModelConfig = run.config.model
    tokenizer = load_tokenizer(path, settings.trust_remote_code)
    if not run.loaded.tokenizer.get_vocab().items() >= tokenizer.get_vocab().items():
        raise ModelError(
            f"confidence.path={path}: its tokenizer has other tokens than the reward model's, so it cannot say how likely they "
            "are. Choose a model with the same tokenizer"
        )
    model = load_model(settings.model_copy(update={"path": path, "lora": None}), run.device).requires_grad_(False)
    return CausalLM(model, run.loaded.compute_dtype)


def choices_of(examples: Examples) -> list[Any]:
    assert examples.choices is not None
    return [examples.choices[i] for i in range(len(examples))]


def fit_confidence(
    features_NF: np.ndarray, ranks: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights v, means and spreads s of the features [F] of all completions [N], the first prompt's first. v maximizes

        sum_n 1/C_n sum_(w, l) log sigmoid(v . (f_w - f_l)) - RIDGE/2 sum_i (v_i s_i)^2

    over the C_n pairs of each prompt n that are not tied: the reward model's likelihood, of the features alone."""
    means_F, spreads_F = features_NF.mean(0), features_NF.std(0)
    units_F = np.where(spreads_F > 0, spreads_F, 1.0)
    scaled_NF = (features_NF - means_F) / units_F
    gaps: list[np.ndarray] = []
    weights: list[float] = []
    first = 0
    for some in ranks:
        pairs = [(i, j) for i in range(len(some)) for j in range(len(some)) if some[i] < some[j]]
        gaps += [scaled_NF[first + i] - scaled_NF[first + j] for i, j in pairs]
        weights += [1 / len(pairs) for _ in pairs]
        first += len(some)
    gaps_PF, weights_P = np.reshape(gaps, (-1, len(means_F))), np.array(weights)

    def likelihood(v_F: np.ndarray) -> Likelihood:
        logits_P = gaps_PF @ v_F
        wrong_P = sigmoid(-logits_P)
        information_FF = (gaps_PF.T * (weights_P * wrong_P * (1 - wrong_P))) @ gaps_PF
        return Likelihood(
            height=float(-(weights_P * np.logaddexp(0, -logits_P)).sum() - RIDGE / 2 * v_F @ v_F),
            gradient_F=gaps_PF.T @ (weights_P * wrong_P) - RIDGE * v_F,
            information_FF=information_FF + RIDGE * np.eye(len(v_F)),
        )

    found = fit(likelihood, features_NF.shape[1])
    if found is None:
        raise ConfigError("confidence: no weights of the features were found; leave `confidence` out")
    return found.coefficients_F / units_F, means_F, spreads_F

"""The reward model: scores that put completions in the order in which people did (Ouyang et al. 2022, step 2).

    L = -1/N sum_n 1/C(K_n, 2) sum_(w, l) log sigmoid(r(x_n, y_w) - r(x_n, y_l))

over the pairs of each prompt's K ranked completions that are not tied. One prompt is one example: its completions go
through the model together, the prompt once, and its pairs weigh 1 in all. Were the pairs shuffled apart, each completion
would be learnt from K - 1 times in one epoch.

The loss does not change when a constant is added to all scores. After training the constant is chosen so that
demonstrations have mean score 0: then a score says something by itself, as PPO needs it to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from planish.base.config import Field
from planish.base.distributed import distributed, is_main
from planish.base.errors import ConfigError, DataError
from planish.base.metrics import Mean, Metrics
from planish.base.random import Permutation
from planish.base.types import Example, Packed
from planish.data.examples import Examples, encode_rows
from planish.data.formats import stream_rows
from planish.data.mixture.pairs import pairs_of
from planish.data.rows import Demonstration, Dropped
from planish.data.settings import longest
from planish.inference.score_offset import centre
from planish.maths.preference import bradley_terry, centering
from planish.methods.base import RunContext, mixture_feed, policy_as
from planish.methods.confidence import ConfidenceConfig, attach_confidence
from planish.methods.ranking_eval import (
    ComparisonConfig,
    ComparisonMethod,
    RankingCallback,
    comparison_sets,
    reference_of,
)
from planish.methods.run import run_method
from planish.models.confidence import Confidence
from planish.models.load import ModelConfig, context_length
from planish.models.loaded import LoadedModel, load_reward_model
from planish.models.reward_head import Scorer
from planish.train.loop import Callback, LossTerm
from planish.train.optimizer import OptimConfig, Trainer
from planish.train.record import RunRecord
from planish.train.run_folder import RunFolder


class RewardConfig(ComparisonConfig):
    """Settings of `planish reward`."""

    optim: OptimConfig = Field(default=OptimConfig(lr=9e-6), description="optimizer")
    model: ModelConfig = Field(description="the model that becomes a reward model, usually the fine-tuned one")
    margin: float = Field(
        default=0.0,
        ge=0,
        description="margin of each pair, as a multiple of the difference of the annotator's own scores",
    )
    centering: float = Field(
        default=0.0, ge=0, description="weight of (r_w + r_l)^2, which keeps scores around 0; TRL's is 0.01"
    )
    confidence: ConfidenceConfig | None = Field(
        default=None,
        description="a frozen model whose confidence in the completion the head reads as well; true is the model as it starts",
    )
    demonstrations: str | None = Field(
        default=None,
        description="a file of demonstrations whose mean score becomes 0; absent: the best completions of the training rows",
    )
    num_demonstrations: int = Field(default=1000, ge=1, description="the most demonstrations to use, drawn by the seed")


@distributed
def reward_model(config: RewardConfig) -> Path:
    """Trains on the comparisons of `config.data`; returns the run's folder, whose `model/` is the reward model."""
    return run_method(config, RewardMethod())


class BradleyTerryObjective:
    """The negative log-likelihood of the annotators' choices, each prompt with weight 1."""

    def __init__(self, scorer: Scorer, config: RewardConfig, device: torch.device) -> None:
        self.scorer, self.config, self.device = scorer, config, device

    def weight(self, packed: Packed) -> float:
        return len(packed.examples)

    def scores(self, packed: Packed) -> Tensor:
        """Scores [S] of completions whose confidence terms are known."""
        scores_S = self.scorer(packed)
        return scores_S + reference_of(packed).to(scores_S.dtype) if self.config.confidence else scores_S

    def loss(self, packed: Packed) -> tuple[Tensor, Metrics]:
        packed = packed.to(self.device)
        scores_S, pairs = self.scores(packed), pairs_of(packed)
        better_P, worse_P = scores_S[pairs.better_P], scores_S[pairs.worse_P]
        weights_P, score_gaps_P = pairs.weights_P.to(scores_S.dtype), pairs.score_gaps_P.to(scores_S.dtype)
        losses_P = bradley_terry(better_P, worse_P, self.config.margin * score_gaps_P)
        if self.config.centering:
            losses_P = losses_P + self.config.centering * centering(better_P, worse_P)
        loss = (weights_P * losses_P).sum() + 0 * scores_S.sum()  # a row without any pair has a gradient too: zeros
        gap_P, num = (better_P - worse_P).detach(), len(packed.examples)
        right_P = (gap_P > 0).to(gap_P.dtype) + 0.5 * (gap_P == 0)
        return loss, {
            "accuracy": Mean((weights_P * right_P).sum(), num),
            "margin": Mean((weights_P * gap_P).sum(), num),
            "score": Mean(scores_S.detach().sum() * bool(num), packed.num_sequences * bool(num)),
        }


class RewardMethod(ComparisonMethod[RewardConfig]):
    def __init__(self) -> None:
        super().__init__()
        self.confidence: Confidence | None = None

    def load_model(self, config: RewardConfig, folder: RunFolder, device: torch.device) -> LoadedModel:
        return load_reward_model(config.model, device, config.data.chat, config.seed)

    def as_packed(self, config: RewardConfig, loaded: LoadedModel) -> Scorer:
        scorer = loaded.scorer()
        scorer.offset = 0.0  # a reward model that is trained further has an offset and a confidence term of its own
        scorer.config.confidence = None
        return scorer

    def describe(self, run: RunContext[RewardConfig]) -> dict[str, Any]:
        if run.config.margin:
            check_margins(run)
        described = super().describe(run)
        if run.config.confidence is None:
            return described
        sets = comparison_sets(run, self.eval_sets)
        self.confidence, fitted = attach_confidence(run, run.config.confidence, run.config.model.path, sets)
        return described | {"confidence": fitted}

    def loss_terms(self, run: RunContext[RewardConfig], trainer: Trainer, record: RunRecord) -> Sequence[LossTerm]:
        return [LossTerm(self._objective(run), mixture_feed(run))]

    def callbacks(
        self, run: RunContext[RewardConfig], trainer: Trainer, record: RunRecord
    ) -> Sequence[tuple[int, Callback]]:
        ranking = RankingCallback(run, record, self._objective(run).scores, self.eval_sets, trainer.steps)
        return [(run.config.evaluate_every, ranking)]

    def _objective(self, run: RunContext[RewardConfig]) -> BradleyTerryObjective:
        return BradleyTerryObjective(policy_as(Scorer, run), run.config, run.device)

    def finish(self, run: RunContext[RewardConfig], trainer: Trainer) -> None:
        """Sets the constant, and says which texts it was taken from."""
        saved = run.loaded.save_dtype and getattr(torch, run.loaded.save_dtype)
        scorer = policy_as(Scorer, run)
        if self.confidence is not None:
            scorer.confidence = self.confidence
            scorer.config.confidence = {name: list(pair) for name, pair in self.confidence.features.items()}
        centre(scorer, demonstrations(run), run.micro_tokens, run.device, saved)
        if is_main():
            print(f"demonstrations had a mean score of {scorer.offset:+.3f}, which is now 0")


def check_margins(run: RunContext[RewardConfig]) -> None:
    """A margin takes scores of the annotator's own, which agree with the ranks."""
    tables = [source.training.choices for source in run.sources]
    if not any(table.has_scores for table in tables if table is not None):
        raise ConfigError(
            f"margin={run.config.margin:g}: no comparison has `scores` of the annotator's own, so no pair would have a "
            "margin. Leave it out, or give the rows scores"
        )
    for source in run.sources:
        refuse_contradictions(source.training)
        refuse_contradictions(source.held_out)


def refuse_contradictions(examples: Examples) -> None:
    """A margin is asked of the better completion by how far the annotator's scores lie apart. Where they contradict the
    ranks, it would be below 0."""
    for row in range(len(examples)):
        choices = examples[row].choices
        assert choices is not None
        ranks, scores = choices.ranks, choices.scores
        for i, j in permutations(range(len(scores)), 2):
            if ranks[i] < ranks[j] and scores[i] < scores[j]:
                raise DataError(
                    f"{examples.name(row)}, field scores: completion {i + 1} is ranked before completion {j + 1} and has the "
                    f"lower score, {scores[i]:g} to {scores[j]:g}, so its margin would be below 0. Mend the row or take it "
                    "out, or leave `margin` out"
                )


def demonstrations(run: RunContext[RewardConfig]) -> list[Example]:
    """The texts that get mean score 0: those that the settings name, or the best completions of the training rows."""
    config = run.config
    if config.demonstrations is None:
        sources = [source.training for source in run.sources]
        places = [(source, i) for source in sources for i in range(len(source))]
    else:
        rows = [row for row in stream_rows(config.demonstrations, (Demonstration,)) if not isinstance(row, Dropped)]
        limit = longest(config.data, context_length(run.loaded.model.config))
        source = encode_rows(rows, run.loaded.tokenizer, run.loaded.template, limit, "drop").examples
        places = [(source, i) for i in range(len(source))]
    if not places:
        raise ConfigError(f"demonstrations={config.demonstrations}: holds no demonstration that fits into the model")
    drawn = Permutation(len(places), config.seed, "demonstrations")(
        np.arange(min(len(places), config.num_demonstrations))
    )
    return [whole(places[i][0][places[i][1]]) for i in drawn.tolist()]


def whole(example: Example) -> Example:
    """The conversation whose score counts: up to its last learnt token, or of a comparison the first that is ranked best."""
    choices = example.choices
    if choices is None:
        stop = 1 + int(np.flatnonzero(example.loss_mask)[-1])
        return replace(example, tokens=example.tokens[:stop], loss_mask=example.loss_mask[:stop])
    best = choices.ranks.index(min(choices.ranks))
    start, stop = (choices.prompt_length, *choices.ends)[best : best + 2]
    places = np.r_[: choices.prompt_length, start:stop]
    return replace(example, tokens=example.tokens[places], loss_mask=example.loss_mask[places], choices=None)

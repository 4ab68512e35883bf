"""The table behind E10: from which confidence on a policy answers, when a right answer pays 1, a wrong one -w, and none 0.

A question has a confidence, the chance that the policy's answer to it is right. The policy only chooses between answering and
abstaining, by the confidence that it sees. Each update is the exact expectation over all groups of completions, with the rewards
of the verifier `truth` and the advantages of the methods; nothing is sampled, and no model is run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from planish.base.files import json_lines_in
from planish.judges.verify.verifiers import Answered, TruthVerifier
from planish.maths.policy_gradient import leave_one_out, normalised_in_group
from planish.statistics.logistic import Likelihood, fit, sigmoid

Estimator = Literal["ppo", "rloo", "grpo"]
GROUP = 8  # completions of a question
SHOWN = ("It was London.", "It was Paris.", "I do not know.")  # right, wrong and no answer, where London is right
PRIOR = 1e-3  # keeps a curve finite where answers and abstentions are apart
BETA = 0.05  # KL coefficient; the reference answers half of the time


def abstention(
    seed: int, wrong: float, estimator: Estimator = "ppo", signal: bool = True, questions: int = 400
) -> dict[str, float]:
    """`boundary` is the confidence at which the learnt policy answers half of the time, w / (1 + w) in theory; `distance` is how
    far it is from there; `gain` is its reward less that of the better of always answering and never. Without a signal the
    confidence that the policy sees tells nothing: all questions are right as often as their mean is."""
    seen_Q = np.sort(np.random.default_rng(seed).uniform(size=questions))
    right_Q = seen_Q if signal else np.full(questions, seen_Q.mean())
    rewards_3 = np.array(TruthVerifier(wrong=-wrong).scores([Answered(text, 1, ["london"]) for text in SHOWN]))
    answering_Q = learnt(right_Q, rewards_3, estimator)
    worth_Q = right_Q * rewards_3[0] + (1 - right_Q) * rewards_3[1] - rewards_3[2]  # of answering
    gain = float((answering_Q * worth_Q).mean() - max(0.0, worth_Q.mean()))
    if not signal:
        return {"gain": gain}
    boundary = float(np.interp(0.5, answering_Q, seen_Q))
    return {"boundary": boundary, "distance": abs(boundary - wrong / (1 + wrong)), "gain": gain}


def learnt(right_Q: np.ndarray, rewards_3: np.ndarray, estimator: Estimator, steps: int = 600) -> np.ndarray:
    """The probability of answering each question after gradient ascent in its logit, by the expected gradient over groups."""
    counts_C3 = np.array([(r, w, GROUP - r - w) for r in range(GROUP + 1) for w in range(GROUP + 1 - r)])
    rewards_CG = np.array([np.repeat(rewards_3, counts) for counts in counts_C3])
    ways_C = np.array([math.factorial(GROUP) / math.prod(map(math.factorial, map(int, c))) for c in counts_C3])
    answers_CG = np.array([np.repeat([1.0, 1.0, 0.0], counts) for counts in counts_C3])
    logits_Q = np.zeros(len(right_Q))
    for _ in range(steps):
        answering_Q = 1 / (1 + np.exp(-logits_Q))
        chances_Q3 = np.stack([answering_Q * right_Q, answering_Q * (1 - right_Q), 1 - answering_Q], 1)
        chances_QC = ways_C * np.prod(chances_Q3[:, None, :] ** counts_C3, 2)
        if estimator == "ppo":  # a perfect value model
            advantages_QCG = rewards_CG - (chances_Q3 @ rewards_3)[:, None, None]
        else:
            advantages_QCG = (leave_one_out if estimator == "rloo" else normalised_in_group)(rewards_CG)[None]
        scores_QCG = answers_CG - answering_Q[:, None, None]  # d log p / d logit
        gradient_Q = (chances_QC * (advantages_QCG * scores_QCG).mean(2)).sum(1)
        logits_Q = logits_Q + gradient_Q - BETA * logits_Q * answering_Q * (1 - answering_Q)
    return 1 / (1 + np.exp(-logits_Q))


def of_answers(outputs: Mapping[str, Path]) -> float:
    """The chance of being right, p_sampled of `planish know`, from which a model answers more often than not: where a logistic
    curve of its answers in that chance is one half. 0 for a model that always answers, 1 for one that never does, or abstains
    the more, the more it knows."""
    lines = list(json_lines_in(outputs["answered"].read_text(encoding="utf-8")))
    chance_Q = np.array([line["about"]["p_sampled"] for line in lines])
    answers_Q = np.array([line["outcome"] != "abstained" for line in lines], np.float64)
    if answers_Q.all() or not answers_Q.any():
        return 0.0 if answers_Q.all() else 1.0
    features_Q2 = np.stack([np.ones_like(chance_Q), chance_Q], 1)

    def likelihood(coefficients_2: np.ndarray) -> Likelihood:
        logits_Q = features_Q2 @ coefficients_2
        answering_Q = sigmoid(logits_Q)
        height = float(answers_Q @ logits_Q - np.logaddexp(0.0, logits_Q).sum()) - PRIOR * float(
            coefficients_2 @ coefficients_2
        )
        gradient_2 = features_Q2.T @ (answers_Q - answering_Q) - 2 * PRIOR * coefficients_2
        weights_Q = answering_Q * (1 - answering_Q)
        return Likelihood(
            height, gradient_2, features_Q2.T @ (weights_Q[:, None] * features_Q2) + 2 * PRIOR * np.eye(2)
        )

    found = fit(likelihood, 2)
    if found is None or found.coefficients_F[1] <= 0:
        return 1.0
    return float(np.clip(-found.coefficients_F[0] / found.coefficients_F[1], 0, 1))

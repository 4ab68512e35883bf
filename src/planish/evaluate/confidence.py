"""Answers to questions, with up to three measures of confidence in each.

- probability: the mean probability of the answer's tokens.
- agreement: the share of answers sampled to the same question that say the same (Manakul et al. 2023, arXiv 2303.08896; Wei et
  al. 2024, arXiv 2411.04368). They do if one is in the other as whole words, letter case and the like aside, or both abstain.
- p_sure: the probability of "I am sure." behind the answer, against "I am unsure.": what R-Tuning teaches (Zhang et al. 2024,
  arXiv 2311.09677), and `planish data teach policy=sure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from planish.base.config import Config, Field
from planish.base.types import Example
from planish.data.rows import Demonstration, Message, Prompt, Question
from planish.evaluate.probe.teach import SURE
from planish.inference.room import check_room
from planish.inference.sample import SamplingConfig, sample
from planish.inference.sequences import token_values
from planish.judges.abstention import AbstentionDetector, outcome_of
from planish.models.load import ModelConfig, context_length
from planish.models.loaded import load_chat_model
from planish.models.micro_batch import default_micro_tokens
from planish.models.packed import CausalLM
from planish.statistics.honesty import Outcome


class MeasuresConfig(Config):
    samples: int = Field(
        default=0, ge=0, description="answers sampled beside the greedy one, to see how many say the same; 0 is none"
    )
    temperature: float = Field(default=1.0, gt=0, description="temperature of these samples")
    sure: bool = Field(
        default=False,
        description='ask how probable "I am sure." is behind the answer, against "I am unsure."; an answer that ends in one of '
        "them is judged without it",
    )
    seed: int = Field(default=0, ge=0, description="seed of these samples")


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """A model's answer to a question, with its confidence, as far as it was asked for."""

    text: str
    outcome: Outcome
    probability: float
    agreement: float | None = None
    p_sure: float | None = None

    def as_record(self, prefix: str = "") -> dict[str, Any]:
        found = {name: getattr(self, name) for name in MEASURES if getattr(self, name) is not None}
        return {prefix + name: value for name, value in {"answer": self.text, "outcome": self.outcome, **found}.items()}


MEASURES = ("probability", "agreement", "p_sure")


def answer_questions(
    model: ModelConfig,
    questions: Sequence[Question],
    detector: AbstentionDetector,
    config: MeasuresConfig,
    most: int,
    device: torch.device,
) -> list[LabelledAnswer]:
    """Greedy answers of at most `most` tokens, in the model's chat template, with their outcome and confidence."""
    loaded = load_chat_model(model, device)
    policy, template = loaded.causal_lm(), loaded.template
    prompts = [template.encode_prompt(question.messages, (), question.origin) for question in questions]
    asked = [Prompt(question.messages, question.origin) for question in questions]
    spare = 16 if config.sure else 0  # for the sentence behind the answer
    check_room(asked, prompts, most + spare, context_length(loaded.model.config), model.path, "max_completion_tokens")
    stops = template.stop_token_ids
    found = sample(policy, loaded.tokenizer, prompts, SamplingConfig(max_completion_tokens=most), stops)
    answers = [completion for (completion,) in found]
    micro = default_micro_tokens(loaded.model, device, loaded.compute_dtype)
    examples = [_example(prompt, answer.tokens) for prompt, answer in zip(prompts, answers, strict=True)]
    logprobs = _logprobs(policy, examples, micro, device)
    texts = [without_sure(answer.text) if config.sure else answer.text for answer in answers]
    labelled = [
        LabelledAnswer(text, outcome_of(text, question.answers, detector), _mean(np.exp(own), answer.ended))
        for answer, text, question, own in zip(answers, texts, questions, logprobs, strict=True)
    ]
    if config.samples:
        how = SamplingConfig(max_completion_tokens=most, temperature=config.temperature, seed=config.seed)
        others = sample(policy, loaded.tokenizer, prompts, how, stops, config.samples)
        labelled = [
            replace(own, agreement=agreement(own.text, [other.text for other in sampled], detector))
            for own, sampled in zip(labelled, others, strict=True)
        ]
    if config.sure:
        rows = [_stated(question, text, sure) for question, text in zip(questions, texts, strict=True) for sure in SURE]
        stated = [Example(encoded.tokens, encoded.loss_mask, "") for encoded in template.encode(rows)]
        sums = np.array([own.sum() for own in _logprobs(policy, stated, micro, device)])
        p_sure = 1 / (1 + np.exp(sums[1::2] - sums[::2]))  # what both have in common cancels
        labelled = [replace(own, p_sure=float(p)) for own, p in zip(labelled, p_sure, strict=True)]
    return labelled


def agreement(answer: str, sampled: Sequence[str], detector: AbstentionDetector) -> float:
    """The share of the sampled answers that say the same as this one.

    >>> agreement("London", ["In London.", "Paris", "I do not know.", "london"], AbstentionDetector())
    0.5
    """
    return sum(_same(answer, other, detector) for other in sampled) / len(sampled)


def _same(one: str, other: str, detector: AbstentionDetector) -> bool:
    outcomes = outcome_of(one, [other], detector), outcome_of(other, [one], detector)
    return "correct" in outcomes or outcomes == ("abstained", "abstained")


def _example(prompt: Sequence[int], answer: Sequence[int]) -> Example:
    tokens = np.array([*prompt, *answer], np.int32)
    return Example(tokens, np.arange(len(tokens)) >= len(prompt), "")


def _logprobs(policy: CausalLM, examples: Sequence[Example], micro: int, device: torch.device) -> list[np.ndarray]:
    """The log-probabilities of each example's learnt tokens."""
    values = token_values(lambda packed: policy(packed)[:, None], 1, examples, micro, device)[:, 0]
    return np.split(values, np.cumsum([int(example.loss_mask.sum()) for example in examples])[:-1])


def _mean(probabilities: np.ndarray, ended: bool) -> float:
    """Without the token that ends the answer, unless there is no other."""
    return float((probabilities[:-1] if ended and len(probabilities) > 1 else probabilities).mean())


def without_sure(text: str) -> str:
    """The answer before "I am sure." or "I am unsure.", where it ends so and has words before it."""
    for statement in SURE.values():
        if text.rstrip().endswith(statement):
            return text.rstrip().removesuffix(statement).rstrip() or text
    return text


def _stated(question: Question, text: str, sure: bool) -> Demonstration:
    return Demonstration((*question.messages, Message("assistant", f"{text} {SURE[sure]}")), question.origin)

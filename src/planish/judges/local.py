"""A local model as annotator: the probabilities of what it could reply, "A", "B" or "tie", or a grade, after the question in its
chat template. Nothing is sampled. A grade is the mean over the grades' probabilities (Liu et al. 2023, arXiv 2303.16634).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from planish.base.distributed import local_device
from planish.base.errors import DataError
from planish.base.types import Example
from planish.data.mixture.pairs import join_completions
from planish.data.rows import Demonstration, Message, Origin
from planish.inference.reference_log_probs import completion_logprobs
from planish.inference.sample import SamplingConfig, sample
from planish.inference.sequences import sequence_values
from planish.judges.asking import AnswerKind, JudgeReply
from planish.judges.client import LlmReply
from planish.judges.config import LocalAnnotatorConfig, LocalWriterConfig
from planish.judges.reading import CUT, Choice
from planish.models.load import ModelConfig, context_length
from planish.models.loaded import load_chat_model
from planish.models.micro_batch import default_micro_tokens

CHOICES: dict[str, Choice] = {"A": "first", "B": "second", "tie": "tie"}
GRADES = tuple(map(str, range(1, 11)))


class LocalAsker:
    """Keeps no replies: a question that is asked again is computed again."""

    def __init__(self, config: LocalAnnotatorConfig, kind: AnswerKind) -> None:
        self.path, self.kind, self.device = config.path, kind, local_device(config.device)
        self.loaded = load_chat_model(ModelConfig(path=config.path), self.device)
        self.policy = self.loaded.causal_lm()
        self.limit = context_length(self.loaded.model.config)
        self.micro_tokens = default_micro_tokens(self.loaded.model, self.device, self.loaded.compute_dtype)

    def check(self) -> None: ...

    def num_kept(self, questions: Sequence[str]) -> int:
        return 0

    def ask(self, questions: Sequence[str], names: Sequence[str], told: Callable[[LlmReply], None]) -> list[JudgeReply]:
        return [self._ask(question, name, told) for question, name in zip(questions, names, strict=True)]

    def _ask(self, question: str, name: str, told: Callable[[LlmReply], None]) -> JudgeReply:
        begun, options = time.monotonic(), tuple(CHOICES) if self.kind == "choice" else GRADES
        example = self._example(question, options, name)
        logprobs = sequence_values(
            lambda packed: completion_logprobs(self.policy, packed), [example], self.micro_tokens, self.device
        )
        chances = np.exp(logprobs - np.logaddexp.reduce(logprobs))
        seconds, tokens = round(time.monotonic() - begun, 3), len(example.tokens)
        reply = ", ".join(f"{option} {chance:.3f}" for option, chance in zip(options, chances, strict=True))
        told(LlmReply(reply, tokens, 0, seconds))
        if self.kind == "grade":
            return JudgeReply(float(chances @ np.arange(1, 11)), reply, tokens, 0, seconds)
        value = CHOICES[options[int(chances.argmax())]]
        return JudgeReply(value, reply, tokens, 0, seconds, log_odds=float(logprobs[0] - logprobs[1]))

    def _example(self, question: str, options: Sequence[str], name: str) -> Example:
        """The question once, with each option after it."""
        origin = Origin(name, 0)
        rows = [Demonstration((Message("user", question), Message("assistant", each)), origin) for each in options]
        encoded = self.loaded.template.encode(rows)
        longest = max(len(each.tokens) for each in encoded)
        if self.limit is not None and longest > self.limit:
            raise DataError(
                f"{name}: the question has {longest:,} tokens, and {self.path} was made for {self.limit:,}. Take long answers "
                "out, set fewer shots, or name a model with a longer context"
            )
        laid, choices = join_completions(tuple(range(len(options))), encoded)
        return Example(laid.tokens, laid.loss_mask, name, choices=choices)


class LocalWriter:
    """Lets a local model reply in words. A reply that was cut ends in CUT."""

    def __init__(self, config: LocalWriterConfig) -> None:
        self.path, self.max_tokens = config.path, config.max_tokens
        self.loaded = load_chat_model(ModelConfig(path=config.path), local_device(config.device))
        self.limit = context_length(self.loaded.model.config) or math.inf

    def write(self, questions: Sequence[str], names: Sequence[str]) -> list[str]:
        template = self.loaded.template
        prompts = [template.encode_prompt((Message("user", question),)) for question in questions]
        for prompt, name in zip(prompts, names, strict=True):
            if len(prompt) + self.max_tokens > self.limit:
                raise DataError(
                    f"{name}: {len(prompt):,} tokens to read and {self.max_tokens:,} to write, and {self.path} was made for "
                    f"{self.limit:,}. Take long answers out, or set fewer max_tokens"
                )
        how = SamplingConfig(max_completion_tokens=self.max_tokens)
        found = sample(self.loaded.causal_lm(), self.loaded.tokenizer, prompts, how, template.stop_token_ids)
        return [completion.text + CUT * (not completion.ended) for (completion,) in found]

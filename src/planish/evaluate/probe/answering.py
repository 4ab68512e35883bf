"""A model's chance of a right answer, in two ways: from the probabilities of the right answers, or by generating.

Letters: L positions of the answers in a packed row, C of one chunk, T tokens, V vocabulary, M tokens that may end an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from planish.base.noise import generator
from planish.base.types import Example, Packed
from planish.data.mixture.packing import deal
from planish.data.rows import Question
from planish.evaluate.probe.matching import Endings, RightAnswers, TokenPath
from planish.inference.generate import generating, left_padded
from planish.maths.answer_log_probs import Ahead, look_ahead
from planish.maths.log_probs import CHUNK
from planish.models.packed import CausalLM, backbone, head_of


@dataclass(frozen=True, slots=True)
class ProbeQuestion:
    """A question as the model sees it: the tokens of each of its prompts, and the right answers."""

    row: Question
    text: str
    prompts: tuple[list[int], ...]
    right: RightAnswers


@dataclass(slots=True)
class Chance:
    """For one prompt: true if its greedy answer is right, and the probability that a sampled one is."""

    greedy: bool = False
    probability: float = 0.0


# From probabilities


@torch.no_grad()
def chances(
    policy: CausalLM, questions: Sequence[ProbeQuestion], endings: Endings, temperature: float, micro_tokens: int
) -> list[list[Chance]]:
    """One chance for each prompt of each question, from one pass over every prompt with each right answer after it."""
    found = [[Chance() for _ in question.prompts] for question in questions]
    rows = [
        (chance, prompt, path)
        for question, own in zip(questions, found, strict=True)
        for prompt, chance in zip(question.prompts, own, strict=True)
        for path in question.right.paths
    ]
    any_end = next(iter(endings.texts))  # a target behind the last token, so that its successors are looked at
    # A packed row tells its examples apart by source, so each has its number there.
    examples = [_example(prompt, (*path.tokens, any_end), i) for i, (_, prompt, path) in enumerate(rows)]
    for packed in deal(examples, micro_tokens):
        paths = [rows[i][2] for i in packed.sources]
        columns = [column.tolist() for column in _look(policy, packed, paths, temperature)]
        start = 0
        for i, path in zip(packed.sources, paths, strict=True):
            stop = start + len(path.ends)
            greedy, probability = path.follow(*(column[start:stop] for column in columns))
            chance = rows[i][0]
            chance.greedy |= greedy
            chance.probability = min(1.0, chance.probability + probability)  # no more than rounding is cut off
            start = stop
    return found


def _example(prompt: Sequence[int], answer: Sequence[int], number: int) -> Example:
    tokens = np.array([*prompt, *answer], np.int32)
    return Example(tokens, np.arange(len(tokens)) >= len(prompt), "", number)


def _look(policy: CausalLM, packed: Packed, paths: Sequence[TokenPath], temperature: float) -> Ahead:
    """The possible next tokens at each position of the answers, [L]."""
    device = policy.model.device
    packed, ends_LM = packed.to(device), _filled([ends for path in paths for ends in path.ends]).to(device)
    next_L = packed.tokens_T[packed.targets_L]
    with policy.precision():
        parts = [
            look_ahead(logits_CV, next_L[part], ends_LM[part], temperature)
            for part, logits_CV in _logits(policy, packed)
        ]
    return Ahead(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _filled(ends: Sequence[tuple[int, ...]]) -> Tensor:
    """The tokens of each position [L, M], padded with -1."""
    filled = np.full((len(ends), max(1, *map(len, ends))), -1)
    for row, ids in zip(filled, ends, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(filled)


def _logits(policy: CausalLM, packed: Packed) -> Iterator[tuple[slice, Tensor]]:
    """Logits at the positions of the answers, chunk by chunk; answer by answer if the model cannot be packed."""
    model: Any = policy.model
    if policy.why_not_packed:
        done = 0
        for (start, stop), count in zip(pairwise(packed.bounds), packed.num_targets_S.tolist(), strict=True):
            logits_TV = model(input_ids=packed.tokens_T[None, start:stop], use_cache=False).logits[0]
            logits_CV = logits_TV[-1 - count : -1]  # an answer is at the end of its row
            low = logits_CV.dtype in (torch.bfloat16, torch.float16)
            yield slice(done, done + count), logits_CV.float() if low else logits_CV
            done += count
        return
    hidden_LD = backbone(policy.model, packed, packed.predictors)
    head = head_of(policy.model)
    for start in range(0, packed.num_targets, CHUNK):
        part = slice(start, start + CHUNK)
        yield part, head.logits(hidden_LD[part])


# By generating


@dataclass(frozen=True, slots=True)
class Generating:
    """Settings of generation: `samples` answers beside the greedy one, each cut after `max_tokens`."""

    samples: int
    temperature: float
    max_tokens: int
    seed: int
    micro_tokens: int  # tokens of the prompts that are generated from at once


def generate_answers(
    policy: CausalLM, question: ProbeQuestion, endings: Endings, how: Generating
) -> list[tuple[bool, int]]:
    """For each prompt of a question: true if the greedy answer is right, and the number of sampled ones that are.

    The noise of a prompt comes from the seed, the question's text and the prompt's number.
    """
    copies, found = 1 + how.samples, list[tuple[bool, int]]()
    numbered = list(enumerate(question.prompts))
    together = max(1, how.micro_tokens // (copies * max(map(len, question.prompts))))
    if policy.why_not_packed or policy.angle_limit is not None or policy.model.dtype == torch.float64:
        together = 1  # no padding: it may disturb recurrent layers, and gives NaN in transformers' float64 attention
    with generating(policy.model), policy.precision():
        for some in (numbered[start : start + together] for start in range(0, len(numbered), together)):
            noise = _Noise([generator(how.seed, "answers", question.text, k) for k, _ in some], how)
            rows = _generate(policy, [prompt for _, prompt in some], copies, endings, how.max_tokens, noise)
            answers = [endings.answer(row) for row in rows]
            right = [question.right.hold(answer) for answer in answers]
            found += [(right[i], sum(right[i + 1 : i + copies])) for i in range(0, len(right), copies)]
    return found


class _Noise(LogitsProcessor):
    """Turns greedy decoding into sampling, for all copies of a prompt but the first: the largest of logits / temperature
    plus Gumbel noise is a sample from their softmax (Gumbel 1954). Each prompt draws from a generator of its own."""

    def __init__(self, generators: Sequence[torch.Generator], how: Generating) -> None:
        self._generators, self._samples, self._temperature = generators, how.samples, how.temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        greedy = torch.zeros(1, scores.shape[1])
        noise: list[Tensor] = []
        for own in self._generators:
            noise += [greedy, -torch.empty(self._samples, scores.shape[1]).exponential_(generator=own).log()]
        return scores / self._temperature + torch.cat(noise).to(scores)


@torch.no_grad()
def _generate(
    policy: CausalLM,
    prompts: Sequence[Sequence[int]],
    copies: int,
    endings: Endings,
    max_tokens: int,
    noise: _Noise,
) -> list[list[int]]:
    """New tokens of each copy of each prompt. The copies of a prompt share its keys and values."""
    model: Any = policy.model
    ends = list(endings.texts)
    ids, mask = left_padded(prompts, ends[0], model.device)
    plain = {"do_sample": False, "eos_token_id": ends, "pad_token_id": ends[0]}
    shared: dict[str, Any] = {}
    if not policy.why_not_packed:  # other models carry more than keys and values, not all of which can be copied
        before = {"input_ids": ids[:, :-1], "attention_mask": mask[:, :-1]}
        cache = model.generate(**before, **plain, max_new_tokens=1, return_dict_in_generate=True).past_key_values
        cache.batch_repeat_interleave(copies)
        shared = {"past_key_values": cache}
    output = model.generate(
        input_ids=ids.repeat_interleave(copies, 0),
        attention_mask=mask.repeat_interleave(copies, 0),
        max_new_tokens=max_tokens,
        logits_processor=LogitsProcessorList([noise]),
        **plain,
        **shared,
    )
    return cast(Tensor, output)[:, ids.shape[1] :].tolist()

"""The answers of every system that is compared, sampled or read back: a model's are kept in OUT/answers/NAME.jsonl, and used
again while its weights, the prompts and the settings are the same to the last bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch

from planish.base.files import json_lines_in, write_lines
from planish.base.progress import track
from planish.base.random import fold_in
from planish.base.types import Example
from planish.data.rows import Prompt
from planish.data.settings import DataConfig, longest
from planish.data.sources import prepare_sources
from planish.evaluate.compare.config import BestOf, CompareConfig
from planish.inference.best_of_n import kl_of_best
from planish.inference.reference_log_probs import completion_logprobs, digest_weights
from planish.inference.sample import Completion, SamplingConfig, sample
from planish.inference.score import RewardModel
from planish.inference.sequences import sequence_values
from planish.models.load import ModelConfig, context_length
from planish.models.loaded import load_chat_model
from planish.statistics.estimate import Z_95, Estimate, around

PROMPTS = 64  # sampled at once


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """`log_ratio` is ln pi(answer) - ln ref(answer), in nats, where there is a reference."""

    text: str
    ended: bool
    log_ratio: float | None = None


ModelAnswers = list[list[ModelAnswer]]  # by prompt and sample


@dataclass(frozen=True, slots=True)
class SystemAnswers:
    """Whatever the models themselves are needed for. Answers are in the order of the settings, best of n last."""

    answers: dict[str, ModelAnswers]
    losses: dict[str, Estimate]  # on documents, where there are some
    kl_at_most: float | None  # of best of n, where it is known


def answer_all(config: CompareConfig, prompts: Sequence[Prompt], out: Path, device: torch.device) -> SystemAnswers:
    """Every system's answers, and its loss on held-out documents."""
    reference = PolicyAnswers(ModelConfig(path=config.reference), device) if config.reference is not None else None
    answers: dict[str, ModelAnswers] = {}
    losses: dict[str, Estimate] = {}
    best: ModelAnswers | None = None
    at_most: float | None = None
    for name, model in config.models.items():
        policy = PolicyAnswers(model, device)
        file = out / "answers" / f"{name}.jsonl"
        answers[name] = _answers(config, name, policy, prompts, reference, file)
        if config.documents is not None:
            losses[name] = _loss(config, config.documents, policy)
        if config.best_of is not None and name == config.base:
            best = _best(config, config.best_of, policy, prompts, out, device)
            if reference is not None and config.best_of.temperature == 1 and policy.digest == reference.digest:
                at_most = kl_of_best(config.best_of.n)
    if config.best_of is not None and best is not None:
        answers[config.best_of.name] = best
    return SystemAnswers(answers, losses, at_most)


class PolicyAnswers:
    """A model that answers."""

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        loaded = load_chat_model(config, device)
        self.template, self.device, self.policy = loaded.template, device, loaded.causal_lm()
        self.digest = digest_weights(loaded.model)

    def encode(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        return [self.template.encode_prompt(prompt.messages, prompt.tools, prompt.origin) for prompt in prompts]

    def sample(self, encoded: Sequence[list[int]], how: SamplingConfig, num: int, first: int) -> list[list[Completion]]:
        tokenizer, stop = self.template.tokenizer, self.template.stop_token_ids
        return sample(self.policy, tokenizer, encoded, how, stop, num, first)

    def logprobs(self, examples: Sequence[Example], micro_tokens: int) -> np.ndarray:
        """The sum over the tokens of each completion."""
        return sequence_values(lambda p: completion_logprobs(self.policy, p), examples, micro_tokens, self.device)

    def key(self, encoded: Sequence[list[int]], *settings: Any) -> str:
        """A hash of everything that its answers depend on."""
        about = [self.digest, str(self.policy.compute_dtype), *self.template.stop_token_ids, encoded, settings]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _answers(
    config: CompareConfig,
    name: str,
    policy: PolicyAnswers,
    prompts: Sequence[Prompt],
    reference: PolicyAnswers | None,
    file: Path,
) -> ModelAnswers:
    encoded = policy.encode(prompts)
    beside = reference.digest if reference is not None else None
    key = policy.key(encoded, config.sampling.model_dump(mode="json"), config.num_samples, beside)
    if (kept := _read(file, key)) is not None:
        return kept
    answers: ModelAnswers = []
    starts = range(0, len(prompts), PROMPTS)
    for start in track(starts, name, len(starts)):
        some = encoded[start : start + PROMPTS]
        sampled = policy.sample(some, config.sampling, config.num_samples, start)
        ratios = log_ratios(policy, reference, some, sampled, config.micro_tokens)
        answers += [
            [ModelAnswer(completion.text, completion.ended, next(ratios)) for completion in row] for row in sampled
        ]
    _write(file, key, answers)
    return answers


def _loss(config: CompareConfig, documents: DataConfig, policy: PolicyAnswers) -> Estimate:
    """Nats a token over held-out documents; the interval is that of a ratio of sums, by document."""
    tokenizer, limit = policy.template.tokenizer, longest(documents, context_length(policy.policy.model.config))
    sources = prepare_sources(documents, tokenizer, policy.template, limit, config.seed)
    rows = [source.held_out[i] for source in sources for i in range(len(source.held_out))]
    nll_N = -policy.logprobs(rows, config.micro_tokens)
    tokens_N = np.array([int(row.loss_mask.sum()) for row in rows])
    loss = float(nll_N.sum() / tokens_N.sum())
    error = float(np.sqrt(((nll_N - loss * tokens_N) ** 2).sum()) / tokens_N.sum())
    return around(loss, Z_95 * error, len(rows))


def log_ratios(
    policy: PolicyAnswers,
    reference: PolicyAnswers | None,
    encoded: Sequence[list[int]],
    sampled: Sequence[Sequence[Completion]],
    micro_tokens: int,
) -> Iterator[float | None]:
    """ln pi - ln ref of each completion, one after the other; None without a reference."""
    if reference is None:
        return repeat(None)
    examples = [
        Example(
            np.array([*prompt, *completion.tokens], np.int32),
            np.arange(len(prompt) + len(completion.tokens)) >= len(prompt),
            f"prompt {i}",
        )
        for i, (prompt, row) in enumerate(zip(encoded, sampled, strict=True))
        for completion in row
    ]
    return iter((policy.logprobs(examples, micro_tokens) - reference.logprobs(examples, micro_tokens)).tolist())


def _best(
    config: CompareConfig,
    best_of: BestOf,
    policy: PolicyAnswers,
    prompts: Sequence[Prompt],
    out: Path,
    device: torch.device,
) -> ModelAnswers:
    """Chosen among answers that are sampled for this alone, independent of those of the baseline itself."""
    encoded, n = policy.encode(prompts), best_of.n
    seed = fold_in(config.sampling.seed, "best of")
    sampling = config.sampling.model_copy(update={"temperature": best_of.temperature, "seed": seed})
    judge = RewardModel(ModelConfig(path=best_of.reward), device)
    file = out / "answers" / f"{best_of.name}.jsonl"
    key = policy.key(encoded, sampling.model_dump(mode="json"), n, config.num_samples, digest_weights(judge.scorer))
    if (kept := _read(file, key)) is not None:
        return kept
    answers: ModelAnswers = []
    starts = range(0, len(prompts), PROMPTS)
    for start in track(starts, best_of.name, len(starts)):
        some = prompts[start : start + PROMPTS]
        sampled = policy.sample(encoded[start : start + PROMPTS], sampling, n * config.num_samples, start)
        texts = [list(dict.fromkeys(completion.text for completion in row)) for row in sampled]
        scored = judge.score_answers(some, texts)
        for row, own_texts, own_scores in zip(sampled, texts, scored, strict=True):
            scores = dict(zip(own_texts, own_scores, strict=True))
            groups = [row[k : k + n] for k in range(0, len(row), n)]
            chosen = [max(group, key=lambda completion: scores[completion.text]) for group in groups]
            answers.append([ModelAnswer(completion.text, completion.ended) for completion in chosen])
    _write(file, key, answers)
    return answers


def _read(file: Path, key: str) -> ModelAnswers | None:
    """The answers kept in a file, if the same would be sampled again."""
    if not file.exists():
        return None
    try:
        first, *lines = json_lines_in(file.read_text(encoding="utf-8"))
        if first["key"] != key:
            return None
        return [[ModelAnswer(**answer) for answer in line["answers"]] for line in lines]
    except (ValueError, KeyError, TypeError):
        return None  # a damaged file is written anew like a stale one


def _write(file: Path, key: str, answers: ModelAnswers) -> None:
    write_lines(file, [{"key": key}, *({"answers": [asdict(answer) for answer in row]} for row in answers)])

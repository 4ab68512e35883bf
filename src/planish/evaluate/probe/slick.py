"""A model's knowledge in the four classes of SliCK (Gekhman et al. 2024, arXiv 2405.05904, section 3).

Each question is asked after several few-shot prompts, once greedily and 16 times at temperature 0.5. P(greedy) and P(sampled)
are the shares of right answers. The method "sampled" does just that. The method "exact" instead reads off, from the model's
probabilities of the right answers, if greedy decoding gives one and the probability p that sampling does. P(sampled) is then
the mean of p, and counts as above 0 if some hit among all samples is more likely than none: the class that sampling gives more
often than not. Nothing is generated, and nothing is left to chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import expm1, log1p
from typing import Any, Literal, get_args

from transformers import PreTrainedTokenizerBase

from planish.base.config import Field
from planish.base.errors import DataError
from planish.data.rows import Question, groups_of
from planish.evaluate.probe.answering import Generating, ProbeQuestion, chances, generate_answers
from planish.evaluate.probe.fewshot import FewShot, FewShotConfig, question_text
from planish.evaluate.probe.matching import Endings, right_answers
from planish.models.load import context_length
from planish.models.packed import CausalLM
from planish.statistics.estimate import Estimate, wilson

Category = Literal["HighlyKnown", "MaybeKnown", "WeaklyKnown", "Unknown"]
CATEGORIES: tuple[Category, ...] = get_args(Category)
SPARE = 4  # tokens that a generated answer may take beyond those of the longest right one


class ProbeConfig(FewShotConfig):
    method: Literal["exact", "sampled"] = Field(
        default="exact", description="exact reads the probability of the right answers, sampled generates answers"
    )
    samples: int = Field(default=16, ge=1, description="sampled answers to each prompt, beside the greedy one")
    temperature: float = Field(default=0.5, gt=0, description="temperature of the sampled answers")
    max_answer_tokens: int | None = Field(
        default=None,
        ge=1,
        description=f"tokens after which a generated answer is cut; absent: those of the longest right one and {SPARE}",
    )
    micro_tokens: int = Field(default=8192, ge=1, description="tokens of one forward pass")


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A model's knowledge of one answer."""

    question: Question
    p_greedy: float  # share of prompts whose greedy answer is right
    p_sampled: float  # share of right ones among all sampled answers; by method exact, its expectation
    category: Category
    p_any: float | None = None  # probability that any sampled answer is right; method exact only


def slick(p_greedy: float, p_sampled: float) -> Category:
    """The class of a question, from two shares."""
    if p_greedy == 1:
        return "HighlyKnown"
    if p_greedy > 0:
        return "MaybeKnown"
    return "WeaklyKnown" if p_sampled > 0 else "Unknown"


# Probing


def probe(
    policy: CausalLM,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    config: ProbeConfig,
    exemplars: Sequence[Question] | None = None,
) -> Iterator[Knowledge]:
    """One result for each question, in their order. Shots come from `exemplars`, else from the other questions.

    A result depends on the question, the pool of its shots and the seed; not on their order, nor on the batch.
    """
    few_shot = FewShot(questions if exemplars is None else exemplars, config)
    endings = Endings(tokenizer, _ends_of_text(policy))
    measure = _exact if config.method == "exact" else _sampled
    for row in questions:  # a fault of the last row is reported now, not after hours
        _check_length(_ask(row, few_shot, endings), policy, config)
    batch: list[ProbeQuestion] = []
    tokens = 0
    for number, row in enumerate(questions, start=1):
        batch.append(_ask(row, few_shot, endings))
        tokens += len(batch[-1].right.paths) * sum(map(len, batch[-1].prompts))
        if tokens >= config.micro_tokens or number == len(questions):
            yield from measure(policy, batch, endings, config)
            batch, tokens = [], 0


def _ends_of_text(policy: CausalLM) -> list[int]:
    """The tokens at which the model's generation_config stops."""
    ends: Any = getattr(policy.model.generation_config, "eos_token_id", None)
    return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)


def _ask(row: Question, few_shot: FewShot, endings: Endings) -> ProbeQuestion:
    untyped: Any = endings.tokenizer
    prompts = tuple(list(tokens) for tokens in untyped(few_shot.prompts(row))["input_ids"])
    for tokens in prompts:
        if tokens[-1] in endings.texts:  # some tokenizers put an end after every text
            tokens.pop()
    right = right_answers(row, few_shot.asked(row), few_shot.config.answer_prefix, endings)
    return ProbeQuestion(row, question_text(row), prompts, right)


def _check_length(question: ProbeQuestion, policy: CausalLM, config: ProbeConfig) -> None:
    needed, cut = question.right.most_tokens + 1, config.max_answer_tokens
    if config.method == "sampled" and cut is not None and cut < needed:
        raise DataError(
            f"{question.row.origin}: a right answer has {needed} tokens with its end, max_answer_tokens={cut} would cut it "
            "off. Raise it or leave it out."
        )
    length, most = max(map(len, question.prompts)) + needed, context_length(policy.config)
    if most is not None and length > most:
        raise DataError(
            f"{question.row.origin}: has {length} tokens with its shots and answer, the model was made for {most}. "
            "Lower shots, or take the row out."
        )


def _exact(
    policy: CausalLM, questions: Sequence[ProbeQuestion], endings: Endings, config: ProbeConfig
) -> Iterator[Knowledge]:
    found = chances(policy, questions, endings, config.temperature, config.micro_tokens)
    for question, own in zip(questions, found, strict=True):
        p_greedy, p_sampled = (
            sum(values) / len(own) for values in ([c.greedy for c in own], [c.probability for c in own])
        )
        p_any = -expm1(config.samples * sum(log1p(-min(c.probability, 1 - 1e-12)) for c in own))
        yield Knowledge(question.row, p_greedy, p_sampled, slick(p_greedy, float(p_any >= 0.5)), p_any)


def _sampled(
    policy: CausalLM, questions: Sequence[ProbeQuestion], endings: Endings, config: ProbeConfig
) -> Iterator[Knowledge]:
    for question in questions:
        most = config.max_answer_tokens or question.right.most_tokens + 1 + SPARE
        how = Generating(config.samples, config.temperature, most, config.seed, config.micro_tokens)
        greedy, hits = zip(*generate_answers(policy, question, endings, how), strict=True)
        p_greedy, p_sampled = sum(greedy) / len(greedy), sum(hits) / (len(hits) * config.samples)
        yield Knowledge(question.row, p_greedy, p_sampled, slick(p_greedy, p_sampled))


# Counting


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The share of each class in one group of questions, with Wilson's interval."""

    name: str
    total: int
    shares: Mapping[Category, Estimate]


def tabulate(found: Sequence[Knowledge], by: str | None = None) -> list[Breakdown]:
    """Shares of the classes for each value of the field `by` of `about`, in order of name; then for all."""
    return [_breakdown(name, own) for name, own in groups_of([known.question for known in found], found, by)]


def _breakdown(name: str, members: Sequence[Knowledge]) -> Breakdown:
    total = len(members)
    counts: dict[Category, int] = {c: sum(known.category == c for known in members) for c in CATEGORIES}
    return Breakdown(name, total, {category: wilson(count, total) for category, count in counts.items()})

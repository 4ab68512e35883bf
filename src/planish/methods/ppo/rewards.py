"""Rewards of sampled completions: a reward model, a verifier, a Python function of yours, an LLM that grades, or the wind
tunnel's gold utility.

Several are added up, each with its weight. One of weight 0 moves nothing and is only watched: a reward model that was kept
out of training, or the gold utility, is how reward hacking shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
from pydantic import BeforeValidator
from pydantic import Field as Tag

from planish.base.config import Config, Field, Tree
from planish.base.distributed import all_sum_list, is_main
from planish.base.errors import DataError, RunError
from planish.base.model_folder import ModelPath
from planish.base.notices import warn
from planish.base.plugins import DOTTED, OrPlugin
from planish.base.types import Choices, Example
from planish.data.chat.templates import ChatTemplate
from planish.data.rows import Prompt
from planish.inference.sample import Completion
from planish.inference.score import RewardModel
from planish.inference.sequences import sequence_values
from planish.judges.base import FEWEST
from planish.judges.client import LlmClient
from planish.judges.config import LlmConfig
from planish.judges.function import ScoringFunction
from planish.judges.questions import GRADE, NUMBER, conversation_text, fill
from planish.judges.reading import read_grade
from planish.judges.verify.verifiers import NAMES as VERIFIERS
from planish.judges.verify.verifiers import Answered, Verifier, Verifiers
from planish.models.load import DtypeName, ModelConfig, num_embeddings
from planish.world.gold.files import judge_one
from planish.world.make import open_world


@dataclass(frozen=True, slots=True)
class Rollouts:
    """A prompt and the completions sampled for it."""

    prompt: Prompt
    tokens: tuple[int, ...]  # of the prompt
    completions: tuple[Completion, ...]
    iteration: int = 0  # in which they were sampled


Reward = Callable[[Sequence[Rollouts]], np.ndarray]  # float64 [N], the completions of prompt 0, then of prompt 1, …


class ModelSource(Config):
    name: Literal["model"] = "model"
    path: ModelPath = Field(description="a run of `planish reward`, or its model folder")
    weight: float = Field(default=1.0, description="weight of its scores in the sum; 0 only measures")
    dtype: DtypeName = Field(default="float32", description="type of its weights")


class GoldSource(Config):
    name: Literal["gold"] = "gold"
    world: str = Field(description="a folder that `planish world make` wrote; its prompts must be asked")
    weight: float = Field(default=0.0, description="weight of its utility in the sum; 0 only measures")


class FunctionSource(Config):
    name: Literal["function"] = "function"
    function: str = Field(
        description="module:function of yours, of a list of prompts, each a list of {role, content}, a list of completions, "
        "and columns of the prompts' rows by name; it returns one number for each completion"
    )
    weight: float = Field(default=1.0, description="weight of its numbers in the sum; 0 only measures")


class LlmSource(LlmConfig):
    name: Literal["llm"] = "llm"
    weight: float = Field(default=1.0, description="weight of its grades in the sum; 0 only measures")
    unread: float | None = Field(
        default=None, ge=1, le=10, description="the grade where a reply has none; absent stops the run at the first"
    )


def _named(value: Any) -> Any:
    """A text alone, or as `path`, is module:function of yours, a verifier, or a reward model."""
    source = {"path": value} if isinstance(value, str) else value
    if not isinstance(source, dict) or "name" in source:
        return value
    given = cast(Tree, source)
    path, others = str(given.get("path")), {key: given[key] for key in given if key != "path"}
    if path in VERIFIERS:
        return {"name": path, **others}
    if DOTTED.fullmatch(path):
        return {"name": "function", "function": path, **others}
    return {"name": "function" if "function" in given else "model", **given}


RewardSource = Annotated[
    ModelSource | FunctionSource | LlmSource | Verifiers | GoldSource,
    Tag(discriminator="name"),
    OrPlugin("rewards", function=FunctionSource),
    BeforeValidator(_named),
]


def open_rewards(
    sources: Mapping[str, RewardSource],
    template: ChatTemplate,
    device: torch.device,
    micro_tokens: int | None,
    folder: Path,
) -> dict[str, Reward]:
    """Loads them all. A reward model whose demonstrations do not have mean score 0 is refused: the score of a completion that
    did not end, and the sum of several rewards, would mean nothing."""
    found: dict[str, Reward] = {}
    for name, source in sources.items():
        match source:
            case ModelSource():
                config = ModelConfig(path=source.path, dtype=source.dtype)
                found[name] = ModelReward(RewardModel(config, device, micro_tokens), template)
            case GoldSource():
                found[name] = GoldReward(source.world)
            case FunctionSource():
                found[name] = FunctionReward(name, source.function)
            case LlmSource():
                found[name] = LlmReward(name, source, folder / f"{name}.replies.jsonl")
            case _:
                found[name] = VerifierReward(name, source)
    return found


class ModelReward:
    """Scores of a reward model. With the policy's tokenizer and template it reads the tokens as they were sampled, each prompt
    once; with others it reads the texts."""

    def __init__(self, judge: RewardModel, template: ChatTemplate) -> None:
        self.judge, own = judge, judge.template.tokenizer
        self.reads_tokens = (
            own.get_vocab() == template.tokenizer.get_vocab() and own.chat_template == template.tokenizer.chat_template
        )

    def __call__(self, rollouts: Sequence[Rollouts]) -> np.ndarray:
        examples = [to_example(each) for each in rollouts] if self.reads_tokens else []
        known = num_embeddings(self.judge.scorer.model)  # a policy may have more, of no token, and sample one
        if self.reads_tokens and all(example.tokens.max() < known for example in examples):
            return sequence_values(self.judge.scorer, examples, self.judge.micro_tokens, self.judge.device)
        prompts = [each.prompt for each in rollouts for _ in each.completions]
        texts = [[completion.text] for each in rollouts for completion in each.completions]
        return np.array([score for scores in self.judge.score_answers(prompts, texts) for score in scores])


class GoldReward:
    """The utility that the wind tunnel gives an answer to the prompt's last turn."""

    def __init__(self, world: str) -> None:
        self.world = open_world(Path(world))

    def __call__(self, rollouts: Sequence[Rollouts]) -> np.ndarray:
        found: list[float] = []
        for each in rollouts:
            try:
                asked = each.prompt.messages[-1].content
                found += [judge_one(self.world, asked, answer.text).verdict.utility for answer in each.completions]
            except DataError as error:
                raise DataError(f"{each.prompt.origin}: {error}") from None
        return np.array(found)


class FunctionReward:
    """Numbers of a function of yours."""

    def __init__(self, name: str, function: str) -> None:
        self.scorer = ScoringFunction(function, f"rewards.{name}.function")

    def check(self, prompts: Sequence[Prompt]) -> None:
        self.scorer.check(prompts, completion_ids=[[] for _ in prompts], iteration=0)

    def __call__(self, rollouts: Sequence[Rollouts]) -> np.ndarray:
        prompts = [each.prompt for each in rollouts for _ in each.completions]
        completions = [completion for each in rollouts for completion in each.completions]
        texts, ids = [completion.text for completion in completions], [list(each.tokens) for each in completions]
        iteration = rollouts[0].iteration if rollouts else 0
        return _as_main(lambda: self.scorer(prompts, texts, completion_ids=ids, iteration=iteration), len(completions))


class VerifierReward:
    """1 for a completion that is right, else 0."""

    def __init__(self, name: str, verifier: Verifier) -> None:
        self.name, self.verifier = name, verifier

    def check(self, prompts: Sequence[Prompt]) -> None:
        self.verifier.check(f"rewards.{self.name}", prompts)

    def __call__(self, rollouts: Sequence[Rollouts]) -> np.ndarray:
        answers = [
            Answered(completion.text, completion.num_tokens, truths)
            for each in rollouts
            for truths in [self.verifier.truths(each.prompt)]
            for completion in each.completions
        ]
        return _as_main(lambda: self.verifier.scores(answers), len(answers))


class LlmReward:
    """Grades of an LLM from 1 to 10, as -1 to 1. Replies are kept in the run's folder, so a run that resumes gets the same."""

    def __init__(self, name: str, source: LlmSource, memory: Path) -> None:
        self.name, self.source, self.client = name, source, LlmClient(source, memory, NUMBER)
        self.client.check()
        self.read = self.unread = 0  # replies so far

    def __call__(self, rollouts: Sequence[Rollouts]) -> np.ndarray:
        questions = [
            fill(self.source.question or GRADE, prompt=conversation_text(each.prompt), answer=completion.text)
            for each in rollouts
            for completion in each.completions
        ]
        return _as_main(lambda: self._scores(self.client.replies(questions)), len(questions))

    def _scores(self, replies: Sequence[str]) -> list[float]:
        grades = [read_grade(reply) for reply in replies]
        without = [reply for reply, grade in zip(replies, grades, strict=True) if grade is None]
        self.read, self.unread = self.read + len(replies) - len(without), self.unread + len(without)
        if without and (self.source.unread is None or (not self.read and self.unread >= FEWEST)):
            raise RunError(
                f"rewards.{self.name}: a judge was asked for a grade from 1 to 10 and said {without[0][:200]!r}. Name a model "
                f"that follows, raise max_tokens if it thinks aloud, or set rewards.{self.name}.unread to what such a reply "
                "counts as, if other replies have a grade"
            )
        unread = self.source.unread or 0.0
        if without:
            warn(
                f"rewards.{self.name}: {len(without)} of {len(replies)} replies have no grade and count as {unread:g}, "
                f"such as {without[0][:80]!r}; all are in {self.client.memory}"
            )
        return [((unread if grade is None else grade) - 5.5) / 4.5 for grade in grades]


def _as_main(numbers: Callable[[], list[float]], count: int) -> np.ndarray:
    """Numbers of the main rank for all: a function or a server need not return the same to each."""
    return np.array(all_sum_list(numbers() if is_main() else [0.0] * count))


def to_example(rollouts: Rollouts) -> Example:
    """The completions behind their prompt, which occurs once; each is learnt whole, the end-of-turn token included."""
    prompt_length, lengths = len(rollouts.tokens), [each.num_tokens for each in rollouts.completions]
    tokens = np.array([*rollouts.tokens, *(token for each in rollouts.completions for token in each.tokens)], np.int32)
    ends = tuple((prompt_length + np.cumsum(lengths)).tolist())
    choices = Choices(prompt_length, ends, (0,) * len(lengths))
    return Example(tokens, np.arange(len(tokens)) >= prompt_length, str(rollouts.prompt.origin), choices=choices)

"""Judges of two answers: the world's gold utility, a reward model, a function of yours, or a model behind an OpenAI-compatible
server. The first three give every answer a score and the higher wins; the last is shown both answers, in both orders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from planish.base.errors import DataError
from planish.base.progress import track
from planish.data.rows import Comparison, Demonstration, Message, Prompt
from planish.inference.score import RewardModel, Scorable
from planish.judges.config import GoldJudge, LlmJudge
from planish.judges.function import ScoringFunction
from planish.judges.server import ChatServer
from planish.models.load import ModelConfig
from planish.world.gold.files import judge_one
from planish.world.gold.utility import World
from planish.world.make import open_world

ROWS = 256  # prompts whose answers are scored at once
SAME = 1e-9  # utilities that lie closer are equal

ASK = """Below are a conversation and two answers to its last turn. Decide which answer serves the user better: it does what was \
asked, what it says is true, and it leaves out what nobody needs. Neither its place nor its length counts.

<conversation>
{prompt}
</conversation>

<answer A>
{first}
</answer A>

<answer B>
{second}
</answer B>

Reply with one word: A, B, or tie."""
_WORD, _ECHO = re.compile(r"\b(A|B|tie)\b", re.IGNORECASE), re.compile(r"\bA, B,? or tie\b", re.IGNORECASE)

Choice = Literal["first", "second", "tie", "unread"]


@dataclass(frozen=True, slots=True)
class Scores:
    """Of the answers of one system, by prompt and sample. `about` is what the gold judge says beside the utility."""

    values: list[list[float]]
    about: list[list[dict[str, Any]]] = field(default_factory=list[list[dict[str, Any]]])


@dataclass(frozen=True, slots=True)
class Verdicts:
    """By prompt and sample: 1 a win over the baseline, 0.5 a tie, 0 a loss; and how many of the ties are of a judge that
    changed its mind with the order, or named no answer."""

    outcomes: list[list[float]]
    split: int = 0
    unread: int = 0


Answers = Sequence[Sequence[str]]  # by prompt and sample


# Judges that score


def world_of(config: GoldJudge, prompts: Sequence[Prompt]) -> World:
    """The world, which must know what every prompt asks: told before anything is sampled."""
    world = open_world(Path(config.world))
    for prompt in prompts:
        try:
            world.parse(prompt.messages)
        except DataError as error:
            raise DataError(f"{prompt.origin}: {error}") from None
    return world


def gold_scores(world: World, prompts: Sequence[Prompt], answers: Mapping[str, Answers]) -> dict[str, Scores]:
    found: dict[str, Scores] = {}
    for name, given in answers.items():
        about = [
            [judge_one(world, prompt.messages[-1].content, text).record() for text in texts]
            for prompt, texts in zip(prompts, given, strict=True)
        ]
        found[name] = Scores([[each["utility"] for each in row] for row in about], about)
    return found


def function_scores(
    function: ScoringFunction, prompts: Sequence[Prompt], answers: Mapping[str, Answers]
) -> dict[str, Scores]:
    scores: dict[str, Scores] = {}
    for name, texts in answers.items():
        asked = [prompt for prompt, row in zip(prompts, texts, strict=True) for _ in row]
        numbers = iter(function(asked, [text for row in texts for text in row]))
        scores[name] = Scores([[next(numbers) for _ in row] for row in texts])
    return scores


def reward_scores(
    path: str, device: torch.device, prompts: Sequence[Prompt], answers: Mapping[str, Answers]
) -> dict[str, Scores]:
    """Each text once, so that equal answers have equal scores."""
    judge = RewardModel(ModelConfig(path=path), device)
    by_text: list[dict[str, float]] = []
    starts = range(0, len(prompts), ROWS)
    for start in track(starts, "scoring", len(starts)):
        some = range(start, min(start + ROWS, len(prompts)))
        texts = [list(dict.fromkeys(text for given in answers.values() for text in given[i])) for i in some]
        rows = [scorable(prompts[i], each) for i, each in zip(some, texts, strict=True)]
        by_text += [dict(zip(each, scores, strict=True)) for each, scores in zip(texts, judge.score(rows), strict=True)]
    return {
        name: Scores([[scores[text] for text in texts] for scores, texts in zip(by_text, given, strict=True)])
        for name, given in answers.items()
    }


def scorable(prompt: Prompt, texts: Sequence[str]) -> Scorable:
    """The prompt with these answers, to be scored."""
    said = tuple(Message("assistant", text) for text in texts)
    if len(said) == 1:
        return Demonstration((*prompt.messages, *said), prompt.origin, prompt.tools)
    return Comparison(prompt.messages, said, tuple(range(len(said))), prompt.origin)


def verdicts_of_scores(own: Scores, baseline: Scores) -> Verdicts:
    return Verdicts(
        [
            [0.5 if abs(a - b) < SAME else float(a > b) for a, b in zip(ours, theirs, strict=True)]
            for ours, theirs in zip(own.values, baseline.values, strict=True)
        ]
    )


# A judge that is asked


class LlmVerdicts:
    """Asks a server which of two answers is better, in both orders."""

    def __init__(self, config: LlmJudge, memory: Path) -> None:
        self.server = ChatServer(config, memory)

    def verdicts(self, prompts: Sequence[Prompt], own: Answers, baseline: Answers) -> Verdicts:
        """Equal answers are a tie without a question. Two replies that name the same answer are a verdict; else a tie."""
        pairs = [
            (i, k, a, b)
            for i, (ours, theirs) in enumerate(zip(own, baseline, strict=True))
            for k, (a, b) in enumerate(zip(ours, theirs, strict=True))
            if a != b
        ]
        questions = [_question(prompts[i], *two) for i, _, a, b in pairs for two in ((a, b), (b, a))]
        choices = [read_reply(reply) for reply in self.server.replies(questions)]
        outcomes = [[0.5] * len(ours) for ours in own]
        split = unread = 0
        for (i, k, _, _), one, other in zip(pairs, choices[::2], choices[1::2], strict=True):
            turned: Choice = {"first": "second", "second": "first"}.get(other, other)  # pyright: ignore[reportAssignmentType]
            if "unread" in (one, turned):
                unread += 1
            elif one != turned:
                split += 1
            else:
                outcomes[i][k] = {"first": 1.0, "second": 0.0}.get(one, 0.5)
        return Verdicts(outcomes, split, unread)


def spoken(prompt: Prompt) -> str:
    """A conversation as a judge reads it."""
    return "\n\n".join(f"{message.role}: {message.content}" for message in prompt.messages)


def _question(prompt: Prompt, first: str, second: str) -> str:
    return ASK.format(prompt=spoken(prompt), first=first, second=second)


def read_reply(reply: str) -> Choice:
    """The last of the words A, B and tie: a judge that thinks aloud ends with its verdict. Our own words are none."""
    words = _WORD.findall(_ECHO.sub("", reply))
    # "a" is an article, too: a small one counts only where it is all that was said
    words = [word for word in words if word != "a" or reply.strip(" .\n") == "a"]
    if not words:
        return "unread"
    choices: dict[str, Choice] = {"a": "first", "b": "second", "tie": "tie"}
    return choices[words[-1].lower()]

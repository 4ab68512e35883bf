"""Formats of judged completions: an answer to a prompt with a verdict on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from planish.data.fields import as_text, child, children, fault, fields, has, is_object, optional_text, text
from planish.data.files.readers import Record
from planish.data.formats.answers import about_of, answer_of, choice, number, prompt_of, refuse_tools, turns_of
from planish.data.formats.registry import importer
from planish.data.formats.turns import about, system_turn
from planish.data.rows import About, Judged, Message

GENERAL = ("prompt", "prompt_completion", "messages", "sharegpt", "text")
DESIRED: Mapping[Any, bool] = {True: True, False: False, "true": True, "false": False, "True": True, "False": False}
COMPLIANCE = ("1_full_compliance", "2_full_refusal", "3_partial_refusal")


def _is_desired_or_not(value: object) -> bool:
    answered = has(("messages",), value) or has(("prompt", "completion"), value)
    return answered and is_object(value) and isinstance(value.get("label"), bool | str) and value["label"] in DESIRED


def _judged(record: Record, prompt: str, completion: str, verdict: str, notes: About) -> Judged:
    turns = Message("user", text(record, prompt)), Message("assistant", text(record, completion))
    return Judged(turns[:1], turns[1], verdict, record.origin, about=notes)


@importer("judged", Judged, recognized_by=("prompt", "completion", "verdict"), over=GENERAL)
def judged(record: Record) -> Iterator[Judged]:
    """planish's own: `prompt` (a text or messages), `completion`, `verdict` (true, false or a word), and optionally
    `annotator` and `about`."""
    field = child(record, "verdict")
    verdict = field.value if isinstance(field.value, bool) else text(record, "verdict")
    annotator = optional_text(record, "annotator")
    prompt, completion = tuple(prompt_of(record)), answer_of(child(record, "completion"))
    yield Judged(prompt, completion, verdict, record.origin, annotator, about_of(record))


@importer("kto", Judged, recognized_by=_is_desired_or_not, over=GENERAL)
def kto(record: Record) -> Iterator[Judged]:
    """`label` is true for a desirable answer, false for an undesirable one (Ethayarajh et al. 2024). The answer is
    `completion`, or the last of `messages`."""
    label = child(record, "label")
    if not isinstance(label.value, bool | str) or label.value not in DESIRED:
        raise fault(label, f"found {str(label.value)[:40]!r}, expected true (desirable) or false (undesirable).")
    refuse_tools(record)
    if fields(record).get("completion") is not None:
        prompt, completion = prompt_of(record), answer_of(child(record, "completion"))
    else:
        turns = system_turn(record) + turns_of(child(record, "messages"), "user")
        if len(turns) < 2 or turns[-1].role != "assistant":
            raise fault(child(record, "messages"), "expected a prompt with an answer of the assistant at the end.")
        prompt, completion = turns[:-1], turns[-1]
    notes = about(record, "prompt", "completion", "messages", "label", "system")
    yield Judged(tuple(prompt), completion, DESIRED[label.value], record.origin, about=notes)


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
    notes = about(record, *names, "hallucination")
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

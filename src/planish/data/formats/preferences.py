"""Formats of comparisons for training: a chosen and a rejected answer, or several ranked ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from planish.data.fields import (
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
    compared,
    is_transcript,
    number,
    prompt_of,
    ranks_by,
    transcript,
)
from planish.data.formats.notes import CHAT, about, ignore_rest
from planish.data.formats.registry import importer
from planish.data.formats.turns import system_turn, turns_of
from planish.data.rows import About, Comparison, Dropped, Message

CHOSEN = ("chosen", "rejected")
SCORES = (("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"), ("chosen_rating", "rejected_rating"))
GENERAL = ("prompt", "messages", "sharegpt", "alpaca", "prompt_completion", "question_answer", "text")


def _are_transcripts(value: object) -> bool:
    return has(CHOSEN, value) and is_object(value) and all(is_transcript(value[name]) for name in CHOSEN)


def _is_comparison(value: object) -> bool:
    """Ranked texts or turns: answers of models with scores of their own are objects with other fields."""
    if not has(("completions",), value) or has(("response",), first_of(value, "completions")):
        return False
    return any(has((name,), value) for name in ("ranks", "scores"))


@importer("comparison", Comparison, recognized_by=_is_comparison, over=GENERAL)
def comparison(record: Record) -> Iterator[Comparison | Dropped]:
    """planish's own: `prompt`, `completions` (texts or messages), `ranks` (0 is best, equal numbers are a tie), and
    optionally `scores`, `annotator`, `group` and `about`. Without ranks, the scores rank them."""
    completions = [answer_of(completion, blank=True) for completion in _several(record, "completions")]
    scores = [number(score) for score in children(record, "scores")] if fields(record).get("scores") else []
    ranked = fields(record).get("ranks") is not None or not scores
    ranks = [_rank(rank) for rank in children(record, "ranks")] if ranked else ranks_by([-score for score in scores])
    yield compared(
        record,
        prompt_of(record),
        completions,
        _as_many(record, "ranks" if ranked else "scores", ranks, len(completions)),
        scores=_as_many(record, "scores", scores, len(completions)) if scores else (),
        annotator=optional_text(record, "annotator"),
        group=optional_text(record, "group"),
        about=about_of(record, *PROMPT_FIELDS, "completions", "ranks", "scores", "annotator", "group", *CHAT),
    )


def _several(record: Record, name: str) -> list[Record]:
    records = children(record, name)
    if len(records) < 2:
        raise fault(child(record, name), f"found {len(records)}, expected two or more to compare.")
    return records


def _as_many(record: Record, name: str, values: list[Any], expected: int) -> list[Any]:
    if len(values) != expected:
        raise fault(child(record, name), f"found {len(values)}, expected {expected}, one for each completion.")
    return values


def _rank(record: Record) -> int:
    value = number(record)
    if value != int(value) or value < 0:
        raise fault(record, f"found {value:g}, expected a whole number from 0 up; equal ranks are a tie.")
    return int(value)


@importer("hh_rlhf", Comparison, recognized_by=_are_transcripts, over=("chosen_rejected", *GENERAL))
def hh_rlhf(record: Record) -> Iterator[Comparison | Dropped]:
    r"""Two transcripts "\n\nHuman: ...\n\nAssistant: ..." (Bai et al. 2022). Their last turns are the completions, the turns
    before, which must be the same, the prompt.

    A few of Anthropic's rows are left out: a turn is empty, both answers are the same, or an answer contains a speaker's
    name and looks like several turns.
    """
    chosen, rejected = (transcript(child(record, name)) for name in CHOSEN)
    prompt, completions = chosen[:-1], (chosen[-1], rejected[-1])
    if prompt != rejected[:-1]:
        yield Dropped(record.origin, "the transcripts differ before their last turn, so they have no common prompt")
    elif {message.role for message in completions} != {"assistant"}:
        yield Dropped(record.origin, "a transcript ends before the assistant's answer")
    elif not all(message.content.strip() for message in (*prompt, *completions)):
        yield Dropped(record.origin, "a turn is empty")
    else:
        yield compared(record, prompt, completions, (0, 1))


@importer("chosen_rejected", Comparison, recognized_by=CHOSEN, over=GENERAL)
def chosen_rejected(record: Record) -> Iterator[Comparison | Dropped]:
    """A better and a worse answer, each a text, a message or a list of messages. The prompt is in `prompt`, `question`,
    `instruction` with `input`, `conversations` or `messages`, or at the start of both answers, or both.
    """
    chosen, rejected = (_ending_in_an_answer(child(record, name)) for name in CHOSEN)
    if chosen[:-1] != rejected[:-1]:
        problem = "the turns before its last differ from those of `chosen`; expected one prompt."
        raise fault(child(record, "rejected"), problem)
    scores = next((pair for pair in SCORES if all(fields(record).get(name) is not None for name in pair)), ())
    yield compared(
        record,
        _shared_prompt(record, chosen[:-1]),
        (chosen[-1], rejected[-1]),
        (0, 1),
        scores=[number(child(record, name)) for name in scores],
        annotator=optional_text(record, "annotator"),
        about=about(record, *CHOSEN, *PROMPT_FIELDS, *scores, "input", "annotator", *CHAT),
    )


def _ending_in_an_answer(record: Record) -> list[Message]:
    turns = turns_of(record, "assistant")
    if not turns or turns[-1].role != "assistant":
        raise fault(record, "does not end in a turn of the assistant, so there is no answer to compare.")
    return turns


def _shared_prompt(record: Record, beginning: list[Message]) -> list[Message]:
    """The turns before both answers, which go on from the prompt in a field of its own or include it; else that prompt."""
    stated = first_filled(record, PROMPT_FIELDS)
    if not beginning:
        return prompt_of(record)
    if optional_text(record, "input"):
        raise fault(child(record, "input"), "is not at the start of `chosen`; expected the whole prompt in both.")
    if stated == "messages" and "prompt" not in fields(record):
        stated = None  # the whole chosen conversation again
    if stated and beginning[0].role in ("assistant", "tool"):  # both answers have several turns
        return prompt_of(record) + beginning
    for turn in turns_of(child(record, stated), "user") if stated else []:
        if turn not in beginning:
            problem = "is missing at the start of `chosen`; expected the same prompt in both."
            raise fault(child(record, stated or ""), problem)
    return [turn for turn in system_turn(record) if turn not in beginning] + beginning


@importer(
    "ultrafeedback",
    Comparison,
    recognized_by=lambda value: has(("response",), first_of(value, "completions")),
    over=GENERAL,
)
def ultrafeedback(record: Record) -> Iterator[Comparison | Dropped]:
    """UltraFeedback as first published (Cui et al. 2023): answers of several models, ranked by `overall_score`, else by
    `fine-grained_score`. Each model had its own system prompt, which is not part of the prompt here."""
    answers = _several(record, "completions")
    scores = [number(child(answer, _score_name(answer))) for answer in answers]
    completions = [Message("assistant", text(answer, "response")) for answer in answers]
    for answer in answers:
        ignore_rest(answer, "response", "model", _score_name(answer))
    ranks = ranks_by([-score for score in scores])
    notes = {**about(record, "instruction", "completions", *CHAT), **_models(answers)}
    yield compared(record, prompt_of(record), completions, ranks, scores=scores, about=notes)


def _score_name(answer: Record) -> str:
    return "overall_score" if fields(answer).get("overall_score") is not None else "fine-grained_score"


def _models(answers: Sequence[Record]) -> About:
    named = [(f"model_{at}", answer) for at, answer in enumerate(answers, start=1) if fields(answer).get("model")]
    return {name: text(answer, "model") for name, answer in named}


@importer(
    "ranked",
    Comparison,
    recognized_by=lambda value: has(("answer", "rank"), first_of(value, "answers")),
    over=(*GENERAL, "question"),
)
def ranked(record: Record) -> Iterator[Comparison | Dropped]:
    """Nectar's answers, each with its rank from 1 (Zhu et al. 2023). Equal ranks are a tie."""
    answers = _several(record, "answers")
    completions = [Message("assistant", text(answer, "answer")) for answer in answers]
    for answer in answers:
        ignore_rest(answer, "answer", "rank", "model")
    ranks = ranks_by([_rank(child(answer, "rank")) for answer in answers])
    notes = {**about(record, *PROMPT_FIELDS, "answers", *CHAT), **_models(answers)}
    yield compared(record, prompt_of(record), completions, ranks, about=notes)


@importer("stack_exchange_paired", Comparison, recognized_by=("question", "response_j", "response_k"), over=GENERAL)
def stack_exchange_paired(record: Record) -> Iterator[Comparison | Dropped]:
    """`response_j` had more votes than `response_k` (lvwerra/stack-exchange-paired)."""
    names = "response_j", "response_k"
    completions = [Message("assistant", text(record, name)) for name in names]
    yield compared(record, prompt_of(record), completions, (0, 1), about=about(record, "question", *names, *CHAT))

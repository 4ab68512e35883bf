"""Formats of comparisons as sets for training hold them: an answer that was chosen and one rejected, or several ranked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from planish.data.fields import child, children, fault, fields, has, is_list, is_object, optional_text, text
from planish.data.files.readers import Record
from planish.data.formats.answers import (
    ASKED,
    about_of,
    answer_of,
    asked,
    compared,
    is_transcript,
    number,
    places,
    refuse_tools,
    transcript,
    turns_of,
)
from planish.data.formats.registry import importer
from planish.data.formats.turns import about, system_turn
from planish.data.rows import About, Comparison, Dropped, Message

CHOSEN = ("chosen", "rejected")
SCORES = (("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"), ("chosen_rating", "rejected_rating"))
GENERAL = ("prompt", "messages", "sharegpt", "alpaca", "prompt_completion", "question_answer", "text")


def _first_has(name: str, *names: str) -> Callable[[Any], bool]:
    """A test: the field is a list whose first item has these fields."""

    def test(value: Any) -> bool:
        found = value.get(name) if is_object(value) else None
        return is_list(found) and has(names, next(iter(found), None))

    return test


def _are_transcripts(value: object) -> bool:
    return has(CHOSEN, value) and is_object(value) and all(is_transcript(value[name]) for name in CHOSEN)


@importer("comparison", Comparison, recognized_by=("completions", "ranks"), over=GENERAL)
def comparison(record: Record) -> Iterator[Comparison | Dropped]:
    """planish's own: `prompt`, `completions` (texts or messages), `ranks` (0 is best, equal numbers are a tie), and where
    there are any `scores`, `annotator`, `group` and `about`."""
    completions = [answer_of(each) for each in _several(record, "completions")]
    scores = [number(each) for each in children(record, "scores")] if fields(record).get("scores") else []
    yield compared(
        record,
        asked(record),
        completions,
        _as_many(record, "ranks", [_rank(each) for each in children(record, "ranks")], len(completions)),
        scores=_as_many(record, "scores", scores, len(completions)) if scores else (),
        annotator=optional_text(record, "annotator"),
        group=optional_text(record, "group"),
        about=about_of(record),
    )


def _several(record: Record, name: str) -> list[Record]:
    found = children(record, name)
    if len(found) < 2:
        raise fault(child(record, name), f"found {len(found)}, expected two or more to compare.")
    return found


def _as_many(record: Record, name: str, found: list[Any], expected: int) -> list[Any]:
    if len(found) != expected:
        raise fault(child(record, name), f"found {len(found)}, expected {expected}, one for each completion.")
    return found


def _rank(record: Record) -> int:
    value = number(record)
    if value != int(value) or value < 0:
        raise fault(
            record, f"found {value:g}, expected a whole number from 0 up: the place, where equal places are a tie."
        )
    return int(value)


@importer("hh_rlhf", Comparison, recognized_by=_are_transcripts, over=("chosen_rejected", *GENERAL))
def hh_rlhf(record: Record) -> Iterator[Comparison | Dropped]:
    r"""Two transcripts "\n\nHuman: ...\n\nAssistant: ..." (Bai et al. 2022). The turns they share are the prompt, the last turn
    of each is its completion.

    A few of Anthropic's rows cannot be read so: a turn is empty, both answers are the same, or one answer holds a speaker's
    name and looks like several turns. They are left out.
    """
    chosen, rejected = (transcript(child(record, name)) for name in CHOSEN)
    prompt, completions = chosen[:-1], (chosen[-1], rejected[-1])
    if prompt != rejected[:-1]:
        yield Dropped(record.origin, "the transcripts part before their last turn, so the two answers cannot be told")
    elif {message.role for message in completions} != {"assistant"}:
        yield Dropped(record.origin, "a transcript ends before the assistant's answer")
    elif not all(message.content.strip() for message in (*prompt, *completions)):
        yield Dropped(record.origin, "a turn is empty")
    else:
        yield compared(record, prompt, completions, (0, 1))


@importer("chosen_rejected", Comparison, recognized_by=CHOSEN, over=GENERAL)
def chosen_rejected(record: Record) -> Iterator[Comparison | Dropped]:
    """A better and a worse answer. The prompt stands in `prompt`, `question`, `instruction` with `input`, `conversations` or
    `messages`, or at the start of both answers, or in both places.

    Each answer is a text, a message, or a list of messages.
    """
    chosen, rejected = (_ending_in_an_answer(child(record, name)) for name in CHOSEN)
    if chosen[:-1] != rejected[:-1]:
        raise fault(
            child(record, "rejected"), "the turns before its last differ from those of `chosen`; expected one prompt."
        )
    scores = next((pair for pair in SCORES if all(fields(record).get(name) is not None for name in pair)), ())
    yield compared(
        record,
        _prompt_of(record, chosen[:-1]),
        (chosen[-1], rejected[-1]),
        (0, 1),
        scores=[number(child(record, name)) for name in scores],
        annotator=optional_text(record, "annotator"),
        about=about(record, *CHOSEN, *ASKED, *scores, "input", "output", "system", "annotator"),
    )


def _ending_in_an_answer(record: Record) -> list[Message]:
    turns = turns_of(record, "assistant")
    if not turns or turns[-1].role != "assistant":
        raise fault(record, "does not end in a turn of the assistant, so there is no answer to compare.")
    return turns


def _prompt_of(record: Record, beginning: list[Message]) -> list[Message]:
    """What both answers begin with, else the prompt that stands by itself. Of the latter no turn may be missing in the former."""
    refuse_tools(record)
    stated = next((name for name in ASKED if fields(record).get(name) is not None), None)
    if not beginning:
        return asked(record)
    if stated == "messages" and "prompt" not in fields(record):
        stated = None  # the whole chosen conversation once more
    for turn in turns_of(child(record, stated), "user") if stated else []:
        if turn not in beginning:
            problem = "does not stand at the beginning of `chosen`; expected the same prompt in both places."
            raise fault(child(record, stated or ""), problem)
    return [turn for turn in system_turn(record) if turn not in beginning] + beginning


@importer("ultrafeedback", Comparison, recognized_by=_first_has("completions", "response"), over=GENERAL)
def ultrafeedback(record: Record) -> Iterator[Comparison | Dropped]:
    """UltraFeedback as first published (Cui et al. 2023): answers of several models, ranked by `overall_score`, or where there
    is none by `fine-grained_score`. Each model had a system prompt of its own; it is no part of the prompt."""
    answers = _several(record, "completions")
    scores = [number(child(each, _score_name(each))) for each in answers]
    completions = [Message("assistant", text(each, "response")) for each in answers]
    ranks = places([-score for score in scores])
    told = {**about(record, "instruction"), **_models(answers)}
    yield compared(record, asked(record), completions, ranks, scores=scores, about=told)


def _score_name(answer: Record) -> str:
    return "overall_score" if fields(answer).get("overall_score") is not None else "fine-grained_score"


def _models(answers: Sequence[Record]) -> About:
    return {f"model_{at}": text(each, "model") for at, each in enumerate(answers, start=1) if fields(each).get("model")}


@importer("ranked", Comparison, recognized_by=_first_has("answers", "answer", "rank"), over=(*GENERAL, "question"))
def ranked(record: Record) -> Iterator[Comparison | Dropped]:
    """Nectar's answers, each with its rank from 1 (Zhu et al. 2023). Equal ranks are a tie."""
    answers = _several(record, "answers")
    completions = [Message("assistant", text(each, "answer")) for each in answers]
    ranks = places([_rank(child(each, "rank")) for each in answers])
    yield compared(record, asked(record), completions, ranks, about={**about(record, *ASKED), **_models(answers)})


@importer("stack_exchange_paired", Comparison, recognized_by=("question", "response_j", "response_k"), over=GENERAL)
def stack_exchange_paired(record: Record) -> Iterator[Comparison | Dropped]:
    """`response_j` had more votes than `response_k` (lvwerra/stack-exchange-paired)."""
    names = "response_j", "response_k"
    completions = [Message("assistant", text(record, name)) for name in names]
    yield compared(record, asked(record), completions, (0, 1), about=about(record, "question", *names))

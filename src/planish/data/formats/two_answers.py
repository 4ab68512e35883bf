"""Formats of two answers with a verdict between them: a name of the better one, or a number on either side of zero."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from planish.data.fields import child, fault, fields, optional_text
from planish.data.files.readers import Record
from planish.data.formats.answers import PROMPT_FIELDS, answer_of, compared, number, prompt_of
from planish.data.formats.judgements import FIRST, GENERAL, SECOND, TIE, Ranks
from planish.data.formats.mapping import renamed
from planish.data.formats.notes import CHAT, about
from planish.data.formats.registry import importer
from planish.data.formats.turns import system_turn, turns_of
from planish.data.rows import Comparison, Dropped, Message

SIDES = ("completion_a", "completion_b")
TALKS = ("conversation_a", "conversation_b")
NAMED: Mapping[str, Ranks] = {
    **dict.fromkeys(("a", "first", "left", "one"), FIRST),
    **dict.fromkeys(("b", "second", "right", "two"), SECOND),
    **dict.fromkeys(("tie", "tied", "tie (bothbad)", "both bad", "both", "equal", "same", "draw", "neither"), TIE),
}
NOISE = re.compile(r"\b(?:the|answer|completion|model|response|output|assistant|candidate|is better)\b")


@importer("preference", Comparison, recognized_by=(*SIDES, "preference"), over=GENERAL)
def preference(record: Record) -> Iterator[Comparison | Dropped]:
    """`completion_a` and `completion_b` with a `preference` that names A or B, the first or the second, or a tie, or that repeats
    the better answer. A number is refused: on some scales 1 is the first answer, on others the second."""
    if fields(record).get("preference") in (None, ""):
        yield Dropped(record.origin, "preference is empty: there is no verdict")
        return
    completions = _answers(record, SIDES)
    ranks = _named(child(record, "preference"), [completion.content for completion in completions])
    yield compared(
        record,
        prompt_of(record),
        completions,
        ranks,
        annotator=optional_text(record, "annotator"),
        about=about(record, *SIDES, "preference", *PROMPT_FIELDS, "input", *CHAT, "annotator"),
    )


def _answers(record: Record, names: tuple[str, str]) -> list[Message]:
    return [answer_of(child(record, name)) for name in names]


def _named(verdict: Record, texts: list[str]) -> Ranks:
    """The ranks that a verdict in words gives: A, model_b, "Response A", [[A]], tie, or the text of the better answer."""
    said = verdict.value
    if isinstance(said, str) and said in texts and texts[0] != texts[1]:
        return (FIRST, SECOND)[texts.index(said)]
    word = " ".join(NOISE.sub(" ", re.sub(r"[\[\]_-]", " ", str(said).casefold())).split())
    if word not in NAMED:
        problem = (
            f"found {str(said)[:40]!r}, expected A, B or tie. If 1 is the first and 2 the second, map the columns to "
            "instruction, output_1, output_2 and preference; if 0 is the first, to prompt, response_0, response_1 and "
            "better_response_id."
        )
        raise fault(verdict, problem)
    return NAMED[word]


def _by_sign(record: Record, name: str) -> Ranks:
    """The ranks of a preference from -3, the first answer is much better, to 3, the second is."""
    value = number(child(record, name))
    return FIRST if value < 0 else SECOND if value > 0 else TIE


@importer("chatbot_arena", Comparison, recognized_by=(*TALKS, "winner"), over=GENERAL)
def chatbot_arena(record: Record) -> Iterator[Comparison | Dropped]:
    """Chatbot Arena's battles (Zheng et al. 2023): two conversations and `winner`, model_a, model_b or a tie. Conversations whose
    earlier answers differ have no common prompt and are left out."""
    first, second = (turns_of(child(record, name), "user") for name in TALKS)
    for name, turns in zip(TALKS, (first, second), strict=True):
        if len(turns) < 2 or turns[-1].role != "assistant":
            raise fault(child(record, name), "expected a conversation that ends in an answer of the assistant.")
    if first[:-1] != second[:-1]:
        yield Dropped(
            record.origin, "the conversations differ before their last answers, so they have no common prompt"
        )
        return
    ranks = _named(child(record, "winner"), [])
    prompt, notes = [*system_turn(record), *first[:-1]], about(record, *TALKS, "winner", *CHAT)
    yield compared(record, prompt, (first[-1], second[-1]), ranks, about=notes)


@importer(
    "helpsteer3", Comparison, recognized_by=("context", "response1", "response2", "overall_preference"), over=GENERAL
)
def helpsteer3(record: Record) -> Iterator[Comparison | Dropped]:
    """HelpSteer 3 (Wang et al. 2025): `context` is the conversation so far, `overall_preference` from -3 to 3, negative where the
    first response is better."""
    names, prompt = ("response1", "response2"), renamed({"prompt": (("context",),)}, record)
    notes = about(record, *names, "context", "overall_preference", *CHAT)
    ranks = _by_sign(record, "overall_preference")
    yield compared(record, prompt_of(prompt), _answers(record, names), ranks, about=notes)


@importer(
    "helpsteer2", Comparison, recognized_by=("prompt", "response_1", "response_2", "preference_strength"), over=GENERAL
)
def helpsteer2(record: Record) -> Iterator[Comparison | Dropped]:
    """HelpSteer 2's preferences (Wang et al. 2024): `preference_strength` from -3 to 3, negative where the first is better."""
    names = "response_1", "response_2"
    notes = about(record, *names, *PROMPT_FIELDS, "input", "preference_strength", *CHAT)
    ranks = _by_sign(record, "preference_strength")
    yield compared(record, prompt_of(record), _answers(record, names), ranks, about=notes)

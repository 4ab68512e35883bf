"""Formats of two answers with a verdict between them: a name of the better one, or a number on either side of zero."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from planish.data.fields import child, fault, fields, optional_text
from planish.data.files.readers import Record
from planish.data.formats.answers import answer_of, compared, number, prompt_of
from planish.data.formats.judgements import FIRST, GENERAL, SECOND, TIE, Ranks
from planish.data.formats.registry import importer
from planish.data.formats.turns import about
from planish.data.rows import Comparison, Dropped

SIDES = ("completion_a", "completion_b")
NAMED: Mapping[str, Ranks] = {
    **dict.fromkeys(("a", "first", "left", "one"), FIRST),
    **dict.fromkeys(("b", "second", "right", "two"), SECOND),
    **dict.fromkeys(("tie", "tied", "tie (bothbad)", "both", "equal", "same", "draw", "neither"), TIE),
}
NOISE = re.compile(r"\b(?:the|answer|completion|model|response|output|assistant|candidate|is better)\b")


@importer("preference", Comparison, recognized_by=(*SIDES, "preference"), over=GENERAL)
def preference(record: Record) -> Iterator[Comparison | Dropped]:
    """`completion_a` and `completion_b` with a `preference` that names A or B, the first or the second, or a tie, or that repeats
    the better answer. A number is refused: on some scales 1 is the first answer, on others the second."""
    if fields(record).get("preference") in (None, ""):
        yield Dropped(record.origin, "preference is empty: there is no verdict")
        return
    completions = [answer_of(child(record, name)) for name in SIDES]
    ranks = _named(child(record, "preference"), [completion.content for completion in completions])
    yield compared(
        record,
        prompt_of(record),
        completions,
        ranks,
        annotator=optional_text(record, "annotator"),
        about=about(record, *SIDES, "preference", "prompt", "question", "instruction", "input", "system", "annotator"),
    )


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

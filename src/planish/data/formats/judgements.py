"""Formats of judgements on two answers, by human annotators or a model in their place. Most allow ties."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from planish.data.fields import child, fault, fields, items, optional_text, text
from planish.data.files.readers import Record
from planish.data.formats.answers import blank, choice, compared, number, prompt_of
from planish.data.formats.notes import CHAT, about, ignore_rest
from planish.data.formats.registry import importer
from planish.data.formats.turns import system_turn
from planish.data.rows import Comparison, Dropped, Message

Ranks = tuple[int, int]
Names = tuple[str, str]

FIRST, SECOND, TIE = (0, 1), (1, 0), (0, 0)
ONE_OR_TWO: Mapping[str, Ranks] = {"1": FIRST, "2": SECOND}
ANNOTATOR = re.compile(r"annotator\d+")
GENERAL = ("prompt", "prompt_completion", "alpaca", "question_answer", "question", "text")


def _judged(
    record: Record,
    prompt: Sequence[Message],
    names: Names,
    ranks: Ranks,
    *used: str,
    scores: Sequence[float] = (),
    annotator: str = "",
) -> Comparison | Dropped:
    """The comparison of two answers. All fields except the answers and `used` go into `about`."""
    completions = [Message("assistant", text(record, name)) for name in names]
    notes = about(record, *names, *used, *CHAT)
    return compared(record, prompt, completions, ranks, scores=scores, annotator=annotator, about=notes)


def _user(record: Record, name: str) -> list[Message]:
    return [*system_turn(record), Message("user", text(record, name))]


@importer("pandalm", Comparison, recognized_by=("instruction", "response1", "response2", "annotator1"), over=GENERAL)
def pandalm(record: Record) -> Iterator[Comparison | Dropped]:
    """A comparison for each annotator: 1 or 2 is the better response, 0 a tie (Wang et al. 2023).

    Some responses in the published file are blank, and some texts "True" became JSON's true. These are left out.
    """
    names = "response1", "response2"
    annotators = [name for name in fields(record) if ANNOTATOR.fullmatch(name)]
    broken = next((name for name in names if isinstance(fields(record).get(name), bool)), None)
    if broken:
        yield Dropped(record.origin, f"{broken} is true or false, not the text that was judged")
    elif dropped := blank(record, "instruction", *names):
        yield dropped
    else:
        prompt, used = prompt_of(record), ("instruction", "input", *annotators)
        for name in annotators:
            ranks = choice(record, name, {"0": TIE, **ONE_OR_TWO})
            yield _judged(record, prompt, names, ranks, *used, annotator=name)


@importer("alpaca_eval", Comparison, recognized_by=("instruction", "output_1", "output_2", "preference"), over=GENERAL)
def alpaca_eval(record: Record) -> Iterator[Comparison | Dropped]:
    """AlpacaEval's annotations (Li et al. 2023). `preference` is 0 for a tie, 1 or 2 for the better output, or in between
    one plus the judge's probability that the second is better; `scores` are the two probabilities."""
    names = "output_1", "output_2"
    if fields(record).get("preference") is None:
        yield Dropped(record.origin, "preference is null: the annotator gave no verdict")
    elif dropped := blank(record, *names):
        yield dropped
    else:
        share = _second_is_better(child(record, "preference"))
        ranks = TIE if share == 0.5 else (FIRST if share < 0.5 else SECOND)
        used = "instruction", "input", "preference", "annotator"
        scores, annotator = (1 - share, share), optional_text(record, "annotator")
        yield _judged(record, prompt_of(record), names, ranks, *used, scores=scores, annotator=annotator)


def _second_is_better(record: Record) -> float:
    preference = number(record)
    if preference != 0 and not 1 <= preference <= 2:
        raise fault(record, f"found {preference:g}, expected 0 (a tie), or from 1 (the first) to 2 (the second).")
    return preference - 1 if preference else 0.5


@importer("llmbar", Comparison, recognized_by=("input", "output_1", "output_2", "label"), over=GENERAL)
def llmbar(record: Record) -> Iterator[Comparison | Dropped]:
    """LLMBar (Zeng et al. 2024): `label` is 1 or 2 for the output that follows the instruction; no ties."""
    names, ranks = ("output_1", "output_2"), choice(record, "label", ONE_OR_TWO)
    yield _judged(record, _user(record, "input"), names, ranks, "input", "label")


@importer("safe_rlhf", Comparison, recognized_by=("prompt", "response_0", "response_1"), over=GENERAL)
def safe_rlhf(record: Record) -> Iterator[Comparison | Dropped]:
    """PKU-SafeRLHF (Ji et al. 2023), ranked by helpfulness, `better_response_id`. The safer response is in `about`."""
    names, ranks = ("response_0", "response_1"), choice(record, "better_response_id", {"0": FIRST, "1": SECOND})
    yield _judged(record, prompt_of(record), names, ranks, "prompt", "better_response_id")


@importer("shp", Comparison, recognized_by=("history", "human_ref_A", "human_ref_B", "labels"), over=GENERAL)
def shp(record: Record) -> Iterator[Comparison | Dropped]:
    """Stanford Human Preferences (Ethayarajh et al. 2022): `labels` is 1 if Reddit preferred A. Scores are its votes."""
    names, ranks = ("human_ref_A", "human_ref_B"), choice(record, "labels", {"1": FIRST, "0": SECOND})
    voted = "score_A", "score_B"
    scores = [number(child(record, name)) for name in voted if fields(record).get(name) is not None]
    if len(scores) == 1:
        raise fault(record, "has one of score_A and score_B, expected both or none.")
    yield _judged(record, _user(record, "history"), names, ranks, "history", "labels", *voted, scores=scores)


@importer("summarize_feedback", Comparison, recognized_by=("info", "summaries", "choice"), over=GENERAL)
def summarize_feedback(record: Record) -> Iterator[Comparison | Dropped]:
    """OpenAI's summarize_from_feedback (Stiennon et al. 2020). Posts get the prompt of the paper."""
    summaries = items(child(record, "summaries"))
    if len(summaries) != 2:
        raise fault(child(record, "summaries"), f"found {len(summaries)}, expected 2.")
    completions = [Message("assistant", text(summary, "text")) for summary in summaries]
    for summary in summaries:
        ignore_rest(summary, "text")
    ranks = choice(record, "choice", {"0": FIRST, "1": SECOND})
    prompt, annotator = [_to_summarize(child(record, "info"))], optional_text(record, "worker")
    notes = about(record, "info", "summaries", "choice", "worker")
    yield compared(record, prompt, completions, ranks, annotator=annotator, about=notes)


def _to_summarize(info: Record) -> Message:
    if fields(info).get("post") is None:
        ignore_rest(info, "article")
        return Message("user", f"Article: {text(info, 'article')}\n\nTL;DR:")
    ignore_rest(info, "subreddit", "title", "post")
    subreddit, title, post = (text(info, name) for name in ("subreddit", "title", "post"))
    return Message("user", f"SUBREDDIT: r/{subreddit}\n\nTITLE: {title}\n\nPOST: {post}\n\nTL;DR:")

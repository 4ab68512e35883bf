"""The section of answers before and after training."""

from __future__ import annotations

from collections.abc import Sequence

from planish.base.text import count_text
from planish.reports.read.answers import AnswerHistory
from planish.reports.read.run import RecordedRun

SHOWN = (350, 700)  # least and most characters of a reference that are shown


def answers_text(run: RecordedRun, histories: Sequence[AnswerHistory]) -> str:
    """How the prompts were answered, how many answers ended by themselves, how many changed."""
    if not histories:
        return "This run has recorded no completions" + _why_none(run)
    sampling = run.config.get("sampling", {})
    how = f"at temperature {sampling['temperature']:g}" if sampling.get("temperature") else "greedily"
    limit = f" with at most {sampling['max_completion_tokens']:,} tokens" if "max_completion_tokens" in sampling else ""
    prompts = f"{count_text(len(histories), 'held-out prompt')}, answered {how}{limit}."
    ended = sum(history.before["ended"] for history in histories)
    pairs = [(history.before, history.after) for history in histories if history.after]
    if not pairs:
        return (
            f"{prompts} {ended} of {len(histories)} answers ended by themselves. No prompt has been answered again yet."
        )
    ended_after = sum(after["ended"] for _, after in pairs)
    changed = sum(before["completion"] != after["completion"] for before, after in pairs)
    return (
        f"{prompts} Before training {ended} of {len(histories)} answers ended by themselves, after it {ended_after} of "
        f"{len(pairs)}. {changed} of {len(pairs)} changed."
    )


def _why_none(run: RecordedRun) -> str:
    if run.config.get("num_samples") == 0:
        return ": num_samples is 0."
    if run.method == "pretrain":
        return ": its held-out rows are documents, or it has not sampled yet."
    return " yet."


def reference_limit(history: AnswerHistory) -> int:
    """Characters of the reference to show: about as many as the longest answer has."""
    longest = max(len(line["completion"]) for line in history.completions)
    return min(max(longest, SHOWN[0]), SHOWN[1])


def folded(text: str, limit: int) -> tuple[str, str]:
    """The beginning of a text, which is shown, and the rest, which is folded; cut between words if possible."""
    if len(text) <= limit * 1.3:
        return text, ""
    end = max(text.rfind(" ", 0, limit), text.rfind("\n", 0, limit))
    end = end if end > limit // 2 else limit
    return text[:end], text[end:]

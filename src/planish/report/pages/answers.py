"""Completions recorded on the way, gathered by prompt: what the model wrote before, in between and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planish.base.text import count_text
from planish.report.read.run import Line, Run

SHOWN = (350, 700)  # characters of a reference that are shown, at least and at most; as many as the answers have


@dataclass(frozen=True, slots=True)
class AnswerHistory:
    """One held-out prompt, with what the model wrote at each step at which it was asked."""

    source: str
    prompt: list[dict[str, str]]
    reference: str | None  # a policy that samples has none
    completions: list[Line]

    @property
    def before(self) -> Line:
        return self.completions[0]

    @property
    def between(self) -> list[Line]:
        return self.completions[1:-1]

    @property
    def after(self) -> Line | None:
        return self.completions[-1] if len(self.completions) > 1 else None

    @property
    def fold(self) -> int:
        """Characters of the reference to show: about as many as stand beside it."""
        longest = max(len(line["completion"]) for line in self.completions)
        return min(max(longest, SHOWN[0]), SHOWN[1])


def answers(run: Run) -> list[AnswerHistory]:
    """In the order of the first look. A prompt keeps its place from look to look; a look that is being written has fewer."""
    looks: dict[int, list[Line]] = {}
    for line in run.samples:
        looks.setdefault(line["step"], []).append(line)
    in_order = [looks[step] for step in sorted(looks)]
    return [
        AnswerHistory(
            line["source"],
            line["prompt"],
            line.get("reference"),
            [look[place] for look in in_order if place < len(look) and look[place]["prompt"] == line["prompt"]],
        )
        for place, line in enumerate(in_order[0] if in_order else [])
    ]


def answers_say(run: Run, given: Sequence[AnswerHistory]) -> str:
    """How the prompts were answered, how many answers ended by themselves, how many changed."""
    if not given:
        return "This run has recorded no completions" + _why_none(run)
    sampling = run.config.get("sampling", {})
    how = f"at temperature {sampling['temperature']:g}" if sampling.get("temperature") else "greedily"
    limit = f" in at most {sampling['max_completion_tokens']:,} tokens" if "max_completion_tokens" in sampling else ""
    asked = f"{count_text(len(given), 'held-out prompt')}, answered {how}{limit}."
    ended = sum(answer.before["ended"] for answer in given)
    pairs = [(answer.before, answer.after) for answer in given if answer.after]
    if not pairs:
        return f"{asked} {ended} of {len(given)} answers ended by themselves. Nothing has been asked a second time yet."
    ended_after = sum(after["ended"] for _, after in pairs)
    changed = sum(before["completion"] != after["completion"] for before, after in pairs)
    return (
        f"{asked} Before, {ended} of {len(given)} answers ended by themselves; after, {ended_after} of {len(pairs)}. "
        f"{changed} of {len(pairs)} changed."
    )


def _why_none(run: Run) -> str:
    if run.config.get("num_samples") == 0:
        return ": num_samples is 0."
    if run.method == "pretrain":
        return ": its held-out rows are documents, or it has not come that far."
    return " yet."


def folded(text: str, limit: int) -> tuple[str, str]:
    """The beginning of a text, which is shown, and the rest, which is folded; cut between words where there are any."""
    if len(text) <= limit * 1.3:
        return text, ""
    end = max(text.rfind(" ", 0, limit), text.rfind("\n", 0, limit))
    end = end if end > limit // 2 else limit
    return text[:end], text[end:]

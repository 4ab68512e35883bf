"""The completions that a run recorded, gathered by prompt."""

from __future__ import annotations

from dataclasses import dataclass

from planish.reports.read.run import Line, RecordedRun


@dataclass(frozen=True, slots=True)
class AnswerHistory:
    """A held-out prompt with the completions sampled for it, in the order of steps."""

    source: str
    prompt: list[dict[str, str]]
    reference: str | None  # PPO has none
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


def answers(run: RecordedRun) -> list[AnswerHistory]:
    """In the order of the first step. A prompt has the same place at every step; a step being written has fewer."""
    by_step: dict[int, list[Line]] = {}
    for line in run.samples:
        by_step.setdefault(line["step"], []).append(line)
    in_order = [by_step[step] for step in sorted(by_step)]
    return [
        AnswerHistory(
            line["source"],
            line["prompt"],
            line.get("reference"),
            [rows[place] for rows in in_order if place < len(rows) and rows[place]["prompt"] == line["prompt"]],
        )
        for place, line in enumerate(in_order[0] if in_order else [])
    ]

"""refusals.json and answers.jsonl, the output of `planish evaluate refusals`; and refusals.jsonl, what a run recorded of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from planish.base.errors import RunError
from planish.base.files import json_lines_in
from planish.reports.read.files import read_text, read_typed
from planish.reports.read.run import Line
from planish.statistics.refusal_result import LabelledRequest, RefusalResult, contrasts, system_of

FILE, ANSWERS, VISITS = "refusals.json", "answers.jsonl", "refusals.jsonl"

_SHAPE = TypeAdapter(RefusalResult)


@dataclass(frozen=True, slots=True)
class RefusalReply:
    """A system's answer and its label."""

    name: str
    text: str
    label: str | None


@dataclass(frozen=True, slots=True)
class ContrastReplies:
    """A safe prompt and its unsafe contrast, with the answers of each system."""

    group: str
    safe: list[dict[str, str]]
    unsafe: list[dict[str, str]]
    to_safe: list[RefusalReply]
    to_unsafe: list[RefusalReply]


def is_refusals(folder: Path) -> bool:
    return (folder / FILE).is_file()


def read_refusals(folder: Path) -> tuple[RefusalResult, list[ContrastReplies]]:
    """The result, and the pairs that all its systems answered."""
    path = folder / ANSWERS
    lines = json_lines_in(read_text(path)) if path.is_file() else []
    with _naming(path):
        return read_typed(folder / FILE, _SHAPE, "planish evaluate refusals"), _pairs(lines)


def recorded_refusals(folder: Path) -> tuple[RefusalResult, list[ContrastReplies]] | None:
    """What a run recorded, each step as a system, and its pairs at the first step and the last; None if it recorded none."""
    path = folder / VISITS
    if not path.is_file() or not (lines := json_lines_in(read_text(path))):
        return None
    with _naming(path):
        steps: dict[int, list[Line]] = defaultdict(list)
        for line in lines:
            steps[line["step"]].append(line)
        systems = [
            system_of(f"step {step:,}", str(folder), step, [_labelled(line) for line in own])
            for step, own in sorted(steps.items())
        ]
        ends = {min(steps): "before", max(steps): "after"}
        shown = [{**line, "system": ends[line["step"]]} for line in lines if line["step"] in ends]
        return RefusalResult([], {}, None, None, systems), _pairs(shown)


def _labelled(line: Line) -> LabelledRequest:
    return LabelledRequest(line["unsafe"], tuple(line["groups"]), tuple(line["pairs"]), line["label"])


def _pairs(lines: Sequence[Line]) -> list[ContrastReplies]:
    """The pairs of the first system's prompts, with the answers of every system that has them."""
    replies: dict[str, list[RefusalReply]] = defaultdict(list)
    for line in lines:
        replies[repr(line["prompt"])].append(RefusalReply(line["system"], line["answer"], line["label"]))
    first = [line for line in lines if line["system"] == lines[0]["system"]]
    return [
        ContrastReplies(
            ", ".join(first[safe]["groups"]),
            *(first[place]["prompt"] for place in (safe, unsafe)),
            *(replies[repr(first[place]["prompt"])] for place in (safe, unsafe)),
        )
        for safe, unsafe in contrasts([_labelled(line) for line in first])
    ]


@contextmanager
def _naming(path: Path) -> Generator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: not answers with labels of refusals ({type(error).__name__}: {error})") from None

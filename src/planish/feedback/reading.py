"""From files to items: prompts with two or more different answers each.

Comparisons bring their answers together; rows of one answer (`planish sample`, `planish best`, demonstrations, judged answers)
are put together by their prompt, over all files; answers.jsonl of `planish compare` has all systems' answers on a line. Ranks
and scores in the files are not shown: gold, training and test items alone use them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from planish.base.errors import DataError
from planish.base.files import json_lines_in
from planish.data.chat.tool_calls import as_dicts
from planish.data.formats.mapping import Columns
from planish.data.formats.registry import stream_rows
from planish.data.rows import About, Comparison, Demonstration, Dropped, Judged, Message

ANSWERED = (Comparison, Judged, Demonstration)
MOST = 9  # answers on one page: places are typed as digits
SYSTEM_NOTES = ("system_name", "model", "generator", "model_name")  # notes that name who wrote an answer


@dataclass(slots=True)
class Answers:
    """A prompt with its answers: who wrote each, and the ranks where a file has them."""

    prompt: list[dict[str, Any]]
    tools: list[Any] | None
    origin: str
    about: dict[str, Any]
    completions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    systems: list[list[str]] = field(default_factory=list[list[str]])
    ranks: list[int] | None = None

    def add(self, completion: Mapping[str, Any], system: str) -> None:
        """Adds an answer; one that is there already gets a further name."""
        completion = dict(completion)
        if completion not in self.completions:
            self.completions.append(completion)
            self.systems.append([])
        names = self.systems[self.completions.index(completion)]
        if system and system not in names:
            names.append(system)

    @property
    def digest(self) -> str:
        told = json.dumps([self.prompt, self.tools, self.completions], ensure_ascii=True)
        return hashlib.sha256(told.encode()).hexdigest()[:24]

    def pairs(self) -> Iterator[Answers]:
        """Two of the answers at a time."""
        for i, j in combinations(range(len(self.completions)), 2):
            ranks = None if self.ranks is None else dense([self.ranks[i], self.ranks[j]])
            completions, systems = [self.completions[i], self.completions[j]], [self.systems[i], self.systems[j]]
            yield Answers(self.prompt, self.tools, self.origin, self.about, completions, systems, ranks)


@dataclass(slots=True)
class ReadAnswers:
    """All that files hold. `alone` are prompts with one answer, or with the same one from everybody."""

    answers: list[Answers]
    alone: int
    dropped: list[Dropped]


def read_answers(
    files: Sequence[str], format: str = "auto", columns: Columns | None = None, most: int = MOST
) -> ReadAnswers:
    """The prompts of the files with two or more answers, in the order in which they come first."""
    groups: dict[str, Answers] = {}
    compared: list[Answers] = []
    dropped: list[Dropped] = []
    for file in files:
        if (lines := _compared_systems(file)) is not None:
            compared += lines
            continue
        for row in stream_rows(file, ANSWERED, format, columns):
            if isinstance(row, Dropped):
                dropped.append(row)
            elif isinstance(row, Comparison):
                compared.append(_of_comparison(row))
            else:
                _add(groups, row, Path(file).stem)
    every = [*compared, *groups.values()]
    several = [answers for answers in every if len(answers.completions) > 1]
    if (crowded := next((answers for answers in several if len(answers.completions) > most), None)) is not None:
        raise DataError(
            f"{crowded.origin}: {len(crowded.completions)} answers to one prompt, expected at most {most}. "
            "Set show=pairs to compare two at a time, or sample fewer"
        )
    return ReadAnswers(several, len(every) - len(several), dropped)


def dense(ranks: Sequence[int]) -> list[int]:
    """Ranks without gaps: [0, 3, 3] is [0, 1, 1]."""
    order = sorted(set(ranks))
    return [order.index(rank) for rank in ranks]


def _of_comparison(row: Comparison) -> Answers:
    """The answers of a comparison; equal ones, which are tied, are one."""
    answers = Answers(as_dicts(row.prompt), list(row.tools) or None, str(row.origin), dict(row.about))
    for completion in row.completions:
        answers.add(as_dicts([completion])[0], "")
    firsts = [as_dicts([completion])[0] for completion in row.completions]
    ranks = [row.ranks[firsts.index(completion)] for completion in answers.completions]
    answers.ranks = dense(ranks)
    for number, name in enumerate(str(row.about.get("systems", "")).split(" | ")):
        if name and number < len(answers.systems):
            answers.systems[number] = name.split(", ")
    return answers


def _add(groups: dict[str, Answers], row: Demonstration | Judged, stem: str) -> None:
    """Adds a row of one answer to those of its prompt. Turns of the assistant before its last are part of the prompt."""
    if isinstance(row, Judged):
        prompt, completion, tools = row.prompt, row.completion, ()
    else:
        prompt, completion, tools = row.messages[:-1], row.messages[-1], row.tools
        if completion.role != "assistant":
            raise DataError(
                f"{row.origin}: ends in a turn of the {completion.role}; expected an answer of the assistant."
            )
    asked = as_dicts(_untrained(prompt))
    key = json.dumps([asked, list(tools)])
    if key not in groups:
        groups[key] = Answers(asked, list(tools) or None, str(row.origin), _about_the_prompt(row.about))
    groups[key].add(as_dicts([completion])[0], _system_of(row.about) or stem)


def _untrained(messages: Sequence[Message]) -> list[Message]:
    return [Message(message.role, message.content, False, message.tool_calls) for message in messages]


def _system_of(about: About) -> str:
    return next((str(about[name]) for name in SYSTEM_NOTES if name in about), "")


def _about_the_prompt(about: About) -> dict[str, Any]:
    """Notes on the prompt, without those on one answer."""
    return {name: note for name, note in about.items() if name not in (*SYSTEM_NOTES, "ended", "score", "mean_score")}


def _compared_systems(file: str) -> list[Answers] | None:
    """The lines of answers.jsonl of `planish compare`; None for any other file."""
    path = Path(file) / "answers.jsonl" if (Path(file) / "comparison.json").is_file() else Path(file)
    if path.suffix != ".jsonl" or not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as opened:
        if '"answers": {' not in opened.readline():
            return None
    found: list[Answers] = []
    for number, line in enumerate(json_lines_in(path.read_text(encoding="utf-8")), 1):
        answers = Answers(line["prompt"], None, f"{file} row {number}", dict(line.get("about") or {}))
        for system, samples in line["answers"].items():
            for sample in samples:
                answers.add({"role": "assistant", "content": sample["text"]}, system)
        found.append(answers)
    return found

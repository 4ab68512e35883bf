"""`planish critique`: a model criticises answers by principles and writes them anew (Bai et al. 2022, arXiv 2212.08073).

    OUT.jsonl                  demonstrations: the prompt with the revised answer, or the old one where nothing was wrong
    OUT.pairs.jsonl            comparisons: revised ≻ original, where they differ, in an order drawn by the seed
    OUT.jsonl.replies.jsonl    the replies of a served model, as they come

That the revised answer is better is what the writer believes; `planish judge OUT.pairs.jsonl` by another model, or people, tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from planish.base.command import load
from planish.base.errors import ConfigError, DataError, RunError
from planish.base.files import write_lines
from planish.base.notices import say, warn
from planish.base.progress import Progress
from planish.base.random import numpy_generator, subsample
from planish.base.text import count_text
from planish.data.chat.tool_calls import as_dicts
from planish.data.formats.registry import stream_rows
from planish.data.rows import Comparison, Demonstration, Dropped, Judged
from planish.feedback.judging.config import CritiqueConfig
from planish.feedback.judging.rubric import PROMPTS, read_template, text_of_turns
from planish.judges.base import FEWEST
from planish.judges.client import LlmClient, LlmReply
from planish.judges.config import ServedWriterConfig
from planish.judges.questions import fill
from planish.judges.reading import CUT

NOTHING = re.compile(r"\W*nothing\W*", re.IGNORECASE)
THOUGHTS = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
BATCH = 32  # answers that are criticised, and then revised, together


class Writer(Protocol):
    def write(self, questions: Sequence[str], names: Sequence[str]) -> list[str]:
        """The replies, each with a name of its question for errors. One that was cut ends in CUT."""
        ...


class ServedWriter:
    """Lets a served model reply. Its replies are kept in the file `memory`."""

    def __init__(self, config: ServedWriterConfig, memory: Path, answers: int) -> None:
        self.config, self.client = config, LlmClient(config, memory, None)
        self.bar, self.total = Progress("writing", answers), answers
        self.replies, self.tokens, self.cost = 0, 0, 0.0
        self.client.check()

    def write(self, questions: Sequence[str], names: Sequence[str]) -> list[str]:
        return [found.reply for found in self.client.ask(questions, self._hear)]

    def _hear(self, reply: LlmReply) -> None:
        self.replies += 1
        self.tokens += reply.tokens_in + reply.tokens_out
        self.cost += self.config.cost(reply.tokens_in, reply.tokens_out)
        cost = f", cost {self.cost:,.4f}" if self.cost else ""
        self.bar.advance(
            self.replies if self.replies <= self.total else self.total - 1, f"{self.tokens:,} tokens{cost}"
        )


@dataclass(slots=True)
class Revision:
    """An answer with its critiques so far. `left_out` says why it cannot be used."""

    name: str
    prompt: list[dict[str, Any]]
    tools: list[Any]
    about: dict[str, Any]
    original: str
    answer: str
    principles: list[str]
    critiques: list[str] = field(default_factory=list[str])
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class CritiqueResult:
    """Counts: demonstrations written, those that were revised, pairs, and answers that are left out."""

    demonstrations: int
    revised: int
    pairs: int
    left_out: int
    pairs_file: Path


def critique(config: CritiqueConfig) -> CritiqueResult:
    principles = read_principles(config.principles)
    if config.rounds > len(principles):
        raise ConfigError(
            f"rounds={config.rounds}: there are {count_text(len(principles), 'principle')}, each used once"
        )
    names = ("prompt", "answer", "principle")
    asks = read_template(config.critique_prompt, "critique", names, "critique_prompt")
    revises = read_template(config.revise_prompt, "revise", (*names, "critique"), "revise_prompt")
    revisions = list(_revisions(config, principles))
    say(f"{count_text(len(revisions), 'answer')}, up to {2 * config.rounds * len(revisions):,} replies to write")
    writer = _open_writer(config, 2 * config.rounds * len(revisions))
    for start in range(0, len(revisions), BATCH):
        for number in range(config.rounds):
            _one_round(revisions[start : start + BATCH], number, writer, asks, revises)
    return _write(config, revisions)


def read_principles(file: str | None) -> list[str]:
    """Lines that begin with a dash, of a text file."""
    path = PROMPTS / "principles.md" if file is None else Path(file)
    lines = read_template(file, "principles", (), "principles").splitlines()
    found = [line.strip()[1:].strip() for line in lines if line.strip().startswith(("-", "*"))]
    if not all(found) or not found:
        raise ConfigError(
            f"principles={path}: found {len(found)} lines behind a dash; expected a principle on each, such as "
            "- The answer is true."
        )
    if len({*found}) < len(found):
        raise ConfigError(f"principles={path}: one is there twice")
    return found


def _revisions(config: CritiqueConfig, principles: Sequence[str]) -> Iterator[Revision]:
    rows: list[Demonstration | Judged] = []
    for file in config.answers:
        for row in stream_rows(file, (Comparison, Judged, Demonstration), config.format, config.columns):
            if isinstance(row, Comparison):
                raise DataError(f"{row.origin}: is a comparison of several answers; expected one answer a row")
            if isinstance(row, Dropped):
                warn(f"left out: {row.origin}: {row.reason}")
            else:
                rows.append(row)
    if not rows:
        raise DataError(f"{', '.join(config.answers)}: no row has an answer to criticise")
    for row in subsample(rows, config.limit, config.seed):
        turns = (*row.prompt, row.completion) if isinstance(row, Judged) else row.messages
        if turns[-1].role != "assistant" or not turns[-1].content.strip():
            raise DataError(
                f"{row.origin}: ends without an answer of the assistant in words; expected one to criticise"
            )
        text = turns[-1].content.strip()
        chance = numpy_generator(config.seed, "principles", str(row.origin))
        drawn = [principles[int(i)] for i in chance.permutation(len(principles))[: config.rounds]]
        tools = [] if isinstance(row, Judged) else list(row.tools)
        yield Revision(str(row.origin), as_dicts(turns[:-1]), tools, dict(row.about), text, text, drawn)


def _open_writer(config: CritiqueConfig, replies: int) -> Writer:
    if config.writer.name == "llm":
        return ServedWriter(config.writer, Path(f"{config.out}.replies.jsonl"), replies)
    return load("planish.judges.local:LocalWriter")(config.writer)  # by name: it needs torch


def _one_round(some: Sequence[Revision], number: int, writer: Writer, asks: str, revises: str) -> None:
    """A critique of each answer by its principle of this round, and a new answer where there is something to say."""
    some = [one for one in some if not one.left_out]
    told = writer.write([_filled(asks, one, number) for one in some], [one.name for one in some])
    for one, reply in zip(some, told, strict=True):
        one.critiques.append(_spoken(reply))
        if not one.critiques[-1] or reply.endswith(CUT):
            one.left_out = "its critique is empty or was cut: raise writer.max_tokens"
    wrong = [one for one in some if not one.left_out and not NOTHING.fullmatch(one.critiques[-1])]
    written = writer.write(
        [_filled(revises, one, number, critique=one.critiques[-1]) for one in wrong], [one.name for one in wrong]
    )
    for one, reply in zip(wrong, written, strict=True):
        one.answer = _spoken(reply)
        if not one.answer or reply.endswith(CUT):
            one.left_out = "its new answer is empty or was cut: raise writer.max_tokens"


def _filled(template: str, one: Revision, number: int, **more: str) -> str:
    prompt = text_of_turns(one.prompt, one.tools)
    return fill(template, prompt=prompt, answer=one.answer, principle=one.principles[number], **more)


def _spoken(reply: str) -> str:
    return THOUGHTS.sub("", reply).strip()


def _write(config: CritiqueConfig, revisions: Sequence[Revision]) -> CritiqueResult:
    used = [one for one in revisions if not one.left_out]
    lost = [one for one in revisions if one.left_out]
    for one in lost[:5]:
        warn(f"left out: {one.name}: {one.left_out}")
    if len(lost) == len(revisions) >= FEWEST:
        raise RunError(f"none of {len(lost)} answers could be revised: the first, {lost[0].name}: {lost[0].left_out}")
    out, pairs = Path(config.out), [one for one in used if one.answer != one.original]
    pairs_file = out.with_name(f"{out.stem}.pairs.jsonl")
    write_lines(pairs_file, [_pair(one, config.seed) for one in pairs])
    write_lines(out, [_demonstration(one) for one in used])
    return CritiqueResult(len(used), len(pairs), len(pairs), len(lost), pairs_file)


def _shared(one: Revision) -> dict[str, Any]:
    told = {"principle": " | ".join(one.principles), "critique": " | ".join(one.critiques)}
    return {**({"tools": one.tools} if one.tools else {}), "about": {**one.about, **told}}


def _demonstration(one: Revision) -> dict[str, Any]:
    return {"messages": [*one.prompt, {"role": "assistant", "content": one.answer}], **_shared(one)}


def _pair(one: Revision, seed: int) -> dict[str, Any]:
    """In an order that is drawn, so that place tells nothing."""
    revised_first = bool(numpy_generator(seed, "pairs", one.name).integers(2))
    texts = [one.answer, one.original] if revised_first else [one.original, one.answer]
    completions = [{"role": "assistant", "content": text} for text in texts]
    shared = _shared(one)
    shared["about"]["systems"] = "revised | original" if revised_first else "original | revised"
    return {"prompt": one.prompt, "completions": completions, "ranks": [0, 1] if revised_first else [1, 0], **shared}

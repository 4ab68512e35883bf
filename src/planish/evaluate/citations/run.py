"""`planish evaluate citations`: how often answers cite, and how many of their references exist.

A habit of citing can be taught without the knowledge of what to cite; then references are made up. So both are counted: answers
that cite at all, and references that are exact, wrong in some part, or fabricated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.errors import DataError
from planish.base.files import as_lines, new_file, write_json
from planish.base.notices import warn
from planish.base.plugins import Plugins
from planish.base.progress import track
from planish.base.terminal import print_table
from planish.data.formats import import_rows
from planish.data.formats.mapping import ColumnsSetting
from planish.data.inspect.convert import line
from planish.data.rows import Demonstration, groups_of, values_of
from planish.evaluate.citations.bibliography import Bibliography, fold, read_bibliography
from planish.evaluate.citations.matching import OUTCOMES, MatchedReference, Outcome, match
from planish.evaluate.citations.references import distinct, find_references
from planish.statistics.estimate import Estimate, estimate_text, wilson


class CitationsConfig(Config):
    answers: str = Field(
        description="a file of `planish sample`, a run's folder, or a file of demonstrations in any known format"
    )
    bibliography: str = Field(description="all works that exist: .bib, .csv, .jsonl, or facts.jsonl of a world")
    by: str | None = Field(default=None, description="field of the answers to count by, such as `step` of a run")
    strict: bool = Field(default=False, description="references with an error count as fabricated")
    plugins: Plugins = ()
    format: str = Field(default="auto", description="how to read the answers; auto recognizes it")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    out: str = Field(description="the jsonl file to write; its rates are in the same with .json behind it")

    @model_validator(mode="after")
    def _check(self) -> CitationsConfig:
        if Path(self.out).is_dir():
            raise ValueError(f"out={self.out}: is a folder, expected a file to write")
        if Path(self.out).resolve() in {Path(file).resolve() for file in (self.answers, self.bibliography)}:
            raise ValueError(f"out={self.out}: would write over the file that is read: give it another name")
        return self


@dataclass(frozen=True, slots=True)
class CitingAnswer:
    """An answer with its references."""

    row: Demonstration
    references: tuple[MatchedReference, ...]

    def count(self, outcome: Outcome) -> int:
        return sum(found.outcome == outcome for found in self.references)


@dataclass(frozen=True, slots=True)
class CitationRates:
    """Rates of a group of answers: of all answers those that cite, and those with a fabricated reference; of the references that
    could be checked those that are exact, altered, and fabricated (None where there are none)."""

    name: str
    answers: int
    references: Mapping[Outcome, int]
    citing: Estimate
    fabricating: Estimate
    shares: Mapping[Outcome, Estimate | None]

    def as_record(self) -> dict[str, Any]:
        rates = {"citing": self.citing, "fabricating": self.fabricating, **self.shares}
        told = {name: rate and _rate(rate) for name, rate in rates.items()}
        return {"answers": self.answers, "references": dict(self.references), "rates": told}


def citations(config: CitationsConfig) -> list[CitingAnswer]:
    """Finds and matches the references of all answers, writes them and their rates, and prints the rates."""
    bibliography = read_bibliography(config.bibliography)
    rows = _answers(config)
    if config.by is not None:
        values_of(rows, config.by)  # a field that does not exist is reported before the work
    found = [cited(row, bibliography, config.strict) for row in track(rows, "looking for references")]
    groups = rates_by(found, config.by)
    out = Path(config.out)
    with new_file(out) as partial:
        partial.write_text(as_lines(map(_line, found)), encoding="utf-8")
    account = {
        "answers": config.answers,
        "bibliography": config.bibliography,
        "works": len(bibliography.works),
        "by": config.by,
    }
    write_json(
        out.with_name(f"{out.name}.json"), {**account, "groups": {group.name: group.as_record() for group in groups}}
    )
    show(groups, config.by)
    return found


def cited(row: Demonstration, bibliography: Bibliography, strict: bool = False) -> CitingAnswer:
    """The last turn of a conversation with its references, each once."""
    text = row.messages[-1].content
    references = distinct(find_references(text, lambda title: bool(bibliography.find("title", fold(title)))))
    return CitingAnswer(row, tuple(match(reference, bibliography, strict) for reference in references))


def rates_by(found: Sequence[CitingAnswer], by: str | None = None) -> list[CitationRates]:
    """The rates for each value of a field of the answers, in order of name; then for all."""
    return [_rates(name, members) for name, members in groups_of([answer.row for answer in found], found, by)]


def _rates(name: str, members: Sequence[CitingAnswer]) -> CitationRates:
    counts: dict[Outcome, int] = {outcome: sum(answer.count(outcome) for answer in members) for outcome in OUTCOMES}
    checked = sum(counts.values()) - counts["unchecked"]
    return CitationRates(
        name,
        len(members),
        counts,
        wilson(sum(bool(answer.references) for answer in members), len(members)),
        wilson(sum(answer.count("fabricated") > 0 for answer in members), len(members)),
        {
            outcome: wilson(counts[outcome], checked) if checked else None
            for outcome in OUTCOMES
            if outcome != "unchecked"
        },
    )


def _rate(rate: Estimate) -> dict[str, Any]:
    return {"share": rate.value, "low": rate.low, "high": rate.high, "n": rate.n}


def show(groups: Iterable[CitationRates], by: str | None = None) -> None:
    """Prints the rates, each with its 95% interval."""
    names = [
        "answers",
        "that cite",
        "that fabricate",
        "references",
        "exact",
        "with an error",
        "fabricated",
        "not checked",
    ]
    rows = [
        [
            group.name,
            f"{group.answers:,}",
            *(estimate_text(rate, ".0%") for rate in (group.citing, group.fabricating)),
            f"{sum(group.references.values()):,}",
            *(estimate_text(rate, ".0%") for rate in group.shares.values()),
            f"{group.references['unchecked']:,}",
        ]
        for group in groups
    ]
    print_table([by or "", *names], rows)


def _answers(config: CitationsConfig) -> list[Demonstration]:
    samples = Path(config.answers) / "samples.jsonl"
    path = str(samples) if samples.is_file() else config.answers
    rows = import_rows(path, (Demonstration,), config.format, config.columns)
    if not rows.rows:
        raise DataError(f"{config.answers}: no answer in it: {len(rows.dropped)} rows were left out")
    if rows.dropped:
        warn(f"{path}: {len(rows.dropped)} rows were left out, the first because: {rows.dropped[0].reason}")
    for row in rows.rows:
        if row.messages[-1].role != "assistant":
            raise DataError(
                f"{row.origin}: ends with a turn of the {row.messages[-1].role}, expected an answer of the assistant"
            )
    return rows.rows


def _line(answer: CitingAnswer) -> dict[str, Any]:
    """The answer as a demonstration, with its references."""
    return {**line(answer.row), "references": [_record(found) for found in answer.references]}


def _record(found: MatchedReference) -> dict[str, Any]:
    reference = found.reference
    told = {"text": reference.text, "form": reference.form, "start": reference.start, "outcome": found.outcome}
    return {**told, "match": [work.key for work in found.works], "reason": found.reason}

"""verdicts.jsonl: what `planish world judge` found of a run's samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from planish.base.errors import RunError
from planish.base.files import read_lines
from planish.base.text import count_text
from planish.reports.read.run import Line, RecordedRun

FILE = "verdicts.jsonl"


@dataclass(frozen=True, slots=True)
class RecordedVerdict:
    """The verdict on one answer. `terms` are those that are not zero; their sum is the utility."""

    kind: str
    label: str
    utility: float
    terms: Mapping[str, float]
    reasons: Sequence[str]


def judged(run: RecordedRun) -> tuple[RecordedRun, str | None]:
    """The run with a RecordedVerdict as "verdict" of each sample, if it has any, and a note if they cannot be used."""
    path = run.path / FILE
    if not path.exists():
        return run, None
    try:
        return replace(run, samples=_matched(run.samples, read_lines(path))), None
    except RunError as error:
        return run, f"{error}. The verdicts are left out; run planish world judge {run.path} again, with its world."


def _matched(samples: Sequence[Line], lines: Sequence[Line]) -> list[Line]:
    if len(lines) != len(samples):
        raise RunError(
            f"{FILE} does not fit samples.jsonl: it has {count_text(len(lines), 'verdict')} for "
            f"{count_text(len(samples), 'answer')}"
        )
    by_place = dict(_numbered(lines))
    matched: list[Line] = []
    for (step, place), sample in _numbered(samples):
        line = by_place.get((step, place), {})
        differing = [key for key in ("prompt", "completion") if line.get(key) != sample[key]]
        if differing:
            raise RunError(
                f"{FILE} does not fit samples.jsonl: at step {step:,}, number {place + 1} has another {differing[0]}"
            )
        matched.append({**sample, "verdict": _verdict(line, f"{FILE}: at step {step:,}, number {place + 1}")})
    return matched


def _numbered(lines: Sequence[Line]) -> Iterator[tuple[tuple[int, int], Line]]:
    """Each line with its step and its place among those of that step."""
    seen: Counter[int] = Counter()
    for line in lines:
        yield (line["step"], seen[line["step"]]), line
        seen[line["step"]] += 1


def _verdict(line: Line, where: str) -> RecordedVerdict:
    try:
        terms = {str(term): float(value) for term, value in line["terms"].items()}
        return RecordedVerdict(
            str(line["kind"]), str(line["label"]), float(line["utility"]), terms, list(map(str, line["reasons"]))
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{where} holds no verdict ({type(error).__name__}: {error})") from None

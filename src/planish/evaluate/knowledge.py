"""`planish evaluate knowledge`: questions answered rightly, wrongly, or not at all, and if confidence tells which.

Answers are greedy, in the model's chat template. One is right if a right answer is in it as whole words, letter case and the like
aside; an abstention is never right. Measures of confidence are in confidence.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.distributed import local_device
from planish.base.errors import DataError
from planish.base.files import as_lines, new_file, write_json
from planish.base.notices import warn
from planish.base.plugins import Plugins
from planish.base.random import subsample
from planish.base.terminal import print_table
from planish.data.formats import import_rows
from planish.data.formats.mapping import ColumnsSetting
from planish.data.inspect.convert import line
from planish.data.rows import Question, values_of
from planish.evaluate.confidence import MEASURES, LabelledAnswer, MeasuresConfig, answer_questions
from planish.evaluate.probe.slick import CATEGORIES
from planish.judges.abstention import AbstentionDetector, abstention_detector
from planish.judges.verify.answers import normalized
from planish.models.load import ModelConfig
from planish.statistics.estimate import Estimate, estimate_text
from planish.statistics.honesty import (
    Honesty,
    Outcome,
    Outcomes,
    aurc,
    average_precision,
    expected_calibration_error,
    honesty_scores,
    outcome_shares,
    risk_coverage,
)

CLASS = "category"  # the field of `planish know`


class KnowledgeConfig(Config):
    model: ModelConfig = Field(description="the model to ask")
    questions: str = Field(description="a file of questions with answers, in any known format, or of `planish know`")
    before: ModelConfig | None = Field(
        default=None, description="the model before it was trained, for the scores of over-conservatism and prudence"
    )
    by: str | None = Field(default=None, description="field of `about` to group the answers by, beside the class")
    abstentions: str | None = Field(
        default=None, description="a text file of words that abstain, one abstention a line, beside planish's own"
    )
    confidence: MeasuresConfig = Field(
        default=MeasuresConfig(), description="measures of confidence beside the answer's probability"
    )
    max_completion_tokens: int = Field(default=64, ge=1, description="an answer is cut after this many tokens")
    limit: int | None = Field(default=None, ge=1, description="questions to ask, drawn by the seed; absent is all")
    plugins: Plugins = ()
    format: str = Field(default="auto", description="how to read the file; auto recognizes it")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    out: str = Field(description="the jsonl file to write; its scores are the same with .json behind it")
    seed: int = Field(default=0, ge=0, description="seed of the limit")
    device: str = Field(default="auto", description="cpu, cuda, or auto")

    @model_validator(mode="after")
    def _check(self) -> KnowledgeConfig:
        if Path(self.out).resolve() == Path(self.questions).resolve():
            raise ValueError(f"out={self.out}: would write over the file that is read: give it another name")
        return self


@dataclass(frozen=True, slots=True)
class Group:
    """The answers to the questions that have this value of this field; all of them, without a field."""

    field: str
    value: str
    n: int
    shares: Outcomes


def evaluate_knowledge(config: KnowledgeConfig) -> list[LabelledAnswer]:
    """Asks every question, writes each answer with its outcome and the scores of all, and prints them."""
    out, detector = Path(config.out), abstention_detector(config.abstentions)
    questions = _read(config)
    fields = [
        name for name in (CLASS, config.by) if name and (name == config.by or any(CLASS in q.about for q in questions))
    ]
    grouped = {name: values_of(questions, name) for name in fields}  # an unknown field is an error before the work
    now = _answers(config.model, questions, detector, config)
    before = None if config.before is None else _answers(config.before, questions, detector, config)
    groups = list(group_outcomes([answered.outcome for answered in now], grouped))
    was: list[Outcome] | None = None if before is None else [answered.outcome for answered in before]
    honesty = None if was is None else honesty_scores(was, [answered.outcome for answered in now])
    with new_file(out) as partial:
        partial.write_text(as_lines(_lines(questions, now, before)), encoding="utf-8")
    scores = confidence_scores(now)
    write_json(out.with_name(f"{out.name}.json"), _account(config, groups, scores, honesty))
    _show(groups, scores, honesty)
    return now


def _answers(
    model: ModelConfig, questions: Sequence[Question], detector: AbstentionDetector, config: KnowledgeConfig
) -> list[LabelledAnswer]:
    device = local_device(config.device)
    return answer_questions(model, questions, detector, config.confidence, config.max_completion_tokens, device)


def group_outcomes(outcomes: Sequence[Outcome], grouped: Mapping[str, Sequence[str]]) -> Iterator[Group]:
    """The shares of each value of each field, classes from known to unknown and others by name; then of all."""
    for field, values in grouped.items():
        order = [*(name for name in CATEGORIES if name in values), *sorted({*values} - {*CATEGORIES})]
        for value in order:
            own: list[Outcome] = [outcomes[i] for i, theirs in enumerate(values) if theirs == value]
            yield Group(field, value, len(own), outcome_shares(own))
    yield Group("", "all", len(outcomes), outcome_shares(outcomes))


def confidence_scores(answers: Sequence[LabelledAnswer]) -> dict[str, Any]:
    """The risk and the order that each measure of confidence gives to the answers that were attempted."""
    attempted = [answered for answered in answers if answered.outcome != "abstained"]
    right = [answered.outcome == "correct" for answered in attempted]
    found: dict[str, Any] = {"attempted": len(attempted)}
    for name in MEASURES:
        confidence = [getattr(answered, name) for answered in attempted]
        if attempted and None not in confidence:
            found[name] = {
                "mean": float(np.mean(confidence)),
                "aurc": aurc(confidence, right),
                "average_precision": average_precision(confidence, right),
                "calibration_error": expected_calibration_error(confidence, right),
                "risk_coverage": risk_coverage(confidence, right),
            }
    return found


def _read(config: KnowledgeConfig) -> list[Question]:
    read = import_rows(config.questions, (Question,), config.format, config.columns)
    if read.dropped:
        warn(f"{config.questions}: {len(read.dropped)} rows were left out, the first because: {read.dropped[0].reason}")
    for row in read.rows:
        if not any(map(normalized, row.answers)):
            raise DataError(f"{row.origin}: has no right answer with words: name one in `answers`, or take the row out")
    if not read.rows:
        raise DataError(f"{config.questions}: no question in it: {len(read.dropped)} rows were left out")
    return subsample(read.rows, config.limit, config.seed)


def _lines(
    questions: Sequence[Question], now: Sequence[LabelledAnswer], before: Sequence[LabelledAnswer] | None
) -> Iterator[dict[str, Any]]:
    for i, (question, answered) in enumerate(zip(questions, now, strict=True)):
        yield {**line(question), **answered.as_record(), **(before[i].as_record("before_") if before else {})}


def _account(
    config: KnowledgeConfig, groups: Sequence[Group], scores: Mapping[str, Any], honesty: Honesty | None
) -> dict[str, Any]:
    account: dict[str, Any] = {
        "model": config.model.path,
        "questions": config.questions,
        "groups": [_group_record(group) for group in groups],
        "confidence": scores,
    }
    if honesty is not None and config.before is not None:
        over, prudence = _record(honesty.over_conservative), _record(honesty.prudence)
        account["before"] = config.before.path
        account["honesty"] = {"over_conservative": over, "prudence": prudence, "honesty": honesty.honesty}
    return account


def _group_record(group: Group) -> dict[str, Any]:
    shares = group.shares
    estimates = {name: getattr(shares, name) for name in ("correct", "wrong", "abstained", "given_attempted")}
    records = {name: _record(estimate) for name, estimate in estimates.items()}
    return {"field": group.field, "value": group.value, "n": group.n, **records, "f": shares.f}


def _record(found: Estimate | None) -> dict[str, Any] | None:
    return found and {"share": found.value, "low": found.low, "high": found.high, "n": found.n}


def _show(groups: Sequence[Group], scores: Mapping[str, Any], honesty: Honesty | None) -> None:
    rows = [
        [
            group.value,
            f"{group.n:,}",
            *(estimate_text(share, ".0%") for share in _columns(group.shares)),
            f"{group.shares.f:.2f}",
        ]
        for group in groups
    ]
    print_table(["", "questions", "correct", "wrong", "abstained", "correct of attempted", "F"], rows)
    measures = [
        [
            name,
            *(f"{own[key]:.2f}" for key in ("mean", "calibration_error", "aurc")),
            "–" if own["average_precision"] is None else f"{own['average_precision']:.2f}",
        ]
        for name, own in scores.items()
        if name in MEASURES
    ]
    if measures:
        print_table(["confidence", "mean", "calibration error", "AURC", "AP"], measures)
    if honesty is not None:
        total = "–" if honesty.honesty is None else f"{honesty.honesty:.2f}"
        over, prudence = (estimate_text(share, ".0%") for share in (honesty.over_conservative, honesty.prudence))
        print(f"over-conservative {over}, prudence {prudence}, honesty {total}")


def _columns(shares: Outcomes) -> tuple[Estimate | None, ...]:
    return shares.correct, shares.wrong, shares.abstained, shares.given_attempted

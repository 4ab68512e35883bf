"""Whose taste a reward model has: how often its scores agree with each group's choices.

A model trained on all groups that agrees more with one favours it. Trained without a group, its accuracy on that group says how
far the taste of the others carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planish.base.errors import ConfigError, DataError
from planish.data.chat.tool_calls import as_dicts
from planish.data.formats.registry import stream_rows
from planish.data.rows import Comparison, Dropped
from planish.feedback.report.ratings import Measuring, digest_of, grouped
from planish.feedback.report.reading import text_of
from planish.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class GroupAccuracy:
    """`accuracy` over the choices of people of a group; `above` is it less that over all others' choices."""

    group: str
    choices: int
    accuracy: Estimate
    above: Estimate | None


@dataclass(frozen=True, slots=True)
class ScoredBy:
    """A reward model's scores. `without` are the pairs that the file has no scores for."""

    name: str
    choices: int
    without: int
    accuracy: Estimate
    groups: list[GroupAccuracy]


def audits(measuring: Measuring, files: Sequence[str]) -> list[ScoredBy]:
    return [_audit(measuring, file) for file in files]


def _audit(measuring: Measuring, file: str) -> ScoredBy:
    scores = read_scores(file)
    ratings = measuring.ratings
    tasks = [row for row in ratings.tasks("person") or ratings.tasks() if row.value]
    margins: dict[str, float] = {}
    for key in {row.pair for row in tasks}:
        pair = ratings.pairs[key]
        both = [scores.get((pair.prompt, digest_of(text))) for text in pair.texts]
        if both[0] is not None and both[1] is not None:
            margins[key] = both[0] - both[1]
    rows = [row for row in tasks if row.pair in margins]
    if not rows:
        raise ConfigError(
            f"scores={file}: has no scores of the answers that were judged; expected the output of planish score on the same "
            "comparisons (planish feedback export writes them)"
        )
    right = np.array([(np.sign(margins[row.pair]) * row.value + 1) / 2 for row in rows])
    prompts = measuring.prompts_of(rows)
    groups = grouped(rows, lambda row: ratings.raters[row.rater].group)
    of_N = np.array([ratings.raters[row.rater].group for row in rows])
    return ScoredBy(
        Path(file).name.removesuffix(".jsonl"),
        len(rows),
        len({row.pair for row in tasks}) - len(margins),
        measuring.bootstrap.share(right, np.ones(len(rows)), prompts),
        [_group(measuring, name, right, of_N == name, prompts) for name in groups if name and len(groups) > 1],
    )


def _group(
    measuring: Measuring, name: str, right_N: np.ndarray, inside_N: np.ndarray, prompts_N: np.ndarray
) -> GroupAccuracy:
    accuracy = measuring.bootstrap.share(right_N[inside_N], np.ones(int(inside_N.sum())), prompts_N[inside_N])
    parts = np.stack([right_N * inside_N, inside_N, right_N * ~inside_N, ~inside_N], axis=1).astype(float)
    above = measuring.bootstrap.statistic(
        lambda sums: sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3], parts, prompts_N
    )
    return GroupAccuracy(name, int(inside_N.sum()), accuracy, above)


def read_scores(file: str) -> dict[tuple[str, str], float]:
    """The score of each answer, by the digests of prompt and text."""
    scores: dict[tuple[str, str], float] = {}
    for row in stream_rows(file, (Comparison,)):
        if isinstance(row, Dropped):
            continue
        if not row.scores:
            raise DataError(
                f"{row.origin}: scores: missing; expected the output of planish score, with one for each answer"
            )
        prompt = digest_of(as_dicts(row.prompt))
        for message, score in zip(as_dicts(row.completions), row.scores, strict=True):
            scores[prompt, digest_of(text_of(message))] = score
    return scores

"""ranking.json: how well a run's scores rank comparisons, by step and by set of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from planish.reports.read.files import read_typed
from planish.reports.read.run import RecordedRun
from planish.statistics.ranking_result import Known, RankingEvaluation

FILE = "ranking.json"

_SHAPE = TypeAdapter(list[RankingEvaluation])


def read_rankings(path: Path) -> list[RankingEvaluation]:
    """In the order of steps."""
    return sorted(read_typed(path, _SHAPE, "the evaluation of a ranking"), key=lambda evaluation: evaluation.step)


def shown_of(run: RecordedRun, evaluations: Sequence[RankingEvaluation]) -> RankingEvaluation:
    """The last evaluation of a set, or that of the saved model where the best is saved."""
    saved = run.after.step if run.saves_best and run.after else None
    return next((evaluation for evaluation in evaluations if evaluation.step == saved), evaluations[-1])


def fully_known(evaluation: RankingEvaluation) -> Known | None:
    """The best possible results, where the probability of every pair in the set is known."""
    known = evaluation.known
    return known if known and known.pairs == evaluation.pairs else None


def best_accuracy(evaluation: RankingEvaluation) -> tuple[float, ...]:
    """The best possible accuracy over the whole set: one number, two bounds of it, or nothing where it is unknown."""
    if known := fully_known(evaluation):
        return (known.ceiling.value,)
    votes = evaluation.repeated
    if votes and votes.votes == evaluation.pairs:
        return (votes.leave_one_out.value, votes.plug_in.value)
    return ()


def least_log_loss(evaluation: RankingEvaluation) -> tuple[float, ...]:
    known = fully_known(evaluation)
    return (known.entropy.value,) if known else ()

"""The whole report as numbers: the shape of the JSON file beside the page."""

from __future__ import annotations

from dataclasses import dataclass

from planish.feedback.report.agreement import (
    AgreementPart,
    GroupsAgreement,
    RatersAgreement,
    agreement_parts,
    groups_agreement,
    raters_agreement,
)
from planish.feedback.report.annotators import RaterFound, raters_found
from planish.feedback.report.audit import ScoredBy, audits
from planish.feedback.report.config import FeedbackReportConfig
from planish.feedback.report.judges import JudgeFound, judges_found
from planish.feedback.report.leans import LeanPool, leans
from planish.feedback.report.noise import NoiseCost, noise_cost
from planish.feedback.report.ratings import Measuring, Ratings
from planish.statistics.estimate import Bootstrap


@dataclass(frozen=True, slots=True)
class FeedbackFound:
    """`ratings` are of pairs of answers, `prompts` what the bootstrap draws. `dropped` are records that were left out,
    `identical` pairs of one answer twice, `practice` ratings of training and test items, `adjudicated` those of
    adjudicators: these are in no measure."""

    sources: list[str]
    prompts: int
    pairs: int
    ratings: int
    people: int
    models: int
    unable: int
    practice: int
    adjudicated: int
    identical: int
    dropped: list[str]
    aspects: list[str]
    agreement: list[AgreementPart]
    groups: list[GroupsAgreement]
    pairs_of_raters: list[RatersAgreement]
    raters: list[RaterFound]
    leans: list[LeanPool]
    noise: NoiseCost | None
    scores: list[ScoredBy]
    judges: list[JudgeFound]
    draws: int
    seed: int


def measure(ratings: Ratings, config: FeedbackReportConfig) -> FeedbackFound:
    measuring = Measuring(ratings, Bootstrap(config.draws, config.seed))
    parts = agreement_parts(measuring, config.by)
    uses = [row.use for row in ratings.rows]
    return FeedbackFound(
        sources=ratings.sources,
        prompts=len({pair.prompt for pair in ratings.pairs.values()}),
        pairs=len(ratings.pairs),
        ratings=len(ratings.rows),
        people=len(ratings.named("person")),
        models=len(ratings.named("model")),
        unable=sum(ratings.unable.values()),
        practice=uses.count("practice"),
        adjudicated=uses.count("adjudication"),
        identical=ratings.identical,
        dropped=ratings.dropped,
        aspects=ratings.aspects,
        agreement=parts,
        groups=groups_agreement(measuring),
        pairs_of_raters=raters_agreement(measuring),
        raters=raters_found(measuring),
        leans=leans(measuring, config.traits),
        noise=noise_cost(measuring, parts),
        scores=audits(measuring, config.scores),
        judges=judges_found(measuring),
        draws=config.draws,
        seed=config.seed,
    )

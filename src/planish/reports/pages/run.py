"""The section of one run: held-out results before and after, data, figures, answers, and how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planish.reports import text
from planish.reports.figures.base import Figure
from planish.reports.figures.preference import implicit_reward, preference_figures
from planish.reports.figures.training import run_figures
from planish.reports.pages import ppo
from planish.reports.pages.answers import answers_text
from planish.reports.pages.pipeline import command
from planish.reports.pages.ppo import PpoSection, ppo_section
from planish.reports.pages.ranking import RankingSection, ranking_section
from planish.reports.pages.refusals import RefusalSection, run_refusals
from planish.reports.pages.verdicts import VerdictSection, verdict_section
from planish.reports.read.answers import AnswerHistory, answers
from planish.reports.read.run import ALL, MOST_LISTED, RecordedRun
from planish.reports.read.verdicts import judged
from planish.statistics.estimate import Estimate

FEW_ROWS = 30
LEFT_OUT = {"dropped": "dropped", "truncated": "truncated", "leaks": "also held out"}  # in the account: on the page


@dataclass(frozen=True, slots=True)
class HeldOutRow:
    """A row of the table of held-out results: loss and accuracy before and after, of a source, a set or a run."""

    name: str
    rows: int | None
    tokens: int
    before: float | None
    after: float | None
    right_before: float | None
    right_after: float | None
    right_change: Estimate | None = None
    account: Mapping[str, Any] | None = None  # of the source's data
    step: int | None = None  # of `after`, where it is not that of the other rows


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows of a source that were dropped or truncated, or training rows that are also held out, with reasons."""

    source: str
    kind: str
    num: int
    rows: list[dict[str, Any]]
    num_more: int  # that are not listed


@dataclass(frozen=True, slots=True)
class RunSection:
    run: RecordedRun
    place: str
    name: str
    title: str
    outcome: str
    notes: list[str]
    trained: str
    sources: list[HeldOutRow]
    total: HeldOutRow
    eval_sets: list[HeldOutRow]
    implicit_reward: str | None  # DPO
    starts_at_zero: bool
    few: list[str]  # sources with few held-out rows
    left_out: list[LeftOut]
    figures: dict[str, Figure]  # by the id of its place on the page
    answers: list[AnswerHistory]
    answers_text: str
    verdicts: VerdictSection | None
    ranking: RankingSection | None
    refusals: RefusalSection | None
    ppo: PpoSection | None
    command: str

    @property
    def all_figures(self) -> dict[str, Figure]:
        ranking, of_ppo = self.ranking.figures if self.ranking else {}, self.ppo.figures if self.ppo else {}
        refusals = self.refusals.figures if self.refusals else {}
        return {**self.figures, **ranking, **of_ppo, **refusals}


def run_section(run: RecordedRun, place: str, name: str) -> RunSection:
    """`place` begins the ids of its figures."""
    with_verdicts, misfit = judged(run)
    ranking, unread = ranking_section(run, place)
    histories = answers(with_verdicts)
    sentences = ppo if run.is_ppo else text
    figures = [] if run.is_ppo else preference_figures(run) if run.is_preference else run_figures(run)
    notes = (text.state(run), text.selection(run), text.leaks(run), misfit, unread)
    return RunSection(
        run=run,
        place=place,
        name=name,
        title=sentences.title(run),
        outcome=sentences.outcome(run),
        notes=[note for note in notes if note],
        trained=sentences.trained(run),
        sources=[held_out_row(run, source) for source in run.sources],
        total=held_out_row(run, ALL),
        eval_sets=[_eval_set_row(run, name, ranking) for name in (run.before.eval_sets if run.before else ())],
        implicit_reward=implicit_reward(run) if run.method == "dpo" else None,
        starts_at_zero=run.starts_at_zero,
        few=[source for source in run.sources if 0 < run.held_out(source)[0] < FEW_ROWS],
        left_out=[part for source in run.sources for part in _left_out(source, run.data.get(source, {}))],
        figures={f"{place}-figure-{i}": figure for i, figure in enumerate(figures)},
        answers=histories,
        answers_text=answers_text(run, histories),
        verdicts=verdict_section(run, histories),
        ranking=ranking,
        refusals=run_refusals(run.path, place, _refusal_labels(run)),
        ppo=ppo_section(run, place) if run.is_ppo else None,
        command=command(run),
    )


def held_out_row(run: RecordedRun, source: str) -> HeldOutRow:
    before, after = run.before, run.after
    rows, tokens = run.held_out(source)
    return HeldOutRow(
        name="all sources" if source == ALL else source,
        rows=rows,
        tokens=tokens,
        before=before.losses.get(source) if before else None,
        after=after.losses.get(source) if after else None,
        right_before=before.accuracies.get(source) if before else None,
        right_after=after.accuracies.get(source) if after else None,
        right_change=run.accuracy_change(source),
        account=run.data.get(source),
    )


def _refusal_labels(run: RecordedRun) -> Mapping[str, Any]:
    asked = (run.config.get("evaluate") or {}).get("refusals") or {}
    return asked.get("labels") or {}


def _eval_set_row(run: RecordedRun, name: str, ranking: RankingSection | None) -> HeldOutRow:
    """A further set, which is measured before the first step and after the last, whichever model is saved."""
    measured = [(m.step, m.eval_sets[name]) for m in run.evaluations if name in m.eval_sets]
    counts = {row.name: row.comparisons for _, rows in ranking.blocks[:1] for row in rows} if ranking else {}
    step, after = measured[-1] if len(measured) > 1 else (None, None)
    return HeldOutRow(name, counts.get(name), 0, None, None, measured[0][1], after, step=step)


def _left_out(source: str, account: Mapping[str, Any]) -> list[LeftOut]:
    kinds = [(words, account.get(kind, [])) for kind, words in LEFT_OUT.items()]
    return [
        LeftOut(source, words, len(rows), rows[:MOST_LISTED], len(rows[MOST_LISTED:])) for words, rows in kinds if rows
    ]

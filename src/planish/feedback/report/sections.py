"""The sections of the report's page: the finding, tables, and what their columns mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planish.base.text import count_text, listed, number_text, percent
from planish.feedback.report.agreement import AgreementPart
from planish.feedback.report.annotators import RaterFound
from planish.feedback.report.judges import JudgeFound
from planish.feedback.report.leans import MEANING, LeanPool
from planish.feedback.report.result import FeedbackFound
from planish.reports.figures.base import Figure
from planish.statistics.estimate import Estimate, estimate_text


@dataclass(frozen=True, slots=True)
class FeedbackTable:
    caption: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class FeedbackSection:
    """`says` is the finding, `how` what the columns mean."""

    title: str
    says: str
    tables: list[FeedbackTable]
    how: str
    figures: dict[str, Figure]


def _agreement(found: FeedbackFound, drawn: dict[str, Figure]) -> FeedbackSection | None:
    if not found.agreement:
        return None
    parts = found.agreement
    tables = [
        FeedbackTable(
            "",
            ["Pairs", "with two ratings", "raw", "α", "Fleiss’ κ", "of pairs × ratings"],
            [_part_row(part) for part in parts],
        )
    ]
    if found.groups:
        rows = [
            [f"{one.first} and {one.second}", f"{one.pairs:,}", estimate_text(one.between), estimate_text(one.within)]
            for one in found.groups
        ]
        tables.append(
            FeedbackTable("Between groups", ["Groups", "pairs", "two of different groups", "two of one group"], rows)
        )
    if found.pairs_of_raters:
        rows = [
            [f"{one.first} and {one.second}", f"{one.pairs:,}", estimate_text(one.raw), estimate_text(one.kappa, ".3f")]
            for one in found.pairs_of_raters
        ]
        tables.append(FeedbackTable("Each two annotators", ["Annotators", "pairs", "raw", "Cohen’s κ"], rows))
    says = "Agreement measures noise, not bias: those who share a mistake agree on it."
    inside = [part for part in parts if part.by not in ("all",) and part.found.alpha]
    if len(inside) > 1:
        low, high = (
            pick(inside, key=lambda part: part.found.alpha.value if part.found.alpha else 0.0) for pick in (min, max)
        )
        says += f" α is lowest for {_name(low)} ({_alpha(low)}) and highest for {_name(high)} ({_alpha(high)})."
    how = (
        "Raw: two ratings of one pair are equal. α (Krippendorff, nominal) and κ take out what chance would "
        "give. Fleiss’ κ needs "
        "one number of ratings a pair, and is over the pairs that have the most frequent one."
    )
    return FeedbackSection("Agreement", says, tables, how, _only(drawn, "agreement"))


def _part_row(part: AgreementPart) -> list[str]:
    one = part.found
    return [
        _name(part),
        f"{one.units:,}",
        estimate_text(one.raw),
        estimate_text(one.alpha, ".3f"),
        estimate_text(one.fleiss, ".3f"),
        f"{one.fleiss_units:,} × {one.fleiss_ratings}",
    ]


def _name(part: AgreementPart) -> str:
    return "all" if part.by == "all" else f"{part.by}: {part.value}"


def _alpha(part: AgreementPart) -> str:
    return number_text(part.found.alpha.value, ".2f") if part.found.alpha else "–"


def _annotators(found: FeedbackFound, drawn: dict[str, Figure]) -> FeedbackSection:
    columns: dict[str, Callable[[RaterFound], str]] = {
        "Annotator": lambda one: one.name,
        "": lambda one: one.kind if not one.group else f"{one.kind}, {one.group}",
        "pairs": lambda one: f"{one.ratings:,}",
        "ties": lambda one: percent(one.ties / one.ratings, 0) if one.ratings else "–",
        "could not tell": lambda one: f"{one.unable:,}",
        "known answers right": lambda one: estimate_text(one.gold),
        "repeats the same": lambda one: estimate_text(one.same),
        "equal to others’": lambda one: estimate_text(one.with_others),
        "the first shown": lambda one: estimate_text(one.first_shown),
        "seconds (quartiles)": _seconds,
        "stands out": lambda one: "; ".join(one.stands_out),
    }
    empty = {"", "–", "0"}
    kept = {
        name: cell
        for name, cell in columns.items()
        if name == "Annotator" or {cell(one) for one in found.raters} - empty
    }
    rows = [[cell(one) for cell in kept.values()] for one in found.raters]
    odd = [f"{one.name}: {'; '.join(one.stands_out)}" for one in found.raters if one.stands_out]
    says = " ".join(f"{text}." for text in odd[:5]) if odd else "Nobody stands out."
    how = (
        "Standing out: agreement with the others or repeats below theirs by more than chance (one-sided, Holm "
        "over annotators); known "
        "answers below what the study asks for, or in files below the others’; one side in more than three "
        "quarters; less than a third of the others’ time."
    )
    return FeedbackSection("Annotators", says, [FeedbackTable("", [*kept], rows)], how, _only(drawn, "raters"))


def _seconds(one: RaterFound) -> str:
    if one.seconds is None:
        return "–"
    span = one.seconds_quartiles
    return f"{one.seconds:.0f}" + (f" ({span[0]:.0f} to {span[1]:.0f})" if span else "")


def _leans(found: FeedbackFound, drawn: dict[str, Figure]) -> FeedbackSection | None:
    if not found.leans:
        return None
    rows = [
        [
            f"{pool.who}: {lean.feature}",
            f"{pool.choices:,}",
            f"{pool.raters}",
            estimate_text(lean.pool, "+.2f"),
            _odds(lean.pool),
            f"± {lean.spread:.2f}" if pool.raters > 1 else "–",
        ]
        for pool in found.leans
        for lean in pool.leans
    ]
    columns = ["Lean of … to", "choices", "annotators", "log-odds", "odds times", "they differ by"]
    tables = [FeedbackTable("", columns, rows)] if rows else []
    says = " ".join(filter(None, (_leans_text(pool) for pool in found.leans))) or "No lean is told from chance."
    reasons = {
        reason: [pool.who for pool in found.leans if reason in pool.left_out]
        for pool in found.leans
        for reason in pool.left_out
    }
    left = [reason if len(who) == len(found.leans) else f"{reason} ({listed(who)})" for reason, who in reasons.items()]
    how = (
        f"Log-odds of a choice. {'; '.join(f'{name}: {text}' for name, text in MEANING.items())}. A lean is no "
        "fault by itself: "
        "longer answers may say more. How annotators differ, on the same answers, is taste."
        + (f" Not in the fits: {'; '.join(left)}." if left else "")
    )
    return FeedbackSection("What annotators lean to", says, tables, how, _only(drawn, "leans"))


def _odds(value: Estimate) -> str:
    if value.low is None or value.high is None:
        return f"{math.exp(value.value):.2f}"
    return f"{math.exp(value.value):.2f} ({math.exp(value.low):.2f} to {math.exp(min(value.high, 50)):.2f})"


def _leans_text(pool: LeanPool) -> str:
    sure = [
        lean for lean in pool.leans if lean.pool.low is not None and (lean.pool.low > 0 or (lean.pool.high or 0) < 0)
    ]
    if not sure:
        return ""
    parts = [
        f"{'to' if lean.pool.value > 0 else 'away from'} {lean.feature} ({number_text(lean.pool.value, '+.2f')})"
        for lean in sure
    ]
    return f"{pool.who[:1].upper()}{pool.who[1:]} lean{'' if pool.who == 'people' else 's'} {listed(parts)}."


def _noise(found: FeedbackFound, drawn: dict[str, Figure]) -> FeedbackSection | None:
    if found.noise is None:
        return None
    noise = found.noise.found
    bounds = f"{percent(noise.leave_one_out.value)} and {percent(noise.plug_in.value)}"
    says = (
        f"Two choices on one pair are equal in {estimate_text(noise.agreement)}. A reward model that knew each "
        "pair’s chances would agree "
        f"with one person in between {bounds}"
        + (f", about {estimate_text(noise.ceiling)}" if noise.ceiling else "")
        + ": accuracy above that on single judgements is not to be had."
    )
    if len(noise.majorities) > 1 and noise.majorities[1].worth is not None and noise.majorities[1].agrees is not None:
        says += (
            " Three judgements of a pair tell as much about tastes as "
            f"{estimate_text(noise.majorities[1].worth, '.1f')} pairs judged once: "
            "new pairs bring more than repeated ones, and twice as many narrow an interval by 30%."
        )
    if found.noise.pairs_needed is not None:
        says += f" For α to ± 0.05 you need about {count_text(found.noise.pairs_needed, 'pair')} with several ratings."
    rows = [
        [f"{one.judgements}", estimate_text(one.agrees), estimate_text(one.worth, ".2f")]
        for one in noise.majorities
        if one.agrees is not None
    ]
    tables = [
        FeedbackTable("", ["Judgements of a pair", "one more person agrees", "worth so many pairs judged once"], rows)
    ]
    how = (
        f"From {count_text(noise.votes, 'choice')} on {count_text(noise.pairs, 'pair')} with two or more, ties "
        "left out. The bounds: a choice "
        "against the majority of the others, and of all. Between them the best possible accuracy, if pairs’ "
        "chances are of a symmetric Beta "
        "distribution. If all pairs were equally hard it would be "
        f"{estimate_text(noise.ceiling_equal)}, and no distribution gives more."
    )
    return FeedbackSection("What the noise costs", says, tables if rows else [], how, _only(drawn, "noise"))


def _audit(found: FeedbackFound, drawn: dict[str, Figure]) -> FeedbackSection | None:
    if not found.scores:
        return None
    tables, says = list[FeedbackTable](), list[str]()
    for model in found.scores:
        rows = [["all", f"{model.choices:,}", estimate_text(model.accuracy), "–"]]
        rows += [
            [one.group, f"{one.choices:,}", estimate_text(one.accuracy), estimate_text(one.above, "+.1%")]
            for one in model.groups
        ]
        tables.append(FeedbackTable(model.name, ["Group", "choices", "accuracy", "above the others"], rows))
        favoured = [one.group for one in model.groups if one.above and one.above.low is not None and one.above.low > 0]
        behind = [one.group for one in model.groups if one.above and one.above.high is not None and one.above.high < 0]
        parts = [f"favours {listed(favoured)}"] * bool(favoured) + [f"is further from {listed(behind)}"] * bool(behind)
        says.append(f"{model.name} {listed(parts) or 'favours no group that intervals can tell'}.")
        if model.without:
            says.append(f"It has no scores for {count_text(model.without, 'pair')}.")
    how = (
        "Accuracy: a choice is in the order of the scores. A reward model trained on all groups that agrees more "
        "with one favours its taste; "
        "trained without a group, its accuracy there says how far the others’ taste carries."
    )
    return FeedbackSection("Whose taste the reward model has", " ".join(says), tables, how, _only(drawn, "groups"))


def _judges(found: FeedbackFound, drawn: dict[str, Figure]) -> FeedbackSection | None:
    met = [judge for judge in found.judges if judge.ratings]
    wins = [judge for judge in found.judges if judge.wins]
    if not met and not wins:
        return None
    rows = [
        [
            judge.name,
            f"{judge.pairs:,}",
            f"{judge.ratings:,}",
            estimate_text(judge.with_person),
            estimate_text(judge.person_with_person),
            estimate_text(judge.with_majority),
            estimate_text(judge.person_with_majority),
            estimate_text(judge.kappa, ".3f"),
            estimate_text(judge.by_order),
        ]
        for judge in met
    ]
    columns = [
        "Judge",
        "pairs",
        "people’s ratings",
        "judge = person",
        "person = person",
        "judge = majority",
        "person = others’ majority",
        "κ with majority",
        "follows the order",
    ]
    tables = [FeedbackTable("", columns, rows)] if rows else []
    for judge in met:
        checked = [
            [one.says, f"{one.ratings:,}", estimate_text(one.same), estimate_text(one.tied), estimate_text(one.other)]
            for one in judge.verdicts
        ]
        head = ["The judge says", "ratings", "people say the same", "a tie", "the other"]
        tables.append(FeedbackTable(f"{judge.name}, calibrated against people", head, checked))
    for judge in wins:
        won = [
            [
                f"{one.system} against {one.other}", f"{one.pairs:,}", f"{one.both:,}", estimate_text(one.judge),
                estimate_text(one.people), estimate_text(one.corrected),
            ]
            for one in judge.wins
        ]  # fmt: skip
        head = ["Win rate of", "pairs", "also by people", "the judge", "people", "corrected"]
        tables.append(FeedbackTable(f"{judge.name}, win rates", head, won))
    says = (
        " ".join(_judge_text(judge) for judge in met)
        or "No pair was judged by people and by a judge: give both the same items."
    )
    how = (
        "Side by side on the same pairs. Corrected: the judge’s win rate over all its pairs, moved by how people "
        "differ from it where both "
        "judged (prediction-powered inference), so that its leans do not stay in the number."
    )
    return FeedbackSection("People and judges", says, tables, how, _only(drawn, "judges"))


def _judge_text(judge: JudgeFound) -> str:
    says = f"{judge.name} agrees with a person in {estimate_text(judge.with_person)}"
    if judge.person_with_person:
        says += f", two people on the same pairs in {estimate_text(judge.person_with_person)}"
    return f"{says}."


def _only(drawn: dict[str, Figure], *names: str) -> dict[str, Figure]:
    return {name: drawn[name] for name in names if name in drawn}


SECTIONS: Sequence[Callable[[FeedbackFound, dict[str, Figure]], FeedbackSection | None]] = (
    _agreement,
    _annotators,
    _leans,
    _noise,
    _audit,
    _judges,
)

"""The paragraph of methods: what was measured, on what, and how, with every number that one would cite."""

from __future__ import annotations

from collections.abc import Sequence

from planish import __version__
from planish.base.text import count_text, listed, number_text
from planish.feedback.report.leans import LeanPool
from planish.feedback.report.result import FeedbackFound
from planish.statistics.estimate import Estimate, estimate_text

CITED = ("all", "aspect", "group", "chosen by")  # types of pairs in the paragraph; the table has the others


def methods(found: FeedbackFound) -> list[str]:
    return [
        text
        for text in (_data(found), _agreement(found), _annotators(found), _leans(found), _noise(found), _rest(found))
        if text
    ]


def _data(found: FeedbackFound) -> str:
    who = [
        count_text(n, one, many)
        for n, one, many in ((found.people, "person", "people"), (found.models, "model", "models"))
        if n
    ]
    asked = f" for {listed(found.aspects)}" if len(found.aspects) > 1 else ""
    left = [
        f"{count_text(found.unable, 'judgement')} without a choice" if found.unable else "",
        f"{count_text(found.practice, 'rating')} of training and test items" if found.practice else "",
        f"{count_text(found.adjudicated, 'rating')} of adjudicators" if found.adjudicated else "",
        f"{count_text(found.identical, 'pair')} of one answer twice" if found.identical else "",
        f"{count_text(len(found.dropped), 'record')} that no comparison could be made of" if found.dropped else "",
    ]
    out = f" Left out: {listed([text for text in left if text])}." if any(left) else ""
    return (
        f"{listed(who)} gave {count_text(found.ratings, 'rating')} of {count_text(found.pairs, 'pair')} of answers to "
        f"{count_text(found.prompts, 'prompt')}{asked}: the first is better, the second, or a tie, the two "
        "answers in the order of a hash. A ranking "
        f"of several answers is a rating of each of its pairs.{out} Intervals are 95%; unless said otherwise they "
        "are percentiles of "
        f"{found.draws:,} bootstrap samples of whole prompts (seed {found.seed}). Made by planish {__version__}."
    )


def _agreement(found: FeedbackFound) -> str:
    parts: list[str] = []
    for part in found.agreement:
        if part.by not in CITED:
            continue
        one = part.found
        name = "" if part.by == "all" else f"for {part.by} {part.value}, "
        alpha = (
            f"Krippendorff’s α (nominal) {estimate_text(one.alpha, '.3f')}"
            if one.alpha
            else "α not defined, all ratings being equal"
        )
        fleiss = (
            f", Fleiss’ κ {estimate_text(one.fleiss, '.3f')} over {one.fleiss_units:,} pairs of {one.fleiss_ratings} ratings"
            if one.fleiss
            else ""
        )
        parts.append(
            f"{name}raw {estimate_text(one.raw)}, {alpha}{fleiss} ({one.ratings:,} ratings of {one.units:,} pairs "
            "with two or more)"
        )
    return f"Agreement: {'; '.join(parts)}." if parts else "No pair has two ratings, so agreement is not known."


def _annotators(found: FeedbackFound) -> str:
    says = [
        _range("known answers right", [(one.name, one.gold) for one in found.raters]),
        _range("repeats the same", [(one.name, one.same) for one in found.raters]),
        _range("ratings equal to those of others", [(one.name, one.with_others) for one in found.raters]),
    ]
    times = [one.seconds for one in found.raters if one.seconds is not None]
    says.append(f"median seconds of a judgement from {min(times):.0f} to {max(times):.0f}" if times else "")
    said = [text for text in says if text]
    return f"Annotators: {'; '.join(said)}." if said else ""


def _range(what: str, values: Sequence[tuple[str, Estimate | None]]) -> str:
    known = [(name, value) for name, value in values if value is not None]
    if not known:
        return ""
    low, high = min(known, key=lambda one: one[1].value), max(known, key=lambda one: one[1].value)
    if len(known) == 1:
        return f"{what} {estimate_text(low[1])}"
    return f"{what} from {estimate_text(low[1])} of {low[0]} to {estimate_text(high[1])} of {high[0]}"


def _leans(found: FeedbackFound) -> str:
    fitted = [pool for pool in found.leans if pool.leans]
    if not fitted:
        return ""
    return (
        "Leans are coefficients of a logistic regression of choices (ties left out; of a ranking, pairs that "
        "share no answer) on differences "
        "of the two answers: log₂ of the length in characters, the side, sure words less hedges (English), "
        "systems and further traits; annotators "
        "are random effects of every coefficient; intervals have Student’s t, with the part within annotators "
        "clustered by prompt. " + "; ".join(map(_pool, fitted)) + "."
    )


def _pool(pool: LeanPool) -> str:
    parts = [
        f"{lean.feature} {estimate_text(lean.pool, '+.2f')}"
        + (f", annotators’ SD {number_text(lean.spread, '.2f')}" if pool.raters > 1 else "")
        for lean in pool.leans
    ]
    return (
        f"{pool.who} ({count_text(pool.choices, 'choice')}, {count_text(pool.raters, 'annotator')}): {'; '.join(parts)}"
    )


def _noise(found: FeedbackFound) -> str:
    if found.noise is None:
        return ""
    noise = found.noise.found
    return (
        f"Noise: of {noise.votes:,} choices on {noise.pairs:,} pairs with two or more, two on one pair are equal in "
        f"{estimate_text(noise.agreement)}; a choice agrees with the majority of the others in "
        f"{estimate_text(noise.leave_one_out)}, with that of all in "
        f"{estimate_text(noise.plug_in)}; the best possible accuracy against single choices is "
        f"{estimate_text(noise.ceiling)} if pairs’ probabilities "
        f"are of a symmetric Beta distribution, and at most {estimate_text(noise.ceiling_equal)}."
    )


def _rest(found: FeedbackFound) -> str:
    parts = [
        f"the scores of {model.name} are in the order of {model.choices:,} choices in {estimate_text(model.accuracy)}"
        + "".join(f", of {one.group} in {estimate_text(one.accuracy)}" for one in model.groups)
        for model in found.scores
    ]
    parts += [
        f"the judge {judge.name} agrees with single people in {estimate_text(judge.with_person)} of "
        f"{judge.ratings:,} ratings, two people on the same "
        f"pairs in {estimate_text(judge.person_with_person)}; κ with the majority of people "
        f"{estimate_text(judge.kappa, '.3f')}"
        for judge in found.judges
        if judge.ratings
    ]
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""

"""Sentences say no more than the numbers and intervals beside them: tried on any numbers and intervals."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from planish.base.text import signed
from planish.reports.claims import by_name, leaders, moved_share, moved_text, side
from planish.reports.figures.comparison import highest_text, lengths_text, wins_text
from planish.reports.figures.preference import likelihood_text
from planish.reports.figures.ranking import best_step_text, calibration_figure, length_figure
from planish.reports.figures.training import lowest_of_runs, lowest_text
from planish.reports.pages.comparison import comparison_section
from planish.reports.read.run import Measurement, RecordedRun
from planish.reports.text import moved, outcome, trend_text
from planish.statistics.estimate import Estimate, difference, wilson
from planish.statistics.ranking import ranking
from planish.statistics.ranking_result import Calibration, LengthBin, LengthCorrelation, RankingEvaluation
from planish.statistics.win_rate import win_rate
from support.comparison_folders import compared, system
from support.scored_pairs import scored_pair

UNTIMED = settings(deadline=None)
NAMES = ("ann", "bea", "cid", "dan", "eve")
numbers = st.floats(-5, 5)
shares = st.floats(0, 1)


@st.composite
def estimates(draw: st.DrawFn, value: st.SearchStrategy[float] = numbers) -> Estimate:
    middle, below, above = draw(value), draw(st.floats(0, 1)), draw(st.floats(0, 1))
    if draw(st.integers(0, 5)) == 0:
        return Estimate(middle, None, None, 1)
    return Estimate(middle, middle - below, middle + above, 50)


named = st.dictionaries(st.sampled_from(NAMES), estimates(), min_size=1)


def number(text: str) -> float:
    return float(text.replace("−", "-").rstrip(".,;%"))


# Directions


@UNTIMED
@given(numbers, estimates())
def test_direction_is_told_where_the_interval_excludes_no_change(before: float, change: Estimate) -> None:
    after = before + change.value
    says = moved_text(before, after, change, ".2f")
    low, high = (math.nan if end is None else end for end in (change.low, change.high))
    if f"{before:.2f}" == f"{after:.2f}" or says.startswith("stayed"):
        assert f"{before:.2f}".lstrip("-") == f"{after:.2f}".lstrip("-")
        return
    assert says.startswith("rose") == (low > 0)
    assert says.startswith("fell") == (high < 0)
    assert ("no significant change" in says) == (low <= 0 <= high)


@UNTIMED
@given(shares, shares, st.integers(1, 400))
def test_change_of_a_share_has_its_interval_in_points(before: float, after: float, num: int) -> None:
    change = difference(wilson(before * num, num), wilson(after * num, num))
    assert change.low is not None
    assert change.high is not None
    assert change.low - 1e-9 <= after - before <= change.high + 1e-9
    assert moved_share(before, after, change).startswith("rose") == (
        side(change) == 1 and f"{before:.1%}" != f"{after:.1%}"
    )


def test_interval_of_a_difference_of_shares_is_newcombes() -> None:
    """Newcombe 1998, table II: 56 of 70 and 48 of 80 differ by 0.2, from 0.0524 to 0.3339."""
    change = difference(wilson(48, 80), wilson(56, 70))
    assert (change.value, change.low, change.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


@UNTIMED
@given(named)
def test_only_names_whose_interval_excludes_0_have_risen_or_fallen(changes: dict[str, Estimate]) -> None:
    says = by_name(changes, "source")
    for verb, way in (("rose", 1), ("fell", -1)):
        names = [name for name, change in changes.items() if side(change) == way]
        assert (f"{verb} in" in says) == bool(names)
        if 1 <= len(names) <= 3:
            assert all(name in says for name in names)
    others = sum(side(change) in (0, None) for change in changes.values())
    assert ("did not change significantly" in says) == bool(others)


@UNTIMED
@given(numbers, numbers)
def test_measured_change_has_two_numbers_that_differ_as_it_says(before: float, after: float) -> None:
    verb, *_, last = moved(before, after).split()
    first = number(moved(before, after).split()[2])
    assert (verb == "rose") == (number(last) > first)
    assert (verb == "fell") == (number(last) < first)


@UNTIMED
@given(st.lists(numbers, min_size=1, max_size=60))
def test_series_of_single_values_has_no_direction(values: list[float]) -> None:
    says = trend_text(values)
    if len(values) < 20:
        assert says.startswith(("went from", "stayed at"))
    if says.startswith(("rose", "fell")):
        first, last = number(says.split()[2]), number(says.split()[4])
        assert (last > first) == says.startswith("rose")


# Comparisons of models


@UNTIMED
@given(
    st.dictionaries(
        st.sampled_from(NAMES), st.lists(st.sampled_from((0.0, 0.5, 1.0)), min_size=1, max_size=60), min_size=1
    )
)
def test_system_wins_more_often_only_above_one_half(verdicts: dict[str, list[float]]) -> None:
    found = {name: win_rate(np.array(some), np.arange(len(some))) for name, some in verdicts.items()}
    says = wins_text({name: rate.rate for name, rate in found.items()}, "sft")
    clauses = {clause.split(" than ")[0] for clause in says.split("; ") if "more often" in clause}
    for name, rate in found.items():
        more = any(name in clause for clause in clauses)
        assert more == (side(rate.rate, 0.5) == 1)
        assert not (more and rate.wins <= rate.losses)


def test_all_ties_are_no_win() -> None:
    rate = win_rate(np.full(19, 0.5), np.arange(19)).rate
    assert wins_text({"copy": rate}, "sft") == "There is no significant difference between copy and sft."


@UNTIMED
@given(st.dictionaries(st.sampled_from(NAMES), st.floats(0, 40), min_size=1))
def test_longest_answers_are_those_of_all_that_share_the_number_shown(lengths: dict[str, float]) -> None:
    says = lengths_text(lengths, next(iter(lengths)))
    longest = {name for name, value in lengths.items() if f"{value:.1f}" == f"{max(lengths.values()):.1f}"}
    if len(longest) == len(lengths):
        assert says.startswith("All answers have")
    else:
        assert {name for name in NAMES if name in says.split(" tokens")[0]} == longest


@UNTIMED
@given(st.dictionaries(st.sampled_from(NAMES), st.tuples(estimates(), estimates()), min_size=1))
def test_highest_mean_has_the_names_of_those_that_it_does_not_exceed_clearly(
    known: dict[str, tuple[Estimate, Estimate]],
) -> None:
    says = highest_text(known, "score")
    best = max((score for _, score in known.values()), key=lambda score: score.value)
    for name, (_, score) in known.items():
        below = score.high is not None and best.low is not None and score.high < best.low
        assert not (below and name in says and signed(score.value) != signed(best.value))


def test_answers_that_were_mostly_cut_are_named(tmp_path: Path) -> None:
    says = [
        comparison_section(compared(tmp_path, system("sft"), system("ppo", 0.62, 0.5, ended=ended)), "c").says
        for ended in (0.97, 0.0)
    ]
    assert "cut" not in says[0]
    assert "Answers cut at the limit of 64 tokens were judged unfinished: 100% of ppo's." in says[1]


# How scores rank pairs


EVALUATION = TypeAdapter(RankingEvaluation).validate_python(
    {"step": 4, "name": "held_out", **ranking([scored_pair(i, 1.0 if i % 3 else -1.0) for i in range(12)], draws=20)}
)


def bins(differences: list[Estimate]) -> list[LengthBin]:
    return [LengthBin(10 * i + 1, 10 * i + 9, 20, 10.0 * i + 5, change) for i, change in enumerate(differences)]


@UNTIMED
@given(estimates(), estimates(), st.lists(estimates(), min_size=1, max_size=6))
def test_sentence_on_length_contradicts_no_correlation_and_no_bin(
    rank: Estimate, linear: Estimate, parts: list[Estimate]
) -> None:
    length = LengthCorrelation(linear, rank, Estimate(0.5, 0.4, 0.6, 20), bins(parts))
    figure = length_figure({"held-out pairs": dataclasses.replace(EVALUATION, length=length)})
    assert figure is not None
    ways = {side(estimate) for estimate in (rank, linear, *parts)} - {0, None}
    assert figure.says.startswith("No significant effect") == (not ways)
    if figure.says.startswith("Longer answers have higher"):
        assert ways == {1}
    if figure.says.startswith("Longer answers have lower"):
        assert ways == {-1}


@UNTIMED
@given(estimates(st.floats(0.1, 3)))
def test_confidence_is_judged_by_the_interval_of_the_slope(slope: Estimate) -> None:
    calibration = Calibration(EVALUATION.calibration.bins, 0.1, 0.05, slope)
    says = calibration_figure({"held-out pairs": dataclasses.replace(EVALUATION, calibration=calibration)}).says
    assert says.startswith("Overconfident") == (side(slope, 1.0) == -1)
    assert says.startswith("Underconfident") == (side(slope, 1.0) == 1)


@UNTIMED
@given(st.lists(st.tuples(shares, st.floats(0, 2)), min_size=1, max_size=6))
def test_best_steps_are_named_where_one_is_best_as_shown(measured: list[tuple[float, float]]) -> None:
    evaluations = [
        dataclasses.replace(
            EVALUATION, step=step, accuracy=Estimate(right, None, None, 9), log_loss=Estimate(loss, None, None, 9)
        )
        for step, (right, loss) in enumerate(measured)
    ]
    says = best_step_text(evaluations)
    assert f"{max(right for right, _ in measured):.1%}" in says
    assert f"{min(loss for _, loss in measured):.3f}" in says
    assert ("% at every step" in says) == (len({f"{right:.1%}" for right, _ in measured}) == 1)


# Runs


def a_recorded_run(evaluations: list[Measurement], rows: int = 40, **config: object) -> RecordedRun:
    settings = {"data": {"sources": {"a": {}, "b": {}}}, "reduction": "token_mean", **config}
    held_out = {"held_out": {"examples": rows, "learnt_tokens": 100}}
    return RecordedRun(Path("run"), "", settings, {"a": held_out, "b": held_out}, [], evaluations, [], [], True)


@UNTIMED
@given(st.lists(st.floats(0, 20) | st.just(math.nan), min_size=1, max_size=6))
def test_lowest_loss_is_lower_than_the_others_as_shown(losses: list[float]) -> None:
    says = lowest_text(a_recorded_run([Measurement(i, {"all": loss}, {}, {}) for i, loss in enumerate(losses)]))
    known = [loss for loss in losses if not math.isnan(loss)]
    if known:
        assert f"{min(known):.3f}" in says
    if "and rose to" in says:
        assert f"{losses[-1]:.3f}" != f"{min(known):.3f}"
    if "at the end" in says:
        assert f"{losses[-1]:.3f}" == f"{min(known):.3f}"


@UNTIMED
@given(st.lists(st.floats(0, 20), min_size=1, max_size=4), st.lists(st.floats(0, 20), min_size=1, max_size=4))
def test_lowest_of_several_runs_is_lower_as_shown(first: list[float], second: list[float]) -> None:
    runs = {
        name: a_recorded_run([Measurement(i, {"all": loss}, {}, {}) for i, loss in enumerate(losses)])
        for name, losses in (("ann", first), ("bea", second))
    }
    says = lowest_of_runs(runs, "token")
    assert f"The lowest was {min(*first, *second):.3f}" in says
    for name, own, other in (("ann", first, second), ("bea", second, first)):
        assert (name in says) == (f"{min(own):.3f}" == f"{min(*own, *other):.3f}")


@UNTIMED
@given(shares, shares, shares, shares, st.integers(1, 300))
def test_accuracy_rose_where_its_interval_excludes_no_change(
    a: float, b: float, a_after: float, b_after: float, rows: int
) -> None:
    evaluations = [
        Measurement(step, {"all": 0.69}, {"a": first, "b": second, "all": (first + second) / 2}, {})
        for step, (first, second) in enumerate(((a, b), (a_after, b_after)))
    ]
    run = a_recorded_run(evaluations, rows, centering=0.0)
    says, changes = outcome(run), {name: run.accuracy_change(name) for name in ("a", "b", "all")}
    assert ("Accuracy rose" in says) <= (side(changes["all"]) == 1)
    assert ("It rose in a and b" in says) == (side(changes["a"]) == side(changes["b"]) == 1)


def test_small_rise_in_one_source_is_no_rise_in_both() -> None:
    """From all ties: 63.5% of 148 is 55.5 to 70.8%; 50.4% of 148 is 42.4 to 58.4%, which holds 50%."""
    evaluations = [
        Measurement(0, {"all": 0.693}, {"a": 0.5, "b": 0.5, "all": 0.5}, {}),
        Measurement(9, {"all": 0.67}, {"a": 0.635, "b": 0.504, "all": 0.57}, {}),
    ]
    run = a_recorded_run(evaluations, 148, centering=0.0)
    assert "It rose in a and did not change significantly in b." in outcome(run)


@UNTIMED
@given(st.floats(-3, 3), st.floats(-3, 3))
def test_answer_is_likelier_by_what_is_shown(chosen: float, rejected: float) -> None:
    says = likelihood_text(chosen, rejected, "At the last step")
    for change, part in zip((chosen, rejected), says.split(", and rejected ones "), strict=True):
        assert ("as likely" in part) == (f"{abs(change):.2f}" == "0.00")
        assert ("more likely" in part) <= (change > 0)
        assert ("less likely" in part) <= (change < 0)


@UNTIMED
@given(st.dictionaries(st.sampled_from(NAMES), numbers, min_size=1))
def test_leaders_are_equal_as_shown(values: dict[str, float]) -> None:
    shown = {name: f"{value:.1f}" for name, value in values.items()}
    assert {shown[name] for name in leaders(values, "{:.1f}".format)} == {f"{max(values.values()):.1f}"}

"""The table of a comparison, which terminal and page share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from planish.statistics.comparison_result import ComparisonResult, System, comparison_table, cut_text
from planish.statistics.estimate import around
from planish.statistics.win_rate import WinRate


def system(name: str, **known: Any) -> System:
    blank = {
        "against": None,
        "length_controlled": None,
        "split": 0,
        "unread": 0,
        "score": None,
        "gain": None,
        "kl": None,
    }
    rest = {**blank, "kl_at_most": None, "length": around(20.5, 2.0, 100), "ended": 0.97, "kinds": {}}
    return System(name, f"runs/{name}", **{**rest, **known})


def result(*systems: System) -> ComparisonResult:
    return ComparisonResult("sft", "prompts.jsonl", 100, 1, {}, {}, None, 0.95, list(systems))


def test_every_column_has_its_number() -> None:
    against = WinRate(around(0.62, 0.05, 100), 1060, 20, 20, 100)
    known = {"against": against, "length_controlled": around(0.5, 0.06, 100), "split": 7, "unread": 1}
    known |= {"score": around(0.25, 0.1, 100), "gain": around(-0.5, 0.1, 100), "kl": around(8.5, 0.4, 100)}
    names, rows = comparison_table(
        result(
            system("sft"),
            system("ppo", **known, loss=around(2.3456, 0.0123, 9)),
            system("best-of-8", against=against, kl_at_most=1.2044),
        )
    )
    assert names == [
        "system", "wins over sft", "at equal length", "won/tied/lost", "split", "unread", "score", "gain", "KL",
        "held-out loss", "tokens", "ended",
    ]  # fmt: skip
    assert rows[0] == ["sft", *["–"] * 9, "20.5", "97%"]
    assert rows[1] == [
        "ppo", "62.0% (57.0 to 67.0%)", "50.0% (44.0 to 56.0%)", "1,060/20/20", "7", "1", "+0.25 ± 0.10", "−0.50 ± 0.10",
        "8.50 ± 0.40", "2.346 ± 0.012", "20.5", "97%",
    ]  # fmt: skip
    assert rows[2][names.index("KL")] == "at most 1.20"


def test_columns_that_hold_nothing_are_left_out() -> None:
    names, rows = comparison_table(result(system("sft"), system("ppo", score=around(1.0, 0.5, 9))))
    assert names == ["system", "score", "tokens", "ended"]
    assert rows == [["sft", "–", "20.5", "97%"], ["ppo", "+1.00 ± 0.50", "20.5", "97%"]]


def test_warning_of_cut_answers_names_systems_that_mostly_did_not_end() -> None:
    found = replace(result(system("sft"), system("ppo", ended=0.0)), sampling={"max_completion_tokens": 16})
    assert cut_text(found) == "Answers cut at the limit of 16 tokens were judged unfinished: 100% of ppo's."
    assert cut_text(result(system("sft"), system("ppo"))) == ""

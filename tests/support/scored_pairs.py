"""Comparisons of two answers with scores, for evaluations of a ranking."""

from __future__ import annotations

from typing import Any

from planish.statistics.ranking_result import Scored


def scored_pair(number: int, margin: float, **rest: Any) -> Scored:
    """The first answer was preferred, and scores `margin` more."""
    row = {
        "source": "hh",
        "name": f"file row {number}",
        "prompt": str(number),
        "group": "",
        "annotator": "",
        "ranks": (0, 1),
        "scores": (margin, 0.0),
        "num_tokens": (8, 6) if number % 2 else (7, 7),
    }
    return Scored(**{**row, **rest})


def some_pairs(right: int, wrong: int, **rest: Any) -> list[Scored]:
    return [scored_pair(i, 1.0 if i < right else -1.0, **rest) for i in range(right + wrong)]

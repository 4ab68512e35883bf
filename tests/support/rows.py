"""Small rows of demonstrations and comparisons, each a function of its number."""

from __future__ import annotations

from typing import Any

WORDS = "red blue green one two three four five cat dog house tree sun moon sea".split()  # noqa: SIM905


def tiny_rows(count: int, shift: int = 0) -> list[dict[str, str]]:
    """Instructions of ragged length whose answers repeat what was asked."""
    rows = []
    for i in range(shift, shift + count):
        asked = [WORDS[(i * 7 + k * 3) % len(WORDS)] for k in range(2 + i * i % 9)]
        rows.append({"instruction": "repeat " + " ".join(asked), "input": "", "output": f"{i} " + " ".join(asked)})
    return rows


def tiny_comparisons(count: int, shift: int = 0) -> list[dict[str, Any]]:
    """Two to four ragged answers to a prompt, some of them tied."""
    rows: list[dict[str, Any]] = []
    for i in range(shift, shift + count):
        answers = [
            " ".join(WORDS[(i * 3 + k * 7 + j) % len(WORDS)] for j in range(1 + (i + k) % 4)) for k in range(2 + i % 3)
        ]
        ranks = [k if k < 2 else 1 for k in range(len(answers))]
        rows.append(
            {
                "prompt": f"say {WORDS[i % len(WORDS)]} {i}",
                "completions": answers,
                "ranks": ranks[i % 2 :] + ranks[: i % 2],
            }
        )
    return rows


def tiny_labelled(count: int, shift: int = 0) -> list[dict[str, Any]]:
    """Ragged answers to a prompt, by turns one that repeats it, which is desirable, and one that does not."""
    rows: list[dict[str, Any]] = []
    for i in range(shift, shift + count):
        asked = [WORDS[(i * 7 + k * 3) % len(WORDS)] for k in range(1 + i % 4)]
        answer = asked if i % 2 else [WORDS[(i * 5 + k) % len(WORDS)] for k in range(1 + i * i % 5)]
        rows.append({"prompt": f"say {' '.join(asked)} {i // 2}", "completion": " ".join(answer), "label": bool(i % 2)})
    return rows

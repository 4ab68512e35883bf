"""Verdicts and grades in the words of judges: read where they are stated, and otherwise unread."""

from __future__ import annotations

import re

import pytest

from planish.judges.reading import read_grade, read_reply

STATED = {
    "first": [
        "A", "**A**", "A.", "a", "Answer A", "The better answer is A.", "I prefer answer A.", "Therefore, A is better.",
        "Overall, Answer A is the better answer.", "A wins", "Winner: A", "Final verdict:\nA",
        "Answer A is better than Answer B.", "A, because B is incomplete", "[[A]]", "[[A>B]]", "[[B<<A]]",
        "My final verdict is: [[A>>B]]", '{"verdict": "A"}',
        '```json\n{"winner": "A", "reason": "B is wrong"}\n```', "The final answer is $\\boxed{A}$", "A. It is more accurate.",
        "B is longer, but A is right.\nVerdict: **A**", "Initial verdict: B. On reflection it errs. Final verdict: A.",
        "<think>B is longer. B?</think>\n\nA", "A…",
    ],
    "second": ["**B**", "A, B or tie: B", '{"verdict": "Answer B"}', "Both are short.\n\nAnswer: B"],
    "tie": ["Tie.", "It's a tie.", "[[A=B]]", '{"verdict": "tie"}', "Both answers are good.\nTie"],
}  # fmt: skip
DOUBTFUL = [
    "", "I cannot say which is a better one", "A, B, or tie.", "Answer A is a liar, so B", "Not A", "A is worse",
    "A is incomplete.", "Answer A has a factual error", "A. B has a factual error.", '{"A": 1, "B": 0}', "The worse answer:\nA",
    "Worst: A", "A: wrong\nB: right", "A. Wrong.\nB. Right.", "1. A\n2. B", "A or B?", "Verdict: A? No.", "The verdict is not A",
    "I would not say A", "I prefer A…", "I prefer a", "neither", "Both A and B", "B is worse than A", "A\nB", "<think>A is",
    '{"verdict": "A", "better": "B"}', '{"verdict": ["A"]}', '{"verdict": "A"…', "Verdict: A\nVerdict: B", "1", "7",
    "Answer A is better only if brevity counts", "The loser is A", "A's flaw is big.", "Answer C",
]  # fmt: skip
GRADES = {
    "7": 7, "8.5/10": 8.5, "10": 10, "10 out of 10": 10, "I would say 3.": 3, "Of 10: 4": 4, "Of 10, I give 3.": 3,
    '{"grade": 7}': 7, '{"grade": 7.5, "reason": "2 errors"}': 7.5, "**Grade:** 7/10": 7, "Rating: [[7]]": 7, "\\boxed{8}": 8,
    "I'd give it 8/10 because 2 facts are missing": 8, "Accuracy: 8\nStyle: 4\nOverall: 6": 6, "Score: 8\nFinal score: 6": 6,
    "It has 2 errors.\nGrade: 6": 6, "1. Accurate\n2. Short\nGrade: 9": 9, "<think>3? 4?</think>5": 5, "Score: 7 (out of 10)": 7,
}  # fmt: skip
NO_GRADE = [
    "", "11 of 12!", "A number from 1 (useless) to 10 (best).", '{"grade": 11}', '{"grade": true}', "It misses 3 facts.",
    "Accuracy: 8\nStyle: 4", "7…", "7-8", "between 7 and 8", "It would be 10/10 if it were shorter", "0", "-3", "100", "8%",
    "7,5", "Seven", "7. It has 2 errors.",
]  # fmt: skip


@pytest.mark.parametrize(("reply", "choice"), [(reply, choice) for choice in STATED for reply in STATED[choice]])
def test_a_verdict_that_is_stated_is_read(reply: str, choice: str) -> None:
    assert read_reply(reply) == choice


@pytest.mark.parametrize("reply", DOUBTFUL)
def test_a_reply_that_leaves_room_for_doubt_is_unread(reply: str) -> None:
    assert read_reply(reply) == "unread"


@pytest.mark.parametrize("reply", STATED["first"][4:])
def test_a_verdict_with_the_letters_exchanged_is_the_other_one(reply: str) -> None:
    """Whatever its form, the letter decides: a judge that is read backwards would pass unnoticed."""
    swapped = re.sub(r"\b[AB]\b", lambda match: {"A": "B", "B": "A"}[match[0]], reply)
    assert read_reply(swapped) == "second"


@pytest.mark.parametrize(("reply", "grade"), GRADES.items())
def test_a_grade_that_is_stated_is_read(reply: str, grade: float) -> None:
    assert read_grade(reply) == grade


@pytest.mark.parametrize("reply", NO_GRADE)
def test_a_number_that_is_no_grade_is_none(reply: str) -> None:
    assert read_grade(reply) is None

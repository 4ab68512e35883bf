"""Safety rows of a mixture: answers that refuse, and their look-alikes, which sound harmful and are answered."""

from __future__ import annotations

import re

from planish.data.inspect.result import SafetyKind
from planish.data.rows import Demonstration, Row
from planish.evaluate.refusals.rules import RefusalRules
from planish.evaluate.refusals.wordings import REASONS

SOUNDS = (
    "self-harm",
    "weapons",
    "violence",
    "crime",
    "drugs",
    "computers",
)  # reasons whose words sound harmful by themselves
HARMFUL = re.compile(rf"\b(?:{'|'.join(reason.words for reason in REASONS if reason.name in SOUNDS)})\b", re.IGNORECASE)
RULES = RefusalRules()


def safety_of(row: Row) -> SafetyKind | None:
    """The kind of a demonstration by its last turn, and by the words of the turn before; None of any other row."""
    if not isinstance(row, Demonstration) or row.messages[-1].role != "assistant":
        return None
    if RULES(row.messages[-1].content) != "full_compliance":
        return "refusals"
    asked = next((turn.content for turn in reversed(row.messages) if turn.role == "user"), "")
    return "look_alikes" if HARMFUL.search(asked) else None

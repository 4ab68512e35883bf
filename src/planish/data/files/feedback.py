"""Judgements of `planish annotate` as records, and its database as the records of all that count: what `planish feedback
export` writes without further settings.

Read by one query with Python's own SQLite, so that training needs nothing that annotating does.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from planish.base.errors import DataError

# People's and models' judgements that count, without repeats; where an adjudicator decided, hers alone; of a jury, its verdict.
QUERY = """
SELECT i.prompt, i.tools, i.completions, j.ranks, j.strength, j.verdict, j.guideline, a.shown, a.chosen_by, i.systems, i.id,
       p.id, p.kind, p.name, p.group_name, i.about
FROM judgements j
JOIN assignments a ON a.id = j.assignment_id AND a.revision = j.revision
JOIN items i ON i.id = a.item_id
JOIN annotators p ON p.id = a.annotator_id
WHERE i.kind = 'task' AND j.ranks IS NOT NULL AND a.chosen_by <> 'juror'
  AND (a.chosen_by = 'adjudication' OR a.repeat = 0 AND NOT EXISTS (
    SELECT 1 FROM assignments s JOIN judgements t ON t.assignment_id = s.id AND t.revision = s.revision
    WHERE s.item_id = i.id AND s.chosen_by = 'adjudication'))
ORDER BY j.id
"""


def read_feedback(path: Path, name: str) -> Iterator[Any]:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            for row in connection.execute(QUERY):
                yield _record_of(row)
    except sqlite3.Error as error:
        raise DataError(
            f"{name}: is no database of planish annotate: {error}. Of another database, export the table as CSV."
        ) from None


def _record_of(row: tuple[Any, ...]) -> dict[str, Any]:
    prompt, tools, completions, ranks, strength, verdict, guideline, shown, chosen_by, systems, item, *rest = row
    person, kind, name, group, about = rest
    return comparison_record(
        json.loads(prompt),
        json.loads(tools) if tools else None,
        json.loads(completions),
        json.loads(systems),
        ranks=json.loads(ranks),
        annotator=annotator_name(kind, person, name, named=False),
        group=group,
        about={
            **json.loads(about),
            **{"aspect": "overall", "verdict": verdict, "strength": strength, "chosen_by": chosen_by},
            **{"guideline": guideline, "item": item, "order": " ".join(map(str, json.loads(shown)))},
        },
    )


def annotator_name(kind: str, number: int, name: str, *, named: bool) -> str:
    """The name of a model; of a person a number, but on demand."""
    return name if (named and name) or kind == "model" else f"annotator {number}"


def comparison_record(
    prompt: list[Any],
    tools: list[Any] | None,
    completions: list[Any],
    systems: list[list[str]],
    *,
    ranks: list[int],
    annotator: str,
    group: str,
    about: dict[str, Any],
) -> dict[str, Any]:
    """A judgement in planish's own format of comparisons. Empty notes are left out."""
    notes = {**about, "systems": " | ".join(", ".join(names) for names in systems)}
    return {
        "prompt": prompt,
        **({"tools": tools} if tools else {}),
        "completions": completions,
        "ranks": ranks,
        "annotator": annotator,
        "group": group,
        "about": {name: note for name, note in notes.items() if note != "" and name != "explanation"},
    }

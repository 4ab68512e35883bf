"""Fields of records that no row holds: counted by file, so that nothing is left out in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from planish.data.rows import Origin

NUMBER = re.compile(r"\[\d+\]")
FEW = 5  # fields named in a sentence


class IgnoredFields:
    """Ignored fields, and the number of records that have each.

    >>> ignored = IgnoredFields()
    >>> ignored.note(Origin("chat.jsonl", 1), "messages[0].name")
    >>> ignored.as_records
    [{'file': 'chat.jsonl', 'field': 'messages[].name', 'rows': 1}]
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], int] = {}
        self._last: dict[tuple[str, str], int] = {}  # the record that was counted last, so that none is counted twice

    def note(self, origin: Origin, field: str) -> None:
        key = origin.file, NUMBER.sub("[]", field)
        if self._last.get(key) != origin.row:
            self._last[key] = origin.row
            self._rows[key] = self._rows.get(key, 0) + 1

    def clear(self) -> None:
        self._rows.clear()
        self._last.clear()

    @property
    def as_records(self) -> list[dict[str, Any]]:
        return [{"file": file, "field": field, "rows": rows} for (file, field), rows in self._rows.items()]

    @property
    def sentences(self) -> list[str]:
        """A sentence for each file."""
        return ignored_text(self.as_records)


def ignored_text(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each file, from the entries of data.json."""
    files: dict[str, list[tuple[int, str]]] = {}
    for entry in records:
        files.setdefault(entry["file"], []).append((entry["rows"], entry["field"]))
    sentences: list[str] = []
    for file, fields in files.items():
        most = sorted(fields, key=lambda field: -field[0])
        named = [f"{field} ({rows:,} {'row' if rows == 1 else 'rows'})" for rows, field in most[:FEW]]
        more = f" and {len(fields) - FEW} more" if len(fields) > FEW else ""
        sentences.append(f"{file}: fields that are not used: {', '.join(named)}{more}")
    return sentences

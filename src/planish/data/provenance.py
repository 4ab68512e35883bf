"""Origins of many rows, in little memory."""

from __future__ import annotations

from array import array

from planish.data.rows import Origin


class Origins:
    """Origins by number, append-only, 12 bytes each."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._files, self._rows = array("i"), array("q")

    def add(self, origin: Origin) -> int:
        """Returns the number of the origin."""
        if origin.file not in self._numbers:
            self._numbers[origin.file] = len(self._names)
            self._names.append(origin.file)
        self._files.append(self._numbers[origin.file])
        self._rows.append(origin.row)
        return len(self) - 1

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Origin:
        return Origin(self._names[self._files[number]], self._rows[number])

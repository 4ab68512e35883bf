"""Where many rows came from, in little memory."""

from __future__ import annotations

from array import array

from planish.data.rows import Origin


class Origins:
    """The origins of rows, appended once and then read by number: 12 bytes each."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._files, self._rows = array("i"), array("q")

    def add(self, origin: Origin) -> int:
        """The number it is found under."""
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

"""JSON read one record at a time, with line and column of whatever is wrong.

A list may be larger than memory: its elements are decoded one by one from a window of the text. Two faults that the
standard library accepts are refused: a key that occurs twice in an object, and numbers that JSON does not have.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import isfinite
from typing import Any, cast

from planish.base.errors import DataError
from planish.data.files.text import MAX_CHARACTERS, first_repeated, read_lines, too_long

WHITE_SPACE = re.compile(r"[ \t\n\r]*")

# The start of a message of the standard library, and the message for the user.
PROBLEMS = {
    "Expecting value": "expected a value",
    "Expecting ',' delimiter": "expected ',' or the closing bracket",
    "Expecting ':' delimiter": "expected ':'",
    "Expecting property name": "expected the name of a field in double quotes",
    "Illegal trailing comma": "a comma before the closing bracket",
    "Unterminated string": "the text that begins here is not closed",
    "Invalid control character": "a text holds a raw control character, such as a tab or line end; write \\t or \\n",
    "Invalid \\": "this backslash begins no escape of JSON; write \\\\ for the backslash itself",
    "Extra data": "expected one value, but more follows",
}
MEND = "Mend it or take it out."
CUT = "The file may be cut short: fetch it again."
SPREAD = "Each line must be one whole record. Records that span lines belong in a list, in a file named .json."
SPLIT = "Make each record an element of a list, or a line."

Broken = Callable[[DataError], None]  # called with the fault of a record; returns if the next record may be read


def stop(error: DataError) -> None:
    raise error


class RefusedError(ValueError):
    """A value that is well-formed but refused."""


class Decoder:
    """The standard decoder, which also notes the first number that JSON does not have."""

    def __init__(self) -> None:
        self._unknown = ""
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_object, parse_constant=self._constant, parse_float=self._float
        )

    def decode(self, text: str, at: int) -> tuple[Any, int]:
        """The value that begins at this position, and its end. Raises JSONDecodeError or RefusedError."""
        self._unknown = ""
        try:
            value, end = self._decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RefusedError):
            raise
        except ValueError as error:
            most = sys.get_int_max_str_digits()
            raise RefusedError(f": a number has more than {most} digits. Write it as a text, or remove it.") from error
        except RecursionError as error:
            raise RefusedError(f": objects and lists are nested too deeply. {MEND}") from error
        if self._unknown:
            where = _where(path_to(value, is_odd))
            raise RefusedError(f"{where}: {self._unknown}. Write a number, or null where there is none.")
        return value, end

    def _constant(self, name: str) -> float:
        self._unknown = self._unknown or f"{name} is not a JSON number"
        return float(name)

    def _float(self, digits: str) -> float:
        value = float(digits)
        if not isfinite(value):
            self._unknown = self._unknown or f"{digits[:20]} is too large for a number"
        return value


def parse_json(text: str) -> Any:
    """The value of a whole text, such as the cell of a table or the arguments of a call, by the rules of a file: a key that
    occurs twice, NaN and half a character raise RefusedError, a text that is no JSON raises another ValueError."""
    value, end = Decoder().decode(text, _skip_space(text, 0))
    if _skip_space(text, end) < len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    if (path := path_to(value, is_half)) is not None:
        raise RefusedError(f"{_where(path)}: holds half a character. Mend the text.")
    return value


def _where(path: str | None) -> str:
    field = (path or "").removeprefix(".")
    return f", field {field}" if field else ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; the standard library would keep the last of two equal keys and drop the first."""
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = first_repeated([key for key, _ in pairs])
        raise RefusedError(f": the key {twice!r} occurs twice in an object with the keys {', '.join(value)}. Keep one.")
    return value


def half_character(text: str) -> int | None:
    """The place of a lone surrogate: JSON can spell half of a character as "\\ud83d", which no tokenizer takes."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return error.start
    return None


def is_half(leaf: object) -> bool:
    return isinstance(leaf, str) and half_character(leaf) is not None


def is_odd(leaf: object) -> bool:
    """True for a number that JSON does not have."""
    return isinstance(leaf, float) and not isfinite(leaf)


def path_to(value: Any, is_wrong: Callable[[object], bool]) -> str | None:
    """The path to the first leaf or name of a field that is wrong, such as ".scores[2].mean"; None if all are right."""
    if isinstance(value, dict):
        for name, part in cast("dict[str, Any]", value).items():
            if is_wrong(name):
                return ".(a name)"
            if (path := path_to(part, is_wrong)) is not None:
                return f".{name}{path}"
    elif isinstance(value, list):
        for at, part in enumerate(cast("list[Any]", value)):
            if (path := path_to(part, is_wrong)) is not None:
                return f"[{at}]{path}"
    elif is_wrong(value):
        return ""
    return None


def json_lines(
    lines: Iterable[str], name: str, row: int = 0, first_line: int = 1, broken: Broken = stop
) -> Iterator[tuple[int, Any]]:
    """One value a line, with its record number. Blank lines are skipped and not counted."""
    decoder = Decoder()
    for number, line in enumerate(lines, start=first_line):
        if line.strip():
            row += 1
            try:
                value = _decode_line(decoder, line.rstrip("\r\n"), f"{name} row {row}", number)
            except DataError as error:
                broken(error)
            else:
                yield row, value


def _decode_line(decoder: Decoder, line: str, where: str, number: int) -> Any:
    try:
        value, end = decoder.decode(line, _skip_space(line, 0))
        after = _skip_space(line, end)
        if after < len(line):
            raise json.JSONDecodeError("Extra data", line, after)
        return value
    except json.JSONDecodeError as error:
        advice = MEND if line[error.pos :].strip() else SPREAD
        raise _invalid(where, number, error.pos + 1, error, advice) from error
    except RefusedError as error:
        raise DataError(f"{where}{error}") from error


def _skip_space(text: str, at: int) -> int:
    return cast("re.Match[str]", WHITE_SPACE.match(text, at)).end()


def _invalid(where: str, line: int, column: int, error: json.JSONDecodeError, advice: str) -> DataError:
    problem = next((text for start, text in PROBLEMS.items() if error.msg.startswith(start)), error.msg)
    rest = error.doc[error.pos : error.pos + 20].split("\n")[0].strip()
    if rest.startswith("\ufeff"):
        problem, advice = "a byte-order mark, as where two files were joined", "Remove the mark."
    return DataError(
        f"{where}: not valid JSON at line {line}, column {column}: {problem}; found "
        f"{repr(rest) if rest else 'the end of the line'}. {advice}"
    )


def json_values(pieces: Iterator[str], name: str) -> Iterator[Any]:
    """The elements of a list, or the one value of the text, or one object a line.

    The last is recognized by a first object that begins and ends on one line, with more on a later line."""
    window = _Window(pieces)
    if window.next_mark() == "[":
        yield from _elements(window, name)
    elif window.next_mark():
        begun = window.line
        is_object = window.next_mark() == "{"
        yield window.take_value(f"{name} row 1")
        ended = window.line
        if window.next_mark():
            if not is_object or not begun == ended < window.line:
                raise window.fault(name, "Extra data", "Put several records into a list, or each on a line of its own.")
            lines = read_lines(window.rest(), name, window.line)
            yield from (value for _, value in json_lines(lines, name, 1, window.line))


def _elements(window: _Window, name: str) -> Iterator[Any]:
    window.skip_mark()
    row, mark = 0, window.next_mark()
    if mark == "]":
        window.skip_mark()
    while mark != "]":
        row += 1
        yield window.take_value(f"{name} row {row}")
        mark = window.next_mark()
        if mark not in ("]", ","):
            raise window.fault(f"{name} row {row}", "Expecting ',' delimiter", MEND if mark else CUT)
        window.skip_mark()
        if mark == "," and window.next_mark() == "]":
            raise window.fault(f"{name} row {row}", "Illegal trailing comma", "Remove the comma.")
    if window.next_mark():
        raise window.fault(name, "Extra data", "Remove whatever follows the list.")


class _Window:
    """The part of a text that is being decoded. It grows until the value at its start is complete, then moves on."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._decoder = Decoder()
        self._text, self._at = "", 0
        self.line, self._column = 1, 1  # of the character at `_at`, counted from 1

    def next_mark(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            self._move(_skip_space(self._text, self._at))
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return ""

    def skip_mark(self) -> None:
        self._move(self._at + 1)

    def rest(self) -> Iterator[str]:
        """The rest of the text, indented so that columns remain right."""
        return chain([" " * (self._column - 1) + self._text[self._at :]], self._pieces)

    def take_value(self, where: str) -> Any:
        """The value that begins here. An incomplete value is decoded again each time the window has doubled, so a large
        one costs a few times its size, not its square."""
        self.next_mark()
        while True:
            try:
                value, end = self._decoder.decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not (self._may_be_cut(error) and self._grow(where)):
                    cut = error.pos >= len(self._text.rstrip()) or error.msg.startswith("Unterminated")
                    raise _invalid(where, *self._position_of(error.pos), error, CUT if cut else MEND) from error
            except RefusedError as error:
                raise DataError(f"{where}{error}") from error
            else:
                if end + 2 < len(self._text) or not self._grow(where):  # "1" may be the start of "1e-7"
                    break
        if end - self._at > MAX_CHARACTERS:
            raise too_long(where, SPLIT)
        self._move(end)
        return value

    def fault(self, where: str, problem: str, advice: str) -> DataError:
        """An error about the next mark; `problem` is a message of the standard library."""
        return _invalid(where, self.line, self._column, json.JSONDecodeError(problem, self._text, self._at), advice)

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        """True if the fault may come from the end of the window. The longest mark, "-Infinity" or "\\ud83d\\ude00", has
        less than 16 characters."""
        return error.msg.startswith("Unterminated string") or error.pos > len(self._text) - 16

    def _grow(self, where: str) -> bool:
        if len(self._text) - self._at > MAX_CHARACTERS:
            raise too_long(where, SPLIT)
        return self._read()

    def _read(self) -> bool:
        """Doubles the window, up to a little more than the longest record."""
        held = self._text[self._at :]
        wanted = min(len(held), MAX_CHARACTERS - len(held)) + 1
        read = list[str]()
        while wanted > 0 and (piece := next(self._pieces, None)) is not None:
            read.append(piece)
            wanted -= len(piece)
        if read:  # at the end of the file, positions in the present text remain valid
            self._text, self._at = "".join([held, *read]), 0
        return bool(read)

    def _move(self, to: int) -> None:
        self.line, self._column = self._position_of(to)
        self._at = to

    def _position_of(self, to: int) -> tuple[int, int]:
        """Line and column of a position at or after the present one."""
        newlines = self._text.count("\n", self._at, to)
        if not newlines:
            return self.line, self._column + to - self._at
        return self.line + newlines, to - self._text.rindex("\n", self._at, to)

"""BibTeX files, as people have them: nested braces, quotes, `@string`, `#`, comments, crossref, accents written in LaTeX.

The grammar is that of BibTeX itself (Patashnik 1988, "BibTeXing"), but for lines that begin with %, which are comments, as for
biber. A macro that nobody defines stays as its name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from planish.base.errors import DataError

ENTRY = re.compile(r"@\s*([A-Za-z]+)\s*([{(])")
NAME = re.compile(r"[^\s\"#%'(),={}]+")
SPACE = re.compile(r"(?:\s+|%[^\n]*)*")
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]

# Accents of LaTeX and the characters that combine with the letter before them.
ACCENTS = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306", ".": "\u0307", '"': "\u0308",
    "r": "\u030a", "H": "\u030b", "v": "\u030c", "d": "\u0323", "c": "\u0327", "k": "\u0328", "b": "\u0331",
}  # fmt: skip
LETTERS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "aa": "å", "AA": "Å", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł",
    "dh": "ð", "DH": "Ð", "th": "þ", "TH": "Þ", "dj": "đ", "DJ": "Đ", "i": "i", "j": "j", "textendash": "–",
}  # fmt: skip
ACCENTED = re.compile(
    r"\\(?:([`'^~=.\"])\s*|([urHvdckb])(?:\s+|(?=\{)))(?:\{\s*(\\?[^\W\d_])\s*\}|(\\[ij](?![A-Za-z])|[^\W\d_]))"
)
LETTER = re.compile(rf"\\({'|'.join(sorted(LETTERS, key=len, reverse=True))})(?![A-Za-z])(?:\{{\}}|\s*)")


@dataclass(frozen=True, slots=True)
class BibtexEntry:
    """An entry: its kind and field names in small letters, its values as they are written."""

    kind: str
    key: str
    fields: Mapping[str, str]
    line: int


def read_bibtex(text: str, name: str) -> list[BibtexEntry]:
    """The entries of a .bib file, each with the fields of the entry that its crossref names."""
    reader = _Reader(text, name)
    entries = list(reader.entries())
    parents = {entry.key.lower(): entry.fields for entry in entries}
    return [_inherited(entry, parents) for entry in entries]


def _inherited(entry: BibtexEntry, parents: Mapping[str, Mapping[str, str]]) -> BibtexEntry:
    parent = parents.get(entry.fields.get("crossref", "").lower())
    if parent is None:
        return entry
    more = {**parent, "booktitle": parent.get("booktitle", parent.get("title", ""))}
    own = {name: value for name, value in more.items() if name not in ("title", "author", "doi", "eprint")}
    return BibtexEntry(entry.kind, entry.key, {**own, **entry.fields}, entry.line)


def plain(value: str) -> str:
    """The text of a value: letters in place of LaTeX's accents, without its commands and braces."""
    value = re.sub(r"\\url|\\href", "", value)
    value = LETTER.sub(lambda match: LETTERS[match[1]], ACCENTED.sub(_accented, value))
    value = re.sub(r"\\([&%$#_{}])", r"\1", value.replace("---", "—").replace("--", "–").replace("~", " "))
    value = re.sub(r"\\[A-Za-z]+\*?\s*|[{}$\\]", "", value)
    return " ".join(unicodedata.normalize("NFC", value).split())


def _accented(match: re.Match[str]) -> str:
    letter = (match[3] or match[4]).removeprefix("\\")
    return unicodedata.normalize("NFC", letter + ACCENTS[match[1] or match[2]])


def split_names(value: str) -> list[str]:
    """The names in a value, as they are written: `and` parts them where it is not in braces."""
    parts, depth, start = list[str](), 0, 0
    for match in re.finditer(r"\\.|[{}]|(?<=\s)and(?=\s)", value, re.S):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if match[0] == "and" and depth == 0:
            parts.append(value[start : match.start()].strip())
            start = match.end()
    return [part for part in (*parts, value[start:].strip()) if part]


@dataclass(slots=True)
class _Reader:
    text: str
    name: str
    at: int = 0
    macros: dict[str, str] = field(default_factory=lambda: {month: month for month in MONTHS})

    def entries(self) -> Iterator[BibtexEntry]:
        """All between entries is a comment, and so is a line that begins with %."""
        while match := ENTRY.search(self.text, self.at):
            line_start = self.text.rfind("\n", 0, match.start()) + 1
            self.at = match.end()
            kind = match[1].lower()
            if self.text[line_start : match.start()].lstrip().startswith("%"):
                end = self.text.find("\n", match.end())
                self.at = len(self.text) if end < 0 else end
            elif kind == "comment":
                self.at = match.end() - 1
                self._skip_comment()
            elif kind == "string":
                self.macros |= {name.lower(): value for name, value in self._fields(match, "")}
            elif kind == "preamble":
                self._value(match, "")
            else:
                yield self._entry(kind, match)

    def _entry(self, kind: str, opened: re.Match[str]) -> BibtexEntry:
        self._space()
        key = re.compile(r"[^\s,{}]*").match(self.text, self.at)
        assert key is not None
        self.at = key.end()
        self._space()
        if self._peek() not in (",", "})"["{(".index(opened[2])]):
            raise self._fault(opened, key[0], f"found {self._shown()} behind the key, expected a comma")
        self.at += self._peek() == ","
        fields: dict[str, str] = {}
        for name, value in self._fields(opened, key[0]):
            fields.setdefault(name.lower(), value)
        return BibtexEntry(kind, key[0], fields, self._line(opened.start()))

    def _fields(self, opened: re.Match[str], key: str) -> Iterator[tuple[str, str]]:
        """The fields up to the end of the entry, which is passed."""
        closing = "}" if opened[2] == "{" else ")"
        while True:
            self._space()
            if self._peek() == closing:
                self.at += 1
                return
            name = NAME.match(self.text, self.at)
            if name is None:
                raise self._fault(opened, key, f"found {self._shown()}, expected the name of a field or a {closing!r}")
            self.at = name.end()
            self._space()
            if self._peek() != "=":
                raise self._fault(opened, key, f"found {self._shown()} behind the field {name[0]!r}, expected '='")
            self.at += 1
            yield name[0], self._value(opened, key)
            self._space()
            if self._peek() == ",":
                self.at += 1
            elif self._peek() != closing:
                problem = f"found {self._shown()} behind the field {name[0]!r}, expected a comma or a {closing!r}"
                raise self._fault(opened, key, problem)

    def _value(self, opened: re.Match[str], key: str) -> str:
        """Values joined by `#`: in braces, in quotes, a number, or the name of a macro."""
        parts = list[str]()
        while True:
            self._space()
            if self._peek() in ("{", '"'):
                parts.append(self._delimited(opened, key))
            elif (name := NAME.match(self.text, self.at)) is not None:
                self.at = name.end()
                parts.append(self.macros.get(name[0].lower(), name[0]))
            else:
                raise self._fault(opened, key, f"found {self._shown()}, expected a value in braces or quotes")
            self._space()
            if self._peek() != "#":
                return "".join(parts)
            self.at += 1

    def _delimited(self, opened: re.Match[str], key: str) -> str:
        start, quoted, depth = self.at + 1, self._peek() == '"', 0
        for match in re.compile(r'\\.|[{}"]', re.S).finditer(self.text, start):
            if depth == 0 and match[0] == ('"' if quoted else "}"):
                self.at = match.end()
                return self.text[start : match.start()]
            depth += {"{": 1, "}": -1}.get(match[0], 0)
        raise self._fault(
            opened, key, f"the {'quote' if quoted else 'brace'} of line {self._line(start - 1)} is not closed"
        )

    def _skip_comment(self) -> None:
        """Passes a comment in braces; one that is not closed ends with its line."""
        depth = 0
        for match in re.compile(r"[{}()]").finditer(self.text, self.at):
            depth += 1 if match[0] in "{(" else -1
            if depth == 0:
                self.at = match.end()
                return
        self.at = max(self.at, self.text.find("\n", self.at))

    def _space(self) -> None:
        match = SPACE.match(self.text, self.at)
        self.at = self.at if match is None else match.end()

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _shown(self) -> str:
        return (
            repr(self.text[self.at : self.at + 20].split("\n")[0])
            if self.at < len(self.text)
            else "the end of the file"
        )

    def _line(self, at: int) -> int:
        return self.text.count("\n", 0, at) + 1

    def _fault(self, opened: re.Match[str], key: str, problem: str) -> DataError:
        entry = f"the entry {key!r}" if key else f"@{opened[1]}"
        return DataError(f"{self.name} line {self._line(min(self.at, len(self.text)))}, {entry} of line "
                         f"{self._line(opened.start())}: {problem}. Mend the file.")  # fmt: skip
